package cache

import (
	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// counters keep, for each selector that spreading has asked about, how many matching pods each node has, and bring
// the tables up to date pod by pod. Upstream counts anew for every pod that it schedules, with all its cores: the
// outcome is the same, and the cost here is that of what changes.
type counters struct {
	byKey       map[counterKey]*podCounter
	byNamespace map[string][]*podCounter
	order       []*podCounter // oldest use first, roughly
	slots       int
	zeros       []int32
}

type counterKey struct{ namespace, selector string }

type podCounter struct {
	key    counterKey
	match  func(map[string]string) bool
	counts []int32 // by slot
}

// countersMax bounds the memory. chosen: one for each of a thousand workloads.
const countersMax = 1024

func newCounters() counters {
	return counters{byKey: map[counterKey]*podCounter{}, byNamespace: map[string][]*podCounter{}}
}

func (cs *counters) table(c *Cache, namespace string, selector fwk.Selector) []int32 {
	if selector.Empty {
		return cs.zeros
	}
	key := counterKey{namespace, selector.Text}
	counter := cs.byKey[key]
	if counter == nil {
		counter = &podCounter{key: key, match: selector.Match, counts: make([]int32, cs.slots)}
		for _, state := range c.pods { // any order: a sum
			if counter.counted(state.info.Pod) {
				counter.counts[c.nodes[state.node].Slot]++
			}
		}
		cs.add(counter)
	}
	return counter.counts
}

func (cs *counters) add(counter *podCounter) {
	if len(cs.order) >= countersMax {
		cs.drop(cs.order[0])
		cs.order = cs.order[1:]
	}
	cs.order = append(cs.order, counter)
	cs.byKey[counter.key] = counter
	cs.byNamespace[counter.key.namespace] = append(cs.byNamespace[counter.key.namespace], counter)
}

func (cs *counters) drop(counter *podCounter) {
	delete(cs.byKey, counter.key)
	list := cs.byNamespace[counter.key.namespace]
	for i := range list {
		if list[i] == counter {
			cs.byNamespace[counter.key.namespace] = append(list[:i:i], list[i+1:]...)
			break
		}
	}
}

// counted reports whether a pod counts: it matches and is not being deleted.
func (counter *podCounter) counted(pod *corev1.Pod) bool {
	return pod.Namespace == counter.key.namespace && !fwk.IsTerminating(pod) && counter.match(pod.Labels)
}

func (cs *counters) count(pod *corev1.Pod, slot, n int32) {
	for _, counter := range cs.byNamespace[pod.Namespace] {
		if counter.counted(pod) {
			counter.counts[slot] += n
		}
	}
}

// grow makes room for so many slots.
func (cs *counters) grow(slots int) {
	if slots <= cs.slots {
		return
	}
	cs.slots = slots
	cs.zeros = append(cs.zeros, make([]int32, slots-len(cs.zeros))...)
	for _, counter := range cs.order {
		counter.counts = append(counter.counts, make([]int32, slots-len(counter.counts))...)
	}
}
