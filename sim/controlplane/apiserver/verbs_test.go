package apiserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"ksim/sim/api"
	"ksim/sim/hardware"
)

func (b *bench) patch(r *api.Resource, name, sub string, kind types.PatchType, patch string) (*api.Response, error) {
	b.t.Helper()
	return b.request(&api.Request{Verb: api.Patch, Resource: r, Namespace: "default", Name: name, Subresource: sub,
		Patch: []byte(patch), PatchType: kind})
}

func TestPatchesOfAllKindsChangeWhatTheyName(t *testing.T) {
	b := newBench(t).ready()
	pod := newPod("web-1")
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "d", Image: "redis"})
	_, err := b.create(pod)
	require.NoError(t, err)
	resp, err := b.patch(api.Pods, "web-1", "", types.StrategicMergePatchType,
		`{"spec":{"containers":[{"name":"d","image":"redis:8"}]}}`)
	require.NoError(t, err)
	got := resp.Object.(*corev1.Pod)
	require.Len(t, got.Spec.Containers, 2, "lists are merged by name")
	assert.Equal(t, "redis:8", got.Spec.Containers[1].Image)
	resp, err = b.patch(api.Pods, "web-1", "", types.MergePatchType, `{"metadata":{"labels":{"a":"1","b":"2"}}}`)
	require.NoError(t, err)
	assert.Equal(t, "2", resp.Object.GetLabels()["b"])
	resp, err = b.patch(api.Pods, "web-1", "", types.JSONPatchType, `[{"op":"remove","path":"/metadata/labels/b"}]`)
	require.NoError(t, err)
	assert.NotContains(t, resp.Object.GetLabels(), "b")
	_, err = b.patch(api.Pods, "web-1", "", types.StrategicMergePatchType, `{nope`)
	assert.EqualError(t, err, "invalid character 'n' looking for beginning of object key string")
	resp, err = b.patch(api.Pods, "web-1", "status", types.StrategicMergePatchType,
		`{"status":{"phase":"Running"},"metadata":{"labels":{"a":"9"}}}`)
	require.NoError(t, err)
	assert.Equal(t, corev1.PodRunning, resp.Object.(*corev1.Pod).Status.Phase)
}

func TestListsAreMergedByNumbersToo(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}}})
	require.NoError(t, err)
	resp, err := b.patch(api.Services, "web", "", types.StrategicMergePatchType,
		`{"spec":{"$setElementOrder/ports":[{"port":80}],"ports":[{"port":80,"targetPort":8080}]}}`)
	require.NoError(t, err)
	ports := resp.Object.(*corev1.Service).Spec.Ports
	require.Len(t, ports, 1)
	assert.Equal(t, "8080", ports[0].TargetPort.String())
}

func TestStatusAndSpecificationLeaveEachOtherAlone(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(newDeployment("web", 3))
	require.NoError(t, err)
	resp, err := b.patch(api.Deployments, "web", "status", types.MergePatchType,
		`{"spec":{"replicas":7},"status":{"replicas":2}}`)
	require.NoError(t, err)
	d := resp.Object.(*appsv1.Deployment)
	assert.Equal(t, int32(3), *d.Spec.Replicas)
	assert.Equal(t, int32(2), d.Status.Replicas)
	assert.Equal(t, int64(1), d.Generation)
	resp, err = b.patch(api.Deployments, "web", "", types.MergePatchType,
		`{"spec":{"replicas":5},"status":{"replicas":9}}`)
	require.NoError(t, err)
	d = resp.Object.(*appsv1.Deployment)
	assert.Equal(t, int32(5), *d.Spec.Replicas)
	assert.Equal(t, int32(2), d.Status.Replicas)
	assert.Equal(t, int64(2), d.Generation)
}

func newDeployment(name string, replicas int32) *appsv1.Deployment {
	set := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: set},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: set}, Spec: newPod("x").Spec}}}
}

func TestScaleIsReadAndWritten(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(newDeployment("web", 3))
	require.NoError(t, err)
	r := &api.Request{Verb: api.Get, Resource: api.Deployments, Namespace: "default", Name: "web", Subresource: "scale"}
	resp, err := b.request(r)
	require.NoError(t, err)
	scale := resp.Object.(*autoscalingv1.Scale)
	assert.Equal(t, int32(3), scale.Spec.Replicas)
	assert.Equal(t, "app=web", scale.Status.Selector)
	scale.Spec.Replicas = 6
	_, err = b.request(&api.Request{Verb: api.Update, Resource: api.Deployments, Namespace: "default", Name: "web",
		Subresource: "scale", Object: scale})
	require.NoError(t, err)
	resp, err = b.patch(api.Deployments, "web", "scale", types.MergePatchType, `{"spec":{"replicas":8}}`)
	require.NoError(t, err)
	assert.Equal(t, int32(8), resp.Object.(*autoscalingv1.Scale).Spec.Replicas)
	resp, err = b.get(api.Deployments, "web")
	require.NoError(t, err)
	assert.Equal(t, int64(3), resp.Object.GetGeneration())
}

func TestNamespaceTakesNothingNewWhileItEnds(t *testing.T) {
	b := newBench(t).ready()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	_, err := b.create(ns)
	require.NoError(t, err)
	b.run(time.Second)
	remove := func(name string) (*api.Response, error) {
		return b.request(&api.Request{Verb: api.Delete, Resource: api.Namespaces, Name: name})
	}
	resp, err := remove("shop")
	require.NoError(t, err)
	ending := resp.Object.(*corev1.Namespace)
	assert.Equal(t, corev1.NamespaceTerminating, ending.Status.Phase)
	b.run(time.Second)
	cm := newConfigMap("cm")
	cm.Namespace = "shop"
	_, err = b.create(cm)
	assert.EqualError(t, err, `configmaps "cm" is forbidden: unable to create new content in namespace shop because `+
		`it is being terminated`)
	final := ending.DeepCopy()
	final.Spec.Finalizers = nil
	_, err = b.request(&api.Request{Verb: api.Update, Resource: api.Namespaces, Subresource: "finalize", Name: "shop",
		Object: final})
	require.NoError(t, err)
	_, err = b.request(&api.Request{Verb: api.Get, Resource: api.Namespaces, Name: "shop"})
	assert.True(t, apierrors.IsNotFound(err), "%v", err)
	_, err = remove("kube-system")
	assert.EqualError(t, err, `namespaces "kube-system" is forbidden: this namespace may not be deleted`)
}

func TestServicesGetAddressesOfTheirOwn(t *testing.T) {
	b := newBench(t).ready()
	seen := map[string]bool{}
	for _, name := range []string{"a", "b", "c"} {
		resp, err := b.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}}})
		require.NoError(t, err)
		svc := resp.Object.(*corev1.Service)
		assert.Regexp(t, `^10\.(9[6-9]|10[0-9]|11[01])\.`, svc.Spec.ClusterIP)
		assert.False(t, seen[svc.Spec.ClusterIP])
		seen[svc.Spec.ClusterIP] = true
		assert.GreaterOrEqual(t, svc.Spec.Ports[0].NodePort, int32(30000))
	}
	taken := b.countKeys(api.IPAddresses.Prefix)
	_, err := b.request(&api.Request{Verb: api.Delete, Resource: api.Services, Namespace: "default", Name: "a"})
	require.NoError(t, err)
	b.run(time.Second)
	assert.Equal(t, taken-1, b.countKeys(api.IPAddresses.Prefix))
}

func (b *bench) countKeys(prefix string) int {
	return len(b.etcd.inRange([]byte(prefix), prefixEnd(prefix)))
}

func TestEventsAreStoredForAnHour(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "web-1.1", Namespace: "default"},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web-1", Namespace: "default"}, Reason: "Killing",
		Type: "Normal"})
	require.NoError(t, err)
	assert.NotZero(t, b.etcd.keys["/registry/events/default/web-1.1"].Lease)
}

func TestCompactionForgetsWhatIsOlderThanAnInterval(t *testing.T) {
	b := newBench(t).ready()
	b.run(5*time.Minute + time.Second)
	assert.Zero(t, b.etcd.compact, "the first time nothing is known of five minutes ago")
	at := b.etcd.revision
	b.run(5 * time.Minute)
	assert.InDelta(t, at, b.etcd.compact, 5)
}

// budget makes a PodDisruptionBudget for app=web with that status.
func (b *bench) budget(name string, allowed, healthy, desired int32) {
	b.t.Helper()
	resp, err := b.create(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromInt32(desired)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}})
	require.NoError(b.t, err)
	pdb := resp.Object.DeepCopyObject().(*policyv1.PodDisruptionBudget)
	pdb.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: pdb.Generation, DisruptionsAllowed: allowed,
		CurrentHealthy: healthy, DesiredHealthy: desired, ExpectedPods: 4}
	_, err = b.request(&api.Request{Verb: api.Update, Resource: api.PodDisruptionBudgets, Subresource: "status",
		Namespace: "default", Name: name, Object: pdb})
	require.NoError(b.t, err)
}

// runningPod makes a bound pod of app=web that runs.
func (b *bench) runningPod(name, ready string) {
	b.t.Helper()
	pod := newPod(name)
	pod.Labels = map[string]string{"app": "web"}
	_, err := b.create(pod)
	require.NoError(b.t, err)
	require.NoError(b.t, b.bind(name, "worker-1"))
	_, err = b.patch(api.Pods, name, "status", types.MergePatchType,
		`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"`+ready+`"}]}}`)
	require.NoError(b.t, err)
}

func (b *bench) evict(name string) error {
	b.t.Helper()
	_, err := b.raw(&api.Request{Verb: api.Create, Resource: api.Pods, Subresource: "eviction", Namespace: "default",
		Name: name, Object: &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}})
	return err
}

func TestEvictionTakesFromTheBudgetAndIsThenRefused(t *testing.T) {
	b := newBench(t).ready()
	b.runningPod("web-1", "True")
	b.runningPod("web-2", "True")
	b.budget("web", 1, 4, 3)
	require.NoError(t, b.evict("web-1"))
	resp, err := b.get(api.Pods, "web-1")
	require.NoError(t, err)
	pod := resp.Object.(*corev1.Pod)
	require.NotNil(t, pod.DeletionTimestamp)
	last := pod.Status.Conditions[len(pod.Status.Conditions)-1]
	assert.Equal(t, "EvictionByEvictionAPI", last.Reason)
	err = b.evict("web-2")
	require.True(t, apierrors.IsTooManyRequests(err), "%v", err)
	assert.EqualError(t, err, evictionRefused)
	_, retry := apierrors.SuggestsClientDelay(err)
	assert.False(t, retry)
}

func TestEvictionSaysWhyTheBudgetRefuses(t *testing.T) {
	b := newBench(t).ready()
	b.runningPod("web-1", "True")
	b.budget("web", 0, 4, 4)
	err := b.evict("web-1")
	require.Error(t, err)
	cause := err.(*apierrors.StatusError).ErrStatus.Details.Causes[0]
	assert.Equal(t, "The disruption budget web needs 4 healthy pods and has 4 currently", cause.Message)
	b.budget("web2", 1, 4, 1)
	assert.EqualError(t, b.evict("web-1"),
		"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
}

func TestEvictionOfAnUnreadyPodIsFreeWhileTheBudgetHolds(t *testing.T) {
	b := newBench(t).ready()
	b.runningPod("web-1", "False")
	b.budget("web", 0, 3, 3)
	require.NoError(t, b.evict("web-1"))
}

// Up to v1.19 an eviction asked the budget also for a pod that served nobody; from v1.20 such a pod goes freely.
func TestOldReleasesAskTheBudgetForEveryPod(t *testing.T) {
	for minor, refused := range map[int]bool{12: true, 19: true, 20: false} { // any order: independent servers
		b := newBenchOf(t, minor).ready()
		b.runningPod("web-1", "False")
		b.budget("web", 0, 3, 3)
		assert.Equal(t, refused, apierrors.IsTooManyRequests(b.evict("web-1")), "v1.%d", minor)
	}
}

// A pod counts the generations of its specification from v1.33 on; the mark of its deletion is one.
func TestPodsCountTheirGenerations(t *testing.T) {
	for minor, want := range map[int][3]int64{32: {0, 0, 0}, 36: {1, 2, 3}} { // any order: independent servers
		b := newBenchOf(t, minor).ready()
		b.boundPod("web-1", "worker-1")
		resp, err := b.get(api.Pods, "web-1")
		require.NoError(t, err)
		assert.Equal(t, want[0], resp.Object.GetGeneration())
		resp, err = b.patch(api.Pods, "web-1", "", types.MergePatchType, `{"spec":{"activeDeadlineSeconds":100}}`)
		require.NoError(t, err)
		assert.Equal(t, want[1], resp.Object.GetGeneration())
		require.NoError(t, b.deletePod("web-1", nil))
		resp, err = b.get(api.Pods, "web-1")
		require.NoError(t, err)
		assert.Equal(t, want[2], resp.Object.GetGeneration())
	}
}

// A second delete shortens the grace, but a grace that has run out ends now, not in the past, and stays graceful.
func TestShorterGraceNeverEndsInThePast(t *testing.T) {
	b := newBench(t).ready()
	b.boundPod("web-1", "worker-1")
	require.NoError(t, b.deletePod("web-1", ptr.To[int64](600)))
	b.run(10 * time.Second)
	require.NoError(t, b.deletePod("web-1", ptr.To[int64](60)))
	resp, err := b.get(api.Pods, "web-1")
	require.NoError(t, err)
	assert.EqualValues(t, 60, *resp.Object.GetDeletionGracePeriodSeconds())
	b.run(20 * time.Second)
	require.NoError(t, b.deletePod("web-1", ptr.To[int64](5)))
	resp, err = b.get(api.Pods, "web-1")
	require.NoError(t, err)
	assert.EqualValues(t, 1, *resp.Object.GetDeletionGracePeriodSeconds())
	assert.WithinDuration(t, hardware.WallTime(b.k.Now()), resp.Object.GetDeletionTimestamp().Time, 2*time.Second)
	require.NoError(t, b.deletePod("web-1", ptr.To[int64](0)))
	_, err = b.get(api.Pods, "web-1")
	assert.True(t, apierrors.IsNotFound(err))
}
