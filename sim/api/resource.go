package api

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource describes one resource of the API: its names, where it is stored and how its objects are made.
// Resources are made once, at start-up, and never change.
type Resource struct {
	GVK        schema.GroupVersionKind
	Plural     string // pods
	Singular   string // pod
	ShortNames []string
	Categories []string // all: what `kubectl get all` lists
	Namespaced bool
	Prefix     string        // of its keys in etcd, with the slash at the end: /registry/pods/
	New        func() Object // an empty object
	Sub        []string      // subresources: status, scale, binding, eviction
	Modelled   bool          // false: stored and listed, but nothing in the cluster acts on it

	zero     Object // an empty object, for its type
	typeMeta metav1.TypeMeta
	envelope []byte // what the stored bytes of its objects begin with
}

// Key returns the etcd key of an object (kube-apiserver's storage keys: /registry/pods/default/web-1,
// /registry/minions/worker-1).
func (r *Resource) Key(namespace, name string) string {
	if r.Namespaced {
		return r.Prefix + namespace + "/" + name
	}
	return r.Prefix + name
}

// AppendKey appends the etcd key of an object to b.
func (r *Resource) AppendKey(b []byte, namespace, name string) []byte {
	if b == nil {
		b = make([]byte, 0, len(r.Prefix)+len(namespace)+1+len(name))
	}
	b = append(b, r.Prefix...)
	if r.Namespaced {
		b = append(append(b, namespace...), '/')
	}
	return append(b, name...)
}

// GroupResource names the resource as errors do: pods, deployments.apps.
func (r *Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.GVK.Group, Resource: r.Plural}
}

// HasSub reports whether the resource has that subresource; "" is the resource itself.
func (r *Resource) HasSub(subresource string) bool {
	return subresource == "" || slices.Contains(r.Sub, subresource)
}

// String names the resource with its group: pods, deployments.apps.
func (r *Resource) String() string { return r.GroupResource().String() }
