package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

// Timelines of three control planes behind haproxy. What was different there: the control plane's machines ran no
// kubelet (a supervisor restarted what ended after 0, 10, 20, 40 s and did kubeadm's liveness probes), everything
// shared two cores (starts and sub-second figures are upper bounds), and the probes spoke HTTP/1.1, without HTTP/2's
// pings.

var controlPlane = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

func stackedKubeadm() *spec.Cluster { return specOf(spec.Stacked, spec.Kubeadm, 4) }

// prepare has a cluster with pods, and a machine that leads etcd or does not, and holds both locks; probes run.
func (r *rig) prepare(leads bool) (machine string) {
	create(r.t, r.Cluster, deployment("web", 8))
	for _, m := range r.world.Etcd().Members {
		if (m.Role == "leader") == leads {
			machine = m.Name
		}
	}
	if r.byName[machine].Role == spec.RoleControlPlane {
		r.giveLocks(machine)
	}
	r.startProbes()
	r.fault()
	return machine
}

// follows returns a machine whose member does not lead, other than those named.
func (r *rig) follows(except ...string) string {
	for _, m := range r.world.Etcd().Members {
		if m.Role != "leader" && !strings.Contains(strings.Join(except, " "), m.Name) {
			return m.Name
		}
	}
	r.t.Fatal("no follower")
	return ""
}

// back starts the kubelet of a machine whose control plane had been killed.
func (r *rig) back(machine string) float64 {
	r.note("mark", "return of %s", machine)
	require.NoError(r.t, r.Systemd(machine).Start("kubelet"))
	return r.now()
}

// failures counts failed requests of all probes of a kind.
func (r *rig) failures(kind string, from, to float64) (n float64) {
	for _, p := range r.probes {
		if strings.TrimRight(p.name, "123") == kind {
			n += float64(len(p.failed(from, to)))
		}
	}
	return n
}

// longest returns the longest gap of all probes of a kind.
func (r *rig) longest(kind string, from, to float64) (longest float64) {
	for _, p := range r.probes {
		if strings.TrimRight(p.name, "123") == kind {
			gap, _ := p.gap(from, to)
			longest = max(longest, gap)
		}
	}
	return longest
}

// takenOver gives when others hold the two locks.
func (f *figures) takenOver(r *rig, from float64) {
	f.at(r, "KCM lock taken over", "lock kube-controller-manager", "cp-", from)
	f.at(r, "scheduler lock taken over", "lock kube-scheduler", "cp-", from)
}

// returned gives how an API server comes back, counted from its start.
func (f *figures) returned(r *rig, machine string, after float64) {
	start, ok := r.first("kube-apiserver "+machine, "start", after)
	require.True(f.t, ok)
	f.at(r, "API server start to ready", "readyz "+machine, "true", start)
	f.at(r, "API server start to UP", "haproxy "+machine, "Up", start)
}

// workersLost counts workers that were said to be gone.
func (r *rig) workersLost() (n float64) {
	for _, worker := range r.spec.Workers {
		if _, ok := r.first("node "+worker.Name, "Unknown", 0); ok {
			n++
		}
	}
	return n
}

// leaseGap returns the longest gap between two renewals of a worker's lease.
func (r *rig) leaseGap() (longest float64) {
	for name, gap := range r.gaps {
		if strings.HasPrefix(name, "worker") {
			longest = max(longest, gap)
		}
	}
	return longest
}

func TestTimelineMachineKilledWithAllRoles(t *testing.T) {
	timeline(t, "01d2", stackedKubeadm, func(r *rig, f *figures) {
		lost := r.prepare(true)
		r.killAll(lost, controlPlane...)
		r.wait(50 * time.Second)
		f.at(r, "etcd elects", "etcd", "cp-", 0)
		f.set("W gap", r.longest("W", 0, 50))
		f.set("R gap", r.longest("R", 0, 50))
		f.set("WK gap", r.longest("WK", 0, 50))
		f.set("W failed", r.failures("W", -1, 50))
		f.set("C failed", r.failures("C", -1, 50))
		f.set("DOWN", f.down(r, lost))
		f.watches(r)
		f.takenOver(r, 0)
		f.at(r, "kubernetes endpoints lose it", "kubernetes-endpoints", "2", 0)
		leader, kcm, scheduler := r.world.Etcd().Leader, r.world.Holder("kube-controller-manager"),
			r.world.Holder("kube-scheduler")
		back := r.back(lost)
		r.wait(40 * time.Second)
		f.returned(r, lost, back)
		start, _ := r.first("kube-apiserver "+lost, "start", back)
		f.set("its KCM runs", r.last("kube-controller-manager "+lost, "start")-start)
		require.Equal(r.t, []string{leader, kcm, scheduler}, []string{r.world.Etcd().Leader,
			r.world.Holder("kube-controller-manager"), r.world.Holder("kube-scheduler")}, "nothing moves back")
		f.set("workers falsely Unknown", r.workersLost())
	})
}

// down returns when haproxy took a server out.
func (f *figures) down(r *rig, machine string) float64 {
	at, ok := r.first("haproxy "+machine, "Down", 0)
	if !ok {
		f.t.Errorf("%s never DOWN", machine)
	}
	return at
}

// watches gives when the watches of the lost server end, and how long after they are back.
func (f *figures) watches(r *rig) {
	broken := map[string]float64{}
	ends, back := 0.0, 0.0
	for _, m := range r.marks {
		switch {
		case m.at < 0 || !strings.HasPrefix(m.who, "watch "):
		case strings.HasPrefix(m.what, "break"):
			broken[m.who] = m.at
			ends = max(ends, m.at)
		case m.what == "up":
			back = max(back, m.at-broken[m.who])
		}
	}
	f.set("watches of it end", ends)
	f.set("watches back after", back)
}

// The recording cut the packets of the machine's sockets for 90 s; here the machine is off and boots.
func TestTimelinePowerCutOfMachineWithAllRoles(t *testing.T) {
	timeline(t, "11d", stackedKubeadm, func(r *rig, f *figures) {
		lost := r.prepare(true)
		require.NoError(t, r.faults.Crash(lost))
		r.wait(60 * time.Second)
		f.at(r, "etcd elects", "etcd", "cp-", 0)
		f.set("W gap", r.longest("W", 0, 60))
		f.set("R failed", r.failures("R", -1, 60))
		f.set("C failed", r.failures("C", -1, 60))
		f.set("C slow", float64(r.named("C").slow(0.9)))
		f.set("C slowest", r.named("C").slowest())
		f.set("RK gap", r.longest("RK", 0, 60))
		f.set("DOWN", f.down(r, lost))
		f.takenOver(r, 0)
		f.at(r, "kubernetes endpoints lose it", "kubernetes-endpoints", "2", 0)
		f.set("lease gap", r.leaseGap())
		f.set("workers falsely Unknown", r.workersLost())
		require.NoError(t, r.faults.Start(lost))
		r.wait(60 * time.Second)
		f.returned(r, lost, 60)
	})
}

// Its successors exit after the recorded times, but at others: the recording's supervisor waited 0, 10, 20 s.
func TestTimelineOwnEtcdOfStackedAPIServerDead(t *testing.T) {
	timeline(t, "02a", stackedKubeadm, func(r *rig, f *figures) {
		lost := r.prepare(false)
		r.hold("etcd", lost, 150*time.Second)
		r.wait(150 * time.Second)
		f.set("DOWN", f.down(r, lost))
		f.set("C failed", r.failures("C", -1, 150))
		f.set("W and R failed", r.failures("W", -1, 150)+r.failures("R", -1, 150))
		f.set("last failed request", r.lastFailure("W", "R"))
		f.set("RK gap", r.longest("RK", 0, 100))
		f.at(r, "KCM exits", "kube-controller-manager "+lost, "exit 1", 0)
		f.at(r, "scheduler exits", "kube-scheduler "+lost, "exit 1", 0)
		f.takenOver(r, 0)
		f.at(r, "kubernetes endpoints lose it", "kubernetes-endpoints", "2", 0)
		killed := f.at(r, "API server killed", "kube-apiserver "+lost, "exit 137", 0)
		f.watches(r)
		require.InDelta(t, killed, f.got["watches of it end"], 0.1)
		start, _ := r.first("kube-apiserver "+lost, "start", killed)
		f.at(r, "its successor exits after", "kube-apiserver "+lost, "exit 1 ", start)
		r.stopProbes()
		ready := func() bool { return r.last("readyz "+lost, "true") > killed }
		require.True(t, r.until(r.t0.Add(12*time.Minute), ready))
		start = max(r.last("kube-apiserver "+lost, "start"), r.last("etcd "+lost, "start"))
		f.set("both started to ready", r.last("readyz "+lost, "true")-start)
		f.set("workers falsely Unknown", r.workersLost())
	})
}

func TestTimelineAPIServerOfLockHolderKilled(t *testing.T) {
	timeline(t, "03", stackedKubeadm, func(r *rig, f *figures) {
		lost := r.prepare(false)
		r.killAll(lost, "kube-apiserver")
		r.wait(60 * time.Second)
		f.set("W, R and C failed", r.failures("W", -1, 60)+r.failures("R", -1, 60)+r.failures("C", -1, 60))
		f.set("WK and RK failed", r.failures("WK", -1, 60)+r.failures("RK", -1, 60))
		f.set("W gap", r.longest("W", 0, 60))
		f.set("DOWN", f.down(r, lost))
		f.watches(r)
		f.at(r, "KCM exits", "kube-controller-manager "+lost, "exit 1", 0)
		f.at(r, "scheduler exits", "kube-scheduler "+lost, "exit 1", 0)
		f.takenOver(r, 0)
		f.at(r, "kubernetes endpoints lose it", "kubernetes-endpoints", "2", 0)
		back := r.back(lost)
		r.wait(40 * time.Second)
		f.returned(r, lost, back)
		f.set("workers falsely Unknown", r.workersLost())
	})
}

func TestTimelineExternalEtcdFollowerKilled(t *testing.T) {
	external := func() *spec.Cluster { return specOf(spec.External, spec.Kubeadm, 4) }
	timeline(t, "04b", external, func(r *rig, f *figures) {
		lost := r.prepare(false)
		require.NoError(t, r.faults.Kill("etcd", lost))
		r.wait(40 * time.Second)
		f.set("requests failed", r.failures("W", -1, 40)+r.failures("R", -1, 40)+r.failures("C", -1, 40)+
			r.failures("WK", -1, 40)+r.failures("RK", -1, 40))
		f.set("longest gap", max(r.longest("W", 0, 40), r.longest("R", 0, 40), r.longest("WK", 0, 40)))
	})
}

func TestTimelineQuorumLost(t *testing.T) {
	timeline(t, "05", stackedKubeadm, func(r *rig, f *figures) {
		create(r.t, r.Cluster, deployment("web", 8))
		first := r.follows()
		second := r.follows(first)
		stays := r.world.Etcd().Leader
		r.giveLocks(first)
		r.startProbes()
		r.fault()
		r.killAll(first, controlPlane...)
		r.killAll(second, controlPlane...)
		r.wait(180 * time.Second)
		f.set("DOWN of the survivor", f.down(r, stays))
		last, _ := r.first("watch WI1", "break", 10)
		f.set("watches end", last)
		_, gone := r.first("kube-controller-manager "+stays, "exit", 0)
		require.False(t, gone, "a manager without the lock stays")
		killed := f.at(r, "API server killed", "kube-apiserver "+stays, "exit 137", 0)
		start, _ := r.first("kube-apiserver "+stays, "start", killed)
		f.at(r, "its successor exits after", "kube-apiserver "+stays, "exit 255", start)
		f.set("written meanwhile", float64(r.successes("W", 1, 180)+r.successes("R", 1, 180)))
		back := r.back(first)
		r.wait(60 * time.Second)
		f.at(r, "quorum after return", "etcd", "cp-", back)
		f.set("UP after return", min(r.after("haproxy "+first, "Up", back), r.after("haproxy "+stays, "Up", back)))
		_, began := r.named("W").gap(0, 180)
		length, _ := r.named("W").gap(0, 180)
		f.set("first write after return", began+length-back)
		f.takenOver(r, back)
		f.set("lease gap", r.leaseGap())
		f.set("workers falsely Unknown", r.workersLost())
	})
}

func TestTimelineMachineStoppedBySIGTERM(t *testing.T) {
	timeline(t, "06b", stackedKubeadm, func(r *rig, f *figures) {
		lost := r.prepare(true)
		r.killAll(lost)
		for _, component := range controlPlane {
			p, err := r.faults.process(component, lost)
			require.NoError(t, err)
			p.Signal(hardware.SIGTERM)
		}
		r.wait(30 * time.Second)
		require.NoError(t, r.faults.Kill("kube-apiserver", lost), "it cannot finish: its etcd has gone first")
		r.wait(30 * time.Second)
		f.at(r, "lead handed over", "etcd", "cp-", 0)
		f.at(r, "KCM exits", "kube-controller-manager "+lost, "exit 2", 0)
		f.at(r, "scheduler exits", "kube-scheduler "+lost, "exit 0", 0)
		f.set("DOWN", f.down(r, lost))
		f.takenOver(r, 0)
		f.set("W and R failed", r.failures("W", -1, 30)+r.failures("R", -1, 30))
		f.set("C failed", r.failures("C", -1, 30))
		f.set("WK gap", r.longest("WK", 0, 30))
		f.watches(r)
		f.set("lease gap", r.leaseGap())
		f.set("workers falsely Unknown", r.workersLost())
		back := r.back(lost)
		r.wait(20 * time.Second)
		f.returned(r, lost, back)
	})
}

// Here as there the workers are all the nodes there are, in one zone: when all are gone nobody is evicted. With
// Ready nodes among the machines of the control plane they would be.
func TestTimelineBalancerGone(t *testing.T) {
	oneZone := func() *spec.Cluster {
		s := specOf(spec.Stacked, spec.Systemd, 4)
		s.Zones = nil
		return s
	}
	timeline(t, "08a", oneZone, func(r *rig, f *figures) {
		create(r.t, r.Cluster, deployment("web", 8))
		r.startProbes()
		r.fault()
		require.NoError(t, r.faults.Kill("haproxy", spec.BalancerName))
		require.NoError(t, r.Systemd(spec.BalancerName).Stop("haproxy", func() {}))
		r.wait(60 * time.Second)
		require.NoError(t, r.Systemd(spec.BalancerName).Start("haproxy"))
		r.wait(80 * time.Second)
		for _, worker := range r.spec.Workers {
			who := "node " + worker.Name
			f.at(r, "Unknown", who, "Unknown", 0)
			f.at(r, "Ready after return", who, "True", 60)
			require.NotContains(t, r.stateAt(who, 60), "NoExecute")
			f.set("lease after return", r.leaseAfter(worker.Name, 60))
		}
		f.set("pods deleted", float64(r.count("pod ", "Running Terminating")))
	})
}

func TestTimelineWorkerLost(t *testing.T) {
	timeline(t, "09b", stackedKubeadm, func(r *rig, f *figures) {
		create(r.t, r.Cluster, deployment("web", 8))
		r.fault()
		require.NoError(t, r.faults.Kill("kubelet", "worker-4"))
		require.NoError(t, r.Systemd("worker-4").Stop("kubelet", func() {}))
		r.wait(75 * time.Second)
		unknown := f.at(r, "Unknown", "node worker-4", "Unknown", 0)
		f.at(r, "NoExecute after Unknown", "node worker-4", "Unknown unreachable:NoExecute", unknown)
		r.back("worker-4")
		r.wait(15 * time.Second)
		f.at(r, "Ready after start", "node worker-4", "True", 75)
		f.set("taints off after start", r.exactly("node worker-4", "True", 75))
	})
}
