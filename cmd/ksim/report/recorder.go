package report

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/truth"
)

// Change is a moment at which the true state of something became another.
type Change struct {
	T     sim.Time
	What  string // machine, node, leader
	Name  string // of the machine or node, or what is led
	State string // up, down; True, False, Unknown; the machines that lead
}

// never stands for a moment of a pod's life that did not come.
const never = sim.Time(1<<63 - 1)

// PodLife is a pod with the moments of its life.
type PodLife struct {
	PodState
	Created, Scheduled, Ready, Marked, Gone sim.Time
}

// Recorder watches a run's true state from the scenario's start on, so that a report can say when pods became ready and
// were gone, which no event tells. Look is to be called between two events of the simulation, the more often the
// better.
type Recorder struct {
	world   truth.World
	seen    truth.Changes
	begun   bool
	changes []Change
	state   map[[2]string]string
	pods    []*PodLife
	byName  map[string]*PodLife
	before  *Snapshot

	stale      bool // machines have changed since machinesAt
	machinesAt sim.Time
}

// machinesEvery is how often machines are looked at: they change with each process that starts, and all that is wanted
// of them is power. chosen: a drawing shows no less.
const machinesEvery = 200 * time.Millisecond

// manyPods is from where on pods are not followed one by one. chosen: nobody reads the story of a thousand pods.
const manyPods = 1000

// NewRecorder begins to watch: now is time zero of the scenario.
func NewRecorder(w truth.World, now sim.Time) *Recorder {
	r := &Recorder{world: w, state: map[[2]string]string{}, byName: map[string]*PodLife{}, before: TakeSnapshot(w)}
	r.Look(now)
	return r
}

// Look notes what has changed since the last look.
func (r *Recorder) Look(now sim.Time) {
	changes := r.world.Changes()
	if r.begun && changes.Total == r.seen.Total && !r.stale {
		return
	}
	fresh := func(i truth.Input) bool { return !r.begun || changes.Of[i] != r.seen.Of[i] }
	r.stale = r.stale || fresh(truth.Machines)
	if r.stale && (!r.begun || now.Sub(r.machinesAt) >= machinesEvery) {
		r.stale, r.machinesAt = false, now
		for _, m := range r.world.Machines() {
			r.set(now, "machine", m.Name, map[bool]string{true: "up", false: "down"}[m.Up])
		}
	}
	if fresh(truth.Nodes) {
		for _, object := range r.world.Objects(api.Nodes) {
			r.set(now, "node", object.GetName(), readiness(object.(*corev1.Node)))
		}
	}
	if fresh(truth.EtcdState) {
		r.set(now, "leader", "etcd", r.world.Etcd().Leader)
	}
	if fresh(truth.LeadersState) {
		for _, component := range lockedComponents {
			r.set(now, "leader", component, strings.Join(r.world.Leaders(component), " "))
		}
	}
	if fresh(truth.Pods) && len(r.byName) <= manyPods {
		r.lookAtPods(now)
	}
	r.seen, r.begun = *changes, true
}

func (r *Recorder) set(now sim.Time, what, name, state string) {
	key := [2]string{what, name}
	if was, known := r.state[key]; known && was == state {
		return
	}
	r.state[key] = state
	r.changes = append(r.changes, Change{now, what, name, state})
}

func (r *Recorder) lookAtPods(now sim.Time) {
	there := map[string]bool{}
	deployments := deploymentsOf(r.world)
	for _, object := range r.world.Objects(api.Pods) {
		state := podState(object.(*corev1.Pod), deployments)
		there[state.Name] = true
		p := r.byName[state.Name]
		if p == nil {
			p = &PodLife{Created: now, Scheduled: never, Ready: never, Marked: never, Gone: never}
			r.byName[state.Name] = p
			r.pods = append(r.pods, p)
		}
		p.PodState = state
		begin(&p.Scheduled, state.Node != "", now)
		begin(&p.Ready, state.Ready, now)
		begin(&p.Marked, state.Terminating, now)
	}
	for _, p := range r.pods {
		if !there[p.Name] && p.Gone == never {
			p.Gone = now
			delete(r.byName, p.Name)
		}
	}
}

// begin sets a moment when what it stands for holds for the first time.
func begin(moment *sim.Time, holds bool, now sim.Time) {
	if holds && *moment == never {
		*moment = now
	}
}

// Fill puts what was recorded into a run that has ended.
func (r *Recorder) Fill(run *Run) {
	run.Before, run.After = r.before, TakeSnapshot(r.world)
	run.Changes, run.Pods = r.changes, r.pods
}
