package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestResourcesAreFoundByWhatUsersType(t *testing.T) {
	for typed, want := range map[string]*Resource{ // any order: each is checked alone
		"po": Pods, "pod": Pods, "pods": Pods, "Pod": Pods, "deploy": Deployments, "deployments.apps": Deployments,
		"deployment.v1.apps": Deployments, "deployments.app": Deployments, "svc": Services, "ep": Endpoints, "no": Nodes,
		"pdb": PodDisruptionBudgets, "ds": DaemonSets, "sts": StatefulSets, "rs": ReplicaSets, "leases": Leases,
		"ns": Namespaces, "cm": ConfigMaps, "events": Events, "ev": Events, "pods.v1.": Pods, "quota": ResourceQuotas,
		"hpa": HorizontalPodAutoscalers, "pvc": PersistentVolumeClaims,
	} {
		assert.Same(t, want, ResourceFor(typed), typed)
	}
	for _, typed := range []string{"", "podz", "pods.apps", "deployments.batch", "all"} {
		assert.Nil(t, ResourceFor(typed), typed)
	}
}

func TestAllIsWhatKubectlGetAllLists(t *testing.T) {
	var names []string
	for _, r := range ResourcesIn("all") {
		names = append(names, r.Plural)
	}
	assert.Equal(t, []string{"pods", "replicationcontrollers", "services", "daemonsets", "deployments", "replicasets",
		"statefulsets", "horizontalpodautoscalers", "cronjobs", "jobs"}, names)
}

func TestKeysAreThoseOfARealCluster(t *testing.T) {
	assert.Equal(t, "/registry/pods/default/web-1", Pods.Key("default", "web-1"))
	assert.Equal(t, "/registry/minions/worker-1", Nodes.Key("", "worker-1"))
	assert.Equal(t, "/registry/services/specs/default/web", Services.Key("default", "web"))
	assert.Equal(t, "/registry/services/endpoints/default/web", Endpoints.Key("default", "web"))
	assert.Equal(t, "/registry/leases/kube-node-lease/worker-1", Leases.Key("kube-node-lease", "worker-1"))
	assert.Equal(t, "/registry/deployments/default/web", Deployments.Key("default", "web"))
	assert.Equal(t, "/registry/controllers/default/web", ReplicationControllers.Key("default", "web"))
	assert.Equal(t, "/registry/ingress/default/web", Ingresses.Key("default", "web"))
}

func TestEveryResourceIsFoundByAllItsNames(t *testing.T) {
	keys, names := map[string]bool{}, map[string]*Resource{}
	for _, r := range Resources() {
		require.Same(t, r, ResourceByGVK(r.GVK))
		require.Same(t, r, ResourceOf(r.New()), r)
		require.Same(t, r, ResourceFor(r.Plural))
		require.Same(t, r, ResourceFor(r.Singular))
		require.False(t, keys[r.Prefix], r.Prefix)
		keys[r.Prefix] = true
		assert.Equal(t, r.Singular, strings.ToLower(r.GVK.Kind))
		for _, name := range r.ShortNames {
			require.Nil(t, names[name], name)
			names[name] = r
			require.Same(t, r, ResourceFor(name))
		}
	}
}

func TestObjectsAreNamedAsTheTraceNamesThem(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Name, pod.Namespace, pod.ResourceVersion = "web-1", "default", "42"
	assert.Equal(t, "pod/default/web-1", EventName(pod))
	assert.Equal(t, "node/worker-1", ResourceEventName(Nodes, "ignored", "worker-1"))
	assert.Equal(t, int64(42), Revision(pod))
	assert.Equal(t, "default/web-1", KeyOf(pod).String())
	other := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Thing"}}
	other.SetName("x")
	assert.Equal(t, "object/x", EventName(other))
	assert.Equal(t, int64(0), Revision(other))
}

func TestOlderReleasesServeOlderVersions(t *testing.T) {
	budget := schema.FromAPIVersionAndKind("policy/v1beta1", "PodDisruptionBudget")
	assert.Same(t, PodDisruptionBudgets, ReleaseOf(13).ResourceByGVK(budget))
	assert.Same(t, PodDisruptionBudgets, ReleaseOf(24).ResourceByGVK(budget))
	assert.Nil(t, ReleaseOf(25).ResourceByGVK(budget))
	old := schema.FromAPIVersionAndKind("extensions/v1beta1", "Deployment")
	assert.Same(t, Deployments, ReleaseOf(15).ResourceByGVK(old))
	assert.Nil(t, ReleaseOf(16).ResourceByGVK(old))
	assert.Same(t, Deployments, ReleaseOf(11).ResourceByGVK(Deployments.GVK))
}
