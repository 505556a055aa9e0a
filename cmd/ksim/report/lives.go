package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// memory is what the tellers of a run may know: all of it, the end included, so that they can say what did not happen.
type memory struct {
	run      *Run
	pods     map[string]*PodLife // by their names in the trace; of several of one name, the last
	replaces map[*PodLife]*PodLife
}

func remember(run *Run) *memory {
	m := &memory{run: run, pods: map[string]*PodLife{}, replaces: map[*PodLife]*PodLife{}}
	for _, p := range run.Pods {
		m.pods[p.Name] = p
	}
	m.match()
	return m
}

// match finds for each new pod the one whose place it took: the first of the same owner that was marked before and has
// not been replaced yet.
func (m *memory) match() {
	taken := map[*PodLife]bool{}
	order := slices.Clone(m.run.Pods)
	slices.SortStableFunc(order, func(a, b *PodLife) int { return cmp.Compare(a.Created, b.Created) })
	for _, p := range order {
		if p.Created <= m.run.Start || p.Owner == "" {
			continue
		}
		var best *PodLife
		for _, o := range order {
			if o != p && o.Owner == p.Owner && !taken[o] && o.Marked <= p.Created && (best == nil || o.Marked < best.Marked) {
				best = o
			}
		}
		if best != nil {
			taken[best] = true
			m.replaces[p] = best
		}
	}
}

// workload returns what a person calls the owner of pods: web for replicaset/default/web-7c9d.
func (m *memory) workload(owner string) string {
	for _, p := range m.run.Pods {
		if p.Owner == owner {
			return p.Workload
		}
	}
	name := short(owner)
	if i := strings.LastIndexByte(name, '-'); i > 0 && kind(owner) == "replicaset" {
		name = name[:i]
	}
	return name
}

// on returns the pods on a node at a time, in the order in which they appeared.
func (m *memory) on(node string, t sim.Time) []*PodLife {
	var there []*PodLife
	for _, p := range m.run.Pods {
		if p.Node == node && p.Scheduled <= t && p.Gone > t {
			there = append(there, p)
		}
	}
	return there
}

// since returns a trace time as the scenario's.
func (m *memory) since(t sim.Time) time.Duration { return t.Sub(m.run.Start) }

// cancels reports whether a TaintManagerEviction takes an eviction back.
func cancels(e *sim.Event) bool { return strings.HasPrefix(e.Message, "Cancelling") }
