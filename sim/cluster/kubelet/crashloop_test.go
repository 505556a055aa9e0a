package kubelet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim/api"
)

// starts returns, in seconds since the bench began, when containers named c of a pod ran, and when they ended.
func (b *bench) delays(object string) []float64 {
	var delays []float64
	exit := -1.0
	for _, e := range b.kernel.Trace().Events() {
		if e.Object != object {
			continue
		}
		switch e.Reason {
		case "ContainerDied":
			exit = e.T.Duration().Seconds()
		case "ContainerStarted":
			if exit >= 0 {
				delays = append(delays, e.T.Duration().Seconds()-exit)
			}
		}
	}
	return delays
}

// Recorded in truth/kubelet 02: from an exit to the next start, over seven pods.
func TestCrashLoopWaitsAsRecorded(t *testing.T) {
	windows := [][2]float64{{0.06, 1.1}, {10, 15.1}, {20, 30.1}, {40, 60.1}, {80, 91.1}, {160, 182}, {300, 332}}
	for seed := range uint64(6) {
		b := newBench(t, seed)
		b.run(5 * time.Second)
		b.put(testPod("crash", "sleep 1; exit 1", ""))
		b.run(16 * time.Minute)
		delays := b.delays("pod/default/crash")
		require.GreaterOrEqual(t, len(delays), len(windows))
		for i, w := range windows {
			assert.GreaterOrEqual(t, delays[i], w[0], "%d: %v", i, delays)
			assert.LessOrEqual(t, delays[i], w[1], "%d: %v", i, delays)
		}
	}
}

func TestOldReleasesPaceRestartsByTheirOwnPeriod(t *testing.T) {
	b := newBench(t, 1)
	b.release = api.ReleaseOf(31)
	b.run(5 * time.Second)
	b.put(testPod("crash", "exit 1", ""))
	b.run(4 * time.Minute)
	delays := b.delays("pod/default/crash")
	require.Greater(t, len(delays), 3)
	assert.Greater(t, delays[1], 10.0)
	assert.Less(t, delays[1], 31.0, "the worker wakes each 10 to 15 s")
	assert.Less(t, delays[2], 36.0)
}

// Recorded in truth/kubelet 02: after 615 s of running at once, then 10 s again.
func TestBackOffBeginsAnewAfterTenMinutesOfRunning(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	b.put(testPod("reset", "", "runs=620s exits=1"))
	b.run(45 * time.Minute)
	delays := b.delays("pod/default/reset")
	require.GreaterOrEqual(t, len(delays), 3)
	for _, d := range delays {
		assert.Less(t, d, 1.2)
	}
}

// Recorded in truth/kubelet 01: tries at +0, 11, 39, 89, 180 s.
func TestFailedPullsAreTriedAgainMoreAndMoreRarely(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	b.put(testPod("nosuch", "", "pulls=fail"))
	began := b.kernel.Now()
	b.run(4 * time.Minute)
	var tries []float64
	for _, e := range b.kernel.Trace().Events() {
		if e.Reason == "Pulling" {
			tries = append(tries, e.T.Sub(began).Seconds())
		}
	}
	require.GreaterOrEqual(t, len(tries), 5)
	windows := [][2]float64{{0.3, 0.4}, {10, 16.5}, {30, 53}, {70, 110}, {150, 205}}
	for i, w := range windows {
		assert.GreaterOrEqual(t, tries[i], w[0], "%v", tries)
		assert.LessOrEqual(t, tries[i], w[1], "%v", tries)
	}
	s := b.pod("nosuch").Status.ContainerStatuses[0].State.Waiting
	require.NotNil(t, s)
	assert.Contains(t, []string{"ErrImagePull", "ImagePullBackOff"}, s.Reason)
}
