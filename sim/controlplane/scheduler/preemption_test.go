package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (w *world) eventsOf(reason string) (objects []string) {
	for _, e := range w.kernel.Trace().Events() {
		if e.Reason == reason {
			objects = append(objects, e.Object)
		}
	}
	return objects
}

// A pod of high priority takes the place of one of low priority, which gets its grace period; meanwhile the room is
// kept.
func TestPreemptionMakesRoom(t *testing.T) {
	for _, minor := range []int{20, 28, 31, 36} {
		t.Run(fmt.Sprintf("v1.%d", minor), func(t *testing.T) {
			w := newWorld(t, 1, minor)
			w.put(node("worker-1", "a"))
			w.put(node("worker-2", "b"))
			w.put(pod("low-1", 3000, on("worker-1"), priority(10)))
			w.put(pod("low-2", 3000, on("worker-2"), priority(5)))
			w.run(time.Second)
			w.put(pod("high", 3000, priority(100)))
			w.run(3 * time.Second)
			assert.Equal(t, []string{"pod/default/low-2"}, w.eventsOf("Preempted"), "the least important victim")
			require.NotNil(t, w.pod("low-2").DeletionTimestamp)
			assert.Equal(t, "worker-2", w.pod("high").Status.NominatedNodeName)
			w.put(pod("rival", 3000, priority(50))) // may not take the room that comes free
			w.run(time.Second)
			w.server.Remove(w.pod("low-2"))
			w.run(12 * time.Second)
			assert.Equal(t, "worker-2", w.nodeOf("high"))
			assert.Equal(t, "", w.nodeOf("rival"))
			assert.Equal(t, []string{"pod/default/low-2", "pod/default/low-1"}, w.eventsOf("Preempted"),
				"the rival preempts, too")
		})
	}
}

func TestPreemptionNever(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.put(node("worker-1", "a"))
	w.put(pod("low", 3000, on("worker-1")))
	never := corev1.PreemptNever
	w.put(pod("high", 3000, priority(100), func(p *corev1.Pod) { p.Spec.PreemptionPolicy = &never }))
	w.run(2 * time.Second)
	assert.Equal(t, "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "+
		"preemption: not eligible due to preemptionPolicy=Never.", w.message("high"))
	assert.Empty(t, w.eventsOf("Preempted"))
}

// The choice of the node: budgets first, then priorities, then how many, then their age.
func TestPreemptionChoosesTheNode(t *testing.T) {
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "guard"}}
	budget.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "guarded"}}
	guarded := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "guarded"} }
	started := func(minute int) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			at := metav1.NewTime(time.Date(2025, 12, 31, 23, minute, 0, 0, time.UTC))
			p.Status.StartTime = &at
		}
	}
	for _, tc := range []struct {
		name string
		pods []*corev1.Pod // on worker-1 and worker-2
		want string
	}{
		{"fewest budgets broken, whatever the priority", []*corev1.Pod{
			pod("a", 3000, on("worker-1"), priority(1), guarded), pod("b", 3000, on("worker-2"), priority(50))}, "worker-2"},
		{"lowest highest priority", []*corev1.Pod{
			pod("a", 1500, on("worker-1"), priority(9)), pod("a2", 1500, on("worker-1"), priority(1)),
			pod("b", 1500, on("worker-2"), priority(8)), pod("b2", 1500, on("worker-2"), priority(8))}, "worker-2"},
		{"lowest sum of priorities", []*corev1.Pod{
			pod("a", 2000, on("worker-1"), priority(8)), pod("a2", 2000, on("worker-1"), priority(7)),
			pod("b", 2000, on("worker-2"), priority(8)), pod("b2", 2000, on("worker-2"), priority(6))}, "worker-2"},
		{"fewest victims", []*corev1.Pod{
			pod("a", 1500, on("worker-1"), priority(8)), pod("a2", 1500, on("worker-1"), priority(8)),
			pod("b", 3000, on("worker-2"), priority(8))}, "worker-2"},
		{"latest start", []*corev1.Pod{
			pod("a", 3000, on("worker-1"), priority(8), started(10)),
			pod("b", 3000, on("worker-2"), priority(8), started(20))}, "worker-2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := range uint64(5) { // the first node that is tried is drawn
				w := newWorld(t, seed, 36)
				w.put(budget.DeepCopy())
				w.put(node("worker-1", "a"))
				w.put(node("worker-2", "b"))
				for _, p := range tc.pods {
					w.put(p.DeepCopy())
				}
				w.run(time.Second)
				w.put(pod("high", 3500, priority(100)))
				w.run(time.Second)
				assert.Equal(t, tc.want, w.pod("high").Status.NominatedNodeName, "seed %d", seed)
			}
		})
	}
}

// Up to v1.31 a victim whose budget is broken stands for its node, though others are more important.
func TestVictimsOfBrokenBudgetsStoodFirst(t *testing.T) {
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "guard"}}
	budget.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "guarded"}}
	guarded := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "guarded"} }
	for minor, want := range map[int]string{31: "worker-1", 32: "worker-2"} { // any order: worlds of their own
		w := newWorld(t, 1, minor)
		w.put(budget.DeepCopy())
		w.put(node("worker-1", "a"))
		w.put(node("worker-2", "b"))
		w.put(pod("a", 1500, on("worker-1"), priority(1), guarded))
		w.put(pod("a2", 1500, on("worker-1"), priority(50)))
		w.put(pod("b", 3000, on("worker-2"), priority(10), guarded))
		w.run(time.Second)
		w.put(pod("high", 3500, priority(100)))
		w.run(time.Second)
		assert.Equal(t, want, w.pod("high").Status.NominatedNodeName, "v1.%d", minor)
	}
}

// As many pods as possible are put back, the important ones first.
func TestPreemptionSparesTheImportant(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.put(node("worker-1", "a"))
	for _, p := range []int32{1, 5, 9} {
		w.put(pod(fmt.Sprintf("prio-%d", p), 1000, on("worker-1"), priority(p)))
	}
	w.run(time.Second)
	w.put(pod("high", 2000, priority(100)))
	w.run(time.Second)
	assert.Equal(t, []string{"pod/default/prio-1"}, w.eventsOf("Preempted"))
}
