package api

import (
	"strconv"

	"ksim/sim"
)

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
