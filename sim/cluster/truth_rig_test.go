package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
	"ksim/sim/hardware"
)

// What was recorded on a real control plane, held against a simulated one. A rig is such a cluster with its recorder: a
// list of what happened, in seconds from the fault.

// mark is one thing that happened.
type mark struct {
	at        float64 // seconds from t0
	who, what string
}

// rig is a cluster under observation.
type rig struct {
	*Cluster
	t       *testing.T
	t0      sim.Time
	marks   []mark
	probes  []*probe
	prober  *hardware.Process
	seen    truth.Changes
	events  int
	state   map[string]string   // what was noted last, by who
	leases  map[string]sim.Time // of nodes: when the last renewal came
	gaps    map[string]float64  // of nodes: the longest time between two renewals since t0
	renewed map[string][]float64
	pods    map[string]bool

	lockVersion string
	lockRenewed sim.Time // when the controller manager's lock was last written
	running     map[*hardware.Process]bool
	held        map[string]sim.Time // component@machine that may not run before
}

// newRig runs a cluster until it is ready and a minute more, so that everything has its rhythm.
func newRig(t *testing.T, seed uint64, s *spec.Cluster) *rig {
	r := &rig{Cluster: start(t, seed, s), t: t, state: map[string]string{}, leases: map[string]sim.Time{},
		gaps: map[string]float64{}, renewed: map[string][]float64{},
		running: map[*hardware.Process]bool{}, held: map[string]sim.Time{}}
	r.events = len(r.kernel.Trace().Events())
	r.wait(time.Minute)
	return r
}

// wait lets d pass under observation.
func (r *rig) wait(d time.Duration) { r.until(r.kernel.Now().Add(d), func() bool { return false }) }

// until lets time pass up to a moment, or until something is so after something was noted.
func (r *rig) until(at sim.Time, so func() bool) bool {
	for noted := -1; ; {
		if n := len(r.marks); n != noted {
			noted = n
			if so() {
				return true
			}
		}
		next, ok := r.kernel.NextAt()
		if !ok || next > at {
			require.NoError(r.t, r.kernel.RunUntil(at))
			r.look()
			return so()
		}
		_, err := r.kernel.Step()
		require.NoError(r.t, err)
		r.look()
	}
}

// fault is the moment from which time is counted.
func (r *rig) fault() {
	r.t0, r.marks = r.kernel.Now(), nil
	clear(r.gaps)
	clear(r.renewed)
	r.note("mark", "fault")
}

// since is a moment in seconds from t0.
func (r *rig) since(at sim.Time) float64 { return at.Sub(r.t0).Seconds() }

func (r *rig) now() float64 { return r.since(r.kernel.Now()) }

func (r *rig) note(who, format string, args ...any) {
	what := format
	if len(args) > 0 {
		what = fmt.Sprintf(format, args...)
	}
	r.marks = append(r.marks, mark{r.now(), who, what})
}

// change notes a state when it differs from the one before.
func (r *rig) change(who, what string) {
	if r.state[who] != what {
		r.state[who] = what
		r.note(who, "%s", what)
	}
}

// look notes what has changed.
func (r *rig) look() {
	events := r.kernel.Trace().Events()
	for ; r.events < len(events); r.events++ {
		if e := &events[r.events]; e.Component == "haproxy" && e.Level == sim.Story {
			r.note("haproxy "+strings.TrimPrefix(e.Object, "server/apiserver/"), "%s", strings.TrimPrefix(e.Reason, "Server"))
		}
	}
	changes, world := r.world.Changes(), r.world
	if changes.Total == r.seen.Total {
		return
	}
	changed := func(i truth.Input) bool { return changes.Of[i] != r.seen.Of[i] }
	if changed(truth.EtcdState) {
		r.change("etcd", world.Etcd().Leader)
	}
	if changed(truth.Leases) {
		r.lookAtLeases()
	}
	if changed(truth.LeadersState) {
		for _, component := range electedComponents {
			r.change("leads "+component, strings.Join(world.Leaders(component), " "))
		}
	}
	if changed(truth.Nodes) {
		r.lookAtNodes()
	}
	if changed(truth.Pods) {
		r.lookAtPods()
	}
	if changed(truth.EndpointSlices) {
		r.lookAtEndpoints()
	}
	if changed(truth.APIReadyState) {
		for _, ready := range world.APIReady() {
			r.change("readyz "+ready.Machine, fmt.Sprint(ready.Ready))
		}
	}
	if changed(truth.Machines) {
		r.lookAtProcesses()
	}
	r.seen = *changes
}

func (r *rig) lookAtLeases() {
	for _, object := range r.world.Objects(api.Leases) {
		lease := object.(*coordinationv1.Lease)
		if slices.Contains(electedComponents[:], lease.Name) && lease.Spec.HolderIdentity != nil {
			// With the process's own part: a successor on the same machine is another holder.
			r.change("lock "+lease.Name, *lease.Spec.HolderIdentity)
			if lease.Name == electedComponents[0] && r.lockVersion != lease.ResourceVersion {
				r.lockVersion, r.lockRenewed = lease.ResourceVersion, r.kernel.Now()
			}
		}
		if lease.Namespace != "kube-node-lease" || lease.Spec.RenewTime == nil {
			continue
		}
		who := "lease " + lease.Name
		if renewed := lease.Spec.RenewTime.String(); r.state[who] != renewed {
			r.state[who] = renewed
			now := r.kernel.Now()
			if last, ok := r.leases[lease.Name]; ok {
				r.gaps[lease.Name] = max(r.gaps[lease.Name], now.Sub(last).Seconds())
			}
			r.leases[lease.Name] = now
			r.renewed[lease.Name] = append(r.renewed[lease.Name], r.now())
		}
	}
}

func (r *rig) lookAtNodes() {
	for _, object := range r.world.Objects(api.Nodes) {
		node, state := object.(*corev1.Node), ""
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				state = string(condition.Status)
			}
		}
		var taints []string
		for _, taint := range node.Spec.Taints {
			if name, ok := strings.CutPrefix(taint.Key, "node.kubernetes.io/"); ok {
				taints = append(taints, name+":"+string(taint.Effect))
			}
		}
		slices.Sort(taints)
		r.change("node "+node.Name, strings.TrimSpace(state+" "+strings.Join(taints, " ")))
	}
}

func (r *rig) lookAtPods() {
	there := map[string]bool{}
	for _, pod := range pods(r.Cluster) {
		there["pod "+pod.Name] = true
		r.change("pod "+pod.Name, podState(pod))
	}
	for who := range r.pods { // any order: they differ in who is gone
		if !there[who] {
			r.change(who, "gone")
		}
	}
	r.pods = there
}

func podState(pod *corev1.Pod) string {
	state := string(pod.Status.Phase)
	if isReady(pod) {
		state += " Ready"
	}
	if pod.DeletionTimestamp != nil {
		state += " Terminating"
	}
	return state
}

func (r *rig) lookAtEndpoints() {
	for _, object := range r.world.Objects(api.EndpointSlices) {
		if slice := object.(*discoveryv1.EndpointSlice); slice.Namespace == "default" && slice.Name == "kubernetes" {
			var all []string
			for _, endpoint := range slice.Endpoints {
				all = append(all, endpoint.Addresses...)
			}
			slices.Sort(all)
			r.change("kubernetes-endpoints", fmt.Sprint(len(all)))
		}
	}
}

// lookAtProcesses notes starts and ends of the control plane's processes, and kills at once what is held.
func (r *rig) lookAtProcesses() {
	for _, h := range r.core {
		for _, p := range h.machine.Processes() {
			if r.running[p] || p.Name == "kubelet" || p.Name == "containerd" {
				continue
			}
			r.running[p] = true
			who := p.Name + " " + h.Name
			r.note(who, "start")
			p.Wait(r.kernel.Root(), func(status hardware.ExitStatus) {
				r.note(who, "exit %d %s", status.Code, status.Why)
			})
			if until, ok := r.held[p.Name+"@"+h.Name]; ok && r.kernel.Now() < until {
				p.Signal(hardware.SIGKILL)
			}
		}
	}
}

// hold kills a component, and its successors at once, for d.
func (r *rig) hold(component, machine string, d time.Duration) {
	r.held[component+"@"+machine] = r.kernel.Now().Add(d)
	require.NoError(r.t, r.faults.Kill(component, machine))
}

// killAll kills a machine's whole control plane and stops what would restart it.
func (r *rig) killAll(machine string, components ...string) {
	require.NoError(r.t, r.Systemd(machine).Stop("kubelet", func() {}))
	for _, component := range components {
		require.NoError(r.t, r.faults.Kill(component, machine))
	}
}

// giveLocks makes a machine the holder of both locks: on the others the managers are away until it has taken over.
func (r *rig) giveLocks(machine string) {
	for _, component := range electedComponents {
		path := manifestDir + "/" + component + ".yaml"
		texts := map[*hardware.Disk][]byte{}
		for _, h := range r.hosts {
			if h.Role == spec.RoleControlPlane && h.Name != machine {
				disk := h.machine.Disk()
				text, err := disk.ReadFile(path)
				require.NoError(r.t, err)
				texts[disk] = text
				disk.Remove(path)
			}
		}
		holds := func() bool { return r.world.Holder(component) == machine }
		require.True(r.t, r.until(r.kernel.Now().Add(2*time.Minute), holds), "%s on %s", component, machine)
		for disk, text := range texts { // any order: each to its own disk
			require.NoError(r.t, disk.WriteFileSync(path, text))
		}
	}
	r.wait(90 * time.Second)
}

// first returns when something was first noted at or after a moment; what may be the beginning of the text.
func (r *rig) first(who, what string, after float64) (float64, bool) {
	for _, m := range r.marks {
		if m.at >= after && m.who == who && strings.HasPrefix(m.what, what) {
			return m.at, true
		}
	}
	return 0, false
}

// after is first, counted from that moment; a day if it never was.
func (r *rig) after(who, what string, from float64) float64 {
	if at, ok := r.first(who, what, from); ok {
		return at - from
	}
	return 86400
}

// exactly is after, for the whole text.
func (r *rig) exactly(who, what string, from float64) float64 {
	for _, m := range r.marks {
		if m.at >= from && m.who == who && m.what == what {
			return m.at - from
		}
	}
	return 86400
}

// last returns when something was last noted, 0 never.
func (r *rig) last(who, what string) (at float64) {
	for _, m := range r.marks {
		if m.who == who && strings.HasPrefix(m.what, what) {
			at = m.at
		}
	}
	return at
}

// stateAt returns what was noted of somebody last before a moment.
func (r *rig) stateAt(who string, before float64) (what string) {
	for _, m := range r.marks {
		if m.who == who && m.at < before {
			what = m.what
		}
	}
	return what
}

// leaseAfter returns how long after a moment a node's lease was renewed.
func (r *rig) leaseAfter(node string, from float64) float64 {
	for _, at := range r.renewed[node] {
		if at >= from {
			return at - from
		}
	}
	return 86400
}

// count counts what was noted.
func (r *rig) count(who, what string) int {
	n := 0
	for _, m := range r.marks {
		if strings.HasPrefix(m.who, who) && strings.HasPrefix(m.what, what) {
			n++
		}
	}
	return n
}

func (r *rig) print() {
	for _, m := range r.marks {
		r.t.Logf("%8.3f %s: %s", m.at, m.who, m.what)
	}
	for _, p := range r.probes {
		r.t.Log(p.summary())
	}
}
