package controlplane

import (
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// Models client-go's reflector and shared informer (tools/cache/reflector.go, shared_informer.go, v0.36): list from the
// watch cache, watch with bookmarks, resume, relist, back-off. Leaves out: streaming lists, pages, resync, per-handler
// buffers and their delay.

const (
	// 5 min, doubled at random: the time-out that a watch asks for (client-go tools/cache/reflector.go
	// minWatchTimeout).
	watchTimeoutMin = 5 * time.Minute
	watchTimeoutMax = 10 * time.Minute
	// A watch that ends sooner and empty counts as failed (client-go tools/cache/reflector.go, VeryShortWatchError).
	veryShortWatch = time.Second
	// How long to wait for what never ends by itself: a list has no time-out of its own in client-go.
	noDeadline time.Duration = 0
)

// InformerConfig says what an informer watches.
type InformerConfig struct {
	Resource  *api.Resource
	Namespace string          // "": all
	Labels    labels.Selector // nil: everything
	Fields    fields.Selector // nil: everything
}

// Handler is told of changes, in the client's scope, with the write that made the change as current cause. The store
// already has the new state. Any of the three may be nil.
type Handler[T api.Object] struct {
	OnAdd    func(object T)
	OnUpdate func(old, object T)
	// OnDelete gets the last state that the informer knew. final is false when the deletion itself was missed and is
	// inferred from a new list (client-go's DeletedFinalStateUnknown).
	OnDelete func(last T, final bool)
}

// Informer keeps a local copy of a resource by list and watch, and tells handlers of each change. Objects in it are
// shared and must not be changed.
type Informer[T api.Object] struct {
	*Store[T]
	client   api.Client
	kernel   *sim.Kernel
	config   InformerConfig
	handlers []Handler[T]
	backoff  watchBackoff
	random   *sim.Stream
	onSync   []func()

	version     string // of the last event or list
	unavailable bool   // the server said that version is too old or too new to list
	synced      bool
	started     bool
	cancel      api.Cancel
	timer       sim.Timer
	generation  int // of the current attempt; answers to older ones are ignored
	watchStart  sim.Time
	watchEvents int
}

// NewInformer makes an informer; Start starts it.
func NewInformer[T api.Object](client api.Client, config InformerConfig) *Informer[T] {
	scope := client.Scope()
	return &Informer[T]{
		Store: newStore[T](), client: client, kernel: scope.Kernel(), config: config,
		random: scope.Rand(scope.Path() + "/reflector"),
	}
}

// Handle adds a handler; if the informer has synced, it is told at once of all that is there.
func (inf *Informer[T]) Handle(h Handler[T]) {
	inf.handlers = append(inf.handlers, h)
	if h.OnAdd == nil {
		return
	}
	cause := inf.kernel.Cause()
	for _, object := range inf.List() {
		inf.because(object)
		h.OnAdd(object)
	}
	inf.kernel.Because(cause)
}

// Start begins to list and watch; a second call does nothing.
func (inf *Informer[T]) Start() {
	if inf.started {
		return
	}
	inf.started = true
	inf.backoff.start(inf.kernel.Now())
	inf.list()
}

// Stop ends the informer; its store stays as it is.
func (inf *Informer[T]) Stop() {
	inf.generation++
	inf.timer.Stop()
	if inf.cancel != nil {
		inf.cancel()
		inf.cancel = nil
	}
}

// HasSynced reports whether the first list has arrived and handlers know it.
func (inf *Informer[T]) HasSynced() bool { return inf.synced }

// ResourceVersion returns the version that the store is at, "" before the first list.
func (inf *Informer[T]) ResourceVersion() string { return inf.version }

// OnSync has fn called once when the informer has synced, at once if it has.
func (inf *Informer[T]) OnSync(fn func()) {
	if inf.synced {
		fn()
		return
	}
	inf.onSync = append(inf.onSync, fn)
}

// Syncer is an informer of any type, as far as waiting for it goes.
type Syncer interface {
	HasSynced() bool
	OnSync(fn func())
}

// WaitForSync waits until all the informers have synced, however long that takes.
func WaitForSync(p *sim.Proc, informers ...Syncer) {
	missing := 0
	all := sim.NewFuture[struct{}]()
	for _, inf := range informers {
		if inf.HasSynced() {
			continue
		}
		missing++
		inf.OnSync(func() {
			if missing--; missing == 0 {
				all.Resolve(struct{}{}, nil)
			}
		})
	}
	if missing > 0 {
		_, _ = all.Await(p, sim.Forever) // cannot fail: no deadline
	}
}

// because makes the write that an object came from the current cause.
func (inf *Informer[T]) because(object T) {
	inf.kernel.Because(api.CauseOf(inf.kernel, object))
}

func (inf *Informer[T]) list() {
	version := inf.version
	switch {
	case inf.unavailable:
		version = ""
	case version == "":
		version = "0"
	}
	inf.generation++
	generation := inf.generation
	inf.cancel = inf.client.Start(&api.Request{
		Verb: api.List, Resource: inf.config.Resource, Namespace: inf.config.Namespace,
		LabelSelector: inf.config.Labels, FieldSelector: inf.config.Fields, ResourceVersion: version, Within: noDeadline,
	}, func(answer *api.Response, err error) {
		if generation == inf.generation {
			inf.listed(answer, err)
		}
	})
}

func (inf *Informer[T]) listed(answer *api.Response, err error) {
	if err != nil {
		if !inf.unavailable && (expired(err) || tooLargeVersion(err)) {
			inf.unavailable = true
			inf.list()
			return
		}
		inf.relistLater()
		return
	}
	inf.unavailable = false
	inf.version = answer.ResourceVersion
	inf.replace(answer.Items)
	if !inf.synced {
		inf.synced = true
		waiting := inf.onSync
		inf.onSync = nil
		for _, fn := range waiting {
			fn()
		}
	}
	inf.watch()
}

// replace makes the store equal to a list and tells handlers the difference.
func (inf *Informer[T]) replace(items []api.Object) {
	relist := inf.kernel.Cause()
	listed := make(map[Key]struct{}, len(items))
	for _, item := range items {
		object, ok := item.(T)
		if !ok {
			continue
		}
		listed[api.KeyOf(object)] = struct{}{}
		old, had := inf.set(object)
		inf.because(object)
		switch {
		case !had:
			inf.added(object)
		case old.GetResourceVersion() != object.GetResourceVersion():
			inf.updated(old, object)
		}
	}
	if len(listed) < inf.Len() {
		for _, object := range inf.List() {
			key := api.KeyOf(object)
			if _, still := listed[key]; !still {
				inf.remove(key)
				inf.kernel.Because(relist)
				inf.deleted(object, false)
			}
		}
	}
	inf.kernel.Because(relist)
}

func (inf *Informer[T]) watch() {
	inf.generation++
	generation := inf.generation
	inf.watchStart, inf.watchEvents = inf.kernel.Now(), 0
	timeout := inf.random.Between(watchTimeoutMin, watchTimeoutMax)
	inf.cancel = inf.client.Watch(&api.Request{
		Verb: api.Watch, Resource: inf.config.Resource, Namespace: inf.config.Namespace,
		LabelSelector: inf.config.Labels, FieldSelector: inf.config.Fields,
		ResourceVersion: inf.version, AllowWatchBookmarks: true, TimeoutSeconds: int64(timeout / time.Second),
	}, func(event api.WatchEvent) {
		if generation == inf.generation {
			inf.event(event)
		}
	}, func(err error) {
		if generation == inf.generation {
			inf.ended(err)
		}
	})
}

func (inf *Informer[T]) event(event api.WatchEvent) {
	if event.Type == api.Error {
		cancel := inf.cancel
		inf.cancel = nil
		inf.failed(event.Err)
		if cancel != nil {
			cancel()
		}
		return
	}
	inf.watchEvents++
	inf.version = event.Object.GetResourceVersion()
	if event.Type == api.Bookmark {
		return
	}
	object, ok := event.Object.(T)
	if !ok {
		return
	}
	if event.Cause != 0 {
		inf.kernel.Because(event.Cause)
	} else {
		inf.because(object)
	}
	if event.Type == api.Deleted {
		if _, had := inf.remove(api.KeyOf(object)); had {
			inf.deleted(object, true)
		}
		return
	}
	if old, had := inf.set(object); had {
		inf.updated(old, object)
	} else {
		inf.added(object)
	}
}

// ended is called when a watch's stream has ended or could not be opened.
func (inf *Informer[T]) ended(err error) {
	if err != nil && !endOfStream(err) {
		inf.failed(err)
		return
	}
	if inf.watchEvents == 0 && inf.kernel.Now().Sub(inf.watchStart) < veryShortWatch {
		inf.relistLater()
		return
	}
	inf.watch()
}

// failed decides what follows an error of a watch: a refused one is opened again where it was, after the back-off; any
// other is followed by a list.
func (inf *Informer[T]) failed(err error) {
	inf.generation++
	if errors.Is(err, hardware.ErrRefused) || apierrors.IsTooManyRequests(err) {
		inf.timer = inf.client.Scope().After(inf.backoff.next(inf.kernel.Now(), inf.random), "watch", inf.watch)
		return
	}
	inf.relistLater()
}

func (inf *Informer[T]) relistLater() {
	inf.generation++
	inf.timer = inf.client.Scope().After(inf.backoff.next(inf.kernel.Now(), inf.random), "list", inf.list)
}

func (inf *Informer[T]) added(object T) {
	for i := range inf.handlers {
		if fn := inf.handlers[i].OnAdd; fn != nil {
			fn(object)
		}
	}
}

func (inf *Informer[T]) updated(old, object T) {
	for i := range inf.handlers {
		if fn := inf.handlers[i].OnUpdate; fn != nil {
			fn(old, object)
		}
	}
}

func (inf *Informer[T]) deleted(last T, final bool) {
	for i := range inf.handlers {
		if fn := inf.handlers[i].OnDelete; fn != nil {
			fn(last, final)
		}
	}
}

// endOfStream tells a stream that just ended, which is resumed at once, from one that failed: client-go closes a watch
// on a reset, an end of file or a time-out, and passes on the rest (apimachinery pkg/watch/streamwatcher.go,
// client-go rest/request.go, v0.36).
func endOfStream(err error) bool {
	return slices.ContainsFunc([]error{hardware.ErrReset, hardware.ErrClosed, hardware.ErrDialTimeout, sim.ErrTimeout},
		func(end error) bool { return errors.Is(err, end) })
}

func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// tooLargeVersion recognises the answer of a server that is behind the version asked for.
func tooLargeVersion(err error) bool {
	return apierrors.HasStatusCause(err, "ResourceVersionTooLarge")
}

// watchBackoff is the reflector's back-off: 0.8 s doubling to 30 s, each times 1 to 2, from the start again when two
// minutes have passed since the last time it started (client-go tools/cache/reflector.go, apimachinery wait.Backoff,
// v0.36).
type watchBackoff struct {
	since    sim.Time
	duration time.Duration
}

const (
	watchBackoffInit  = 800 * time.Millisecond
	watchBackoffMax   = 30 * time.Second
	watchBackoffReset = 2 * time.Minute
)

func (b *watchBackoff) start(now sim.Time) { b.since, b.duration = now, watchBackoffInit }

func (b *watchBackoff) next(now sim.Time, random *sim.Stream) time.Duration {
	if now.Sub(b.since) > watchBackoffReset {
		b.start(now)
	}
	d := b.duration
	b.duration = min(b.duration*2, watchBackoffMax)
	return random.Jitter(d, 1000)
}
