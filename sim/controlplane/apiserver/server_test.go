package apiserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}}}
}

func newConfigMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Data: map[string]string{"a": "1"}}
}

func TestServerIsReadyWithinItsMeasuredTime(t *testing.T) {
	b := newBench(t)
	began := b.k.Now()
	b.run(50 * time.Millisecond)
	for !b.server.View().(*View).Ready() {
		b.run(50 * time.Millisecond)
	}
	took := b.k.Now().Sub(began)
	assert.GreaterOrEqual(t, took, 2700*time.Millisecond)
	assert.LessOrEqual(t, took, 5*time.Second)
}

func TestSystemObjectsExistOnceReady(t *testing.T) {
	b := newBench(t).ready()
	b.run(time.Second)
	resp, err := b.request(&api.Request{Verb: api.List, Resource: api.Namespaces})
	require.NoError(t, err)
	var names []string
	for _, item := range resp.Items {
		names = append(names, item.GetName())
	}
	assert.Equal(t, []string{"default", "kube-node-lease", "kube-public", "kube-system"}, names)
	resp, err = b.get(api.Services, "kubernetes")
	require.NoError(t, err)
	assert.Equal(t, "10.96.0.1", resp.Object.(*corev1.Service).Spec.ClusterIP)
	resp, err = b.get(api.Endpoints, "kubernetes")
	require.NoError(t, err)
	assert.Equal(t, b.dc.Machine("cp-1").IP(), resp.Object.(*corev1.Endpoints).Subsets[0].Addresses[0].IP)
}

func TestComponentsAreForbiddenUntilRolesAreKnown(t *testing.T) {
	b := newBench(t)
	var refused, held int
	var texts []string
	b.user.Go("kcm", func(p *sim.Proc) {
		for {
			_, err := b.client.Do(p, &api.Request{Verb: api.Get, Resource: api.ConfigMaps, Namespace: "kube-system",
				Name: "extension-apiserver-authentication", User: "system:kube-controller-manager"})
			switch {
			case hardware.IsConnectionError(err):
				refused++
			case apierrors.IsForbidden(err):
				held++
				texts = append(texts, err.Error())
			default:
				require.NoError(t, err)
				return
			}
			p.Sleep(100 * time.Millisecond)
		}
	})
	b.run(6 * time.Second)
	assert.Positive(t, refused)
	assert.Positive(t, held)
	assert.Equal(t, `configmaps "extension-apiserver-authentication" is forbidden: User "system:kube-controller-manager" `+
		`cannot get resource "configmaps" in API group "" in the namespace "kube-system"`, texts[0])
}

func TestUnknownFlagEndsTheProcess(t *testing.T) {
	b := newBench(t, "--no-such-flag")
	var status hardware.ExitStatus
	b.server.Wait(b.k.Root(), func(s hardware.ExitStatus) { status = s })
	b.run(time.Second)
	assert.Equal(t, hardware.ExitStatus{Code: 1, Why: "Error: unknown flag: --no-such-flag"}, status)
}

func TestWriterOfAnOldVersionGetsAConflict(t *testing.T) {
	b := newBench(t).ready()
	resp, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	first := resp.Object.DeepCopyObject().(*corev1.ConfigMap)
	second := resp.Object.DeepCopyObject().(*corev1.ConfigMap)
	first.Data["a"] = "2"
	_, err = b.update(first)
	require.NoError(t, err)
	second.Data["a"] = "3"
	_, err = b.update(second)
	require.True(t, apierrors.IsConflict(err), "%v", err)
	assert.Equal(t, `Operation cannot be fulfilled on configmaps "cm": the object has been modified; please apply your `+
		`changes to the latest version and try again`, err.Error())
}

func TestCreateRefusesWhatExistsAndMissingNamespaces(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	_, err = b.create(newConfigMap("cm"))
	assert.EqualError(t, err, `configmaps "cm" already exists`)
	cm := newConfigMap("cm")
	cm.Namespace = "nosuch"
	_, err = b.create(cm)
	assert.EqualError(t, err, `namespaces "nosuch" not found`)
}

func TestUpdateThatChangesNothingIsNotWritten(t *testing.T) {
	b := newBench(t).ready()
	resp, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	version := resp.Object.GetResourceVersion()
	resp, err = b.update(resp.Object.DeepCopyObject().(api.Object))
	require.NoError(t, err)
	assert.Equal(t, version, resp.Object.GetResourceVersion())
}

func TestPodGetsTolerationsPriorityAndAccount(t *testing.T) {
	b := newBench(t, "--default-unreachable-toleration-seconds=30").ready()
	resp, err := b.create(newPod("web-1"))
	require.NoError(t, err)
	pod := resp.Object.(*corev1.Pod)
	require.Len(t, pod.Spec.Tolerations, 2)
	assert.Equal(t, int64(300), *pod.Spec.Tolerations[0].TolerationSeconds)
	assert.Equal(t, int64(30), *pod.Spec.Tolerations[1].TolerationSeconds)
	assert.Equal(t, int32(0), *pod.Spec.Priority)
	assert.Equal(t, "default", pod.Spec.ServiceAccountName)
}

func TestPriorityOfAPodIsThatOfItsClass(t *testing.T) {
	class := func(name string, value int32, policy corev1.PreemptionPolicy, isDefault bool) *schedulingv1.PriorityClass {
		return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, GlobalDefault: isDefault,
			PreemptionPolicy: &policy}
	}
	b := newBench(t).ready()
	for _, c := range []*schedulingv1.PriorityClass{class("gentle", 500, corev1.PreemptNever, false),
		class("usual", 7, corev1.PreemptLowerPriority, true)} {
		_, err := b.create(c)
		require.NoError(t, err)
	}
	b.run(time.Second)
	_, err := b.create(class("usual-too", 8, corev1.PreemptLowerPriority, true))
	require.ErrorContains(t, err, "PriorityClass usual is already marked as default. Only one default can exist")

	resp, err := b.create(newPod("a"))
	require.NoError(t, err)
	assert.Equal(t, int32(7), *resp.Object.(*corev1.Pod).Spec.Priority)
	assert.Equal(t, "usual", resp.Object.(*corev1.Pod).Spec.PriorityClassName)
	gentle := newPod("b")
	gentle.Spec.PriorityClassName = "gentle"
	resp, err = b.create(gentle)
	require.NoError(t, err)
	assert.Equal(t, int32(500), *resp.Object.(*corev1.Pod).Spec.Priority)
	assert.Equal(t, corev1.PreemptNever, *resp.Object.(*corev1.Pod).Spec.PreemptionPolicy)

	refused := func(change func(*corev1.PodSpec)) error {
		pod := newPod("c")
		change(&pod.Spec)
		_, err := b.create(pod)
		return err
	}
	never := corev1.PreemptNever
	require.ErrorContains(t, refused(func(s *corev1.PodSpec) { s.PreemptionPolicy = &never }), "the string value of "+
		"PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed "+
		"PreemptLowerPriority from the given PriorityClass name")
	require.ErrorContains(t, refused(func(s *corev1.PodSpec) { s.PriorityClassName = "nobody" }),
		"no PriorityClass with name nobody was found")
}

// v1.12 to v1.16 keep the system's classes for kube-system; preemptionPolicy comes with v1.19.
func TestSystemClassesOfOlderReleases(t *testing.T) {
	for minor, allowed := range map[int]bool{11: true, 12: false, 16: false, 17: true} { // any order: benches of their own
		b := newBenchOf(t, minor).ready()
		pod := newPod("a")
		pod.Spec.PriorityClassName = "system-node-critical"
		resp, err := b.create(pod)
		if !allowed {
			require.ErrorContains(t, err, "pods with system-node-critical priorityClass is not permitted in default namespace")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, int32(2000001000), *resp.Object.(*corev1.Pod).Spec.Priority)
		assert.Nil(t, resp.Object.(*corev1.Pod).Spec.PreemptionPolicy)
	}
}

func TestWriteOfTheTraceNamesTheRequester(t *testing.T) {
	b := newBench(t).ready()
	resp, err := b.create(newPod("web-1"))
	require.NoError(t, err)
	id := b.k.Trace().WriteOf(api.Revision(resp.Object))
	require.NotZero(t, id)
	event := b.k.Trace().Event(id)
	assert.Equal(t, "Created", event.Reason)
	assert.Equal(t, "pod/default/web-1", event.Object)
	assert.Equal(t, "kubectl", event.Component)
}

func TestGraceOfAPodIsItsOwnOnlyWhileAKubeletStopsIt(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	pod := newPod("web-1")
	pod.Spec.TerminationGracePeriodSeconds = seconds(30)
	assert.Equal(t, int64(0), podGrace(pod, nil), "not scheduled")
	pod.Spec.NodeName = "worker-1"
	assert.Equal(t, int64(30), podGrace(pod, nil))
	assert.Equal(t, int64(5), podGrace(pod, seconds(5)))
	assert.Equal(t, int64(1), podGrace(pod, seconds(-1)))
	pod.Status.Phase = corev1.PodFailed
	assert.Equal(t, int64(0), podGrace(pod, seconds(5)), "finished")
}

func (b *bench) boundPod(name, node string) {
	b.t.Helper()
	_, err := b.create(newPod(name))
	require.NoError(b.t, err)
	require.NoError(b.t, b.bind(name, node))
}

func (b *bench) deletePod(name string, grace *int64) error {
	_, err := b.request(&api.Request{Verb: api.Delete, Resource: api.Pods, Namespace: "default", Name: name,
		GracePeriodSeconds: grace})
	return err
}

func TestDeletionOfAPodIsAMarkThatCanOnlyBeShortened(t *testing.T) {
	b := newBench(t).ready()
	b.boundPod("web-1", "worker-1")
	get := func() (*corev1.Pod, error) {
		resp, err := b.get(api.Pods, "web-1")
		if err != nil {
			return nil, err
		}
		return resp.Object.(*corev1.Pod), nil
	}
	ten, forty, zero := int64(10), int64(40), int64(0)
	require.NoError(t, b.deletePod("web-1", &forty))
	pod, err := get()
	require.NoError(t, err)
	assert.Equal(t, int64(40), *pod.DeletionGracePeriodSeconds)
	require.NoError(t, b.deletePod("web-1", nil))
	pod, _ = get()
	assert.Equal(t, int64(40), *pod.DeletionGracePeriodSeconds)
	was := pod.DeletionTimestamp.Time
	require.NoError(t, b.deletePod("web-1", &ten))
	pod, _ = get()
	assert.Equal(t, int64(10), *pod.DeletionGracePeriodSeconds)
	assert.Equal(t, was.Add(-30*time.Second), pod.DeletionTimestamp.Time)
	require.NoError(t, b.deletePod("web-1", &zero))
	_, err = get()
	assert.True(t, apierrors.IsNotFound(err))
}

func TestForcedDeletionIsSeenAsTwoChanges(t *testing.T) {
	b := newBench(t).ready()
	b.boundPod("web-1", "worker-1")
	w := b.watch(&api.Request{Resource: api.Pods, Namespace: "default"})
	b.run(time.Second)
	zero := int64(0)
	require.NoError(t, b.deletePod("web-1", &zero))
	assert.Equal(t, []string{"ADDED web-1", "MODIFIED web-1", "DELETED web-1"}, w.strings())
}

func TestFinalizerKeepsADeletedObjectUntilItIsTakenOff(t *testing.T) {
	b := newBench(t).ready()
	foreground := metav1.DeletePropagationForeground
	_, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	resp, err := b.request(&api.Request{Verb: api.Delete, Resource: api.ConfigMaps, Namespace: "default", Name: "cm",
		PropagationPolicy: &foreground})
	require.NoError(t, err)
	assert.Equal(t, []string{"foregroundDeletion"}, resp.Object.GetFinalizers())
	require.NotNil(t, resp.Object.GetDeletionTimestamp())
	next := resp.Object.DeepCopyObject().(*corev1.ConfigMap)
	next.Finalizers = nil
	_, err = b.update(next)
	require.NoError(t, err)
	_, err = b.get(api.ConfigMaps, "cm")
	assert.True(t, apierrors.IsNotFound(err))
}

func TestBindingOfABoundPodIsRefused(t *testing.T) {
	b := newBench(t).ready()
	b.boundPod("web-1", "worker-1")
	assert.EqualError(t, b.bind("web-1", "worker-2"), `Operation cannot be fulfilled on pods/binding "web-1": `+
		`pod web-1 is already assigned to node "worker-1"`)
}

func TestListSelectsByFieldsAndRefusesUnknownOnes(t *testing.T) {
	b := newBench(t).ready()
	b.boundPod("web-1", "worker-1")
	b.boundPod("web-2", "worker-2")
	for _, version := range []string{"", "0"} {
		resp, err := b.request(&api.Request{Verb: api.List, Resource: api.Pods, ResourceVersion: version,
			FieldSelector: fields.ParseSelectorOrDie("spec.nodeName=worker-2")})
		require.NoError(t, err)
		require.Len(t, resp.Items, 1)
		assert.Equal(t, "web-2", resp.Items[0].GetName())
	}
	_, err := b.request(&api.Request{Verb: api.List, Resource: api.Pods,
		FieldSelector: fields.ParseSelectorOrDie("foo=bar")})
	assert.EqualError(t, err, "field label not supported: foo")
}
