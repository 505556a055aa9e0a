package controllers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
)

// Measured in 36 crashes: Unknown 50.3 to 55.1 s after the last renewal that arrived, median 53.2: the controller looks
// every 5 s and counts from the tick at which it saw the new renewTime.
func TestUnknownComesAGracePeriodAfterTheLastHeartbeatWasSeen(t *testing.T) {
	var sum time.Duration
	const runs = 30
	for seed := range uint64(runs) {
		b := newBench(t, seed, "v1.36")
		for _, name := range names("n", 4) {
			b.addNode(name, "")
		}
		b.start()
		b.at(40*time.Second + time.Duration(seed)*300*time.Millisecond)
		b.crash("n1")
		at := b.when(3*time.Minute, "Unknown", func() bool { return ready(b.node("n1")) == corev1.ConditionUnknown })
		since := at - b.renewed["n1"]
		assert.True(t, since >= 50*time.Second && since <= 55200*time.Millisecond, "seed %d: %s", seed, since)
		sum += since
		for _, kind := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure,
			corev1.NodePIDPressure} {
			assert.Equal(t, corev1.ConditionUnknown, nodeCondition(b.node("n1"), kind).Status)
		}
	}
	mean := sum / runs
	assert.True(t, mean > 51500*time.Millisecond && mean < 54*time.Second, "mean %s", mean)
}

// The story of a dead node, and what explains it: NotReady, its pods not ready, both taints, deletion after 300 s, each
// leading back to the crash.
func TestDeadNodesPodsAreDeletedFiveMinutesAfterTheTaint(t *testing.T) {
	b := newBench(t, 1, "v1.36")
	for _, name := range names("n", 4) {
		b.addNode(name, "")
	}
	b.addPod("bare", "n1")
	forever := b.addPod("agent", "n1").DeepCopy()
	for i := range forever.Spec.Tolerations {
		forever.Spec.Tolerations[i].TolerationSeconds = nil
	}
	b.server.Put(forever)
	b.start()
	b.at(30 * time.Second)
	fault := b.crash("n1")
	unknown := b.when(2*time.Minute, "Unknown", func() bool { return ready(b.node("n1")) == corev1.ConditionUnknown })
	b.at(unknown + 250*time.Millisecond)
	assert.True(t, hasTaint(b.node("n1"), corev1.TaintNodeUnreachable, corev1.TaintEffectNoSchedule))
	assert.True(t, hasTaint(b.node("n1"), corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute))
	assert.False(t, isPodReady(b.pod("bare")))
	assert.Equal(t, corev1.PodRunning, b.pod("bare").Status.Phase)
	deleted := b.when(10*time.Minute, "deletion", func() bool { return b.pod("bare").DeletionTimestamp != nil })
	assert.InDelta(t, 300.1, (deleted - unknown).Seconds(), 0.2)
	assert.Equal(t, "DeletionByTaintManager", podCondition(b.pod("bare"), corev1.DisruptionTarget).Reason)
	assert.Nil(t, b.pod("agent").DeletionTimestamp)

	notReady := b.events("NodeNotReady")[0]
	assert.Equal(t, "node/n1", notReady.Object)
	assert.Equal(t, fault, notReady.Cause)
	assert.Equal(t, "node-monitor-grace-period", notReady.Setting)
	assert.Equal(t, "lease/kube-node-lease/n1", b.kernel.Trace().Event(notReady.Since).Object)
	eviction := b.events("TaintManagerEviction")[0]
	assert.Equal(t, "pod/default/bare", eviction.Object)
	assert.Equal(t, 300*time.Second, eviction.Wait)
	assert.Equal(t, "tolerationSeconds", eviction.Setting)
	assert.Equal(t, "machine/n1", b.rootCause(eviction).Object)
	t.Log(notReady.Message, "|", eviction.Message)
}

func TestNodeThatReturnsKeepsItsPods(t *testing.T) {
	b := newBench(t, 2, "v1.36")
	for _, name := range names("n", 4) {
		b.addNode(name, "")
	}
	b.addPod("bare", "n1")
	b.start()
	b.at(30 * time.Second)
	b.crash("n1")
	b.at(150 * time.Second)
	require.True(t, hasTaint(b.node("n1"), corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute))
	b.boot("n1")
	b.at(150*time.Second + 20*time.Millisecond)
	assert.False(t, hasTaint(b.node("n1"), corev1.TaintNodeUnreachable, corev1.TaintEffectNoSchedule),
		"NoSchedule goes at once")
	b.at(155100 * time.Millisecond)
	assert.Empty(t, b.node("n1").Spec.Taints, "NoExecute goes at the next tick")
	cancelled := b.events("TaintManagerEviction")
	require.Len(t, cancelled, 1)
	assert.Equal(t, "Cancelling deletion of Pod default/bare", cancelled[0].Message)
	b.at(10 * time.Minute)
	assert.Nil(t, b.pod("bare").DeletionTimestamp)
}

// Up to v1.33 the NoExecute taint followed the condition that the tick before had written; the grace was 40 s up to
// v1.31.
func TestOlderReleasesTaintOneTickLater(t *testing.T) {
	for version, want := range map[string]struct{ grace, late time.Duration }{ // any order: independent runs
		"v1.31": {40 * time.Second, 5 * time.Second}, "v1.33": {50 * time.Second,
			5 * time.Second}, "v1.34": {50 * time.Second, 0}} {
		b := newBench(t, 3, version)
		for _, name := range names("n", 4) {
			b.addNode(name, "")
		}
		b.start()
		b.at(30 * time.Second)
		b.crash("n1")
		unknown := b.when(3*time.Minute, "Unknown", func() bool { return ready(b.node("n1")) == corev1.ConditionUnknown })
		tainted := b.when(3*time.Minute, "taint", func() bool {
			return hasTaint(b.node("n1"), corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
		})
		assert.InDelta(t, want.late.Seconds(), (tainted - unknown).Seconds(), 0.2, version)
		since := unknown - b.renewed["n1"]
		assert.True(t, since >= want.grace && since <= want.grace+5200*time.Millisecond, "%s: %s", version, since)
	}
}

// --pod-eviction-timeout ruled up to v1.12: five minutes after the last heartbeat, not after NotReady.
func TestPodEvictionTimeoutCountsFromTheLastHeartbeat(t *testing.T) {
	b := newBench(t, 4, "v1.12")
	for _, name := range names("n", 4) {
		b.addNode(name, "")
	}
	b.addPod("bare", "n1")
	b.start()
	b.at(30 * time.Second)
	b.crash("n1")
	deleted := b.when(10*time.Minute, "deletion", func() bool { return b.pod("bare").DeletionTimestamp != nil })
	since := deleted - b.renewed["n1"]
	assert.True(t, since >= 300*time.Second && since <= 311*time.Second, "%s", since)
	assert.Equal(t, "NodeLost", b.pod("bare").Status.Reason)
	assert.False(t, hasTaint(b.node("n1"), corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute))
}

// One node each ten seconds: the countdowns of nodes that die together start one after the other.
func TestNodesAreTaintedOneEachTenSeconds(t *testing.T) {
	b := newBench(t, 5, "v1.36")
	for _, name := range names("n", 12) {
		b.addNode(name, "")
	}
	b.start()
	b.at(30 * time.Second)
	b.crash(names("n", 6)...) // half of them: no disruption mode
	var at []time.Duration
	b.kernel.Observe(func(e sim.Event) {
		if e.Reason == "TaintAdded" && e.Level == sim.Story {
			at = append(at, e.T.Duration())
		}
	})
	b.at(4 * time.Minute)
	require.Len(t, at, 6)
	for i := 1; i < len(at); i++ {
		assert.InDelta(t, 10, (at[i] - at[i-1]).Seconds(), 0.3)
	}
}

// Recorded (04): of four nodes out of six that die, the one tainted before the zone passed 55 % is evicted and keeps
// its taint; the others never get NoExecute.
func TestPartialDisruptionStopsNewTaintsOnly(t *testing.T) {
	b := newBench(t, 6, "v1.36")
	for _, name := range names("n", 6) {
		b.addNode(name, "")
	}
	b.start()
	b.at(30 * time.Second)
	b.crash("n1")
	b.at(45 * time.Second)
	b.crash("n2", "n3", "n4")
	b.at(5 * time.Minute)
	var tainted []string
	for _, name := range names("n", 6) {
		if hasTaint(b.node(name), corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute) {
			tainted = append(tainted, name)
		}
		if name < "n5" {
			assert.True(t, hasTaint(b.node(name), corev1.TaintNodeUnreachable, corev1.TaintEffectNoSchedule))
		}
	}
	assert.Equal(t, []string{"n1"}, tainted)
}

// If nothing is heard of any node, nobody is evicted: taints are taken off again, and when nodes come back all get a
// fresh grace period.
func TestAllNodesLostStopsEvictions(t *testing.T) {
	b := newBench(t, 7, "v1.36")
	for _, name := range names("n", 3) {
		b.addNode(name, "")
	}
	b.addPod("bare", "n1")
	b.start()
	b.at(30 * time.Second)
	b.crash("n1", "n2", "n3")
	b.at(10 * time.Minute)
	for _, name := range names("n", 3) {
		assert.False(t, hasTaint(b.node(name), corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute), name)
		assert.Equal(t, corev1.ConditionUnknown, ready(b.node(name)))
	}
	assert.Nil(t, b.pod("bare").DeletionTimestamp)
	assert.False(t, isPodReady(b.pod("bare")), "pods are marked not ready all the same")
	require.Len(t, b.events("FullDisruption"), 1)
	b.boot("n2")
	b.at(11 * time.Minute)
	assert.Equal(t, corev1.ConditionTrue, ready(b.node("n2")))
}

// The countdowns of a controller die with it: the next one takes the taints off at its first pass and starts anew.
func TestRestartedControllerStartsTheCountdownsAnew(t *testing.T) {
	b := newBench(t, 8, "v1.36")
	for _, name := range names("n", 4) {
		b.addNode(name, "")
	}
	b.addPod("bare", "n1")
	b.start()
	b.at(30 * time.Second)
	b.crash("n1")
	b.at(4 * time.Minute)
	b.start()
	b.at(4*time.Minute + time.Second)
	require.NotEmpty(t, b.events("TaintRemoved"))
	deleted := b.when(20*time.Minute, "deletion", func() bool { return b.pod("bare").DeletionTimestamp != nil })
	assert.InDelta(t, (9 * time.Minute).Seconds(), deleted.Seconds(), 5)
}

// A node that died while nobody looked is noticed a whole grace period after the new controller's start.
func TestNewControllerGivesEveryNodeAFreshGracePeriod(t *testing.T) {
	b := newBench(t, 9, "v1.36")
	for _, name := range names("n", 4) {
		b.addNode(name, "")
	}
	b.at(30 * time.Second)
	b.crash("n1")
	b.at(10 * time.Minute)
	b.start()
	at := b.when(15*time.Minute, "Unknown", func() bool { return ready(b.node("n1")) == corev1.ConditionUnknown })
	assert.InDelta(t, 652.5, at.Seconds(), 2.6)
}

func TestZoneStates(t *testing.T) {
	for _, c := range []struct {
		ready, notReady int
		want            zoneState
	}{
		{3, 0, stateNormal}, {2, 1, stateNormal}, {1, 2, stateNormal}, {0, 1, stateFullDisruption}, {0, 3,
			stateFullDisruption},
		{1, 3, statePartialDisruption}, {3, 3, stateNormal}, {3, 4, statePartialDisruption}, {9, 11, statePartialDisruption},
		{0, 0, stateNormal},
	} {
		assert.Equal(t, c.want, computeZoneState(c.ready, c.notReady, 550_000), "%d ready, %d not", c.ready, c.notReady)
	}
}

// In zones of more than 50 nodes evictions go on, ten times slower; in smaller ones they stop.
func TestLargeZonesEvictTenTimesSlower(t *testing.T) {
	b := newBench(t, 10, "v1.36")
	nc := &nodeLifecycle{manager: &manager{options: b.options, kernel: b.kernel}}
	for size, want := range map[int]perMillion{50: 0, 51: 10_000} { // any order: independent cases
		z := &zone{ready: 5, notReady: size - 5, limiter: newLimiter(100_000)}
		nc.setLimiter(z, statePartialDisruption)
		assert.Equal(t, want, z.limiter.rate)
	}
	l := newLimiter(10_000)
	assert.True(t, l.tryAccept(0))
	assert.False(t, l.tryAccept(sim.Time(99*time.Second)))
	assert.True(t, l.tryAccept(sim.Time(100*time.Second)))
}

// A new limiter is as empty as the one that it replaces (SwapLimiter).
func TestSwappedLimiterStaysEmpty(t *testing.T) {
	l := newLimiter(100_000)
	require.True(t, l.tryAccept(0))
	l.swap(sim.Time(time.Second), 10_000)
	assert.False(t, l.tryAccept(sim.Time(2*time.Second)))
	full := newLimiter(100_000)
	full.swap(0, 10_000)
	assert.True(t, full.tryAccept(0))
}

func BenchmarkMonitorTickOfHealthyNodes(b *testing.B) {
	tb := newBench(&testing.T{}, 1, "v1.36")
	for _, name := range names("n", 5000) {
		tb.addNode(name, "")
	}
	tb.start()
	if err := tb.kernel.RunUntil(sim.Time(time.Minute)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := tb.kernel.RunUntil(tb.kernel.Now().Add(5 * time.Second)); err != nil {
			b.Fatal(err)
		}
	}
}

// What a pod tolerates decides when it goes: at once without a toleration, after the shortest of several, never without
// seconds.
func TestTolerationTimes(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	unreachable := corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}
	mine := corev1.Taint{Key: "mine", Value: "yes", Effect: corev1.TaintEffectNoExecute}
	exists := func(key string, n *int64) corev1.Toleration {
		return corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, TolerationSeconds: n}
	}
	for name, c := range map[string]struct { // any order: independent cases
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		all         bool
		want        time.Duration
	}{
		"none":     {[]corev1.Taint{unreachable}, nil, false, -1},
		"for ever": {[]corev1.Taint{unreachable}, []corev1.Toleration{exists("", nil)}, true, -1},
		"a while": {[]corev1.Taint{unreachable}, []corev1.Toleration{exists(unreachable.Key, seconds(30))},
			true, 30 * time.Second},
		"zero":       {[]corev1.Taint{unreachable}, []corev1.Toleration{exists(unreachable.Key, seconds(0))}, true, 0},
		"one of two": {[]corev1.Taint{unreachable, mine}, []corev1.Toleration{exists(mine.Key, nil)}, false, -1},
		"the shorter": {[]corev1.Taint{unreachable, mine}, []corev1.Toleration{exists(mine.Key, seconds(60)),
			exists(unreachable.Key, seconds(20))}, true, 20 * time.Second},
		"another value": {[]corev1.Taint{mine}, []corev1.Toleration{{Key: "mine", Value: "no"}}, false, -1},
		"another effect": {[]corev1.Taint{mine}, []corev1.Toleration{{Key: "mine", Value: "yes",
			Effect: corev1.TaintEffectNoSchedule}}, false, -1},
	} {
		used, all := matchingTolerations(c.taints, c.tolerations)
		assert.Equal(t, c.all, all, name)
		assert.Equal(t, c.want, minTolerationTime(used), name)
	}
}
