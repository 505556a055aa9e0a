package apiserver

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ksim/sim"
	"ksim/sim/api"
)

// Models deletion (apiserver pkg/registry/generic/registry/store.go Delete, pkg/registry/rest/delete.go, v0.36; for
// pods pkg/registry/core/pod/strategy.go, v1.36): grace, finalizers, propagation. Who deletes dependents is the garbage
// collector, a controller. A graceful deletion of zero seconds is two writes, as in reality: the mark, and the removal.

// timeResolution is that of every time in the API.
const timeResolution = time.Second

func mustSpecifyVersion() field.ErrorList {
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), 0,
		"must be specified for an update")}
}

func (q *request) deleteObject(p *sim.Proc) (*api.Response, error) {
	if err := q.admitDelete(); err != nil {
		return nil, err
	}
	if q.Resource == api.Namespaces {
		return q.deleteNamespace(p)
	}
	obj, err := q.remove(p)
	if err != nil {
		return nil, err
	}
	q.deleted(obj)
	return &api.Response{Object: obj, Status: 200}, nil
}

// remove marks the object deleted, or deletes it when nothing keeps it.
func (q *request) remove(p *sim.Proc) (api.Object, error) {
	marked := false // by this request, with grace 0: the next write removes it
	obj, err := q.update(p, "Updated", func(existing api.Object) (change, error) {
		if err := q.checkPreconditions(existing); err != nil {
			return change{}, err
		}
		c, zero, err := q.deletion(existing)
		marked = zero
		return c, err
	})
	if err != nil || !marked {
		return obj, err
	}
	version := obj.GetResourceVersion()
	final, err := q.update(p, "Deleted", func(existing api.Object) (change, error) {
		if q.Preconditions != nil && q.Preconditions.ResourceVersion != nil && existing.GetResourceVersion() != version {
			return change{}, q.conflict(optimisticLock)
		}
		return change{object: existing, remove: true}, nil
	})
	if apierrors.IsNotFound(err) { // somebody else was faster, which is what was wanted
		return obj, nil
	}
	return final, err
}

// deletion says what a delete does to an object now. zero: it is marked deleted without grace and is to be removed
// next.
func (q *request) deletion(existing api.Object) (c change, zero bool, err error) {
	finalizers, changed := q.finalizersFor(existing)
	keeps := len(finalizers) > 0
	if existing.GetDeletionTimestamp() != nil {
		return q.deletionAgain(existing, keeps)
	}
	pod, graceful := existing.(*corev1.Pod)
	if !graceful && !keeps {
		return change{remove: true}, false, nil
	}
	next := api.Copy(existing)
	if changed {
		next.SetFinalizers(finalizers)
	}
	var grace int64
	if graceful {
		grace = podGrace(pod, q.GracePeriodSeconds)
	}
	markDeleted(next, q.server.now(), grace)
	return change{object: next}, graceful && grace == 0 && !keeps, nil
}

// deletionAgain is a delete of what is being deleted: it can only shorten the grace.
func (q *request) deletionAgain(existing api.Object, keeps bool) (c change, zero bool, err error) {
	old := existing.GetDeletionGracePeriodSeconds()
	_, graceful := existing.(*corev1.Pod)
	switch {
	case !graceful || old == nil:
		return change{keep: keeps, remove: !keeps}, false, nil
	case q.GracePeriodSeconds == nil || *q.GracePeriodSeconds >= *old:
		if *old == 0 && !keeps {
			return change{remove: true}, false, nil
		}
		return change{keep: true}, false, nil
	}
	grace := max(*q.GracePeriodSeconds, 0)
	next := api.Copy(existing)
	at := metav1.NewTime(existing.GetDeletionTimestamp().Add(time.Duration(grace-*old) * time.Second))
	if at.Time.Before(q.server.process.Machine().Clock().Now()) { // the grace has run out already: not into the past
		at, grace = q.server.now(), min(grace, 1)
	}
	next.SetDeletionTimestamp(&at)
	next.SetDeletionGracePeriodSeconds(&grace)
	return change{object: next}, grace == 0 && !keeps, nil
}

// podGrace is the effective grace: what was asked for, else the pod's own; none for a pod that no kubelet will stop.
func podGrace(pod *corev1.Pod, wanted *int64) int64 {
	var grace int64
	switch {
	case wanted != nil:
		grace = *wanted
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		grace = *pod.Spec.TerminationGracePeriodSeconds
	}
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		grace = 0
	}
	if grace < 0 {
		grace = 1
	}
	return grace
}

func markDeleted(obj api.Object, now metav1.Time, grace int64) {
	at := metav1.NewTime(now.Add(time.Duration(grace) * time.Second))
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
	if obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
}

// finalizersFor returns the finalizers that the object has once the propagation policy is written down
// (store.go deletionFinalizersForGarbageCollection), and whether that changes them.
func (q *request) finalizersFor(obj api.Object) (finalizers []string, changed bool) {
	old := obj.GetFinalizers()
	if !q.server.options.enableGC || q.Resource == api.Events {
		return old, false
	}
	orphan := slices.Contains(old, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(old, metav1.FinalizerDeleteDependents)
	if q.PropagationPolicy != nil {
		orphan = *q.PropagationPolicy == metav1.DeletePropagationOrphan
		foreground = *q.PropagationPolicy == metav1.DeletePropagationForeground
	}
	for _, f := range old {
		if f != metav1.FinalizerOrphanDependents && f != metav1.FinalizerDeleteDependents {
			finalizers = append(finalizers, f)
		}
	}
	if orphan {
		finalizers = append(finalizers, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		finalizers = append(finalizers, metav1.FinalizerDeleteDependents)
	}
	return finalizers, !slices.Equal(finalizers, old)
}

// deleteCollection deletes what a list finds, one after the other.
func (q *request) deleteCollection(p *sim.Proc) (*api.Response, error) {
	list := *q
	list.Request = &api.Request{Verb: api.List, Resource: q.Resource, Namespace: q.Namespace,
		LabelSelector: q.LabelSelector, FieldSelector: q.FieldSelector, User: q.User, UserAgent: q.UserAgent}
	found, err := list.list(p)
	if err != nil {
		return nil, err
	}
	for _, item := range found.Items {
		one := *q
		r := *q.Request
		one.Request = &r
		r.Verb, r.Namespace, r.Name = api.Delete, item.GetNamespace(), item.GetName()
		if _, err := one.deleteObject(p); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return &api.Response{Items: found.Items, ResourceVersion: found.ResourceVersion, Status: 200}, nil
}

// deleteNamespace begins the end of a namespace; the namespace controller empties it and then finalizes it
// (pkg/registry/core/namespace/storage/storage.go Delete).
func (q *request) deleteNamespace(p *sim.Proc) (*api.Response, error) {
	obj, err := q.update(p, "Updated", func(existing api.Object) (change, error) {
		if err := q.checkPreconditions(existing); err != nil {
			return change{}, err
		}
		ns := existing.(*corev1.Namespace)
		finalizers, changed := q.finalizersFor(existing)
		if ns.DeletionTimestamp != nil {
			if len(ns.Spec.Finalizers) == 0 && len(finalizers) == 0 {
				return change{remove: true}, nil
			}
			return change{keep: true}, nil
		}
		next := ns.DeepCopy()
		now := q.server.now()
		next.DeletionTimestamp = &now
		next.Status.Phase = corev1.NamespaceTerminating
		if changed {
			next.Finalizers = finalizers
		}
		return change{object: next}, nil
	})
	if err != nil {
		return nil, err
	}
	return &api.Response{Object: obj, Status: 200}, nil
}

// finalizeNamespace sets a namespace's finalizers; the last one gone, it goes too.
func (q *request) finalizeNamespace(p *sim.Proc) (*api.Response, error) {
	body, ok := q.Object.(*corev1.Namespace)
	if !ok || q.Resource != api.Namespaces {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Namespace object: %T", q.Object))
	}
	obj, err := q.update(p, "Updated", func(existing api.Object) (change, error) {
		if v := body.ResourceVersion; v != "" && v != existing.GetResourceVersion() {
			return change{}, q.conflict(optimisticLock)
		}
		next := existing.(*corev1.Namespace).DeepCopy()
		next.Spec.Finalizers = body.Spec.Finalizers
		return change{object: next, remove: deletable(existing, next)}, nil
	})
	if err != nil {
		return nil, err
	}
	return &api.Response{Object: obj, Status: 200}, nil
}

func namespaceOf(obj api.Object) (*corev1.Namespace, bool) {
	ns, ok := obj.(*corev1.Namespace)
	return ns, ok
}
