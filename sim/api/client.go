package api

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api/crd"
)

// The functions below are Client.Do with Go types. They wait as long as the client does, and return its errors.

// GetObject reads one object, linearizably. The object is shared: it must not be changed.
func GetObject[T Object](p *sim.Proc, c Client, namespace, name string) (T, error) {
	return doTyped[T](p, c, &Request{Verb: Get, Resource: resourceOfType[T](), Namespace: namespace, Name: name})
}

// GetVersion reads one object that is at least as new as a resourceVersion; "0" is whatever the server has at hand, ""
// the newest. The object is shared.
func GetVersion[T Object](p *sim.Proc, c Client, key Key, version string) (T, error) {
	return doTyped[T](p, c, &Request{Verb: Get, Resource: resourceOfType[T](), Namespace: key.Namespace, Name: key.Name,
		ResourceVersion: version})
}

// ListOptions narrows a list.
type ListOptions struct {
	LabelSelector   labels.Selector
	FieldSelector   fields.Selector
	ResourceVersion string // "0": from the watch cache
}

// ListObjects reads the objects of a namespace, of all namespaces when it is "", and the revision of the list.
// The objects are shared: they must not be changed.
func ListObjects[T Object](p *sim.Proc, c Client, namespace string, o ListOptions) (
	items []T, revision string, err error) {
	resp, err := c.Do(p, &Request{Verb: List, Resource: resourceOfType[T](), Namespace: namespace,
		LabelSelector: o.LabelSelector, FieldSelector: o.FieldSelector, ResourceVersion: o.ResourceVersion})
	if err != nil {
		return nil, "", err
	}
	items = make([]T, 0, len(resp.Items))
	for _, item := range resp.Items {
		items = append(items, item.(T))
	}
	return items, resp.ResourceVersion, nil
}

// CreateObject creates obj, which it hands over, and returns what the server made of it.
func CreateObject[T Object](p *sim.Proc, c Client, obj T) (T, error) {
	return doTyped[T](p, c, writeRequest(Create, obj, ""))
}

// UpdateObject replaces an object; a conflict if it has changed since obj's resourceVersion. It hands obj over.
func UpdateObject[T Object](p *sim.Proc, c Client, obj T) (T, error) {
	return doTyped[T](p, c, writeRequest(Update, obj, ""))
}

// UpdateStatus replaces an object's status. It hands obj over.
func UpdateStatus[T Object](p *sim.Proc, c Client, obj T) (T, error) {
	return doTyped[T](p, c, writeRequest(Update, obj, "status"))
}

// PatchOptions says what a patch is and what it applies to.
type PatchOptions struct {
	Namespace, Name string
	Subresource     string // "" or status
	Type            types.PatchType
}

// PatchObject patches an object and returns the outcome.
func PatchObject[T Object](p *sim.Proc, c Client, o PatchOptions, patch []byte) (T, error) {
	return doTyped[T](p, c, &Request{Verb: Patch, Resource: resourceOfType[T](), Subresource: o.Subresource,
		Namespace: o.Namespace, Name: o.Name, Patch: patch, PatchType: o.Type})
}

// DeleteOptions says how to delete.
type DeleteOptions struct {
	GracePeriodSeconds *int64
	Preconditions      *metav1.Preconditions
	PropagationPolicy  *metav1.DeletionPropagation
}

// DeleteObject asks for the deletion of an object of type T.
func DeleteObject[T Object](p *sim.Proc, c Client, key Key, o DeleteOptions) error {
	_, err := c.Do(p, &Request{Verb: Delete, Resource: resourceOfType[T](), Namespace: key.Namespace, Name: key.Name,
		GracePeriodSeconds: o.GracePeriodSeconds, Preconditions: o.Preconditions, PropagationPolicy: o.PropagationPolicy})
	return err
}

// CustomResources asks which kinds CustomResourceDefinitions make: of each the version that clients take.
func CustomResources(p *sim.Proc, c Client) ([]*Resource, error) {
	resp, err := c.Do(p, &Request{Verb: List, Resource: CustomResourceDefinitions})
	if err != nil {
		return nil, err
	}
	var made []*Resource
	for _, obj := range resp.Items {
		d, _, err := crd.Read(obj.(*unstructured.Unstructured))
		if err != nil || !d.True(crd.Established) {
			continue
		}
		if v := d.Preferred(); v != nil {
			made = append(made, CustomResource(d, v))
		}
	}
	return made, nil
}

func writeRequest(verb Verb, obj Object, subresource string) *Request {
	return &Request{Verb: verb, Resource: mustResourceOf(obj), Subresource: subresource,
		Namespace: obj.GetNamespace(), Name: obj.GetName(), Object: obj}
}

func doTyped[T Object](p *sim.Proc, c Client, r *Request) (T, error) {
	var none T
	resp, err := c.Do(p, r)
	if err != nil {
		return none, err
	}
	obj, ok := resp.Object.(T)
	sim.Assert(ok, "%s of %s answered with a %T", r.Verb, r.Resource, resp.Object)
	return obj, nil
}

func resourceOfType[T Object]() *Resource {
	var none T
	return mustResourceOf(none)
}

func mustResourceOf(obj Object) *Resource {
	r := resourceOfGoType(obj)
	sim.Assert(r != nil, "no resource has the Go type %T", obj)
	return r
}

// IsConflict reports whether a write lost against another: 409 with reason Conflict.
func IsConflict(err error) bool { return apierrors.IsConflict(err) }

// IsNotFound reports whether the object does not exist.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) }

// IsAlreadyExists reports whether an object of that name exists.
func IsAlreadyExists(err error) bool { return apierrors.IsAlreadyExists(err) }
