package kubelet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestConfiguredShutdownEndsPodsBeforeTheMachine(t *testing.T) {
	b := newBench(t, 1)
	b.args = append(b.args, "--config=/var/lib/kubelet/config.yaml")
	require.NoError(t, b.machine.Disk().WriteFileSync("/var/lib/kubelet/config.yaml",
		[]byte("shutdownGracePeriod: 30s\nshutdownGracePeriodCriticalPods: 10s\n")))
	b.run(5 * time.Second)
	b.put(testPod("a", "", "stops=3s"))
	b.run(5 * time.Second)
	done := false
	at := b.kernel.Now()
	b.kubelet.View().(*Kubelet).Shutdown(func() { done = true })
	b.run(2 * time.Second)
	assert.Equal(t, corev1.ConditionFalse, conditionOf(b.node(), corev1.NodeReady))
	assert.False(t, done)
	b.put(testPod("late", "", ""))
	b.run(3 * time.Second)
	assert.True(t, done)
	assert.Equal(t, corev1.PodFailed, b.pod("a").Status.Phase, b.life("a", at))
	assert.Equal(t, "Terminated", b.pod("a").Status.Reason)
	assert.Equal(t, "NodeShutdown", b.pod("late").Status.Reason)
}

func TestShutdownIsNotHeldUpUnlessConfigured(t *testing.T) {
	b := startOutage(t, 1)
	done := false
	b.kubelet.View().(*Kubelet).Shutdown(func() { done = true })
	assert.True(t, done)
}
