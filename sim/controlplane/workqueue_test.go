package controlplane

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ksim/sim"
)

func TestFailedKeyComesBackAfterDoublingDelays(t *testing.T) {
	b := newBench(t)
	q := NewWorkQueue[string](b.client.Scope(), DefaultRateLimits())
	var at []time.Duration
	q.RunRetrying("test", 1, 0, func(p *sim.Proc, _ string) error {
		at = append(at, p.Now().Duration())
		return errors.New("no")
	})
	q.Add("a")
	b.at(time.Second)
	want := []time.Duration{0, 5, 15, 35, 75, 155, 315, 635}
	for i := range want {
		want[i] *= time.Millisecond
	}
	assert.Equal(t, want, at)
}

func TestRateLimitIsCappedAndForgotten(t *testing.T) {
	b := newBench(t)
	q := NewWorkQueue[string](b.client.Scope(), RateLimits{Base: 5 * time.Millisecond, Max: 1000 * time.Second})
	for range 50 {
		assert.LessOrEqual(t, q.limit("a"), 1000*time.Second)
	}
	assert.Equal(t, 1000*time.Second, q.limit("a"))
	q.Forget("a")
	assert.Equal(t, 5*time.Millisecond, q.limit("a"))
}

// Over all keys a hundred retries are free, then ten a second.
func TestOverallBucketLimitsRetriesOfManyKeys(t *testing.T) {
	b := newBench(t)
	q := NewWorkQueue[string](b.client.Scope(), DefaultRateLimits())
	var last time.Duration
	for i := range 120 {
		last = q.limit(fmt.Sprint(i))
	}
	assert.Equal(t, 2*time.Second, last)
}

func TestKeyDroppedAfterMaxRetries(t *testing.T) {
	b := newBench(t)
	q := NewWorkQueue[string](b.client.Scope(), DefaultRateLimits())
	tries := 0
	q.RunRetrying("test", 1, 15, func(*sim.Proc, string) error { tries++; return errors.New("no") })
	q.Add("a")
	b.at(time.Hour)
	assert.Equal(t, 16, tries)
	assert.True(t, q.Idle())
}

// Whatever is added in whatever order: no key is synced twice at once, no add is lost, and workers are never exceeded.
func TestWorkQueueProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := sim.New(1)
		defer k.Close()
		q := NewWorkQueue[int](k.Root(), DefaultRateLimits())
		running, syncedAt, addedAt := map[int]bool{}, map[int]sim.Time{}, map[int]sim.Time{}
		workers := rapid.IntRange(1, 4).Draw(rt, "workers")
		q.Run("test", workers, func(p *sim.Proc, key int) {
			if running[key] {
				rt.Fatalf("key %d is synced twice at once", key)
			}
			running[key] = true
			if len(running) > workers {
				rt.Fatalf("%d workers", len(running))
			}
			syncedAt[key] = p.Now()
			p.Sleep(7 * time.Millisecond)
			delete(running, key)
		})
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			key := rapid.IntRange(0, 5).Draw(rt, "key")
			delay := time.Duration(rapid.IntRange(0, 3).Draw(rt, "delay")) * 5 * time.Millisecond
			q.AddAfter(key, delay)
			addedAt[key] = max(addedAt[key], k.Now())
			require.NoError(rt, k.RunUntil(k.Now().Add(time.Duration(rapid.IntRange(0, 10).Draw(rt, "pause"))*time.Millisecond)))
		}
		require.NoError(rt, k.RunUntil(k.Now().Add(time.Second)))
		for key, at := range addedAt {
			if syncedAt[key] < at {
				rt.Fatalf("key %d was added at %s and last synced at %s", key, at, syncedAt[key])
			}
		}
		if !q.Idle() || len(q.items) > 0 {
			rt.Fatalf("%d keys are left", len(q.items))
		}
	})
}

func TestSlowStartStopsAfterTheFirstFailedBatch(t *testing.T) {
	b := newBench(t)
	var called []int
	var succeeded int
	b.kernel.Root().Go("test", func(p *sim.Proc) {
		succeeded, _ = SlowStartBatch(p, 100, func(p *sim.Proc, i int) error {
			called = append(called, i)
			p.Sleep(time.Millisecond)
			if i == 5 {
				return errors.New("quota")
			}
			return nil
		})
	})
	b.at(time.Second)
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6}, called)
	assert.Equal(t, 6, succeeded)
}

func TestExpectationsHoldBackUntilSeenOrFiveMinutes(t *testing.T) {
	b := newBench(t)
	x := NewExpectations(b.kernel)
	owner, pod := Key{Namespace: "default", Name: "rs"}, Key{Namespace: "default", Name: "rs-1"}
	x.ExpectCreations(owner, 2)
	x.CreationObserved(owner)
	assert.False(t, x.Satisfied(owner))
	x.CreationObserved(owner)
	assert.True(t, x.Satisfied(owner))
	x.ExpectDeletions(owner, []Key{pod})
	x.DeletionObserved(owner, Key{Name: "other"})
	assert.False(t, x.Satisfied(owner))
	x.DeletionObserved(owner, pod)
	assert.True(t, x.Satisfied(owner))
	x.ExpectCreations(owner, 1)
	b.at(5*time.Minute + time.Second)
	assert.True(t, x.Satisfied(owner))
}
