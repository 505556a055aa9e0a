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

// refuse ends the API server for d, as the recordings' proxy did: connections are reset, dials refused.
func (b *bench) refuse(d time.Duration) {
	b.server.process.Exit(137, "fault")
	b.run(d)
	b.startServer()
}

// nodeUnknown does what the node lifecycle controller does to a silent node.
func (b *bench) nodeUnknown() {
	node := b.node().DeepCopy()
	for i := range node.Status.Conditions {
		node.Status.Conditions[i].Status = corev1.ConditionUnknown
		node.Status.Conditions[i].Reason = "NodeStatusUnknown"
	}
	b.server.put(node, nil)
	for _, obj := range b.server.of(api.Pods) { // any order: each on its own
		pod := obj.(*corev1.Pod).DeepCopy()
		for i := range pod.Status.Conditions {
			if pod.Status.Conditions[i].Type == corev1.PodReady {
				pod.Status.Conditions[i].Status = corev1.ConditionFalse
			}
		}
		b.server.put(pod, nil)
	}
}

// readyAgain returns how long after t the Node, and the pod a, are Ready.
func (b *bench) readyAgain(t sim.Time) (node, pod float64) {
	for _, w := range b.server.writes {
		if w.at < t || w.request == nil {
			continue
		}
		switch obj := w.object.(type) {
		case *corev1.Node:
			if node == 0 && conditionOf(obj, corev1.NodeReady) == corev1.ConditionTrue {
				node = w.at.Sub(t).Seconds()
			}
		case *corev1.Pod:
			if pod == 0 && obj.Name == "a" && strings.HasPrefix(describe(obj), runs) {
				pod = w.at.Sub(t).Seconds()
			}
		}
	}
	return node, pod
}

func startOutage(t *testing.T, seed uint64) *bench {
	b := newBench(t, seed)
	b.run(5 * time.Second)
	b.put(testPod("a", "", ""))
	b.run(time.Minute + time.Duration(seed)*1700*time.Millisecond)
	return b
}

// Recorded in truth/kubelet 03a: the lease comes back within 7 s, nothing else is posted.
func TestThirtySecondsOfRefusalCostNoMoreThanALease(t *testing.T) {
	for seed := range uint64(8) {
		b := startOutage(t, seed)
		b.refuse(30 * time.Second)
		healed := b.kernel.Now()
		b.run(20 * time.Second)
		leases := b.leases(healed)
		require.NotEmpty(t, leases)
		assert.LessOrEqual(t, leases[0], 7.1)
		assert.Len(t, b.life("a", healed), 0)
	}
}

// Recorded in truth/kubelet 03b and 03d: lease 0.1-7.0 s, Ready=True 10-49 s after the return, at a tick after the
// Unknown was seen; a container that crashed meanwhile was restarted.
func TestReadyComesWhenTheUnknownWasSeen(t *testing.T) {
	for seed := range uint64(12) {
		b := startOutage(t, seed)
		b.put(testPod("crash", "", "runs=80s exits=1"))
		b.run(10 * time.Second)
		b.server.process.Exit(137, "fault")
		b.run(50 * time.Second)
		b.nodeUnknown()
		b.run(130 * time.Second)
		b.startServer()
		healed := b.kernel.Now()
		b.run(2 * time.Minute)
		assert.LessOrEqual(t, b.leases(healed)[0], 7.1)
		node, pod := b.readyAgain(healed)
		require.NotZero(t, node)
		assert.LessOrEqual(t, node, 72.0)
		require.NotZero(t, pod)
		assert.LessOrEqual(t, pod, 105.0)
		assert.GreaterOrEqual(t, b.pod("crash").Status.ContainerStatuses[0].RestartCount, int32(1))
	}
}

// Recorded in truth/kubelet 04a: what a cut held flows on healing.
func TestCutOfThirtySecondsHealsAtOnce(t *testing.T) {
	b := startOutage(t, 3)
	b.dc.Isolate(b.machine)
	b.run(30 * time.Second)
	b.dc.Heal()
	healed := b.kernel.Now()
	b.run(20 * time.Second)
	assert.LessOrEqual(t, b.leases(healed)[0], 1.1)
}

// Recorded in truth/kubelet 09: the container of a pod deleted by force lives until the pod watch is back, then it
// gets 2 s; a graceful deletion learnt late gets its full grace.
func TestDeletionsLearntLate(t *testing.T) {
	b := startOutage(t, 1)
	b.put(testPod("forced", "", "stops=never"))
	graceful := testPod("graceful", "", "stops=never")
	grace := int64(20)
	graceful.Spec.TerminationGracePeriodSeconds = &grace
	b.put(graceful)
	b.run(10 * time.Second)
	b.server.process.Exit(137, "fault")
	b.run(5 * time.Second)
	zero := int64(0)
	b.server.delete(b.pod("forced"), &zero, nil)
	b.server.delete(b.pod("graceful"), nil, nil)
	b.run(85 * time.Second)
	require.NotNil(t, b.runtime.Find("default", "forced", "c"))
	b.startServer()
	healed := b.kernel.Now()
	b.run(90 * time.Second)
	var exits []float64
	var told sim.Time
	for _, e := range b.kernel.Trace().Events() {
		if e.T >= healed && e.Reason == "Killing" && told == 0 {
			told = e.T
		}
		if e.T >= healed && e.Reason == "ContainerDied" {
			exits = append(exits, e.T.Sub(told).Seconds())
		}
	}
	require.Len(t, exits, 2)
	assert.InDelta(t, 2, exits[0], 0.1)
	assert.InDelta(t, 20, exits[1], 0.1)
	assert.Nil(t, b.pod("graceful"))
}

// Recorded in truth/kubelet 07: the Node does not come back before the kubelet is restarted; then at once, its lease
// one round later.
func TestDeletedNodeComesBackOnlyWithANewKubelet(t *testing.T) {
	b := startOutage(t, 1)
	b.server.gone(b.node(), &api.Request{})
	b.server.gone(b.server.of(api.Leases)[api.Key{Namespace: nodeLeaseNamespace, Name: testNode}], &api.Request{})
	b.run(4 * time.Minute)
	assert.Nil(t, b.node())
	b.kubelet.Exit(137, "fault")
	b.startKubelet()
	restarted := b.kernel.Now()
	b.run(30 * time.Second)
	require.NotNil(t, b.node())
	node, _ := b.readyAgain(restarted)
	assert.LessOrEqual(t, node, 1.0)
}
