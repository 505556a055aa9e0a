package controllers

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
)

// Models what controllers ask of pods (pkg/api/v1/pod/util.go, pkg/controller/controller_utils.go, v1.36).

// controllerOf returns the owner reference with controller set, nil if there is none. It does not copy.
func controllerOf(obj api.Object) *metav1.OwnerReference {
	return metav1.GetControllerOfNoCopy(obj)
}

func controllerUID(obj api.Object) string {
	if ref := controllerOf(obj); ref != nil {
		return string(ref.UID)
	}
	return ""
}

// ownerOrOrphan is the index value of what a controller may own: the controller's UID, or that it is an orphan of its
// namespace.
func ownerOrOrphan[T api.Object](obj T) string {
	if ref := controllerOf(obj); ref != nil {
		return string(ref.UID)
	}
	return orphansOf(obj.GetNamespace())
}

// relabelledOrReleased reports whether somebody might adopt an orphan now: it is new, has other labels than before, or
// was owned.
func relabelledOrReleased(old, orphan *corev1.Pod) bool {
	return old == nil || controllerOf(old) != nil || !maps.Equal(old.Labels, orphan.Labels)
}

func orphansOf(namespace string) string { return "orphans/" + namespace }

// isActive reports whether a pod counts as a replica: neither ended nor being deleted.
func isActive(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed && pod.DeletionTimestamp == nil
}

func isTerminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// podCondition returns a condition of the pod, nil if it has none of that type.
func podCondition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

func isPodReady(pod *corev1.Pod) bool {
	c := podCondition(pod, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// isPodAvailable reports whether the pod has been ready for minReadySeconds.
func isPodAvailable(pod *corev1.Pod, minReadySeconds int32, now metav1.Time) bool {
	c := podCondition(pod, corev1.PodReady)
	if c == nil || c.Status != corev1.ConditionTrue {
		return false
	}
	if minReadySeconds == 0 {
		return true
	}
	since := c.LastTransitionTime
	return !since.IsZero() && !since.Add(time.Duration(minReadySeconds)*time.Second).After(now.Time)
}

// setPodCondition sets a condition on a pod of one's own; it reports whether anything changed.
func setPodCondition(pod *corev1.Pod, condition corev1.PodCondition) bool {
	old := podCondition(pod, condition.Type)
	if old == nil {
		pod.Status.Conditions = append(pod.Status.Conditions, condition)
		return true
	}
	if old.Status == condition.Status {
		condition.LastTransitionTime = old.LastTransitionTime
	}
	if old.Status == condition.Status && old.Reason == condition.Reason && old.Message == condition.Message &&
		old.LastProbeTime.Equal(&condition.LastProbeTime) {
		return false
	}
	*old = condition
	return true
}

// withOwnConditions copies a pod so that its status can be changed and written.
func withOwnConditions(pod *corev1.Pod) *corev1.Pod {
	copied := *pod
	copied.Status.Conditions = slices.Clone(pod.Status.Conditions)
	return &copied
}

// podFromTemplate makes a pod as a controller does: its name is generated from the owner's.
func podFromTemplate(template *corev1.PodTemplateSpec, owner api.Object, ref *metav1.OwnerReference) *corev1.Pod {
	copied := template.DeepCopy()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: owner.GetNamespace(), GenerateName: owner.GetName() + "-",
		Labels: copied.Labels, Annotations: copied.Annotations, Finalizers: copied.Finalizers}, Spec: copied.Spec}
	if ref != nil {
		pod.OwnerReferences = []metav1.OwnerReference{*ref}
	}
	return pod
}

// ownerReference names owner as the controller of what it owns.
func ownerReference(owner api.Object) *metav1.OwnerReference {
	return metav1.NewControllerRef(owner, api.ResourceOf(owner).GVK)
}
