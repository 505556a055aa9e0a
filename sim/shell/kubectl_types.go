package shell

import (
	"slices"
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

// custom asks the server, once, which kinds CustomResourceDefinitions make.
func (k *kubectl) custom() ([]*api.Resource, error) {
	if !k.asked {
		made, err := api.CustomResources(k.proc, k.client)
		if err != nil {
			return nil, err
		}
		k.made, k.asked = made, true
	}
	return k.made, nil
}

// mapping returns what a kind in a version means to the server; nil: it has no such kind.
func (k *kubectl) mapping(gvk schema.GroupVersionKind) (*api.Mapping, error) {
	if m := k.release().Mapping(gvk); m != nil {
		return m, nil
	}
	custom, err := k.custom()
	if err != nil {
		return nil, err
	}
	return k.release().CustomMapping(custom, gvk), nil
}

// resourceOf returns the resource that a user's word means.
func (k *kubectl) resourceOf(word string) (*api.Resource, error) {
	if res := k.release().ResourceFor(word); res != nil {
		return res, nil
	}
	custom, err := k.custom()
	if err != nil {
		return nil, err
	}
	plain, group, dotted := strings.Cut(strings.ToLower(word), ".")
	for _, short := range [...]bool{false, true} { // short names only for what nothing is called in full
		for _, res := range custom {
			called := res.Plural == plain || res.Singular == plain
			if short {
				called = slices.Contains(res.ShortNames, plain)
			}
			if called && (!dotted || strings.HasPrefix(res.GVK.Group, group) ||
				group == res.GVK.Version+"."+res.GVK.Group) {
				return res, nil
			}
		}
	}
	return nil, usagef("the server doesn't have a resource type %q", plain) // cli-runtime pkg/resource/builder.go
}

// resourcesIn returns the resources of a category, as `all`; none: it is no category.
func (k *kubectl) resourcesIn(category string) ([]*api.Resource, error) {
	var in []*api.Resource
	for _, res := range api.ResourcesIn(category) {
		if k.release().Serves(res) {
			in = append(in, res)
		}
	}
	if k.release().ResourceFor(category) != nil {
		return in, nil
	}
	custom, err := k.custom()
	for _, res := range custom {
		if slices.Contains(res.Categories, category) {
			in = append(in, res)
		}
	}
	return in, err
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
