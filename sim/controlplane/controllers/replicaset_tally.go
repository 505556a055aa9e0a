package controllers

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podCount is what the status of a ReplicaSet says of its pods.
type podCount struct{ active, fullyLabeled, ready, available, terminating int }

// podTally is the count of a ReplicaSet's pods, kept up to date pod by pod: upstream walks over all of them for each
// change of one, which makes a set of n pods cost n squared.
type podTally struct {
	podCount
	rs    *appsv1.ReplicaSet // by whose selector and template pods were counted
	alien int                // active pods that are to be released
}

// add counts a pod of the ReplicaSet in (sign +1) or out (-1).
func (t *podTally) add(pod *corev1.Pod, sign int) {
	if pod.Namespace != t.rs.Namespace {
		return
	}
	matches, active := selects(t.rs.Spec.Selector, pod.Labels), isActive(pod)
	switch {
	case !active && matches && pod.DeletionTimestamp != nil && !isTerminal(pod):
		t.terminating += sign
	case active && !matches:
		t.alien += sign
	case active:
		t.active += sign
		if containsAll(pod.Labels, t.rs.Spec.Template.Labels) {
			t.fullyLabeled += sign
		}
		if isPodReady(pod) {
			t.ready += sign
		}
	}
}

// tallyPod keeps the tally of a pod's ReplicaSet, if there is one yet.
func (rsc *replicaSetController) tallyPod(pod *corev1.Pod, sign int) {
	if ref := controllerOf(pod); ref != nil {
		if t := rsc.tallies[ref.UID]; t != nil {
			t.add(pod, sign)
		}
	}
}

// settled returns the count of a ReplicaSet's pods, and whether it stands as it is: no pod is to be adopted or
// released, and a ready one is available.
func (rsc *replicaSetController) settled(rs *appsv1.ReplicaSet) (podCount, bool) {
	t := rsc.tallies[rs.UID]
	if t == nil || t.rs.Generation != rs.Generation {
		t = &podTally{rs: rs}
		for _, pod := range rsc.podsByOwner.Get(string(rs.UID)) {
			t.add(pod, 1)
		}
		rsc.tallies[rs.UID] = t
	}
	count := t.podCount
	count.available = count.ready
	adoptable := rs.DeletionTimestamp == nil && slices.ContainsFunc(rsc.podsByOwner.Get(orphansOf(rs.Namespace)),
		func(pod *corev1.Pod) bool { return isActive(pod) && selects(rs.Spec.Selector, pod.Labels) })
	foreign := t.alien > 0 && rs.DeletionTimestamp == nil
	return count, rs.Spec.MinReadySeconds == 0 && !adoptable && !foreign
}

// countPods counts the claimed pods of a ReplicaSet, and those that are on their way out among all that it may own.
func countPods(rs *appsv1.ReplicaSet, active, owned []*corev1.Pod) podCount {
	t := podTally{rs: rs}
	for _, pod := range active {
		t.add(pod, 1)
	}
	for _, pod := range owned {
		if !isActive(pod) && controllerUID(pod) == string(rs.UID) {
			t.add(pod, 1)
		}
	}
	return t.podCount
}

// availableOf returns how many pods have been ready for minReadySeconds.
func availableOf(pods []*corev1.Pod, minReadySeconds int32, now metav1.Time) int {
	n := 0
	for _, pod := range pods {
		if isPodAvailable(pod, minReadySeconds, now) {
			n++
		}
	}
	return n
}
