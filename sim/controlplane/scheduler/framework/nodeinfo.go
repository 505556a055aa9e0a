package framework

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// NodeInfo is a node with the pods on it and what they add up to (pkg/scheduler/framework/types.go, v1.36).
//
// What filters and scores ask of every node comes first and lies together; none of it is in the node object.
type NodeInfo struct {
	node          *corev1.Node
	name          string
	repelling     bool // has a taint of effect NoSchedule or NoExecute
	soft          bool // has a taint of effect PreferNoSchedule
	unschedulable bool

	// Slot numbers the nodes that the cache knows; it is for tables beside it.
	Slot int32
	// Order is the node's place in Handle.Nodes.
	Order int32

	Pods             []*PodInfo
	Allocatable      Resource
	NonZeroRequested Resource
	Requested        Resource // by the pods on it, also those that are assumed

	PodsWithAffinity             []*PodInfo
	PodsWithRequiredAntiAffinity []*PodInfo
	UsedPorts                    []HostPort
	Images                       map[string]int64 // size in bytes by name

	hostname label
	zone     label
}

type label struct {
	value string
	has   bool
}

// NewNodeInfo makes an info with these pods, for a node that SetNode tells later.
func NewNodeInfo(pods ...*PodInfo) *NodeInfo {
	n := &NodeInfo{}
	for _, pod := range pods {
		n.AddPod(pod)
	}
	return n
}

// Node returns the node; nil if only pods of it are known.
func (n *NodeInfo) Node() *corev1.Node { return n.node }

// Name returns the node's name.
func (n *NodeInfo) Name() string { return n.name }

// IsUnschedulable reports whether the node is cordoned.
func (n *NodeInfo) IsUnschedulable() bool { return n.unschedulable }

// SetNode takes over a version of the node, nil when it is gone.
func (n *NodeInfo) SetNode(node *corev1.Node) {
	old := n.node
	n.node = node
	if node == nil {
		n.Allocatable, n.Images = Resource{}, nil
		return
	}
	if old == nil || !SameResources(old.Status.Allocatable, node.Status.Allocatable) {
		n.Allocatable = NewResource(node.Status.Allocatable)
	}
	n.hostname.value, n.hostname.has = node.Labels[corev1.LabelHostname]
	n.zone.value, n.zone.has = node.Labels[corev1.LabelTopologyZone]
	n.name, n.unschedulable = node.Name, node.Spec.Unschedulable
	n.repelling, n.soft = false, false
	for i := range node.Spec.Taints {
		if node.Spec.Taints[i].Effect == corev1.TaintEffectPreferNoSchedule {
			n.soft = true
		} else {
			n.repelling = true
		}
	}
	n.Images = nil
	if len(node.Status.Images) > 0 {
		n.Images = map[string]int64{}
		for i := range node.Status.Images {
			for _, name := range node.Status.Images[i].Names {
				n.Images[name] = node.Status.Images[i].SizeBytes
			}
		}
	}
}

// SameResources reports whether two resource lists say the same.
func SameResources(a, b corev1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, quantity := range a { // any order: all must be the same
		other, ok := b[name]
		if !ok || quantity.Cmp(other) != 0 {
			return false
		}
	}
	return true
}

// Label returns a label of the node.
func (n *NodeInfo) Label(key string) (value string, has bool) {
	switch key {
	case corev1.LabelHostname:
		return n.hostname.value, n.hostname.has
	case corev1.LabelTopologyZone:
		return n.zone.value, n.zone.has
	}
	value, has = n.node.Labels[key]
	return value, has
}

// Repels reports whether the node has a taint that the tolerations do not match, and the first such.
func (n *NodeInfo) Repels(tolerations []corev1.Toleration) (*corev1.Taint, bool) {
	if !n.repelling {
		return nil, false
	}
	return FindUntoleratedTaint(n.node.Spec.Taints, tolerations)
}

// HasSoftTaints reports whether the node has a taint of effect PreferNoSchedule.
func (n *NodeInfo) HasSoftTaints() bool { return n.soft }

// AddPod counts a pod in.
func (n *NodeInfo) AddPod(pod *PodInfo) {
	n.Pods = append(n.Pods, pod)
	if pod.hasAffinity() {
		n.PodsWithAffinity = append(n.PodsWithAffinity, pod)
	}
	if len(pod.RequiredAntiAffinity) > 0 {
		n.PodsWithRequiredAntiAffinity = append(n.PodsWithRequiredAntiAffinity, pod)
	}
	n.count(pod, 1)
	n.UsedPorts = append(n.UsedPorts, pod.HostPorts...)
}

// RemovePod counts a pod out, which must be there.
func (n *NodeInfo) RemovePod(pod *PodInfo) {
	i := slices.Index(n.Pods, pod)
	n.Pods = without(n.Pods, i)
	if j := slices.Index(n.PodsWithAffinity, pod); j >= 0 {
		n.PodsWithAffinity = without(n.PodsWithAffinity, j)
	}
	if j := slices.Index(n.PodsWithRequiredAntiAffinity, pod); j >= 0 {
		n.PodsWithRequiredAntiAffinity = without(n.PodsWithRequiredAntiAffinity, j)
	}
	n.count(pod, -1)
	for _, port := range pod.HostPorts {
		if j := slices.Index(n.UsedPorts, port); j >= 0 {
			n.UsedPorts = slices.Delete(slices.Clone(n.UsedPorts), j, j+1)
		}
	}
}

// ReplacePod puts a newer version in a pod's place, whose demands are the same.
func (n *NodeInfo) ReplacePod(old, pod *PodInfo) {
	for _, list := range [...][]*PodInfo{n.Pods, n.PodsWithAffinity, n.PodsWithRequiredAntiAffinity} {
		if i := slices.Index(list, old); i >= 0 {
			list[i] = pod
		}
	}
}

func without(list []*PodInfo, i int) []*PodInfo {
	last := len(list) - 1
	list[i] = list[last]
	list[last] = nil
	return list[:last]
}

func (n *NodeInfo) count(pod *PodInfo, sign int64) {
	n.Requested.Add(&pod.Requests, sign)
	n.NonZeroRequested.Add(&pod.NonZero, sign)
}

// Snapshot returns a copy to try things on.
func (n *NodeInfo) Snapshot() *NodeInfo {
	c := *n
	c.Pods = slices.Clone(n.Pods)
	c.PodsWithAffinity = slices.Clone(n.PodsWithAffinity)
	c.PodsWithRequiredAntiAffinity = slices.Clone(n.PodsWithRequiredAntiAffinity)
	c.UsedPorts = slices.Clone(n.UsedPorts)
	c.Requested, c.NonZeroRequested = n.Requested.clone(), n.NonZeroRequested.clone()
	return &c
}
