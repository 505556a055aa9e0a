package kubelet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Recorded in truth/kubelet 11: Failed within 0.04 s, without container statuses.
func TestPodsThatDoNotFitAreRefused(t *testing.T) {
	asks := func(name corev1.ResourceName, quantity string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{name: resource.MustParse(quantity)}
		}
	}
	tests := []struct {
		name            string
		change          func(*corev1.Pod)
		reason, message string
	}{
		{"bigcpu", asks("cpu", "64"), "OutOfcpu",
			"Pod was rejected: Node didn't have enough resource: cpu, requested: 64000, used: 0, capacity: 4000"},
		{"bigmem", asks("memory", "900Gi"), "OutOfmemory", "Pod was rejected: Node didn't have enough resource: " +
			"memory, requested: 966367641600, used: 0, capacity: 17179869184"},
		{"selector", func(pod *corev1.Pod) { pod.Spec.NodeSelector = map[string]string{"disk": "ssd"} }, "NodeAffinity",
			"Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
		{"windows", func(pod *corev1.Pod) { pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }, "PodOSNotSupported",
			"Pod was rejected: Failed to admit pod as the OS field doesn't match node OS"},
	}
	b := newBench(t, 1)
	b.run(5 * time.Second)
	for _, test := range tests {
		pod := testPod(test.name, "", "")
		test.change(pod)
		at := b.kernel.Now()
		b.put(pod)
		b.run(100 * time.Millisecond)
		got := b.pod(test.name).Status
		assert.Equal(t, corev1.PodFailed, got.Phase, test.name)
		assert.Equal(t, test.reason, got.Reason)
		assert.Equal(t, test.message, got.Message)
		assert.Empty(t, got.ContainerStatuses)
		require.Len(t, b.life(test.name, at), 2)
	}
	pod := testPod("gpu", "", "")
	asks("example.com/gpu", "1")(pod)
	b.put(pod)
	b.run(2 * time.Second)
	assert.Equal(t, corev1.PodRunning, b.pod("gpu").Status.Phase, "an unknown extended resource is admitted")
}

func TestSecondPodWithTheSameHostPortIsRefused(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	for _, name := range []string{"one", "two"} {
		pod := testPod(name, "", "")
		pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80, ContainerPort: 80}}
		b.put(pod)
		b.run(time.Second)
	}
	assert.Equal(t, corev1.PodRunning, b.pod("one").Status.Phase)
	assert.Equal(t, "NodePorts", b.pod("two").Status.Reason)
}

func TestNoExecuteTaintIsNotTolerated(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	node := b.node().DeepCopy()
	node.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoExecute},
		{Key: "s", Effect: corev1.TaintEffectNoSchedule}}
	b.server.put(node, nil)
	b.run(time.Second)
	b.put(testPod("refused", "", ""))
	tolerant := testPod("tolerant", "", "")
	tolerant.Spec.Tolerations = []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists}}
	b.put(tolerant)
	b.run(2 * time.Second)
	assert.Equal(t, "TaintToleration", b.pod("refused").Status.Reason)
	assert.Equal(t, corev1.PodRunning, b.pod("tolerant").Status.Phase)
}
