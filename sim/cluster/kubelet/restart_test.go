package kubelet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
)

// changes counts writes of a pod's object since t.
func (b *bench) changes(name string, since sim.Time) int {
	n := 0
	for _, w := range b.server.writes {
		if pod, ok := w.object.(*corev1.Pod); ok && pod.Name == name && w.at > since {
			n++
		}
	}
	return n
}

func withReadiness(pod *corev1.Pod) *corev1.Pod {
	pod.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 10, TimeoutSeconds: 1, FailureThreshold: 3,
		SuccessThreshold: 1, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	return pod
}

// Recorded in truth/kubelet 05a: lease 0.4 s after the start of the new process, pods seen at 1.4, crashed containers
// restarted at 1.7; nothing flaps.
func TestRestartedKubeletFindsItsContainers(t *testing.T) {
	b := startOutage(t, 1)
	b.put(testPod("crash", "", "runs=40s exits=1"))
	b.put(withReadiness(testPod("probed", "", "")))
	b.run(35 * time.Second)
	b.kubelet.Exit(137, "fault")
	b.run(10 * time.Second)
	b.startKubelet()
	at := b.kernel.Now()
	b.run(30 * time.Second)
	assert.InDelta(t, 0.4, b.leases(at)[0], 0.1)
	assert.Zero(t, b.changes("a", at), "a healthy pod's status is not posted")
	assert.Zero(t, b.changes("probed", at), "a probed pod does not flap")
	b.requireLife("crash", at, line{1.3, 1.5, unready + "c#0:exited-1-Error"}, line{1.6, 1.85, runs + "c#1:running"})
	assert.Zero(t, b.pod("a").Status.ContainerStatuses[0].RestartCount)
}

// Recorded in truth/kubelet 05c: without the API only static pods are looked at.
func TestRestartedKubeletWithoutTheAPILooksAfterStaticPodsOnly(t *testing.T) {
	b := startOutage(t, 1)
	require.NoError(t, b.machine.Disk().WriteFileSync(manifestFile, []byte(staticManifest)))
	b.put(testPod("crash", "", "runs=20s exits=1"))
	b.run(15 * time.Second)
	b.server.process.Exit(137, "fault")
	b.kubelet.Exit(137, "fault")
	b.run(10 * time.Second)
	b.runtime.Crash("default", "st-"+testNode)
	b.startKubelet()
	b.run(70 * time.Second)
	require.NotNil(t, b.runtime.Find("default", "st-"+testNode, "c"))
	assert.Equal(t, 1, b.runtime.Find("default", "st-"+testNode, "c").Attempt)
	assert.Zero(t, b.runtime.Find("default", "crash", "c").Attempt, "pods of the API are not looked at")
	b.startServer()
	at := b.kernel.Now()
	b.run(90 * time.Second)
	assert.LessOrEqual(t, b.leases(at)[0], 7.1)
	assert.Positive(t, b.runtime.Find("default", "crash", "c").Attempt)
	assert.Positive(t, b.pod("crash").Status.ContainerStatuses[0].RestartCount)
}

// Recorded in truth/kubelet 06b: the same pods in new sandboxes, restartCount + 1, no back-off; Never: Failed.
func TestRebootRunsTheSamePodsAgain(t *testing.T) {
	b := startOutage(t, 1)
	never := testPod("never", "", "")
	never.Spec.RestartPolicy = corev1.RestartPolicyNever
	b.put(never)
	initial := testPod("init", "", "")
	first := initial.Spec.Containers[0]
	first.Name, first.Command = "i", []string{"sleep", "1"}
	initial.Spec.InitContainers = []corev1.Container{first}
	b.put(initial)
	b.run(30 * time.Second)
	address := b.pod("a").Status.PodIP
	b.machine.PowerOff()
	b.run(40 * time.Second)
	b.nodeUnknown()
	b.run(20 * time.Second)
	b.machine.PowerOn()
	at := b.kernel.Now()
	b.run(30 * time.Second)
	a := b.pod("a")
	assert.Equal(t, int32(1), a.Status.ContainerStatuses[0].RestartCount)
	last := a.Status.ContainerStatuses[0].LastTerminationState.Terminated
	require.NotNil(t, last)
	assert.Equal(t, "Unknown", last.Reason)
	assert.Equal(t, int32(255), last.ExitCode)
	assert.NotEqual(t, address, a.Status.PodIP)
	node, pod := b.readyAgain(at)
	assert.LessOrEqual(t, node, 1.0)
	assert.InDelta(t, 1.9, pod, 0.4)
	assert.Equal(t, corev1.PodFailed, b.pod("never").Status.Phase)
	assert.Equal(t, corev1.PodRunning, b.pod("init").Status.Phase)
	assert.Equal(t, int32(1), b.pod("init").Status.ContainerStatuses[0].RestartCount)
	assert.Contains(t, b.events("node/"+testNode), "Rebooted")
	assert.Contains(t, b.events("pod/default/a"), "SandboxChanged")
	assert.Equal(t, b.machine.BootID(), b.node().Status.NodeInfo.BootID)
}

func TestContainersOutliveContainerd(t *testing.T) {
	b := startOutage(t, 1)
	for _, p := range b.machine.Processes() {
		if p.Name == "containerd" {
			p.Exit(137, "fault")
			break
		}
	}
	assert.True(t, b.runtime.Containers()[0].Running)
	b.put(testPod("late", "", ""))
	b.run(5 * time.Second)
	assert.Equal(t, corev1.PodPending, b.pod("late").Status.Phase)
	b.startContainerd()
	b.run(20 * time.Second)
	assert.Equal(t, corev1.PodRunning, b.pod("late").Status.Phase)
	assert.Zero(t, b.pod("a").Status.ContainerStatuses[0].RestartCount)
}

func TestNodeIsNotReadyWithoutItsRuntime(t *testing.T) {
	b := startOutage(t, 1)
	for _, p := range b.machine.Processes() {
		if p.Name == "containerd" {
			p.Exit(137, "fault")
			break
		}
	}
	b.run(45 * time.Second)
	assert.Equal(t, corev1.ConditionFalse, conditionOf(b.node(), corev1.NodeReady))
}

func TestPodsLeftOverFromARestoredEtcdAreKilled(t *testing.T) {
	b := startOutage(t, 1)
	b.kubelet.Exit(137, "fault")
	b.server.gone(b.pod("a"), nil)
	b.startKubelet()
	b.run(20 * time.Second)
	assert.Empty(t, b.runtime.Containers())
}
