package api

import "k8s.io/apimachinery/pkg/runtime/schema"

// older is an API version that a resource was served in before it had the one that ksim stores it in. The fields that
// matter are the same; a version whose fields were others is not listed.
type older struct {
	apiVersion, kind string
	first, last      int // minors
	resource         *Resource
}

// olderVersions: kubernetes.io/docs/reference/using-api/deprecation-guide.
var olderVersions = [...]older{
	{"extensions/v1beta1", "Deployment", 0, 15, Deployments},
	{"extensions/v1beta1", "DaemonSet", 0, 15, DaemonSets},
	{"extensions/v1beta1", "ReplicaSet", 0, 15, ReplicaSets},
	{"extensions/v1beta1", "NetworkPolicy", 0, 15, NetworkPolicies},
	{"apps/v1beta1", "Deployment", 0, 15, Deployments},
	{"apps/v1beta1", "StatefulSet", 0, 15, StatefulSets},
	{"apps/v1beta1", "ControllerRevision", 0, 15, ControllerRevisions},
	{"apps/v1beta2", "Deployment", 0, 15, Deployments},
	{"apps/v1beta2", "DaemonSet", 0, 15, DaemonSets},
	{"apps/v1beta2", "ReplicaSet", 0, 15, ReplicaSets},
	{"apps/v1beta2", "StatefulSet", 0, 15, StatefulSets},
	{"apps/v1beta2", "ControllerRevision", 0, 15, ControllerRevisions},
	{"batch/v1beta1", "CronJob", 0, 24, CronJobs},
	{"policy/v1beta1", "PodDisruptionBudget", 0, 24, PodDisruptionBudgets},
	{"scheduling.k8s.io/v1beta1", "PriorityClass", 11, 21, PriorityClasses},
	{"coordination.k8s.io/v1beta1", "Lease", 12, 21, Leases},
	{"storage.k8s.io/v1beta1", "StorageClass", 0, 21, StorageClasses},
	{"storage.k8s.io/v1beta1", "CSINode", 14, 21, CSINodes},
	{"storage.k8s.io/v1beta1", "CSIDriver", 14, 21, CSIDrivers},
	{"rbac.authorization.k8s.io/v1beta1", "Role", 0, 21, Roles},
	{"rbac.authorization.k8s.io/v1beta1", "RoleBinding", 0, 21, RoleBindings},
	{"rbac.authorization.k8s.io/v1beta1", "ClusterRole", 0, 21, ClusterRoles},
	{"rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding", 0, 21, ClusterRoleBindings},
	{"autoscaling/v2beta2", "HorizontalPodAutoscaler", 12, 25, HorizontalPodAutoscalers},
	{"node.k8s.io/v1beta1", "RuntimeClass", 14, 24, RuntimeClasses},
}

// ResourceByGVK returns the resource of a kind in a version that this release serves; nil: no matches for that kind.
// The version that ksim stores a resource in is taken for every release, also for one that did not have it yet.
func (r *Release) ResourceByGVK(gvk schema.GroupVersionKind) *Resource {
	if resource := ResourceByGVK(gvk); resource != nil {
		return resource
	}
	for _, o := range olderVersions {
		if o.kind == gvk.Kind && o.apiVersion == gvk.GroupVersion().String() && o.first <= r.Minor && r.Minor <= o.last {
			return o.resource
		}
	}
	return nil
}
