package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"ksim/sim/api/convert"
	"ksim/sim/api/fields"
)

// serving is a version that some releases serve a resource in by default. A version that is not listed is the one that
// ksim stores the resource in, and is served by every release.
type serving struct {
	apiVersion  string
	first, last int // minors; 0: no bound
	resources   []*Resource
}

// servings: pkg/master/master.go, pkg/controlplane/instance.go (DefaultAPIResourceConfigSource) and
// pkg/registry/*/rest/storage_*.go, v1.11 to v1.37; kubernetes.io/docs/reference/using-api/deprecation-guide. The
// newest version of a resource comes first.
var servings = [...]serving{
	{"extensions/v1beta1", 0, 15, list(Deployments, DaemonSets, ReplicaSets, NetworkPolicies, PodSecurityPolicies)},
	{"apps/v1beta2", 0, 15, list(Deployments, DaemonSets, ReplicaSets, StatefulSets, ControllerRevisions)},
	{"apps/v1beta1", 0, 15, list(Deployments, StatefulSets, ControllerRevisions)},
	{"batch/v1", 21, 0, list(CronJobs)},
	{"batch/v1beta1", 0, 24, list(CronJobs)},
	{"policy/v1", 21, 0, list(PodDisruptionBudgets)},
	{"policy/v1beta1", 0, 24, list(PodDisruptionBudgets, PodSecurityPolicies)},
	{"autoscaling/v2", 23, 0, list(HorizontalPodAutoscalers)},
	{"autoscaling/v1", 0, 0, list(HorizontalPodAutoscalers)},
	{"autoscaling/v2beta2", 12, 25, list(HorizontalPodAutoscalers)},
	{"autoscaling/v2beta1", 0, 24, list(HorizontalPodAutoscalers)},
	{"networking.k8s.io/v1", 19, 0, list(Ingresses, IngressClasses)},
	{"networking.k8s.io/v1beta1", 14, 21, list(Ingresses)},
	{"networking.k8s.io/v1beta1", 18, 21, list(IngressClasses)},
	{"extensions/v1beta1", 0, 21, list(Ingresses)},
	{"networking.k8s.io/v1", 33, 0, list(IPAddresses, ServiceCIDRs)},
	{"scheduling.k8s.io/v1", 14, 0, list(PriorityClasses)},
	{"scheduling.k8s.io/v1beta1", 0, 21, list(PriorityClasses)},
	{"coordination.k8s.io/v1", 14, 0, list(Leases)},
	{"coordination.k8s.io/v1beta1", 12, 21, list(Leases)},
	{"discovery.k8s.io/v1", 21, 0, list(EndpointSlices)},
	{"discovery.k8s.io/v1beta1", 17, 24, list(EndpointSlices)},
	{"node.k8s.io/v1", 20, 0, list(RuntimeClasses)},
	{"node.k8s.io/v1beta1", 14, 24, list(RuntimeClasses)},
	{"storage.k8s.io/v1", 13, 0, list(VolumeAttachments)},
	{"storage.k8s.io/v1", 17, 0, list(CSINodes)},
	{"storage.k8s.io/v1", 18, 0, list(CSIDrivers)},
	{"storage.k8s.io/v1beta1", 0, 21, list(StorageClasses, VolumeAttachments)},
	{"storage.k8s.io/v1beta1", 14, 21, list(CSINodes, CSIDrivers)},
	{"storage.k8s.io/v1", 24, 0, list(CSIStorageCapacities)},
	{"storage.k8s.io/v1beta1", 21, 26, list(CSIStorageCapacities)},
	{"storage.k8s.io/v1", 34, 0, list(VolumeAttributesClasses)},
	{"rbac.authorization.k8s.io/v1beta1", 0, 21, list(Roles, RoleBindings, ClusterRoles, ClusterRoleBindings)},
	{"certificates.k8s.io/v1", 19, 0, list(CertificateSigningRequests)},
	{"certificates.k8s.io/v1beta1", 0, 21, list(CertificateSigningRequests)},
	{"certificates.k8s.io/v1", 37, 0, list(ClusterTrustBundles, PodCertificateRequests)},
	{"admissionregistration.k8s.io/v1", 16, 0,
		list(MutatingWebhookConfigurations, ValidatingWebhookConfigurations)},
	{"admissionregistration.k8s.io/v1beta1", 0, 21,
		list(MutatingWebhookConfigurations, ValidatingWebhookConfigurations)},
	{"admissionregistration.k8s.io/v1", 30, 0,
		list(ValidatingAdmissionPolicies, ValidatingAdmissionPolicyBindings)},
	{"admissionregistration.k8s.io/v1", 36, 0, list(MutatingAdmissionPolicies, MutatingAdmissionPolicyBindings)},
	{"flowcontrol.apiserver.k8s.io/v1", 29, 0, list(FlowSchemas, PriorityLevelConfigurations)},
	{"flowcontrol.apiserver.k8s.io/v1beta3", 26, 31, list(FlowSchemas, PriorityLevelConfigurations)},
	{"flowcontrol.apiserver.k8s.io/v1beta2", 23, 28, list(FlowSchemas, PriorityLevelConfigurations)},
	{"flowcontrol.apiserver.k8s.io/v1beta1", 20, 25, list(FlowSchemas, PriorityLevelConfigurations)},
	{"resource.k8s.io/v1", 34, 0, list(DeviceClasses, ResourceClaims, ResourceClaimTemplates, ResourceSlices)},
	{"resource.k8s.io/v1", 37, 0, list(DeviceTaintRules)},
	{"storagemigration.k8s.io/v1", 37, 0, list(StorageVersionMigrations)},
	{"apiextensions.k8s.io/v1", 16, 0, list(CustomResourceDefinitions)},
	{"apiextensions.k8s.io/v1beta1", 0, 21, list(CustomResourceDefinitions)},
	{"apiregistration.k8s.io/v1beta1", 0, 21, list(APIServices)},
}

func list(resources ...*Resource) []*Resource { return resources }

// Mapping is a kind in a version, as a manifest names it, and the resource that it means.
type Mapping struct {
	Resource *Resource
	GVK      schema.GroupVersionKind // as written
	minor    int
}

// Decoded is an object that was read from what somebody wrote.
type Decoded struct {
	Object Object
	// Unknown are the problems of a strict decoder: fields that are unknown or there twice.
	Unknown []error
	// Findings are fields that the release does not know or drops, and fields that have no effect in a simulation.
	Findings []fields.Finding
}

// stored reports whether the version is the one that ksim stores the resource in.
func (s serving) stored(r *Resource) bool { return s.apiVersion == r.typeMeta.APIVersion }

func (s serving) in(minor int) bool { return s.first <= minor && (s.last == 0 || minor <= s.last) }

// Mapping returns what a kind in a version means in this release; nil: no matches for that kind.
func (r *Release) Mapping(gvk schema.GroupVersionKind) *Mapping {
	for _, resource := range resources {
		if resource.GVK.Kind == gvk.Kind && slices.Contains(r.Versions(resource), gvk.GroupVersion().String()) {
			return &Mapping{resource, gvk, r.Minor}
		}
	}
	return nil
}

// CustomMapping returns what a kind in a version means where custom resources are served; nil: it is none of them.
func (r *Release) CustomMapping(custom []*Resource, gvk schema.GroupVersionKind) *Mapping {
	for _, c := range custom {
		if c.GVK.Group != gvk.Group || c.GVK.Kind != gvk.Kind {
			continue
		}
		if v := c.Definition.Served(gvk.Version); v != nil {
			return &Mapping{CustomResource(c.Definition, v), gvk, r.Minor}
		}
	}
	return nil
}

// ResourceByGVK returns the resource of a kind in a version that this release serves; nil: no matches for that kind.
func (r *Release) ResourceByGVK(gvk schema.GroupVersionKind) *Resource {
	if m := r.Mapping(gvk); m != nil {
		return m.Resource
	}
	return nil
}

// Versions returns the versions that this release serves a resource in, the newest first; none: it does not know it.
func (r *Release) Versions(resource *Resource) []string {
	var versions []string
	listed := false // the stored version
	for _, s := range servings {
		if !slices.Contains(s.resources, resource) {
			continue
		}
		listed = listed || s.stored(resource)
		if s.in(r.Minor) {
			versions = append(versions, s.apiVersion)
		}
	}
	if !listed {
		versions = slices.Insert(versions, 0, resource.typeMeta.APIVersion)
	}
	return versions
}

// Serves reports whether the release knows a resource at all.
func (r *Release) Serves(resource *Resource) bool { return len(r.Versions(resource)) > 0 }

// Kinds returns the kinds that the release serves, each with its newest version, in the order of the API's groups.
func (r *Release) Kinds() []schema.GroupVersionKind {
	var kinds []schema.GroupVersionKind
	for _, resource := range resources {
		if versions := r.Versions(resource); len(versions) > 0 {
			kinds = append(kinds, schema.FromAPIVersionAndKind(versions[0], resource.GVK.Kind))
		}
	}
	return kinds
}

// Since returns the first minor that ksim knows and that serves a version of a kind, and the last, 0 if the newest
// does; ok is false for what no release serves.
func Since(gvk schema.GroupVersionKind) (first, last int, ok bool) {
	for minor := OldestMinor; minor <= NewestMinor; minor++ {
		if ReleaseOf(minor).Mapping(gvk) == nil {
			continue
		}
		if !ok {
			first, ok = minor, true
		}
		last = minor
	}
	if last == NewestMinor {
		last = 0
	}
	return first, last, ok
}

// inGroup returns the resource of this release that is called so in that group: deployments.extensions.
func (r *Release) inGroup(name, group string) *Resource {
	for _, s := range servings {
		if g, _, _ := strings.Cut(s.apiVersion, "/"); g != group || !s.in(r.Minor) {
			continue
		}
		for _, resource := range s.resources {
			if resource.Plural == name || resource.Singular == name || slices.Contains(resource.ShortNames, name) {
				return resource
			}
		}
	}
	return nil
}

// ResourceFor is ResourceFor for what this release serves.
func (r *Release) ResourceFor(name string) *Resource {
	if resource := ResourceFor(name); resource != nil && r.Serves(resource) {
		return resource
	}
	plain, group, _ := strings.Cut(strings.ToLower(name), ".")
	return r.inGroup(plain, group)
}

// Convert brings what was written in the mapping's version into the shape of the stored one. raw is changed.
func (m *Mapping) Convert(raw map[string]any) {
	if version := m.GVK.GroupVersion().String(); version != m.Resource.typeMeta.APIVersion {
		convert.Shape(version, m.GVK.Kind, raw)
		raw["apiVersion"] = m.Resource.typeMeta.APIVersion
	}
}

// Decode reads an object strictly. text is what was written, or what Convert has made of it, as YAML or JSON; what the
// written version defaults differently is filled in, and what the release drops is gone. err: not such an object at
// all.
func (m *Mapping) Decode(text []byte) (*Decoded, error) {
	encoded, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	d := &Decoded{Object: m.Resource.New()}
	if d.Unknown, err = kjson.UnmarshalStrict(encoded, d.Object); err != nil {
		return nil, err
	}
	if v := m.Resource.Version; v != nil && v.Schema != nil {
		pruned := d.Object.DeepCopyObject().(*unstructured.Unstructured)
		for _, path := range v.Schema.OpenAPIV3Schema.Prune(pruned.Object, true, "") {
			d.Unknown = append(d.Unknown, fmt.Errorf("unknown field %q", path))
		}
	}
	d.Findings = fields.Check(d.Object, m.minor)
	if version := m.GVK.GroupVersion().String(); version != m.Resource.typeMeta.APIVersion {
		if d.Object, err = m.defaulted(version, encoded); err != nil {
			return nil, err
		}
	}
	fields.Drop(d.Object, m.minor)
	return d, nil
}

// defaulted reads an object with what its version defaults differently.
func (m *Mapping) defaulted(version string, encoded []byte) (Object, error) {
	var raw map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(encoded, &raw); err != nil {
		return nil, err
	}
	convert.Defaults(version, m.GVK.Kind, raw)
	encoded, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	obj := m.Resource.New()
	_, err = kjson.UnmarshalStrict(encoded, obj)
	return obj, err
}

// Shown returns the version in which the release shows objects of a resource: the stored one or, before there was
// that, the newest that has the same fields.
func (r *Release) Shown(resource *Resource) string {
	stored := resource.typeMeta.APIVersion
	versions := r.Versions(resource)
	if slices.Contains(versions, stored) {
		return stored
	}
	for _, version := range versions {
		if !convert.Reshapes(version, resource.GVK.Kind) {
			return version
		}
	}
	return stored
}
