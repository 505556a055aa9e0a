package shell

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"ksim/sim/api"
)

// Models what kubectl learns by discovery (client-go restmapper, discovery, v0.36): which types the server has, by all
// their names. Leaves out: the requests of discovery and their cache on disk.

func (k *kubectl) release() *api.Release {
	release, err := api.ParseRelease(k.session.cluster.Spec().Kubernetes)
	if err != nil {
		panic(err) // cannot fail: the cluster was made with it
	}
	return release
}

// mapping returns what a kind in a version means to the server; nil: it has no such kind.
func (k *kubectl) mapping(gvk schema.GroupVersionKind) (*api.Mapping, error) {
	return k.release().Mapping(gvk), nil
}

// resourceOf returns the resource that a user's word means.
func (k *kubectl) resourceOf(word string) (*api.Resource, error) {
	if res := k.release().ResourceFor(word); res != nil {
		return res, nil
	}
	plain, _, _ := strings.Cut(strings.ToLower(word), ".") // cli-runtime pkg/resource/builder.go mappingFor
	return nil, usagef("the server doesn't have a resource type %q", plain)
}

// resourcesIn returns the resources of a category, as `all`.
func (k *kubectl) resourcesIn(category string) ([]*api.Resource, error) {
	var in []*api.Resource
	for _, res := range api.ResourcesIn(category) {
		if k.release().Serves(res) {
			in = append(in, res)
		}
	}
	return in, nil
}

// typeName writes a resource's type as kubectl does in results: pod, deployment.apps.
func typeName(res *api.Resource) string {
	if res.GVK.Group == "" {
		return res.Singular
	}
	return res.Singular + "." + res.GVK.Group
}

// typeName is typeName in the group that the document names.
func (d *document) typeName() string {
	if d.mapping.GVK.Group == "" {
		return d.mapping.Resource.Singular
	}
	return d.mapping.Resource.Singular + "." + d.mapping.GVK.Group
}
