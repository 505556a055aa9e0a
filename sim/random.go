package sim

import (
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Stream is a source of randomness of its own: draws from it do not shift those of any other.
type Stream struct{ *rand.Rand }

// Rand returns the stream of that name, always the same one. Name one per subsystem and machine ("kubelet/worker-1"),
// so that a draw added in one place does not change what happens in another.
func (k *Kernel) Rand(name string) *Stream {
	s := k.streams[name]
	if s == nil {
		// One piece of memory: a machine's stream is in no cache when it is drawn from.
		of := &struct {
			stream Stream
			rand   rand.Rand
			pcg    rand.PCG
		}{pcg: *rand.NewPCG(k.seed, xxhash.Sum64String(name))}
		of.rand = *rand.New(&of.pcg)
		of.stream.Rand = &of.rand
		s = &of.stream
		k.streams[name] = s
	}
	return s
}

// Between draws a duration in [low, high], uniformly.
func (s *Stream) Between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(s.Int64N(int64(high-low)+1))
}

// Jitter draws d x [1, 1 + perMille/1000], as wait.Jitter does with a factor of perMille/1000 (apimachinery
// pkg/util/wait/backoff.go).
func (s *Stream) Jitter(d time.Duration, perMille int64) time.Duration {
	return d + time.Duration(s.Int64N(int64(d)/1000*perMille+1))
}

// Chance draws true in perMillion of a million cases.
func (s *Stream) Chance(perMillion int64) bool { return s.Int64N(1_000_000) < perMillion }
