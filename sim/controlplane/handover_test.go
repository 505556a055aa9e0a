package controlplane

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
	"ksim/sim/internal/samples"
)

// How long a lock takes to change hands, as distributions: seconds from the end of its holder until another has it.
// Recorded on kube-controller-manager and kube-scheduler v1.36.0.
var (
	// Two controller managers, SIGKILL and SIGTERM of the holder; it does not release.
	recordedSIGKILL = samples.Sample{17.085, 17.740, 20.348, 14.447, 18.796, 19.184, 18.186}
	recordedSIGTERM = samples.Sample{18.059, 14.620, 18.992, 13.872, 19.841}
	// The same, from the holder's last renewal.
	recordedRenewal = samples.Sample{18.399, 18.065, 21.996, 16.240, 19.380, 19.713, 18.989,
		18.470, 16.309, 19.954, 15.826, 20.064}
	// Three of each; the holders' machine killed, its API server or etcd lost, its power cut.
	recordedOfThree = samples.Sample{15.58, 16.96, 16.61, 16.09, 14.5, 20.65, 16.62, 15.34, 16.71, 18.5}
)

// handOver is a lock that changes hands again and again: its holder is killed at any moment, and comes back as a
// candidate some time after another has taken over.
type handOver struct {
	*contest
	random *sim.Stream
	names  []string
}

func newHandOver(t *testing.T, seed uint64, candidates int) *handOver {
	h := &handOver{contest: newContest(t, seed)}
	h.random = h.kernel.Rand("when the holder is killed")
	for i := range candidates {
		h.names = append(h.names, fmt.Sprintf("cp-%d", i+1))
		h.join(h.names[i])
		h.pass(time.Second)
	}
	h.pass(20 * time.Second)
	return h
}

func (h *handOver) pass(d time.Duration) { h.at(h.kernel.Now().Duration() + d) }

// once ends the holder's process and returns how long it took from then, and from the last renewal.
func (h *handOver) once(sig hardware.Signal) (fromEnd, fromRenewal float64) {
	h.pass(h.random.Between(8*time.Second, 12*time.Second))
	old, renewed := h.holder(), h.renewed()
	require.NotEmpty(h.t, old)
	h.dc.Machine(old).Processes()[0].Signal(sig)
	ended := h.kernel.Now()
	for h.holder() == old || h.holder() == "" {
		_, err := h.kernel.Step()
		require.NoError(h.t, err)
		require.Less(h.t, h.kernel.Now().Sub(ended), time.Minute)
	}
	taken := h.kernel.Now()
	h.join(old)
	return taken.Sub(ended).Seconds(), taken.Sub(renewed).Seconds()
}

func (h *handOver) times(n int, sig hardware.Signal) (ends, renewals samples.Sample) {
	for range n {
		end, renewal := h.once(sig)
		ends, renewals = append(ends, end), append(renewals, renewal)
	}
	return ends, renewals
}

func TestTheLockOfADeadHolderIsTakenOverAsRecorded(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		ends, renewals := newHandOver(t, seed, 2).times(300, hardware.SIGKILL)
		t.Logf("seed %d: %.1f %.1f %.1f; p %.2f %.2f %.2f", seed, ends.Quantile(0), ends.Quantile(0.5), ends.Quantile(1),
			samples.Same(ends, recordedSIGKILL), samples.Same(ends, recordedSIGTERM), samples.Same(renewals, recordedRenewal))
		assert.Greater(t, samples.Same(ends, recordedSIGKILL), 0.05)
		assert.Greater(t, samples.Same(ends, recordedSIGTERM), 0.05)
		assert.Greater(t, samples.Same(renewals, recordedRenewal), 0.05)
	}
}

func TestOneOfTwoStandbysTakesTheLockAsRecorded(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		ends, _ := newHandOver(t, seed, 3).times(300, hardware.SIGKILL)
		t.Logf("seed %d: %.1f %.1f %.1f; p %.2f", seed, ends.Quantile(0), ends.Quantile(0.5), ends.Quantile(1),
			samples.Same(ends, recordedOfThree))
		assert.Greater(t, samples.Same(ends, recordedOfThree), 0.05)
	}
}

// nextLook is the share of standbys that look at a lock within x seconds of any moment, when they look every 2 to
// 4.4 s: the residual life of a renewal process.
func nextLook(x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x <= 2:
		return x / 3.2
	case x <= 4.4:
		return (2 + (4.4*x-x*x/2-6.8)/2.4) / 3.2
	}
	return 1
}

func TestAReleasedLockIsTakenAtTheStandbysNextLook(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		h := newHandOver(t, seed, 0)
		h.release = true
		h.join("cp-1")
		h.pass(time.Second)
		h.join("cp-2")
		h.pass(20 * time.Second)
		ends, _ := h.times(300, hardware.SIGTERM)
		assert.LessOrEqual(t, ends.Quantile(1), 4.5)
		assert.Greater(t, samples.Follows(ends, nextLook), 0.05, "seed %d", seed)
	}
}
