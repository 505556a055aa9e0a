package api

import "k8s.io/apimachinery/pkg/runtime/schema"

// Resource describes one resource of the API: its names, where it is stored and how its objects are made.
type Resource struct {
	GVK        schema.GroupVersionKind
	Plural     string // pods
	Singular   string // pod
	ShortNames []string
	Namespaced bool
	Prefix     string        // of its keys in etcd, with the slash at the end: /registry/pods/
	New        func() Object // an empty object
	Sub        []string      // subresources: status, scale, binding, eviction
	Modelled   bool          // false: stored and listed, but nothing in the cluster acts on it
}

// Key returns the etcd key of an object (kube-apiserver's storage keys: /registry/pods/default/web-1, /registry/minions/worker-1).
func (r *Resource) Key(namespace, name string) string {
	if r.Namespaced {
		return r.Prefix + namespace + "/" + name
	}
	return r.Prefix + name
}
