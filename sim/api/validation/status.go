package validation

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// status checks an update of a status.
func (f *found) status(obj, old runtime.Object) {
	at := root("status")
	switch o := obj.(type) {
	case *corev1.Pod:
		was := old.(*corev1.Pod)
		if o.Spec.NodeName != was.Spec.NodeName {
			f.forbidden(at.Child("nodeName"), "may not be changed directly")
		}
	case *appsv1.Deployment:
		s := &o.Status
		f.nonNegative(at.Child("replicas"), int64(s.Replicas))
		f.atMost(at.Child("updatedReplicas"), s.UpdatedReplicas, s.Replicas)
		f.atMost(at.Child("readyReplicas"), s.ReadyReplicas, s.Replicas)
		f.atMost(at.Child("availableReplicas"), s.AvailableReplicas, s.Replicas)
		f.availableAreReady(s.AvailableReplicas, s.ReadyReplicas)
		f.notDecremented(s.CollisionCount, old.(*appsv1.Deployment).Status.CollisionCount)
	case *appsv1.ReplicaSet:
		s := &o.Status
		f.nonNegative(at.Child("replicas"), int64(s.Replicas))
		f.atMost(at.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas, s.Replicas)
		f.atMost(at.Child("readyReplicas"), s.ReadyReplicas, s.Replicas)
		f.atMost(at.Child("availableReplicas"), s.AvailableReplicas, s.Replicas)
		f.availableAreReady(s.AvailableReplicas, s.ReadyReplicas)
	case *appsv1.StatefulSet:
		s := &o.Status
		f.nonNegative(at.Child("replicas"), int64(s.Replicas))
		f.atMost(at.Child("readyReplicas"), s.ReadyReplicas, s.Replicas)
		f.atMost(at.Child("currentReplicas"), s.CurrentReplicas, s.Replicas)
		f.atMost(at.Child("updatedReplicas"), s.UpdatedReplicas, s.Replicas)
		f.atMost(at.Child("availableReplicas"), s.AvailableReplicas, s.Replicas)
		f.availableAreReady(s.AvailableReplicas, s.ReadyReplicas)
		f.notDecremented(s.CollisionCount, old.(*appsv1.StatefulSet).Status.CollisionCount)
	case *appsv1.DaemonSet:
		f.notDecremented(o.Status.CollisionCount, old.(*appsv1.DaemonSet).Status.CollisionCount)
	}
}

func (f *found) atMost(at *place, count, replicas int32) {
	f.nonNegative(at, int64(count))
	if count > replicas {
		f.invalid(at, count, "cannot be greater than status.replicas")
	}
}

func (f *found) availableAreReady(available, ready int32) {
	if available > ready {
		f.invalid(root("status").Child("availableReplicas"), available, "cannot be greater than readyReplicas")
	}
}

func (f *found) notDecremented(count, old *int32) {
	if old != nil && (count == nil || *count < *old) {
		var value int32
		if count != nil {
			value = *count
		}
		f.invalid(root("status").Child("collisionCount"), value, "cannot be decremented")
	}
}
