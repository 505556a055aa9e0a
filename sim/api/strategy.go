package api

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ksim/sim"
)

// CreateOptions is what BeforeCreate takes from the server that runs it.
type CreateOptions struct {
	Namespace string      // of the request
	Now       metav1.Time // the server's clock
	Stream    *sim.Stream // draws the UID and the suffix of a generated name
}

// BeforeCreate makes a decoded, defaulted object ready to be stored and checks it (apiserver pkg/registry/rest/create.go,
// v0.36): strategy, namespace, generated name, UID, creationTimestamp, validation. obj is changed.
// Errors: a StatusError, BadRequest or Invalid.
func BeforeCreate(r *Resource, obj Object, o CreateOptions) error {
	PrepareForCreate(obj)
	if errs := Validate(obj); len(errs) > 0 {
		return Invalid(r, obj.GetName(), errs)
	}
	return nil
}

// BeforeUpdate makes obj ready to replace old and checks it (apiserver pkg/registry/rest/update.go, v0.36). obj is changed.
// subresource is "", status, scale, ...; Errors: a StatusError, Invalid.
func BeforeUpdate(r *Resource, obj, old Object, subresource string) error {
	PrepareForUpdate(obj, old, subresource)
	if errs := ValidateUpdate(obj, old, subresource); len(errs) > 0 {
		return Invalid(r, obj.GetName(), errs)
	}
	return nil
}

// PrepareForCreate is what the resource's strategy does before a create: the status is cleared, generation is 1.
func PrepareForCreate(obj Object) {}

// PrepareForUpdate is what the resource's strategy does before an update of obj, which replaces old, or of a subresource
// of it: status and specification leave each other alone, a changed specification is a new generation.
func PrepareForUpdate(obj, old Object, subresource string) {}

// SetDefaults fills in what the writer left out, as kube-apiserver does with every body that it decodes.
func SetDefaults(obj Object) {}

// Validate checks an object that is to be created.
func Validate(obj Object) field.ErrorList { return nil }

// ValidateUpdate checks an object that is to replace old, or a subresource of it.
func ValidateUpdate(obj, old Object, subresource string) field.ErrorList { return nil }

// Invalid is the 422 that says what is wrong with an object.
func Invalid(r *Resource, name string, errs field.ErrorList) error {
	return apierrors.NewInvalid(r.GVK.GroupKind(), name, errs)
}
