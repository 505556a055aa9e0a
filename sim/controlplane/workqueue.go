package controlplane

import (
	"time"

	"ksim/sim"
)

// Models client-go's rate limiting work queue (util/workqueue, v0.36): de-duplication, one worker per key, delayed and
// rate limited adds. Leaves out: metrics and shutting down (a queue ends with its scope).

// RateLimits says how soon a failed key comes back.
type RateLimits struct {
	Base, Max time.Duration // per key: Base x 2^failures, at most Max
	Every     time.Duration // over all keys: one per Every once Burst is used up; 0: no such limit
	Burst     int64
}

// DefaultRateLimits are client-go's DefaultControllerRateLimiter: 5 ms doubling to 1000 s per key, and 10/s with a
// burst of 100 over all (util/workqueue/default_rate_limiters.go, v0.36).
func DefaultRateLimits() RateLimits {
	return RateLimits{Base: 5 * time.Millisecond, Max: 1000 * time.Second, Every: 100 * time.Millisecond, Burst: 100}
}

// WorkQueue holds the keys that a controller has yet to sync. A key that is added while it waits is there once; one
// that is added while it is synced comes again afterwards.
type WorkQueue[K comparable] struct {
	scope    *sim.Scope
	limits   RateLimits
	order    []K
	items    map[K]*queueItem
	failures map[K]int
	paidTo   sim.Time // of the overall bucket: when all that was taken will have been paid back

	workers, busy int
	name          string
	sync          func(*sim.Proc, K)
}

type queueItem struct {
	waiting    bool // in order, or to go there when processing ends
	processing bool
	cause      sim.EventID
	timer      sim.Timer // of AddAfter
	readyAt    sim.Time
}

// NewWorkQueue makes an empty queue that lives in scope.
func NewWorkQueue[K comparable](scope *sim.Scope, limits RateLimits) *WorkQueue[K] {
	return &WorkQueue[K]{scope: scope, limits: limits, items: map[K]*queueItem{}, failures: map[K]int{}}
}

// Run has keys synced from now on, by at most that many workers at a time. sync runs as a process, with the cause of
// the latest Add of its key.
//
// Workers are started when there is work and end when there is none: a parked process costs memory, and a queue with
// nobody waiting looks the same from outside.
func (q *WorkQueue[K]) Run(name string, workers int, sync func(p *sim.Proc, key K)) {
	q.name, q.workers, q.sync = name, workers, sync
	for i := 0; i < len(q.order); i++ {
		q.startWorker()
	}
}

// RunRetrying is Run for a sync that may fail: its key then comes back after the rate limit; after maxRetries failures
// in a row (0: no limit) it is dropped.
func (q *WorkQueue[K]) RunRetrying(name string, workers, maxRetries int, sync func(*sim.Proc, K) error) {
	q.Run(name, workers, func(p *sim.Proc, key K) {
		err := sync(p, key)
		if err == nil || maxRetries > 0 && q.failures[key] >= maxRetries {
			q.Forget(key)
			return
		}
		q.AddRateLimited(key)
	})
}

// Len returns how many keys wait, not counting those that wait for a delay.
func (q *WorkQueue[K]) Len() int { return len(q.order) }

// Idle reports whether nothing waits and nothing is being synced.
func (q *WorkQueue[K]) Idle() bool { return len(q.order) == 0 && q.busy == 0 }

// Add queues a key now.
func (q *WorkQueue[K]) Add(key K) {
	item := q.item(key)
	item.cause = q.scope.Kernel().Cause()
	if item.waiting {
		return
	}
	item.waiting = true
	if !item.processing {
		q.enqueue(key)
	}
}

// AddAfter queues a key after d. Of several delays of one key the one that ends first counts.
func (q *WorkQueue[K]) AddAfter(key K, d time.Duration) {
	if d <= 0 {
		q.Add(key)
		return
	}
	item := q.item(key)
	readyAt := q.scope.Now().Add(d)
	if item.timer.Pending() {
		if item.readyAt <= readyAt {
			return
		}
		item.timer.Stop()
	}
	item.readyAt = readyAt
	item.timer = q.scope.After(d, "work queue delay", func() { q.Add(key) })
}

// AddRateLimited queues a key after as long as the rate limits say, and counts a failure.
func (q *WorkQueue[K]) AddRateLimited(key K) { q.AddAfter(key, q.limit(key)) }

// Forget resets the failures of a key.
func (q *WorkQueue[K]) Forget(key K) { delete(q.failures, key) }

// NumRequeues returns how often a key was added by AddRateLimited since Forget.
func (q *WorkQueue[K]) NumRequeues(key K) int { return q.failures[key] }

func (q *WorkQueue[K]) limit(key K) time.Duration {
	failed := q.failures[key]
	q.failures[key] = failed + 1
	delay := q.limits.Max
	if failed < 40 && q.limits.Base<<failed>>failed == q.limits.Base { // no overflow
		delay = min(q.limits.Base<<failed, q.limits.Max)
	}
	if q.limits.Every > 0 {
		now := q.scope.Now()
		q.paidTo = max(q.paidTo, now).Add(q.limits.Every)
		delay = max(delay, q.paidTo.Sub(now)-time.Duration(q.limits.Burst)*q.limits.Every)
	}
	return delay
}

func (q *WorkQueue[K]) item(key K) *queueItem {
	item := q.items[key]
	if item == nil {
		item = &queueItem{}
		q.items[key] = item
	}
	return item
}

func (q *WorkQueue[K]) enqueue(key K) {
	q.order = append(q.order, key)
	q.startWorker()
}

func (q *WorkQueue[K]) startWorker() {
	if q.sync != nil && q.busy < q.workers {
		q.busy++
		q.scope.Go(q.name, q.work)
	}
}

// work syncs keys until none is left.
func (q *WorkQueue[K]) work(p *sim.Proc) {
	for len(q.order) > 0 {
		key := q.order[0]
		var none K
		q.order[0] = none
		q.order = q.order[1:]
		item := q.items[key]
		item.waiting, item.processing = false, true
		p.Because(item.cause)
		q.sync(p, key)
		item.processing = false
		switch {
		case item.waiting:
			q.order = append(q.order, key)
		case !item.timer.Pending():
			delete(q.items, key)
		}
	}
	q.busy--
}
