package api

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
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

func TestReleasesServeTheVersionsThatTheyHave(t *testing.T) {
	for _, row := range []struct {
		apiVersion, kind string
		first, last      int // minors; 0: the newest that ksim knows
	}{
		{"extensions/v1beta1", "Deployment", 11, 15}, {"apps/v1beta2", "StatefulSet", 11, 15},
		{"apps/v1", "Deployment", 11, 0}, {"batch/v1beta1", "CronJob", 11, 24}, {"batch/v1", "CronJob", 21, 0},
		{"batch/v1", "Job", 11, 0}, {"policy/v1beta1", "PodDisruptionBudget", 11, 24},
		{"policy/v1", "PodDisruptionBudget", 21, 0}, {"policy/v1beta1", "PodSecurityPolicy", 11, 24},
		{"extensions/v1beta1", "Ingress", 11, 21}, {"networking.k8s.io/v1", "Ingress", 19, 0},
		{"autoscaling/v1", "HorizontalPodAutoscaler", 11, 0}, {"autoscaling/v2", "HorizontalPodAutoscaler", 23, 0},
		{"coordination.k8s.io/v1", "Lease", 14, 0}, {"discovery.k8s.io/v1", "EndpointSlice", 21, 0},
		{"storage.k8s.io/v1", "StorageClass", 11, 0}, {"storage.k8s.io/v1", "CSIDriver", 18, 0},
		{"rbac.authorization.k8s.io/v1", "Role", 11, 0}, {"networking.k8s.io/v1", "NetworkPolicy", 11, 0},
		{"apiextensions.k8s.io/v1", "CustomResourceDefinition", 16, 0}, {"resource.k8s.io/v1", "ResourceClaim", 34, 0},
		{"v1", "Pod", 11, 0},
	} {
		first, last, ok := Since(schema.FromAPIVersionAndKind(row.apiVersion, row.kind))
		assert.True(t, ok, row)
		assert.Equal(t, [2]int{row.first, row.last}, [2]int{first, last}, row)
	}
	_, _, ok := Since(schema.FromAPIVersionAndKind("v1", "Deployment"))
	assert.False(t, ok)
}

func TestWhatAReleaseDoesNotServeIsNotFound(t *testing.T) {
	assert.Same(t, Deployments, ReleaseOf(15).ResourceFor("deployments.extensions"))
	assert.Nil(t, ReleaseOf(16).ResourceFor("deployments.extensions"))
	assert.Nil(t, ReleaseOf(16).ResourceFor("endpointslices"))
	assert.Same(t, EndpointSlices, ReleaseOf(17).ResourceFor("endpointslices"))
	assert.Same(t, PodSecurityPolicies, ReleaseOf(24).ResourceFor("psp"))
	assert.Nil(t, ReleaseOf(25).ResourceFor("psp"))
	assert.Equal(t, "policy/v1beta1", ReleaseOf(20).Shown(PodDisruptionBudgets))
	assert.Equal(t, "policy/v1", ReleaseOf(21).Shown(PodDisruptionBudgets))
	assert.Equal(t, "autoscaling/v2beta2", ReleaseOf(20).Shown(HorizontalPodAutoscalers))
}

func TestOlderVersionsAreDefaultedAsTheyWere(t *testing.T) {
	read := func(apiVersion, kind, rest string) Object {
		m := ReleaseOf(15).Mapping(schema.FromAPIVersionAndKind(apiVersion, kind))
		require.NotNil(t, m)
		var raw map[string]any
		text := "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata: {name: x}\n" + rest
		require.NoError(t, yaml.Unmarshal([]byte(text), &raw))
		m.Convert(raw)
		text2, err := yaml.Marshal(raw)
		require.NoError(t, err)
		read, err := m.Decode(text2)
		require.NoError(t, err)
		require.Empty(t, read.Unknown)
		SetDefaults(read.Object)
		return read.Object
	}
	const template = "spec: {template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}"
	d := read("extensions/v1beta1", "Deployment", template).(*appsv1.Deployment)
	assert.Equal(t, map[string]string{"a": "b"}, d.Spec.Selector.MatchLabels)
	assert.Equal(t, map[string]string{"a": "b"}, d.Labels)
	assert.Equal(t, "1", d.Spec.Strategy.RollingUpdate.MaxSurge.String())
	assert.Equal(t, int32(math.MaxInt32), *d.Spec.ProgressDeadlineSeconds)
	d = read("apps/v1beta1", "Deployment", template).(*appsv1.Deployment)
	assert.Equal(t, "25%", d.Spec.Strategy.RollingUpdate.MaxSurge.String())
	assert.Equal(t, int32(2), *d.Spec.RevisionHistoryLimit)
	assert.Equal(t, appsv1.OnDeleteDaemonSetStrategyType,
		read("extensions/v1beta1", "DaemonSet", template).(*appsv1.DaemonSet).Spec.UpdateStrategy.Type)
	budget := read("policy/v1beta1", "PodDisruptionBudget", "spec: {minAvailable: 1, selector: {}}")
	selector, err := metav1.LabelSelectorAsSelector(budget.(*policyv1.PodDisruptionBudget).Spec.Selector)
	require.NoError(t, err)
	assert.False(t, selector.Matches(labels.Set{"a": "b"}), "an empty selector selects nothing in policy/v1beta1")
	ing := read("extensions/v1beta1", "Ingress",
		"spec: {rules: [{http: {paths: [{backend: {serviceName: web, servicePort: 80}}]}}]}").(*networkingv1.Ingress)
	assert.Equal(t, "web", ing.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name)
	assert.Equal(t, int32(80), ing.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Port.Number)
	hpa := read("autoscaling/v2beta1", "HorizontalPodAutoscaler", "spec: {maxReplicas: 3, metrics: [{type: Resource, "+
		"resource: {name: cpu, targetAverageUtilization: 50}}]}").(*autoscalingv2.HorizontalPodAutoscaler)
	assert.Equal(t, int32(50), *hpa.Spec.Metrics[0].Resource.Target.AverageUtilization)
}
