package api

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ksim/sim"
	"ksim/sim/api/defaults"
	"ksim/sim/api/validation"
)

// The steps of a write, in the order in which the server takes them: decode, SetDefaults, admission, BeforeCreate or
// BeforeUpdate, Encode.

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
	errs := Validate(obj)
	if u, ok := obj.(*unstructured.Unstructured); ok && r.Definition != nil {
		errs = r.beforeCustom(u, nil, "")
	}
	if len(errs) > 0 {
		return Invalid(r, obj.GetName(), errs)
	}
	if errs := ValidateMeta(r, obj); len(errs) > 0 {
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
	var errs field.ErrorList
	if u, ok := obj.(*unstructured.Unstructured); ok && r.Definition != nil {
		errs = r.beforeCustom(u, old.(*unstructured.Unstructured), subresource)
	}
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
	errs = append(errs, validation.MetaUpdate(obj, old, r.Namespaced)...)
	errs = append(errs, ValidateUpdate(obj, old, subresource)...)
	if len(errs) > 0 {
		return Invalid(r, obj.GetName(), errs)
	}
	canonicalize(obj)
	return nil
}

// Validate checks an object that is to be created, after PrepareForCreate.
func Validate(obj Object) field.ErrorList { return validation.Create(obj) }

// ValidateMeta checks what the metadata of every resource must have.
func ValidateMeta(r *Resource, obj Object) field.ErrorList { return validation.Meta(obj, r.Namespaced) }

// ValidateUpdate checks an object that is to replace old, or a subresource of it, after PrepareForUpdate.
func ValidateUpdate(obj, old Object, subresource string) field.ErrorList {
	return validation.Update(obj, old, subresource)
}

// Invalid is the 422 that says what is wrong with an object.
func Invalid(r *Resource, name string, errs field.ErrorList) error {
	return apierrors.NewInvalid(r.GVK.GroupKind(), name, errs)
}
