package api

import (
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api/defaults"
	"ksim/sim/api/validation"
)

// The steps of a write, in the order in which the server takes them: decode, SetDefaults, admission, BeforeCreate or
// BeforeUpdate, Encode. A delete goes through BeforeDelete.

// SetDefaults fills in what the writer of obj left out, as kube-apiserver does with every body that it decodes.
func SetDefaults(obj Object) { defaults.Set(obj) }

// CreateOptions is what BeforeCreate takes from the server that runs it.
type CreateOptions struct {
	Namespace string      // of the request
	Now       metav1.Time // the server's clock
	Stream    *sim.Stream // draws the UID and the suffix of a generated name
}

// BeforeCreate makes a decoded, defaulted object ready to be stored and checks it (apiserver
// pkg/registry/rest/create.go, v0.36): UID and creationTimestamp, generated name, namespace, strategy, validation. obj
// is changed. Errors: a StatusError, BadRequest or Invalid.
func BeforeCreate(r *Resource, obj Object, o CreateOptions) error {
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetCreationTimestamp(metav1.NewTime(o.Now.Truncate(time.Second)))
	obj.SetUID(NewUID(o.Stream))
	if obj.GetName() == "" && obj.GetGenerateName() != "" {
		obj.SetName(GenerateName(obj.GetGenerateName(), o.Stream))
	}
	if err := matchNamespace(r, obj, o.Namespace); err != nil {
		return err
	}
	PrepareForCreate(obj)
	if errs := Validate(obj); len(errs) > 0 {
		return Invalid(r, obj.GetName(), errs)
	}
	if errs := validation.Meta(obj, r.Namespaced); len(errs) > 0 {
		return Invalid(r, obj.GetName(), errs)
	}
	canonicalize(obj)
	return nil
}

// matchNamespace puts the request's namespace into an object that names none; one that names another is refused.
func matchNamespace(r *Resource, obj Object, namespace string) error {
	if !r.Namespaced {
		namespace = ""
	}
	if own := obj.GetNamespace(); own != namespace && own != "" && namespace != "" {
		return apierrors.NewBadRequest(
			"the namespace of the provided object does not match the namespace sent on the request")
	}
	obj.SetNamespace(namespace)
	return nil
}

// BeforeUpdate makes obj ready to replace old and checks it (apiserver pkg/registry/rest/update.go, v0.36): old's
// identity and deletion stay, strategy, validation. obj is changed, old is not. subresource is "", status, ...
// Errors: a StatusError, BadRequest or Invalid.
func BeforeUpdate(r *Resource, obj, old Object, subresource string) error {
	if err := matchNamespace(r, obj, old.GetNamespace()); err != nil {
		return err
	}
	obj.SetGeneration(old.GetGeneration())
	PrepareForUpdate(obj, old, subresource)
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	if created := old.GetCreationTimestamp(); !created.IsZero() {
		obj.SetCreationTimestamp(created)
	}
	if deleted := old.GetDeletionTimestamp(); !deleted.IsZero() {
		obj.SetDeletionTimestamp(deleted)
	}
	if grace := old.GetDeletionGracePeriodSeconds(); grace != nil && obj.GetDeletionGracePeriodSeconds() == nil {
		obj.SetDeletionGracePeriodSeconds(grace)
	}
	errs := validation.Meta(obj, r.Namespaced)
	errs = append(errs, validation.MetaUpdate(obj, old)...)
	errs = append(errs, ValidateUpdate(obj, old, subresource)...)
	if len(errs) > 0 {
		return Invalid(r, obj.GetName(), errs)
	}
	canonicalize(obj)
	return nil
}

// Validate checks an object that is to be created, after PrepareForCreate.
func Validate(obj Object) field.ErrorList { return validation.Create(obj) }

// ValidateUpdate checks an object that is to replace old, or a subresource of it, after PrepareForUpdate.
func ValidateUpdate(obj, old Object, subresource string) field.ErrorList {
	return validation.Update(obj, old, subresource)
}

// Invalid is the 422 that says what is wrong with an object.
func Invalid(r *Resource, name string, errs field.ErrorList) error {
	return apierrors.NewInvalid(r.GVK.GroupKind(), name, errs)
}

// Deletion says what a DELETE request leads to.
type Deletion struct {
	Graceful bool // obj was marked and is to be stored; its kubelet finishes the deletion
	Pending  bool // it is being deleted already, and the request changes nothing
	Grace    int64
}

// BeforeDelete checks the preconditions of a deletion and marks obj, which it changes, if it ends gracefully (apiserver
// pkg/registry/rest/delete.go, v0.36; pods alone: pkg/registry/core/pod/strategy.go). now is the server's clock.
// Errors: a StatusError, Conflict.
func BeforeDelete(r *Resource, obj Object, o DeleteOptions, now metav1.Time) (Deletion, error) {
	if err := checkPreconditions(r, obj, o.Preconditions); err != nil {
		return Deletion{}, err
	}
	pod, graceful := obj.(*corev1.Pod)
	if !graceful {
		return Deletion{}, nil
	}
	if pod.DeletionTimestamp != nil {
		return shortenDeletion(pod, o.GracePeriodSeconds, now), nil
	}
	grace := podGrace(pod, o.GracePeriodSeconds)
	end := metav1.NewTime(now.Add(time.Duration(grace) * time.Second).Truncate(time.Second))
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &end, &grace
	if pod.Generation > 0 {
		pod.Generation++
	}
	return Deletion{Graceful: true, Grace: grace}, nil
}

func checkPreconditions(r *Resource, obj Object, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	kind := schema.GroupResource{Group: r.GVK.Group, Resource: r.GVK.Kind}
	if p.UID != nil && *p.UID != obj.GetUID() {
		return apierrors.NewConflict(kind, obj.GetName(), fmt.Errorf("the UID in the precondition (%s) does not match "+
			"the UID in record (%s). The object might have been deleted and then recreated", *p.UID, obj.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(kind, obj.GetName(), fmt.Errorf("the ResourceVersion in the precondition (%s) does "+
			"not match the ResourceVersion in record (%s). The object might have been modified",
			*p.ResourceVersion, obj.GetResourceVersion()))
	}
	return nil
}

// podGrace is the grace of a first deletion: what was asked for, else the pod's own; none for a pod that no kubelet has
// or that has ended; at least a second when it is negative.
func podGrace(pod *corev1.Pod, asked *int64) int64 {
	var grace int64
	switch {
	case asked != nil && *asked < 0:
		grace = 1
	case asked != nil:
		grace = *asked
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

// shortenDeletion serves a second DELETE: only a shorter grace counts.
func shortenDeletion(pod *corev1.Pod, asked *int64, now metav1.Time) Deletion {
	left := pod.DeletionGracePeriodSeconds
	if left == nil || *left == 0 {
		return Deletion{}
	}
	if asked == nil {
		return Deletion{Pending: true, Grace: *left}
	}
	grace := *asked
	if grace < 0 {
		grace = 1
	}
	if grace >= *left {
		return Deletion{Pending: true, Grace: *left}
	}
	end := metav1.NewTime(pod.DeletionTimestamp.Add(time.Duration(grace-*left) * time.Second))
	if end.Before(&now) {
		end = metav1.NewTime(now.Truncate(time.Second))
		if grace != 0 {
			grace = 1
		}
	}
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &end, &grace
	return Deletion{Graceful: true, Grace: grace}
}
