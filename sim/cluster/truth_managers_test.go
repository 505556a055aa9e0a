package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"

	appsv1 "k8s.io/api/apps/v1"
)

// Timelines of the control plane's programs: two controller managers (the recording's shared one API server), a
// scheduler, an API server that starts without etcd's quorum.

// twoManagers is the smallest cluster in which a lock changes hands.
func twoManagers() *spec.Cluster {
	s := specOf(spec.Stacked, spec.Systemd, 0)
	s.ControlPlanes, s.Zones = 2, nil
	return s
}

// handOver ends the lock's holder with a signal, and returns how long it took until the other had it, from then and
// from the last renewal.
func (r *rig) handOver(sig hardware.Signal) (fromKill, fromRenewal float64) {
	const component = "kube-controller-manager"
	holder := r.world.Holder(component)
	p, err := r.faults.process(component, holder)
	require.NoError(r.t, err)
	p.Signal(sig)
	require.NoError(r.t, r.Systemd(holder).Stop(component, func() {}))
	killed, renewed := r.kernel.Now(), r.lockRenewed
	taken := func() bool { return r.world.Holder(component) != holder }
	require.True(r.t, r.until(killed.Add(time.Minute), taken))
	now := r.kernel.Now()
	require.NoError(r.t, r.Systemd(holder).Start(component))
	return now.Sub(killed).Seconds(), now.Sub(renewed).Seconds()
}

func TestTimelineManagerHandOver(t *testing.T) {
	timeline(t, "06", twoManagers, func(r *rig, f *figures) {
		r.fault()
		var kills, renewals, terms []float64
		random := r.kernel.Rand("when the manager is killed")
		for range 60 {
			r.wait(random.Between(8*time.Second, 12*time.Second))
			kill, renewal := r.handOver(hardware.SIGKILL)
			kills, renewals = append(kills, kill), append(renewals, renewal)
		}
		for range 10 {
			r.wait(random.Between(8*time.Second, 12*time.Second))
			term, _ := r.handOver(hardware.SIGTERM)
			terms = append(terms, term)
		}
		slices.Sort(kills)
		slices.Sort(renewals)
		slices.Sort(terms)
		f.set("SIGKILL, least", kills[0])
		f.set("SIGKILL, median", (kills[29]+kills[30])/2)
		f.set("SIGKILL, most", kills[59])
		f.set("last renewal, least", renewals[0])
		f.set("last renewal, median", (renewals[29]+renewals[30])/2)
		f.set("last renewal, most", renewals[59])
		f.set("SIGTERM, least", terms[0])
		f.set("SIGTERM, most", terms[9])
	})
}

func TestTimelineSchedulerDown(t *testing.T) {
	timeline(t, "18", sixNodes, func(r *rig, f *figures) {
		create(t, r.Cluster, deployment("web", 6))
		r.wait(30 * time.Second)
		r.fault()
		require.NoError(t, r.faults.Kill("kube-scheduler", "cp-1"))
		require.NoError(t, r.Systemd("cp-1").Stop("kube-scheduler", func() {}))
		r.wait(2500 * time.Millisecond)
		typed(t, r.Cluster, func(p *sim.Proc, client api.Client) {
			d, err := api.GetObject[*appsv1.Deployment](p, client, "default", "web")
			require.NoError(t, err)
			d = d.DeepCopy()
			replicas := int32(8)
			d.Spec.Replicas = &replicas
			_, err = api.UpdateObject(p, client, d)
			require.NoError(t, err)
		})
		r.wait(40 * time.Second)
		pending := 0
		for _, pod := range pods(r.Cluster) {
			if pod.Spec.NodeName == "" {
				pending++
			}
		}
		require.Equal(t, 2, pending)
		began := r.now()
		require.NoError(t, r.Systemd("cp-1").Start("kube-scheduler"))
		r.until(r.kernel.Now().Add(30*time.Second), func() bool { return readyPods(r.Cluster) == 8 })
		// The holder of the record is this machine, as it was: that the lock is taken shows in the scheduler's own
		// view.
		leads := r.after("leads kube-scheduler", "cp-1", began)
		f.set("scheduler start to lead", leads)
		f.set("lead to all pods Ready", r.now()-began-leads)
	})
}

func TestTimelineAPIServerStartsWithoutQuorum(t *testing.T) {
	external := func() *spec.Cluster { return specOf(spec.External, spec.Kubeadm, 0) }
	timeline(t, "16", external, func(r *rig, f *figures) {
		r.fault()
		for _, member := range []string{"etcd-2", "etcd-3"} {
			r.endEtcd(member)
		}
		r.wait(5 * time.Second)
		started := r.restartAPIServer(t)
		f.at(r, "one member of three, exit 255", "kube-apiserver cp-1", "exit 255", started)
		r.endEtcd("etcd-1")
		r.wait(5 * time.Second)
		started = r.restartAPIServer(t)
		f.at(r, "no member, exit 1", "kube-apiserver cp-1", "exit 1 ", started)
	})
}

// endEtcd kills a member for good.
func (r *rig) endEtcd(machine string) {
	require.NoError(r.t, r.faults.Kill("etcd", machine))
	require.NoError(r.t, r.Systemd(machine).Stop("etcd", func() {}))
}

// restartAPIServer kills the API server of cp-1, lets its successor run until it ends, and returns when that had
// started.
func (r *rig) restartAPIServer(t *testing.T) float64 {
	const who = "kube-apiserver cp-1"
	now := r.now()
	running := func() bool { return r.last(who, "start") > now }
	if _, err := r.faults.process("kube-apiserver", "cp-1"); err == nil {
		require.NoError(t, r.faults.Kill("kube-apiserver", "cp-1"))
	}
	require.True(t, r.until(r.kernel.Now().Add(10*time.Minute), running))
	started := r.last(who, "start")
	ended := func() bool { return r.last(who, "exit") > started }
	require.True(t, r.until(r.kernel.Now().Add(2*time.Minute), ended))
	return started
}
