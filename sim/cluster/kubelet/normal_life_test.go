package kubelet

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// line is one expected line of a pod's life: a window of time and what the object says then.
type line struct {
	from, to float64
	text     string
}

// requireLife compares a pod's life with what was recorded.
func (b *bench) requireLife(name string, since sim.Time, want ...line) {
	b.t.Helper()
	got := b.life(name, since)
	all := strings.Join(got, "\n")
	require.Len(b.t, got, len(want), all)
	for i, w := range want {
		at, text, _ := strings.Cut(got[i], " ")
		t, err := time.ParseDuration(at + "s")
		require.NoError(b.t, err)
		assert.Equal(b.t, w.text, text, all)
		assert.GreaterOrEqual(b.t, t.Seconds(), w.from, all)
		assert.LessOrEqual(b.t, t.Seconds(), w.to, all)
	}
}

const (
	creating = "Pending Initialized PodScheduled c#0:ContainerCreating"
	sandbox  = "Pending PodReadyToStartContainers Initialized PodScheduled c#0:ContainerCreating"
	runs     = "Running PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled "
	unready  = "Running PodReadyToStartContainers Initialized PodScheduled "
)

// Recorded in truth/kubelet 01: bind to Ready takes 0.45 s with the image there, 1.8 s with a pull of 1 s.
func TestPodIsReadyHalfASecondAfterItWasBound(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	at := b.kernel.Now()
	b.put(testPod("a", "", ""))
	b.put(testPod("pull", "", "pulls=1s"))
	b.run(5 * time.Second)
	b.requireLife("a", at, line{0, 0, "Pending"}, line{0, 0.05, creating}, line{0.3, 0.35, sandbox},
		line{0.36, 0.5, runs + "c#0:running"})
	b.requireLife("pull", at, line{0, 0, "Pending"}, line{0, 0.05, creating}, line{0.3, 0.35, sandbox},
		line{1.36, 1.9, runs + "c#0:running"})
	assert.Equal(t, []string{"Pulling", "Pulled", "Created", "Started"}, b.events("pod/default/pull"))
	assert.NotEmpty(t, b.pod("a").Status.PodIP)
}

func TestInitContainersRunInOrderBeforeTheOthers(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	pod := testPod("two", "", "")
	first := pod.Spec.Containers[0]
	first.Name, first.Command = "i", []string{"sleep", "2"}
	pod.Spec.InitContainers = []corev1.Container{first}
	at := b.kernel.Now()
	b.put(pod)
	b.run(10 * time.Second)
	ready := "PodReadyToStartContainers "
	b.requireLife("two", at, line{0, 0, "Pending"},
		line{0, 0.05, "Pending PodScheduled i#0:PodInitializing c#0:PodInitializing"},
		line{0.3, 0.35, "Pending " + ready + "PodScheduled i#0:PodInitializing c#0:PodInitializing"},
		line{0.36, 0.5, "Pending " + ready + "PodScheduled i#0:running c#0:PodInitializing"},
		line{2.36, 3.5, "Pending " + ready + "Initialized PodScheduled i#0:exited-0-Completed c#0:PodInitializing"},
		line{2.4, 3.6,
			"Running " + ready + "Initialized Ready ContainersReady PodScheduled i#0:exited-0-Completed c#0:running"})
}

// Recorded in truth/kubelet 01: SIGTERM at once, the end posted when it is there, the object gone within a second of
// it.
func TestDeletedPodGoesWithinASecondOfItsLastContainer(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	b.put(testPod("stop2", "", "stops=2s"))
	b.put(testPod("ignore", "sleep 3600", ""))
	b.put(testPod("grace1", "", "stops=never"))
	b.put(testPod("force", "", "stops=never"))
	b.run(10 * time.Second)
	at := b.kernel.Now()
	one, zero := int64(1), int64(0)
	b.server.delete(b.pod("stop2"), nil, nil)
	b.server.delete(b.pod("ignore"), nil, nil)
	b.server.delete(b.pod("grace1"), &one, nil)
	b.server.delete(b.pod("force"), &zero, nil)
	b.run(40 * time.Second)
	b.requireLife("stop2", at, line{0, 0, runs + "c#0:running deleting(30)"},
		line{2, 2.1, "Succeeded Initialized PodScheduled c#0:exited-0-Completed deleting(30)"},
		line{2.1, 3.1, "Succeeded Initialized PodScheduled c#0:exited-0-Completed deleting(0)"}, line{2.1, 3.1, "gone"})
	b.requireLife("ignore", at, line{0, 0, runs + "c#0:running deleting(30)"},
		line{30, 30.1, "Failed Initialized PodScheduled c#0:exited-137-Error deleting(30)"},
		line{30, 31.1, "Failed Initialized PodScheduled c#0:exited-137-Error deleting(0)"}, line{30, 31.1, "gone"})
	b.requireLife("grace1", at, line{0, 0, runs + "c#0:running deleting(1)"},
		line{2, 2.1, "Failed Initialized PodScheduled c#0:exited-137-Error deleting(1)"},
		line{2, 3.1, "Failed Initialized PodScheduled c#0:exited-137-Error deleting(0)"}, line{2, 3.1, "gone"})
	for _, c := range b.runtime.Containers() {
		assert.False(t, c.Running, c.Pod)
	}
	assert.Empty(t, b.runtime.Containers(), "what is deleted is removed from the machine")
}

// Recorded in truth/kubelet 12b: a hook uses up a part of the grace period.
func TestPreStopHookRunsInsideTheGracePeriod(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	pod := testPod("hook", "", "stops=never")
	grace := int64(10)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	pod.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
		Exec: &corev1.ExecAction{Command: []string{"sleep", "4"}}}}
	b.put(pod)
	b.run(5 * time.Second)
	at := b.kernel.Now()
	b.server.delete(b.pod("hook"), nil, nil)
	b.run(20 * time.Second)
	c := b.life("hook", at)
	require.Len(t, c, 4)
	assert.Regexp(t, `^10\.0\d Failed`, c[1])
}

// Recorded in truth/kubelet 01b: gaps of 10 s times 1 to 1.04.
func TestLeaseIsRenewedEveryTenSecondsAndALittle(t *testing.T) {
	b := newBench(t, 1)
	b.run(30 * time.Minute)
	times := b.leases(0)
	require.Greater(t, len(times), 170)
	sum := 0.0
	for i, at := range times[1:] {
		gap := at - times[i]
		require.GreaterOrEqual(t, gap, 10.0)
		require.LessOrEqual(t, gap, 10.42)
		sum += gap
	}
	assert.InDelta(t, 10.2, sum/float64(len(times)-1), 0.03)
}

// Recorded in truth/kubelet 01b: a status without change is posted every 305 to 306 s.
func TestUnchangedStatusIsPostedEveryFiveMinutes(t *testing.T) {
	b := newBench(t, 1)
	b.run(time.Minute)
	assert.Equal(t, corev1.ConditionTrue, conditionOf(b.node(), corev1.NodeReady))
	b.run(30 * time.Minute)
	var posts []float64
	for _, w := range b.server.writes {
		if w.request.Resource == api.Nodes && w.request.Subresource == "status" {
			posts = append(posts, w.at.Duration().Seconds())
		}
	}
	require.Greater(t, len(posts), 5)
	for i, at := range posts[2:] {
		gap := at - posts[i+1]
		assert.GreaterOrEqual(t, gap, 300.0)
		assert.LessOrEqual(t, gap, 311.0)
	}
}

func TestCompletedPodsEndAsTheirPolicySays(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	never := testPod("never", "sleep 1; exit 1", "")
	never.Spec.RestartPolicy = corev1.RestartPolicyNever
	b.put(never)
	onFailure := testPod("onfailure", "sleep 1", "")
	onFailure.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	b.put(onFailure)
	at := b.kernel.Now()
	b.run(10 * time.Second)
	b.requireLife("never", at, line{0, 0, "Pending"}, line{0, 0.1, creating}, line{0.3, 0.4, sandbox},
		line{0.36, 0.5, runs + "c#0:running"}, line{1.4, 2.5, unready + "c#0:exited-1-Error"},
		line{1.4, 3.5, "Failed Initialized PodScheduled c#0:exited-1-Error"})
	assert.Equal(t, corev1.PodSucceeded, b.pod("onfailure").Status.Phase)
}
