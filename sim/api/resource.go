package api

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ksim/sim/api/crd"
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
	Rare       bool          // API servers keep no watch cache of it, and no client of etcd before somebody asks

	// Of a custom resource: its definition, and the version that the resource is of.
	Definition *crd.Definition
	Version    *crd.Version

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

// Note says of a resource that is only stored what a real cluster would do with its objects and nothing here does;
// "" for one that something acts on.
func (r *Resource) Note() string {
	if r.Modelled {
		return ""
	}
	switch r {
	case CronJobs:
		return "nothing makes Jobs of it"
	case ReplicationControllers:
		return "nothing makes pods of it"
	case HorizontalPodAutoscalers:
		return "nothing scales for it"
	case PersistentVolumeClaims:
		return "the scheduler waits until a pod's claim is bound, and nothing binds claims"
	case PersistentVolumes:
		return "nothing binds claims to it"
	case StorageClasses:
		return "nothing provisions volumes; the scheduler looks at its volumeBindingMode"
	case VolumeAttachments, CSIDrivers, CSINodes, CSIStorageCapacities, VolumeAttributesClasses:
		return "nothing attaches or mounts volumes"
	case Ingresses, IngressClasses:
		return "no ingress controller runs"
	case NetworkPolicies:
		return "no traffic is filtered"
	case IPAddresses, ServiceCIDRs:
		return "API servers take the addresses of Services from --service-cluster-ip-range"
	case LimitRanges, ResourceQuotas:
		return "API servers do not enforce it"
	case Roles, RoleBindings, ClusterRoles, ClusterRoleBindings:
		return "every request is allowed"
	case RuntimeClasses:
		return "nobody looks whether there is one, and it adds no overhead"
	case PodSecurityPolicies, MutatingWebhookConfigurations, ValidatingWebhookConfigurations, MutatingAdmissionPolicies,
		MutatingAdmissionPolicyBindings, ValidatingAdmissionPolicies, ValidatingAdmissionPolicyBindings:
		return "API servers do not ask it"
	case FlowSchemas, PriorityLevelConfigurations:
		return "requests do not queue by it"
	case CertificateSigningRequests, PodCertificateRequests, ClusterTrustBundles:
		return "nothing signs certificates"
	case DeviceClasses, DeviceTaintRules, ResourceClaims, ResourceClaimTemplates, ResourceSlices:
		return "there are no devices"
	case APIServices:
		return "API servers pass no requests on"
	case CustomResourceDefinitions:
		return "API servers serve its kind, and no operator acts on that"
	}
	if r.Definition != nil {
		return "no operator runs"
	}
	return "nothing acts on it"
}
