package kubelet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkSteadyNode is a minute of one node with 20 pods in which nothing happens: six renewals of a lease, twenty
// resyncs.
func BenchmarkSteadyNode(b *testing.B) {
	node := newBench(b, 1)
	node.run(5 * time.Second)
	for i := range 20 {
		pod := withReadiness(testPod(fmt.Sprintf("pod-%d", i), "", ""))
		pod.Spec.Containers[0].LivenessProbe = httpProbe(10, 3)
		node.put(pod)
	}
	node.run(10 * time.Minute)
	b.ReportAllocs()
	b.ResetTimer()
	steps := node.kernel.Steps()
	for b.Loop() {
		require.NoError(b, node.kernel.RunUntil(node.kernel.Now().Add(time.Minute)))
	}
	b.ReportMetric(float64(node.kernel.Steps()-steps)/float64(b.N), "events/op")
}

// BenchmarkPodStart is the start of a pod, from the bind to Ready.
func BenchmarkPodStart(b *testing.B) {
	node := newBench(b, 1)
	node.run(5 * time.Second)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		pod := testPod(fmt.Sprintf("pod-%d", i), "", "")
		node.put(pod)
		require.NoError(b, node.kernel.RunUntil(node.kernel.Now().Add(2*time.Second)))
		node.server.delete(node.pod(pod.Name), nil, nil)
		require.NoError(b, node.kernel.RunUntil(node.kernel.Now().Add(5*time.Second)))
		node.server.writes, node.server.history = nil, nil
	}
}

// What a kubelet does when nothing happens is what one sees of it: leases, and a status now and then.
func TestIdleKubeletSchedulesLittle(t *testing.T) {
	b := newBench(t, 1)
	b.run(time.Minute)
	steps := b.kernel.Steps()
	writes := len(b.server.writes)
	b.run(10 * time.Minute)
	requests := len(b.server.writes) - writes
	require.Less(t, b.kernel.Steps()-steps, uint64(requests)*14+200)
}

// Pods in which nothing happens cost nothing: their resyncs are caught up on when it matters. What they would have
// drawn is drawn, so that what comes after is the same.
func TestSteadyPodsScheduleNothing(t *testing.T) {
	b := newBench(t, 1)
	for i := range 20 {
		b.put(testPod(fmt.Sprintf("pod-%d", i), "", ""))
	}
	b.run(5 * time.Minute)
	kl := b.kubelet.View().(*Kubelet)
	require.Len(t, kl.resyncs.entries, 20)
	kl.rand()
	serial := kl.resyncs.serial
	steps, writes := b.kernel.Steps(), len(b.server.writes)
	b.run(10 * time.Minute)
	require.Less(t, b.kernel.Steps()-steps, uint64(len(b.server.writes)-writes)*14+200)

	now := b.kernel.Now()
	kl.rand()
	require.InDelta(t, 20*10*60/75, int(kl.resyncs.serial-serial), 20, "a resync each 60 to 90 s")
	for _, e := range kl.resyncs.entries {
		require.Greater(t, e.due, now)
		require.LessOrEqual(t, e.due.Sub(now), 91*time.Second)
		require.Zero(t, e.due.Sub(kl.loop)%syncTickerPeriod)
	}
	first := kl.resyncs.entries[0]
	first.worker.rouse()
	require.True(t, first.worker.timer.Pending())
	require.Len(t, kl.resyncs.entries, 19)
	b.run(2 * time.Minute)
	require.Len(t, kl.resyncs.entries, 20, "nothing was to be found, so it waits again")
}
