package controllers

import (
	"math/bits"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// victimOrder sorts pods by how well they can be done without (pkg/controller ActivePodsWithRanks).
type victimOrder struct {
	now         time.Time
	rank        map[string]int // how many related pods are on a node
	logarithmic bool           // ages are compared in powers of two
	cost        bool           // the annotation pod-deletion-cost counts
}

// compare is negative when a goes before b.
func (o *victimOrder) compare(a, b *corev1.Pod) int {
	if (a.Spec.NodeName == "") != (b.Spec.NodeName == "") {
		return boolFirst(a.Spec.NodeName == "")
	}
	if x, y := phaseOrdinal(a), phaseOrdinal(b); x != y {
		return x - y
	}
	readyA, readyB := isPodReady(a), isPodReady(b)
	if readyA != readyB {
		return boolFirst(!readyA)
	}
	if o.cost {
		if x, y := deletionCost(a), deletionCost(b); x != y {
			return boolFirst(x < y)
		}
	}
	if x, y := o.rank[a.Spec.NodeName], o.rank[b.Spec.NodeName]; x != y {
		return y - x
	}
	if readyA && readyB {
		x, y := podCondition(a, corev1.PodReady).LastTransitionTime, podCondition(b, corev1.PodReady).LastTransitionTime
		if !x.Equal(&y) {
			return o.younger(x.Time, y.Time, a, b)
		}
	}
	if x, y := maxRestarts(a), maxRestarts(b); x != y {
		return int(y - x)
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return o.younger(a.CreationTimestamp.Time, b.CreationTimestamp.Time, a, b)
	}
	return 0
}

// younger lets what began later go first; by powers of two of the age, then by UID, where that is the rule.
func (o *victimOrder) younger(x, y time.Time, a, b *corev1.Pod) int {
	if !o.logarithmic || x.IsZero() || y.IsZero() {
		if x.IsZero() || y.IsZero() {
			return boolFirst(x.IsZero())
		}
		return boolFirst(x.After(y))
	}
	if diff := log2(o.now.Sub(x)) - log2(o.now.Sub(y)); diff != 0 {
		return diff
	}
	return boolFirst(a.UID < b.UID)
}

// log2 is the whole part of the binary logarithm of an age, -1 for none.
func log2(age time.Duration) int {
	if age <= 0 {
		return -1
	}
	return bits.Len64(uint64(age)) - 1
}

func boolFirst(first bool) int {
	if first {
		return -1
	}
	return 1
}

func phaseOrdinal(pod *corev1.Pod) int {
	switch pod.Status.Phase {
	case corev1.PodPending:
		return 0
	case corev1.PodUnknown:
		return 1
	case corev1.PodRunning:
		return 2
	}
	return 0
}

func deletionCost(pod *corev1.Pod) int32 {
	cost, err := strconv.ParseInt(pod.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return int32(cost)
}

func maxRestarts(pod *corev1.Pod) (restarts int32) {
	for i := range pod.Status.ContainerStatuses {
		restarts = max(restarts, pod.Status.ContainerStatuses[i].RestartCount)
	}
	return restarts
}
