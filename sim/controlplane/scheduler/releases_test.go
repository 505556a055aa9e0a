package scheduler

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
)

// daemon makes a pod demand a node as the DaemonSet controller does.
func daemon(node string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField,
					Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}}
	}
}

// The texts follow FitError.Error, the filters and the preemption of each release.
func TestFailedSchedulingThroughTheReleases(t *testing.T) {
	const cp = "{node-role.kubernetes.io/control-plane: }"
	big := pod("big", 3000, priority(7))
	agent := pod("agent", 3000, daemon("worker-1"))
	nowhere := pod("nowhere", 3000, nodeSelector("nobody", "here"))
	for _, tc := range []struct {
		minor int
		pod   *corev1.Pod
		want  string
	}{
		{11, nowhere, "0/5 nodes are available: 4 Insufficient cpu, 5 node(s) didn't match node selector."},
		{16, big, "0/5 nodes are available: 1 node(s) had taints that the pod didn't tolerate, 4 Insufficient cpu."},
		{17, nowhere, "0/5 nodes are available: 1 node(s) didn't match node selector, 4 Insufficient cpu."},
		{19, big, "0/5 nodes are available: 1 node(s) had taint " + cp +
			", that the pod didn't tolerate, 4 Insufficient cpu."},
		{23, agent, "0/5 nodes are available: 1 Insufficient cpu, 1 node(s) had taint " + cp +
			", that the pod didn't tolerate, 3 node(s) didn't match Pod's node affinity/selector."},
		{25, agent, "0/5 nodes are available: 1 Insufficient cpu. preemption: 0/5 nodes are available: " +
			"5 No preemption victims found for incoming pod."},
		{26, agent, "0/5 nodes are available: 1 Insufficient cpu. preemption: 0/5 nodes are available: " +
			"5 No preemption victims found for incoming pod.."},
		{28, nowhere, "0/5 nodes are available: 1 node(s) had untolerated taint " + cp + ", 4 node(s) didn't match Pod's " +
			"node affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling.."},
		{29, nowhere, "0/5 nodes are available: 1 node(s) had untolerated taint " + cp + ", 4 node(s) didn't match Pod's " +
			"node affinity/selector. preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."},
		{32, agent, "0/5 nodes are available: 1 Insufficient cpu, 4 node(s) didn't satisfy plugin(s) [NodeAffinity]. " +
			"preemption: 0/5 nodes are available: 1 No preemption victims found for incoming pod, " +
			"4 Preemption is not helpful for scheduling."},
		{35, nowhere, "0/5 nodes are available: 1 node(s) had untolerated taint(s), 4 node(s) didn't match Pod's node " +
			"affinity/selector. no new claims to deallocate, preemption: 0/5 nodes are available: " +
			"5 Preemption is not helpful for scheduling."},
	} {
		w := newWorld(t, 1, tc.minor)
		w.course()
		for i := range 4 {
			w.put(pod(fmt.Sprintf("there-%d", i), 2000, on(fmt.Sprintf("worker-%d", i+1)), priority(7)))
		}
		p := tc.pod.DeepCopy()
		w.put(p)
		w.run(5 * time.Second)
		assert.Equal(t, tc.want, w.message(p.Name), "v1.%d", tc.minor)
	}
}

func TestPreemptedThroughTheReleases(t *testing.T) {
	for minor, want := range map[int]struct{ text, condition string }{ // any order: worlds of their own
		15: {"by default/high on node worker-1", ""},
		16: {"Preempted by default/high on node worker-1", ""},
		26: {"Preempted by default/high on node worker-1", "PreemptionByKubeScheduler"},
		27: {"Preempted by a pod on node worker-1", "PreemptionByScheduler"},
		29: {"Preempted by pod uid-4 on node worker-1", "PreemptionByScheduler"},
		36: {"Preempted by pod uid-4 on node worker-1", "PreemptionByScheduler"},
	} {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a"))
		w.put(pod("low", 3000, on("worker-1")))
		w.run(time.Second)
		w.put(pod("high", 3000, priority(100)))
		w.run(2 * time.Second)
		assert.Equal(t, []string{want.text}, w.texts("Preempted"), "v1.%d", minor)
		reason := ""
		for _, c := range w.pod("low").Status.Conditions {
			if c.Type == corev1.DisruptionTarget {
				reason = c.Reason
			}
		}
		assert.Equal(t, want.condition, reason, "v1.%d", minor)
	}
}

// texts returns the messages of the event objects of a reason.
func (w *world) texts(reason string) (texts []string) {
	for _, obj := range w.server.List(api.Events) {
		if e := obj.(*corev1.Event); e.Reason == reason {
			texts = append(texts, e.Message)
		}
	}
	return texts
}

func TestBindingFailureThroughTheReleases(t *testing.T) {
	for minor, want := range map[int]struct{ reason, message string }{ // any order: worlds of their own
		13: {"BindingRejected", "Binding rejected: no"},
		19: {"SchedulerError", "Binding rejected: no"},
		25: {"SchedulerError", `binding rejected: running Bind plugin "DefaultBinder": no`},
		26: {"SchedulerError", `running Bind plugin "DefaultBinder": no`},
	} {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a"))
		w.bindError = func(string) error { return errors.New("no") }
		w.put(pod("web-1", 100))
		w.run(500 * time.Millisecond)
		assert.Equal(t, want.message, w.message("web-1"), "v1.%d", minor)
		assert.Equal(t, want.reason, w.pod("web-1").Status.Conditions[0].Reason, "v1.%d", minor)
	}
}

// Up to v1.13 every status that a node posts wakes pods that fit nowhere, and nothing else ends their wait; then there
// is a back-off, and a flush.
func TestHeartbeatsWokePodsUpToV113(t *testing.T) {
	attempts := func(minor int) int {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a"))
		w.put(pod("nowhere", 0, nodeSelector("nobody", "here")))
		for i := range 5 {
			w.run(10 * time.Second)
			w.put(node("worker-1", "a", func(n *corev1.Node) {
				n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue,
					LastHeartbeatTime: metav1.Unix(int64(i), 0)}}
			}))
		}
		w.run(5 * time.Second)
		return w.later("nowhere")
	}
	assert.Equal(t, 5, attempts(13))
	assert.Equal(t, 1, attempts(14), "the condition is new once")

	quiet := newWorld(t, 1, 13)
	quiet.put(node("worker-1", "a"))
	quiet.put(pod("nowhere", 0, nodeSelector("nobody", "here")))
	quiet.run(20 * time.Minute)
	assert.Zero(t, quiet.later("nowhere"), "no flush")
}

// later returns how often a pod was refused after the first second.
func (w *world) later(name string) (n int) {
	for _, at := range w.attempts(name) {
		if at > 1 {
			n++
		}
	}
	return n
}

// Errors of the binding: an event must come up to v1.27, the back-off alone is enough from v1.28 on. Up to v1.18 the
// API server is asked first.
func TestBindingErrorsAreRetriedByThemselvesFromV128(t *testing.T) {
	retried := func(minor int) bool {
		w := newWorld(t, 1, minor)
		w.put(node("worker-1", "a"))
		failures := 0
		w.bindError = func(string) error {
			if failures++; failures < 2 {
				return errors.New("no")
			}
			return nil
		}
		w.put(pod("web-1", 100))
		w.run(40 * time.Second)
		return w.nodeOf("web-1") == "worker-1"
	}
	for _, minor := range []int{11, 13, 28, 33, 36} {
		assert.True(t, retried(minor), "v1.%d", minor)
	}
}

// A pod that spread constraints refuse is woken from v1.31 on when a pod of its namespace is placed; before, the flush
// finds it.
func TestPlacedPodsWakeThoseThatSpreadRefusedFromV131(t *testing.T) {
	for _, tc := range []struct {
		minor int
		woken bool
	}{{30, false}, {31, true}, {32, true}} {
		w := newWorld(t, 1, tc.minor)
		w.put(node("worker-1", "a"))
		w.put(node("worker-2", "b", cordoned))
		w.put(pod("there", 100, on("worker-1")))
		w.put(pod("web-1", 100, func(p *corev1.Pod) {
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1,
				TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
		}))
		w.run(15 * time.Second)
		require.Empty(t, w.nodeOf("web-1"))
		w.put(pod("forced", 100, on("worker-2")))
		w.run(15 * time.Second)
		assert.Equal(t, tc.woken, w.nodeOf("web-1") == "worker-1", "v1.%d", tc.minor)
	}
}

// Nodes of equal scores take turns up to v1.15; v1.11 sorts them by name, the last first.
func TestEqualNodesTookTurns(t *testing.T) {
	order := func(minor int) []string {
		w := newWorld(t, 1, minor)
		for _, name := range []string{"a", "b", "c", "d"} {
			w.put(node(name, ""))
		}
		w.run(time.Second)
		for i := range 4 {
			w.put(pod(fmt.Sprintf("p-%d", i), 0))
			w.run(time.Second)
			w.server.Remove(w.pod(fmt.Sprintf("p-%d", i)))
			w.run(time.Second)
		}
		return w.bound
	}
	assert.Equal(t, []string{"p-0 d", "p-1 c", "p-2 b", "p-3 a"}, order(11))
	turns := order(15)
	nodes := map[string]bool{}
	for _, b := range turns {
		nodes[b[4:]] = true
	}
	assert.Len(t, nodes, 4, "%v", turns)
}
