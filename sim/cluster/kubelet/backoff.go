package kubelet

import (
	"time"

	"ksim/sim"
)

// backoff remembers, by key, how long to wait after what failed (client-go util/flowcontrol/backoff.go, v0.36).
type backoff struct {
	initial, max, expires time.Duration
	entries               map[string]*backoffEntry
}

type backoffEntry struct {
	wait    time.Duration
	updated sim.Time
}

func newBackoff(initial, longest, expires time.Duration) backoff {
	return backoff{min(initial, longest), longest, expires, map[string]*backoffEntry{}}
}

func (b *backoff) fresh(key string, event sim.Time) *backoffEntry {
	e := b.entries[key]
	if e == nil || event.Sub(e.updated) > b.expires {
		return nil
	}
	return e
}

// left returns how long the wait after an event still lasts (IsInBackOffSince); 0 when it is over.
func (b *backoff) left(key string, event, now sim.Time) time.Duration {
	e := b.fresh(key, event)
	if e == nil {
		return 0
	}
	return max(0, event.Add(e.wait).Sub(now))
}

// wait returns the length of the current wait.
func (b *backoff) wait(key string) time.Duration {
	if e := b.entries[key]; e != nil {
		return e.wait
	}
	return 0
}

// next doubles the wait, or begins anew (Next).
func (b *backoff) next(key string, event, now sim.Time) {
	e := b.fresh(key, event)
	if e == nil {
		b.entries[key] = &backoffEntry{b.initial, now}
		return
	}
	e.wait, e.updated = min(2*e.wait, b.max), now
}
