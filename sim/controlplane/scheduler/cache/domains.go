package cache

import (
	"maps"

	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// Domains implements fwk.Handle. The table is made anew when a node has come, gone or got other labels, which is
// seldom; pods are scheduled often.
func (c *Cache) Domains(key string) *fwk.Domains {
	if d := c.domains[key]; d != nil {
		return d
	}
	d := &fwk.Domains{Of: make([]int32, c.slots), Labelled: make([]bool, c.slots)}
	numbers := map[string]int32{}
	for i := range d.Of {
		d.Of[i] = -1
	}
	for _, node := range c.Nodes() {
		value, has := node.Label(key)
		number, known := numbers[value]
		if !known {
			number = int32(len(numbers))
			numbers[value] = number
		}
		d.Of[node.Slot], d.Labelled[node.Slot] = number, has
	}
	d.Count = len(numbers)
	c.domains[key] = d
	return d
}

// nodeChanged forgets what depends on which nodes there are and on their labels.
func (c *Cache) nodeChanged(old, node *corev1.Node) {
	if old == nil || node == nil || !maps.Equal(old.Labels, node.Labels) {
		clear(c.domains)
	}
}
