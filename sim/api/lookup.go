package api

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ksim/sim"
)

// Resources returns every resource, in the order of the API's groups.
func Resources() []*Resource { return resources[:] }

// ResourceByGVK returns the resource of that kind, nil if the API does not serve it.
func ResourceByGVK(gvk schema.GroupVersionKind) *Resource {
	for _, r := range resources {
		if r.GVK == gvk {
			return r
		}
	}
	return nil
}

// ResourceByKind returns the resource of that kind, whatever its group; nil if there is none.
func ResourceByKind(kind string) *Resource {
	for _, r := range resources {
		if r.GVK.Kind == kind {
			return r
		}
	}
	return nil
}

// ResourceFor finds a resource as kubectl does for what a user typed: plural, singular or short name in any case, alone
// or with its group (deployments.apps) or version and group (deployments.v1.apps). nil: the server has no such type.
func ResourceFor(name string) *Resource {
	name = strings.ToLower(name)
	if r := resourceNamed(name, func(*Resource) bool { return true }); r != nil {
		return r
	}
	plain, group, dotted := strings.Cut(name, ".")
	if !dotted {
		return nil
	}
	if r := resourceNamed(plain, func(r *Resource) bool { return r.GVK.Group == group }); r != nil {
		return r
	}
	if r := resourceNamed(plain, func(r *Resource) bool {
		return group == r.GVK.Version+"."+r.GVK.Group || group == r.GVK.Version && r.GVK.Group == ""
	}); r != nil {
		return r
	}
	// The beginning of a group will do: deployments.app (client-go restmapper/shortcut.go).
	return resourceNamed(plain, func(r *Resource) bool { return strings.HasPrefix(r.GVK.Group, group) })
}

// resourceNamed tries short names only for what nothing is called in full (client-go restmapper/shortcut.go).
func resourceNamed(name string, fits func(*Resource) bool) *Resource {
	for _, r := range resources {
		if (r.Plural == name || r.Singular == name) && fits(r) {
			return r
		}
	}
	for _, r := range resources {
		if slices.Contains(r.ShortNames, name) && fits(r) {
			return r
		}
	}
	return nil
}

// ResourcesIn returns the resources of a category, as `all`.
func ResourcesIn(category string) []*Resource {
	var in []*Resource
	for _, r := range resources {
		if slices.Contains(r.Categories, category) {
			in = append(in, r)
		}
	}
	return in
}

// ResourceOf returns the resource that an object belongs to, by its Go type or, for others, by what its TypeMeta says;
// nil if the API does not serve it.
func ResourceOf(obj Object) *Resource {
	if r := resourceOfGoType(obj); r != nil {
		return r
	}
	return ResourceByGVK(obj.GetObjectKind().GroupVersionKind())
}

// resourceOfGoType looks only at the type: obj may be a nil pointer. The first switch has what is asked for most.
func resourceOfGoType(obj Object) *Resource {
	switch obj.(type) {
	case *corev1.Pod:
		return Pods
	case *coordinationv1.Lease:
		return Leases
	case *corev1.Node:
		return Nodes
	case *corev1.Event:
		return Events
	case *appsv1.ReplicaSet:
		return ReplicaSets
	case *appsv1.Deployment:
		return Deployments
	case *discoveryv1.EndpointSlice:
		return EndpointSlices
	case *unstructured.Unstructured:
		return nil // of any resource
	}
	for i := range resources {
		if reflect.TypeOf(resources[i].zero) == reflect.TypeOf(obj) {
			return resources[i]
		}
	}
	return nil
}

// EventName names an object as the trace does: node/worker-1, pod/default/web-1.
func EventName(obj Object) string {
	singular := "object"
	if r := ResourceOf(obj); r != nil {
		singular = r.Singular
	}
	return nameOf(singular, obj.GetNamespace(), obj.GetName())
}

// ResourceEventName names an object of a resource as EventName does. The namespace of a cluster-wide resource is left
// out.
func ResourceEventName(r *Resource, namespace, name string) string {
	if !r.Namespaced {
		namespace = ""
	}
	return nameOf(r.Singular, namespace, name)
}

func nameOf(singular, namespace, name string) string {
	if namespace == "" {
		return singular + "/" + name
	}
	return singular + "/" + namespace + "/" + name
}

// Revision returns the object's resourceVersion as the etcd revision that it is, 0 if it has none.
func Revision(obj Object) int64 {
	revision, err := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return revision
}

// CauseOf returns the event of the write that made this version of an object, 0 if there was none.
func CauseOf(k *sim.Kernel, obj Object) sim.EventID { return k.Trace().WriteOf(Revision(obj)) }

// Key is the namespace and name of an object, as work queues and indexes have it.
type Key struct{ Namespace, Name string }

// KeyOf returns the key of an object.
func KeyOf(obj Object) Key { return Key{obj.GetNamespace(), obj.GetName()} }

// String writes the key as client-go does: default/web-1, or worker-1 for an object without a namespace.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}
