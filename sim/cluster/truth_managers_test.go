package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
	"ksim/sim/internal/samples"

	appsv1 "k8s.io/api/apps/v1"
)

// Timelines of the control plane's programs: two controller managers (the recording's shared one API server), a
// scheduler, an API server that starts without etcd's quorum.

// twoManagers is the smallest cluster in which a lock changes hands.
func twoManagers() *spec.Cluster {
	s := specOf(spec.External, spec.Systemd, 0)
	s.ControlPlanes, s.Etcd, s.Zones = 2, 1, nil
	return s
}

// handOvers are how long it took until another had the lock: of a component from the end of its holder, and of the
// controller manager from the last renewal, too.
type handOvers struct {
	of       map[string]samples.Sample
	renewals samples.Sample
}

// handOver ends the holders of both locks, at moments of their own, until others have taken over.
func (r *rig) handOver(sig hardware.Signal, random *sim.Stream, to *handOvers) {
	r.wait(random.Between(8*time.Second, 12*time.Second))
	type end struct {
		component, holder string
		at                sim.Time
	}
	var ends []end
	for _, component := range electedComponents {
		holder := r.world.Holder(component)
		p, err := r.faults.process(component, holder)
		require.NoError(r.t, err)
		if component == electedComponents[0] {
			to.renewals = append(to.renewals, -r.since(r.lockRenewed))
		}
		ends = append(ends, end{component, holder, r.kernel.Now()})
		if sig == hardware.SIGKILL {
			p.Signal(sig)
		}
		require.NoError(r.t, r.Systemd(holder).Stop(component, func() {})) // by SIGTERM
		r.wait(random.Between(0, 2*time.Second))
	}
	for _, e := range ends {
		taken := func() float64 { return r.lastBy("lock "+e.component, e.holder, r.since(e.at)) }
		require.True(r.t, r.until(r.kernel.Now().Add(time.Minute), func() bool { return taken() > 0 }))
		to.of[e.component] = append(to.of[e.component], taken()-r.since(e.at))
		if e.component == electedComponents[0] {
			to.renewals[len(to.renewals)-1] += taken()
		}
	}
	for _, e := range ends {
		require.NoError(r.t, r.Systemd(e.holder).Start(e.component))
	}
}

// lastBy returns when somebody else than a machine was noted to hold a lock after a moment; 0 never.
func (r *rig) lastBy(lock, machine string, after float64) float64 {
	for _, m := range slices.Backward(r.marks) {
		if m.at < after {
			break
		}
		if m.who == lock && m.what != "" && !strings.HasPrefix(m.what, machine+"_") {
			return m.at
		}
	}
	return 0
}

// recorded are the hand-overs of kube-controller-manager's lock in the recording 06: from SIGKILL, from SIGTERM, and of
// both kinds from the last renewal. The scheduler's were recorded only as a part of other timelines.
var recorded = map[string]samples.Sample{
	"SIGKILL": {17.085, 17.740, 20.348, 14.447, 18.796, 19.184, 18.186},
	"SIGTERM": {18.059, 14.620, 18.992, 13.872, 19.841},
	"renewal": {18.399, 18.065, 21.996, 16.240, 19.380, 19.713, 18.989, 18.470, 16.309, 19.954, 15.826, 20.064},
}

func TestTimelineManagerHandOver(t *testing.T) {
	timeline(t, "06", twoManagers, func(r *rig, f *figures) {
		r.fault()
		random := r.kernel.Rand("when the managers are ended")
		for sig, name := range []string{hardware.SIGTERM: "SIGTERM", hardware.SIGKILL: "SIGKILL"} {
			got := handOvers{of: map[string]samples.Sample{}}
			for range 200 {
				r.handOver(hardware.Signal(sig), random, &got)
			}
			manager, scheduler := got.of[electedComponents[0]], got.of[electedComponents[1]]
			for part, q := range map[string]float64{"least": 0, "median": 0.5, "most": 1} { // any order: a table
				f.set(name+", "+part, manager.Quantile(q))
				f.set(name+", last renewal, "+part, got.renewals.Quantile(q))
				f.set(name+", scheduler, "+part, scheduler.Quantile(q))
			}
			f.set(name+", p", samples.Same(manager, recorded[name]))
			f.set(name+", last renewal, p", samples.Same(got.renewals, recorded["renewal"]))
		}
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
