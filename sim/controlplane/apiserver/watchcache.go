package apiserver

import (
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/tidwall/btree"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/raft"
)

// Models the API server's watch cache (apiserver pkg/storage/cacher: cacher.go, watch_cache.go, delegator.go, v0.36):
// one cache a resource, fed by a list and a watch of its own at etcd; a sliding window of events from which watches
// resume; readiness; waiting for a revision. Leaves out: snapshots for exact lists, the consistency checker, slow
// watchers.

const (
	// blockTimeout is how long a request waits for a revision (watch_cache.go).
	blockTimeout = 3 * time.Second
	// progressPeriod is how often progress is asked for while somebody waits (cacher/progress/watch_progress.go).
	progressPeriod = 100 * time.Millisecond
	// eventFresh is how long events should stay in the window (cacher.go DefaultEventFreshDuration).
	eventFresh = 75 * time.Second
	// The window's bounds in events (watch_cache.go).
	windowMin, windowMax = 100, 100 * 1024
	// internalErrorRetry is how long a broken etcd watch is tried again before the cache gives up (cacher.go,
	// MaxInternalErrorRetryDuration): "no leader" mostly passes.
	internalErrorRetry = 30 * time.Second
	// internalErrorReset is after how long without errors that time starts anew (client-go reflector.go).
	internalErrorReset = time.Minute
	// retryPause stands for a loop that in reality takes no pause between two tries of a watch. chosen.
	retryPause = 100 * time.Millisecond
	// restartPause is how long a cache that failed waits before it closes its watchers and lists again (cacher.go).
	restartPause = time.Second
)

// watchCache is the copy of one resource that an API server serves from.
type watchCache struct {
	server   *Server
	resource *api.Resource
	client   etcdClient

	ready       bool
	notReadyAt  sim.Time // since when it is not
	revision    int64    // up to which the cache knows everything
	listed      int64    // revision of the last list
	dropped     bool     // events have left the window since then
	objects     map[string]*entry
	entries     []entry // for new keys: one piece of memory for many
	order       keyOrder
	byNode      map[string]map[string]*entry // pods by spec.nodeName
	touched     map[string]int64             // by node: the revision of the newest event in the window of its pods
	window      []cacheEvent                 // ring
	start, size int

	firstError   sim.Time // of the current run of internal errors
	lastError    sim.Time
	failing      bool
	waiters      []*freshWaiter
	progress     sim.Timer
	readyWaiters []func()
	watchers     watcherSet
}

type freshWaiter struct {
	revision int64
	timer    sim.Timer
	done     func(error)
}

func newWatchCache(s *Server, r *api.Resource, client etcdClient) *watchCache {
	c := &watchCache{server: s, resource: r, client: client, objects: map[string]*entry{}, notReadyAt: s.kernel.Now(),
		window: make([]cacheEvent, windowMin), touched: map[string]int64{}}
	if r == api.Pods {
		c.byNode = map[string]map[string]*entry{}
	}
	c.watchers.init(c)
	return c
}

// run lists and opens the watch; it is called again after every failure.
func (c *watchCache) run() {
	c.watchers.closeAll()
	c.server.scope.Go("cacher", c.listAndWatch)
}

func (c *watchCache) listAndWatch(p *sim.Proc) {
	prefix := c.resource.Prefix
	resp, err := c.client.Range(p, &raft.RangeRequest{Key: []byte(prefix), RangeEnd: prefixEnd(prefix)}, sim.Forever)
	if err != nil {
		c.restart()
		return
	}
	c.replace(resp.Kvs, resp.Header.Revision)
	c.watch()
}

// replace takes over a list.
func (c *watchCache) replace(kvs []*raft.KeyValue, revision int64) {
	for _, e := range c.objects { // any order: each by itself
		e.release()
	}
	c.objects = make(map[string]*entry, len(kvs))
	c.order = keyOrder{}
	c.touched = map[string]int64{}
	if c.byNode != nil {
		c.byNode = map[string]map[string]*entry{}
	}
	for _, kv := range kvs {
		key, e, v := kv.Name(), c.newEntry(), c.server.family.recents.version(c.resource, kv, nil)
		e.hold(v)
		c.objects[key] = e
		c.order.sorted.Insert(key)
		c.index(e, nil, v)
	}
	clear(c.window)
	c.start, c.size, c.dropped = 0, 0, false
	c.listed, c.revision = revision, revision
	c.failing = false
	c.setReady()
}

func (c *watchCache) setReady() {
	c.ready = true
	waiting := c.readyWaiters
	c.readyWaiters = nil
	for _, fn := range waiting {
		fn()
	}
	c.server.cacheReady()
	c.wakeFresh()
}

// onReady has fn called when the cache is ready.
func (c *watchCache) onReady(fn func()) {
	if c.ready {
		fn()
		return
	}
	c.readyWaiters = append(c.readyWaiters, fn)
}

func (c *watchCache) watch() {
	prefix := c.resource.Prefix
	c.client.Watch(&raft.WatchRequest{Key: []byte(prefix), RangeEnd: prefixEnd(prefix), StartRevision: c.revision + 1,
		ProgressNotify: true, RequireLeader: true}, c.onResponse)
}

func (c *watchCache) onResponse(resp *raft.WatchResponse) {
	switch {
	case resp.Canceled:
		c.watchFailed(resp)
	case len(resp.Events) > 0:
		for i := range resp.Events {
			c.process(&resp.Events[i])
		}
		c.wakeFresh()
	case resp.IsProgressNotify():
		if resp.Header.Revision > c.revision {
			c.revision = resp.Header.Revision
			c.wakeFresh()
		}
	}
}

// watchFailed tries the watch again for half a minute, as after "no leader"; then, or at once when the history is gone,
// the cache is not ready any more and begins anew.
func (c *watchCache) watchFailed(resp *raft.WatchResponse) {
	now := c.server.kernel.Now()
	if resp.CompactRevision == 0 {
		if !c.failing || now.Sub(c.lastError) >= internalErrorReset {
			c.failing, c.firstError = true, now
		}
		c.lastError = now
		if now.Sub(c.firstError) <= internalErrorRetry {
			c.server.scope.After(retryPause, "etcd watch", c.watch)
			return
		}
		c.failing = false
	}
	c.restart()
}

func (c *watchCache) restart() {
	if c.ready {
		c.ready, c.notReadyAt = false, c.server.kernel.Now()
	}
	c.server.scope.After(restartPause, "cacher", c.run)
}

// process applies one change that etcd told.
func (c *watchCache) process(e *raft.Event) {
	family, key := c.server.family, e.Kv.Name()
	place := c.objects[key]
	ev := cacheEvent{revision: e.Kv.ModRevision, at: c.server.kernel.Now()}
	var from int64
	if place != nil {
		ev.previous = place.current
		from = ev.previous.kv.ModRevision
	}
	c.revision = max(c.revision, ev.revision)
	if e.Type == raft.EventDelete {
		ev.cause, _ = family.saw(key, nil, from, ev.revision)
		if place == nil {
			return
		}
		delete(c.objects, key)
		c.order.sorted.Delete(key)
	} else {
		var known *names
		if ev.cause, known = family.saw(key, e.Kv.Value(), from, ev.revision); ev.previous != nil {
			known = ev.previous.names
		}
		ev.current = family.recents.version(c.resource, e.Kv, known)
		if place == nil {
			place = c.newEntry()
			c.objects[key] = place
			c.order.insert(key, c)
		}
		if ev.previous != nil && ev.previous.object != nil {
			c.objectAfter(ev.current, ev.previous) // who looked at that one will look at this
		}
	}
	c.index(place, ev.previous, ev.current)
	c.append(ev)
	c.watchers.dispatch(&ev)
	place.hold(ev.current)
}

// keyOrder is the keys of a cache in order. Most that come, the names of Events above all, nobody lists before they go:
// they are put in order when somebody does.
type keyOrder struct {
	sorted btree.Set[string]
	fresh  []string // not sorted yet; some may be gone, or in it twice
}

func (o *keyOrder) insert(key string, c *watchCache) {
	if o.fresh = append(o.fresh, key); len(o.fresh) > 1<<10+len(c.objects) {
		c.inOrder()
	}
}

// inOrder returns the keys in order.
func (c *watchCache) inOrder() *btree.Set[string] {
	for _, key := range c.order.fresh {
		if c.objects[key] != nil {
			c.order.sorted.Insert(key)
		}
	}
	c.order.fresh = nil
	return &c.order.sorted
}

// append puts an event into the window, which grows while its oldest event is fresh and shrinks when a quarter would do
// (watch_cache.go resizeCacheLocked).
func (c *watchCache) append(ev cacheEvent) {
	capacity := len(c.window)
	if c.size == capacity {
		switch oldest := &c.window[c.start]; {
		case ev.at.Sub(oldest.at) < eventFresh && capacity < windowMax:
			c.resize(capacity * 2)
		case capacity > windowMin && ev.at.Sub(c.window[(c.start+c.size-capacity/4)%capacity].at) > eventFresh:
			c.resize(capacity / 2)
		}
		capacity = len(c.window)
	}
	if c.size == capacity {
		c.window[c.start] = cacheEvent{}
		c.start = (c.start + 1) % capacity
		c.size--
		c.dropped = true
	}
	c.window[(c.start+c.size)%capacity] = ev
	c.size++
}

func (c *watchCache) resize(capacity int) {
	window := make([]cacheEvent, capacity)
	for c.size > capacity {
		c.start = (c.start + 1) % len(c.window)
		c.size--
		c.dropped = true
	}
	for i := range c.size {
		window[i] = c.window[(c.start+i)%len(c.window)]
	}
	c.window, c.start = window, 0
}

// since calls fn, unless it is nil, for the events after a revision, oldest first. Errors: 410 when the window does not
// reach back that far.
func (c *watchCache) since(revision int64, fn func(*cacheEvent)) error {
	oldest := c.listed + 1
	if c.dropped {
		oldest = c.window[c.start].revision
	}
	if revision < oldest-1 {
		return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", revision, oldest-1))
	}
	if fn == nil {
		return nil
	}
	from := sort.Search(c.size, func(i int) bool { return c.event(i).revision > revision })
	for i := from; i < c.size; i++ {
		fn(c.event(i))
	}
	return nil
}

// event returns the i-th event of the window.
func (c *watchCache) event(i int) *cacheEvent { return &c.window[(c.start+i)%len(c.window)] }

// notReady is the answer of a cache that has no content yet or has lost it (cacher/ready.go, util.go).
func (c *watchCache) notReady() error {
	down := c.server.kernel.Now().Sub(c.notReadyAt)
	return apierrors.NewTooManyRequests("storage is (re)initializing", retryAfterUnready(down))
}

// retryAfterUnready is e^(0.06 x seconds), between 1 and 30, in whole seconds (cacher/util.go
// calculateRetryAfterForUnreadyCache): the table has the first second of downtime at which each value begins.
func retryAfterUnready(down time.Duration) int {
	begins := [...]int{0, 12, 19, 24, 27, 30, 33, 35, 37, 39, 40, 42, 43, 44, 46, 47, 48, 49, 50, 50, 51, 52, 53, 53, 54,
		55, 55, 56, 57, 57}
	n := 1
	for n < len(begins) && down >= time.Duration(begins[n])*time.Second {
		n++
	}
	return n
}

// whenFresh calls done when the cache has reached a revision: at once, or within three seconds, or with the error that
// the revision is too large. force asks etcd for progress, since nothing else may happen to the resource.
func (c *watchCache) whenFresh(revision int64, force bool, done func(error)) {
	if c.revision >= revision {
		done(nil)
		return
	}
	w := &freshWaiter{revision: revision, done: done}
	w.timer = c.server.scope.After(blockTimeout, "fresh", func() {
		c.forget(w)
		done(tooLarge(revision, c.revision))
	})
	c.waiters = append(c.waiters, w)
	if force && !c.progress.Pending() {
		c.requestProgress()
	}
}

func (c *watchCache) requestProgress() {
	if len(c.waiters) == 0 {
		return
	}
	c.client.RequestProgress()
	c.progress = c.server.scope.After(progressPeriod, "progress", c.requestProgress)
}

func (c *watchCache) forget(w *freshWaiter) {
	for i, other := range c.waiters {
		if other == w {
			c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
			return
		}
	}
}

func (c *watchCache) wakeFresh() {
	if len(c.waiters) == 0 {
		return
	}
	waiting := c.waiters
	c.waiters = nil
	for _, w := range waiting {
		if w.revision > c.revision {
			c.waiters = append(c.waiters, w)
			continue
		}
		w.timer.Stop()
		w.done(nil)
	}
	if len(c.waiters) == 0 {
		c.progress.Stop()
	}
}

// tooLarge is the answer to a revision that the cache does not reach in time (apiserver pkg/storage/errors.go).
func tooLarge(wanted, current int64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", wanted, current), 1)
	err.ErrStatus.Details.Causes = tooLargeCause()
	return err
}

func formatRevision(revision int64) string { return strconv.FormatInt(revision, 10) }
