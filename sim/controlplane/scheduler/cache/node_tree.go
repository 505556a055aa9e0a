package cache

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// nodeTree keeps the names of nodes by zone, so that a scheduler which does not look at all nodes looks at all zones.
//
// Models kube-scheduler's nodeTree (pkg/scheduler/backend/cache/node_tree.go, v1.36).
type nodeTree struct {
	zones []string            // in the order of their first node
	nodes map[string][]string // by zone, in the order of arrival
	count int
}

func newNodeTree() nodeTree { return nodeTree{nodes: map[string][]string{}} }

// zoneKey is region and zone (component-helpers node/topology GetZoneKey).
func zoneKey(node *corev1.Node) string {
	region, zone := node.Labels[corev1.LabelTopologyRegion], node.Labels[corev1.LabelTopologyZone]
	if region == "" && zone == "" {
		return ""
	}
	return region + ":\x00:" + zone
}

// update adds a node (old is nil) or moves it to its zone of now; it reports whether the order of nodes changed.
func (t *nodeTree) update(old, node *corev1.Node) bool {
	if old != nil {
		if zoneKey(old) == zoneKey(node) {
			return false
		}
		t.remove(old)
	}
	zone := zoneKey(node)
	if _, known := t.nodes[zone]; !known {
		t.zones = append(t.zones, zone)
	}
	t.nodes[zone] = append(t.nodes[zone], node.Name)
	t.count++
	return true
}

func (t *nodeTree) remove(node *corev1.Node) {
	zone := zoneKey(node)
	i := slices.Index(t.nodes[zone], node.Name)
	if i < 0 {
		return
	}
	t.count--
	if t.nodes[zone] = slices.Delete(t.nodes[zone], i, i+1); len(t.nodes[zone]) > 0 {
		return
	}
	delete(t.nodes, zone)
	t.zones = slices.DeleteFunc(t.zones, func(z string) bool { return z == zone })
}

// list returns all names, one of each zone in turn.
func (t *nodeTree) list() []string {
	names := make([]string, 0, t.count)
	for i := 0; len(names) < t.count; i++ {
		for _, zone := range t.zones {
			if i < len(t.nodes[zone]) {
				names = append(names, t.nodes[zone][i])
			}
		}
	}
	return names
}
