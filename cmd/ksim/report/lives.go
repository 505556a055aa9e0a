package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// never stands for a moment of a pod's life that did not come.
const never = sim.Time(1<<63 - 1)

// life is what the trace shows of one pod.
type life struct {
	PodState
	created, scheduled, started, ready sim.Time
	marked, gone                       sim.Time
	replaces                           string // the pod whose place it took
}

// memory is what the tellers of a run may know: all of it, the end included, so that they can say what did not happen.
type memory struct {
	run    *Run
	lives  map[string]*life // by the pod's name in the trace
	pods   []string         // their names, in the order in which they appeared
	owners map[string]string
}

func remember(run *Run) *memory {
	m := &memory{run: run, lives: map[string]*life{}, owners: map[string]string{}}
	if run.Before != nil {
		for _, p := range run.Before.Pods {
			l := m.pod(p.Name)
			l.PodState = p
			l.created, l.scheduled, l.started = run.Start, run.Start, run.Start
			if p.Ready {
				l.ready = run.Start
			}
			m.owners[p.Owner] = p.Workload
		}
	}
	if run.After != nil {
		for _, p := range run.After.Pods { // owners of pods that came later
			m.owners[p.Owner] = p.Workload
			l := m.pod(p.Name)
			if l.Owner == "" {
				l.Owner, l.Workload = p.Owner, p.Workload
			}
		}
	}
	for i := range run.Trace {
		if e := &run.Trace[i]; e.T >= run.Start {
			m.note(e)
		}
	}
	m.match()
	return m
}

// pod returns the life of a pod, begun if it was unknown.
func (m *memory) pod(name string) *life {
	l := m.lives[name]
	if l == nil {
		l = &life{PodState: PodState{Name: name, Workload: short(name)},
			created: never, scheduled: never, started: never, ready: never, marked: never, gone: never}
		m.lives[name] = l
		m.pods = append(m.pods, name)
	}
	return l
}

// note takes from an event what it says of a pod's life.
func (m *memory) note(e *sim.Event) {
	if e.Reason == "SuccessfulCreate" && strings.HasPrefix(e.Related, "pod/") {
		l := m.pod(e.Related)
		l.created = min(l.created, e.T)
		if l.Owner == "" {
			l.Owner, l.Workload = e.Object, m.workload(e.Object)
		}
		return
	}
	if !strings.HasPrefix(e.Object, "pod/") {
		return
	}
	switch e.Reason {
	case "Created", "Create":
		m.pod(e.Object).created = min(m.pod(e.Object).created, e.T)
	case "Scheduled":
		l := m.pod(e.Object)
		l.scheduled = min(l.scheduled, e.T)
		if strings.HasPrefix(e.Related, "node/") {
			l.Node = short(e.Related)
		}
	case "Started", "ContainerStarted":
		m.pod(e.Object).started = min(m.pod(e.Object).started, e.T)
	case "Ready", "PodReady":
		m.pod(e.Object).ready = min(m.pod(e.Object).ready, e.T)
	case "TaintManagerEviction":
		if !cancels(e) {
			m.pod(e.Object).marked = min(m.pod(e.Object).marked, e.T)
		}
	case "MarkedForDeletion", "Terminating":
		m.pod(e.Object).marked = min(m.pod(e.Object).marked, e.T)
	case "Deleted", "PodDeleted", "Removed":
		l := m.pod(e.Object)
		l.marked, l.gone = min(l.marked, e.T), min(l.gone, e.T)
	}
}

// cancels reports whether a TaintManagerEviction takes an eviction back.
func cancels(e *sim.Event) bool { return strings.HasPrefix(e.Message, "Cancelling") }

// workload returns what a person calls the owner of pods: web for replicaset/default/web-7c9d.
func (m *memory) workload(owner string) string {
	if name, ok := m.owners[owner]; ok {
		return name
	}
	name := short(owner)
	if i := strings.LastIndexByte(name, '-'); i > 0 && kind(owner) == "replicaset" {
		name = name[:i]
	}
	return name
}

// match finds for each new pod the one whose place it took: the first of the same workload, marked before and not
// replaced yet.
func (m *memory) match() {
	taken := map[string]bool{}
	order := slices.Clone(m.pods)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(m.lives[a].created, m.lives[b].created) })
	for _, name := range order {
		l := m.lives[name]
		if l.created == never || l.created <= m.run.Start || l.Owner == "" {
			continue
		}
		var best *life
		for _, other := range m.pods {
			o := m.lives[other]
			if o.Owner == l.Owner && !taken[other] && o.marked <= l.created && (best == nil || o.marked < best.marked) {
				best = o
			}
		}
		if best != nil {
			taken[best.Name] = true
			l.replaces = best.Name
		}
	}
}

// on returns the pods on a node at a time, in the order in which they appeared.
func (m *memory) on(node string, t sim.Time) []*life {
	var there []*life
	for _, name := range m.pods {
		l := m.lives[name]
		if l.Node == node && l.scheduled <= t && l.gone > t {
			there = append(there, l)
		}
	}
	return there
}

// since returns a trace time as the scenario's.
func (m *memory) since(t sim.Time) time.Duration { return t.Sub(m.run.Start) }
