package framework

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Models cluster events and queueing hints (pkg/scheduler/framework/events.go, k8s.io/kube-scheduler
// framework/types.go, v1.36).

// ActionType says what happened to a resource; several are or-ed together in what a plugin registers.
type ActionType uint32

// The actions, and sums of them.
const (
	Add ActionType = 1 << iota
	Delete
	UpdateNodeAllocatable
	UpdateNodeLabel
	UpdateNodeTaint
	UpdateNodeCondition
	UpdateNodeAnnotation
	UpdatePodLabel
	UpdatePodToleration
	UpdatePodSchedulingGatesEliminated
	updateOther // an update that is none of the above

	Update = UpdateNodeAllocatable | UpdateNodeLabel | UpdateNodeTaint | UpdateNodeCondition | UpdateNodeAnnotation |
		UpdatePodLabel | UpdatePodToleration | UpdatePodSchedulingGatesEliminated | updateOther
	All = Add | Delete | Update
)

// EventResource is the kind of resource that an event is about.
type EventResource string

// The resources. AssignedPod and UnscheduledPod are what happens to pods; plugins register Pod for both.
const (
	WildCard              EventResource = "*"
	Pod                   EventResource = "Pod"
	AssignedPod           EventResource = "AssignedPod"
	UnscheduledPod        EventResource = "UnscheduledPod"
	Node                  EventResource = "Node"
	PersistentVolumeClaim EventResource = "PersistentVolumeClaim"
	StorageClass          EventResource = "StorageClass"
	Service               EventResource = "Service"
)

// ClusterEvent is something that may make a pod schedulable.
type ClusterEvent struct {
	Resource EventResource
	Action   ActionType
}

// UnschedulableTimeout moves pods that have waited too long; it is every event at once.
var unschedulableTimeout = ClusterEvent{WildCard, All}

// UnschedulableTimeout returns the event of the regular flush.
func UnschedulableTimeout() ClusterEvent { return unschedulableTimeout }

// IsWildCard reports whether the event stands for all.
func (e ClusterEvent) IsWildCard() bool { return e == unschedulableTimeout }

// Matches reports whether a registered event covers one that happened (framework.MatchClusterEvents).
func (e ClusterEvent) Matches(happened ClusterEvent) bool {
	if e.IsWildCard() {
		return true
	}
	covers := e.Resource == WildCard || e.Resource == happened.Resource ||
		e.Resource == Pod && (happened.Resource == AssignedPod || happened.Resource == UnscheduledPod)
	return covers && e.Action&happened.Action != 0 && happened.Action <= e.Action
}

// Change is an event with the objects that it is about, before and after; nil where there is none.
type Change struct {
	Event            ClusterEvent
	OldPod, NewPod   *corev1.Pod
	OldNode, NewNode *corev1.Node
	OldPVC, NewPVC   *corev1.PersistentVolumeClaim
}

// Hint tells whether a change may make a pod schedulable that a plugin has refused. nil means that it may.
type Hint func(pod *PodInfo, change *Change) bool

// ClusterEventWithHint is what a plugin registers.
type ClusterEventWithHint struct {
	Event ClusterEvent
	Hint  Hint
}

// NodeSchedulingPropertiesChange returns the events that an update of a node amounts to.
func NodeSchedulingPropertiesChange(old, node *corev1.Node) []ClusterEvent {
	var events []ClusterEvent
	happened := func(action ActionType) { events = append(events, ClusterEvent{Node, action}) }
	if old.Spec.Unschedulable && !node.Spec.Unschedulable {
		happened(UpdateNodeTaint)
	}
	if !SameResources(old.Status.Allocatable, node.Status.Allocatable) {
		happened(UpdateNodeAllocatable)
	}
	if !maps.Equal(old.Labels, node.Labels) {
		happened(UpdateNodeLabel)
	}
	if !SameTaints(old, node) {
		happened(UpdateNodeTaint)
	}
	if !sameConditions(old.Status.Conditions, node.Status.Conditions) {
		happened(UpdateNodeCondition)
	}
	if !maps.Equal(old.Annotations, node.Annotations) {
		happened(UpdateNodeAnnotation)
	}
	return events
}

// SameTaints reports whether two versions of a node have the same taints, times included.
func SameTaints(a, b *corev1.Node) bool {
	return slices.EqualFunc(a.Spec.Taints, b.Spec.Taints, func(x, y corev1.Taint) bool {
		return x.Key == y.Key && x.Value == y.Value && x.Effect == y.Effect && x.TimeAdded.Equal(y.TimeAdded)
	})
}

func sameConditions(a, b []corev1.NodeCondition) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		j := slices.IndexFunc(b, func(c corev1.NodeCondition) bool { return c.Type == a[i].Type })
		if j < 0 || a[i].Status != b[j].Status {
			return false
		}
	}
	return true
}

// PodSchedulingPropertiesChange returns the events that an update of a pod amounts to.
func PodSchedulingPropertiesChange(old, pod *corev1.Pod) []ClusterEvent {
	resource := AssignedPod
	if pod.Spec.NodeName == "" {
		resource = UnscheduledPod
	}
	var events []ClusterEvent
	if !maps.Equal(old.Labels, pod.Labels) {
		events = append(events, ClusterEvent{resource, UpdatePodLabel})
	}
	if len(pod.Spec.SchedulingGates) == 0 && len(old.Spec.SchedulingGates) > 0 {
		events = append(events, ClusterEvent{resource, UpdatePodSchedulingGatesEliminated})
	}
	if len(pod.Spec.Tolerations) != len(old.Spec.Tolerations) {
		events = append(events, ClusterEvent{resource, UpdatePodToleration})
	}
	if len(events) == 0 {
		events = append(events, ClusterEvent{resource, Update})
	}
	return events
}
