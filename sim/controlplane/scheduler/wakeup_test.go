package scheduler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
)

// A pod that fits nowhere is tried again when something happens that may help it, after its back-off; else after 5 min.

func TestPodIsTriedWhenANodeIsUncordoned(t *testing.T) {
	for _, minor := range []int{20, 31, 36} {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a", cordoned))
		w.put(pod("web-1", 100))
		w.run(20 * time.Second)
		require.Empty(t, w.nodeOf("web-1"))
		w.update(node("worker-1", "a"))
		w.run(3 * time.Second)
		assert.Equal(t, "worker-1", w.nodeOf("web-1"), "v1.%d", minor)
	}
}

func TestPodIsTriedWhenATaintIsTakenOff(t *testing.T) {
	for _, minor := range []int{20, 31, 36} {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a", tainted("node.kubernetes.io/unreachable", corev1.TaintEffectNoSchedule)))
		w.put(pod("web-1", 100))
		w.run(20 * time.Second)
		require.Empty(t, w.nodeOf("web-1"))
		w.update(node("worker-1", "a"))
		w.run(3 * time.Second)
		assert.Equal(t, "worker-1", w.nodeOf("web-1"), "v1.%d", minor)
	}
}

func TestPodIsTriedWhenAPodIsDeleted(t *testing.T) {
	for _, minor := range []int{20, 31, 36} {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a"))
		w.put(pod("big", 3500, on("worker-1")))
		w.put(pod("web-1", 1000))
		w.run(20 * time.Second)
		require.Empty(t, w.nodeOf("web-1"))
		w.server.Remove(w.pod("big"))
		w.run(3 * time.Second)
		assert.Equal(t, "worker-1", w.nodeOf("web-1"), "v1.%d", minor)
	}
}

// Every change of a node's taints, also a new taint, has a pod tried again that node affinity refused. This is what the
// real v1.36 was seen to do: FailedScheduling of a pod without a chance at each taint that comes and goes.
func TestAnyTaintChangeWakesWhomNodeAffinityRefused(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.course()
	w.put(pod("nowhere", 0, nodeSelector("nobody", "here")))
	w.run(60 * time.Second)
	require.Len(t, w.attempts("nowhere"), 1)
	w.update(node("worker-3", "c", tainted("dedicated", corev1.TaintEffectNoSchedule)))
	w.run(2 * time.Second)
	require.Len(t, w.attempts("nowhere"), 2)
	assert.Contains(t, w.message("nowhere"), "2 node(s) had untolerated taint(s), 3 node(s) didn't match")
	w.update(node("worker-3", "c"))
	w.run(5 * time.Second)
	assert.Len(t, w.attempts("nowhere"), 3)
}

func TestHintsLeaveOthersAlone(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.put(node("worker-1", "a"))
	w.put(pod("there", 3500, on("worker-1")))
	w.put(pod("web-1", 1000))
	w.run(20 * time.Second)
	require.Len(t, w.attempts("web-1"), 1)
	labelled := node("worker-1", "a")
	labelled.Labels["disk"] = "ssd"
	w.update(labelled) // no help for a pod that lacks CPU
	w.run(20 * time.Second)
	assert.Len(t, w.attempts("web-1"), 1)
	smaller := node("worker-1", "a")
	smaller.Status.Allocatable[corev1.ResourcePods] = labelled.Status.Allocatable[corev1.ResourceCPU]
	w.update(smaller)
	w.run(20 * time.Second)
	assert.Len(t, w.attempts("web-1"), 1)
}

func TestAffinityIsMetByALaterPod(t *testing.T) {
	for _, minor := range []int{31, 36} {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a"))
		w.put(pod("follower", 100, func(p *corev1.Pod) {
			p.Labels = map[string]string{"app": "follower"}
			p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
					LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
					TopologyKey:   corev1.LabelHostname}}}}
		}))
		w.run(20 * time.Second)
		require.Contains(t, w.message("follower"), "1 node(s) didn't match pod affinity rules")
		w.put(pod("web-1", 100))
		w.run(15 * time.Second)
		assert.Equal(t, "worker-1", w.nodeOf("follower"), "v1.%d", minor)
	}
}

// Nothing happens: the flush comes at the first look, each 30 s, that finds the pod older than 5 min (60 s up to
// v1.23).
func TestFlushOfUnschedulablePods(t *testing.T) {
	for _, tc := range []struct {
		minor int
		next  float64
	}{{20, 60}, {23, 60}, {24, 300}, {36, 300}} {
		w := newWorld(t, 1, tc.minor)
		w.course()
		w.run(10 * time.Second)
		w.put(pod("nowhere", 0, nodeSelector("nobody", "here")))
		w.run(11 * time.Minute)
		at := w.attempts("nowhere")
		require.GreaterOrEqual(t, len(at), 2, "v1.%d", tc.minor)
		assert.InDelta(t, 10, at[0], 0.1)
		assert.InDelta(t, at[0]+tc.next+15, at[1], 15.1, "v1.%d", tc.minor)
		assert.InDelta(t, 0, int64(at[1]+0.5)%30, 1, "upstream looks each 30 s from its start")
		for i := 2; i < len(at); i++ {
			assert.InDelta(t, at[1]-at[0]-15, at[i]-at[i-1]-15, 31, "v1.%d", tc.minor)
		}
	}
}

// Refusals in a row wait 1, 2, 4, 8, 10, 10 s, if only pods with a chance keep the scheduler from being idle.
func TestBackoffDoublesToTenSeconds(t *testing.T) {
	w := newWorld(t, 1, 31)
	w.put(node("worker-1", "a"))
	w.put(pod("there", 3500, on("worker-1")))
	w.put(pod("web-1", 1000))
	stop := w.kernel.Now().Add(60 * time.Second)
	n := 0
	for w.kernel.Now() < stop { // another pod goes each tenth of a second
		name := "passing"
		w.put(pod(name, 1, on("worker-1")))
		w.run(50 * time.Millisecond)
		w.server.Remove(w.pod(name))
		w.run(50 * time.Millisecond)
		n++
	}
	at := w.attempts("web-1")
	require.Greater(t, len(at), 5)
	for i, want := range []float64{1, 2, 4, 8, 10, 10} {
		if i+1 < len(at) {
			assert.InDelta(t, want+0.5, at[i+1]-at[i], 0.7, "wait %d", i)
		}
	}
}

// From v1.33 on a scheduler with nothing else to do takes pods out of their back-off.
func TestIdleSchedulerDoesNotWaitForBackoffs(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.put(node("worker-1", "a"))
	w.put(pod("there", 3500, on("worker-1")))
	w.put(pod("passing", 1, on("worker-1")))
	w.run(time.Second)
	w.put(pod("web-1", 1000))
	w.run(100 * time.Millisecond)
	w.server.Remove(w.pod("passing"))
	w.run(100 * time.Millisecond)
	assert.Len(t, w.attempts("web-1"), 2)
}

func TestGatedPodWaitsForItsGates(t *testing.T) {
	for _, minor := range []int{31, 36} {
		w := newWorld(t, 1, minor)
		w.course()
		w.put(pod("gated", 100, func(p *corev1.Pod) {
			p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/wait"}}
		}))
		w.run(20 * time.Minute)
		require.Empty(t, w.nodeOf("gated"))
		require.Empty(t, w.attempts("gated"))
		free := w.pod("gated").DeepCopy()
		free.Spec.SchedulingGates = nil
		w.update(free)
		w.run(time.Second)
		assert.NotEmpty(t, w.nodeOf("gated"), "v1.%d", minor)
	}
}

func TestUnboundClaimKeepsAPodPending(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.course()
	w.put(pod("db-0", 100, func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-db-0"}}}}
	}))
	w.run(time.Second)
	assert.Equal(t, `0/5 nodes are available: persistentvolumeclaim "data-db-0" not found. no new claims to deallocate, `+
		`preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.`, w.message("db-0"))
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "data-db-0"}}
	w.put(claim)
	w.run(12 * time.Second)
	assert.Contains(t, w.message("db-0"), "0/5 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
	bound := w.server.Get(api.PersistentVolumeClaims, "default", "data-db-0").(*corev1.PersistentVolumeClaim).DeepCopy()
	bound.Spec.VolumeName, bound.Status.Phase = "pv-1", corev1.ClaimBound
	w.update(bound)
	w.run(12 * time.Second)
	assert.NotEmpty(t, w.nodeOf("db-0"))
}
