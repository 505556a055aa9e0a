package apiserver

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// bookmarkPeriod is how often a watcher is told the revision that it has reached (cacher.go defaultBookmarkFrequency).
const bookmarkPeriod = time.Minute

// tooLargeCause is what clients look for in the error (apimachinery pkg/apis/meta/v1 CauseTypeResourceVersionTooLarge).
func tooLargeCause() []metav1.StatusCause {
	return []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
}

// scopeKey groups watchers by what they ask for, so that an event is shown only to those whom it may concern
// (cacher.go indexedWatchers).
type scopeKey struct{ namespace, name, node string }

// shape says which of the three are given, as a number below 8.
func (k scopeKey) shape() int {
	n := 0
	for i, part := range [...]string{k.namespace, k.name, k.node} {
		if part != "" {
			n |= 1 << i
		}
	}
	return n
}

// watcher is one client's watch.
type watcher struct {
	cache    *watchCache
	call     *hardware.Call
	scope    scopeKey
	filter   filter
	after    int64 // events up to this revision are none of its business
	sent     int64 // revision of the last event or bookmark
	bookmark bool
	closed   bool
	timer    sim.Timer

	group *watcherList
	links [2]link // among those of the cache, of the group
}

// watcherList is watchers in the order of their start.
type watcherList struct{ first, last *watcher }

type link struct{ next, prev *watcher }

// The lists that a watcher is in.
const (
	inCache = iota
	inGroup
)

func (l *watcherList) add(w *watcher, in int) {
	w.links[in].prev = l.last
	if l.last != nil {
		l.last.links[in].next = w
	} else {
		l.first = w
	}
	l.last = w
}

func (l *watcherList) remove(w *watcher, in int) {
	at := w.links[in]
	if at.prev != nil {
		at.prev.links[in].next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		at.next.links[in].prev = at.prev
	} else {
		l.last = at.prev
	}
}

// watcherSet is all watchers of a cache.
type watcherSet struct {
	cache     *watchCache
	all       watcherList
	groups    map[scopeKey]*watcherList
	shapes    [8]int // how many groups there are of each shape
	bookmarks []bookmarkDue
	timer     sim.Timer
	marked    *api.WatchEvent // the bookmark of the newest revision for which there was one
	markedAt  int64
}

type bookmarkDue struct {
	at      sim.Time
	watcher *watcher
}

func (s *watcherSet) init(c *watchCache) {
	s.cache = c
	s.groups = map[scopeKey]*watcherList{}
}

// add registers a watcher that ends after lifetime.
func (s *watcherSet) add(w *watcher, lifetime time.Duration) {
	w.cache, w.group = s.cache, s.groups[w.scope]
	if w.group == nil {
		w.group = &watcherList{}
		s.groups[w.scope] = w.group
		s.shapes[w.scope.shape()]++
	}
	s.all.add(w, inCache)
	w.group.add(w, inGroup)
	w.call.OnCancel(func() { s.remove(w) })
	w.timer = s.cache.server.scope.After(lifetime, "watch time-out", func() { s.end(w) })
	if w.bookmark {
		s.bookmarkLater(w)
	}
}

func (s *watcherSet) remove(w *watcher) {
	if w.closed {
		return
	}
	w.closed = true
	w.timer.Stop()
	s.all.remove(w, inCache)
	if w.group.remove(w, inGroup); w.group.first == nil {
		delete(s.groups, w.scope)
		s.shapes[w.scope.shape()]--
	}
}

// end closes a watch regularly.
func (s *watcherSet) end(w *watcher) {
	s.remove(w)
	w.call.Reply(&api.Response{Status: 200})
}

// closeAll ends all watches, as when the cache begins anew.
func (s *watcherSet) closeAll() {
	for w := s.all.first; w != nil; {
		next := w.links[inCache].next
		s.end(w)
		w = next
	}
}

// dispatch shows an event to the watchers that it may concern, in the order of their groups and, within, of their
// start.
func (s *watcherSet) dispatch(ev *cacheEvent) {
	if s.all.first == nil {
		return
	}
	s.cache.server.kernel.Because(ev.cause)
	s.deliver(scopeKey{}, ev)
	names := ev.namesIn(s.cache.resource)
	namespace, name := names.namespace, names.name
	s.deliver(scopeKey{namespace: namespace, name: name}, ev)
	if namespace != "" {
		s.deliver(scopeKey{namespace: namespace}, ev)
		s.deliver(scopeKey{name: name}, ev)
	}
	if s.cache.byNode != nil {
		s.deliverByNode(namespace, ev)
	}
}

// deliverByNode shows a pod's event to those who watch its node, old or new.
func (s *watcherSet) deliverByNode(namespace string, ev *cacheEvent) {
	is, was := nodeOf(ev.current), nodeOf(ev.previous)
	for _, node := range [...]string{is, was} {
		if node == "" {
			continue
		}
		s.deliver(scopeKey{node: node}, ev)
		s.deliver(scopeKey{namespace: namespace, node: node}, ev)
		if is == was {
			return
		}
	}
}

func (s *watcherSet) deliver(key scopeKey, ev *cacheEvent) {
	if s.shapes[key.shape()] == 0 {
		return
	}
	group := s.groups[key]
	if group == nil {
		return
	}
	for w := group.first; w != nil; w = w.links[inGroup].next {
		w.show(ev)
	}
}

// show sends an event to the watcher if it has a place in what the watcher sees: an object that comes to match is
// added, one that no longer does is deleted.
func (w *watcher) show(ev *cacheEvent) {
	if ev.revision <= w.after {
		return
	}
	c := w.cache
	is := ev.current != nil && w.sees(c, ev.current)
	was := ev.previous != nil && w.sees(c, ev.previous)
	switch {
	case is && was:
		w.call.Send(c.watchers.message(ev, api.Modified))
	case is:
		w.call.Send(c.watchers.message(ev, api.Added))
	case was:
		w.call.Send(c.watchers.message(ev, api.Deleted))
	default:
		return
	}
	w.sent = ev.revision
}

// sees reports whether a version is one that the watcher wants. Of its scope only the node can change.
func (w *watcher) sees(c *watchCache, v *version) bool {
	return (w.scope.node == "" || nodeOf(v) == w.scope.node) && w.filter.matches(c, v)
}

// message makes the watch event of a change, once for all watchers of all servers that are shown it in a row.
func (s *watcherSet) message(ev *cacheEvent, t api.EventType) *api.WatchEvent {
	slot := 0
	switch t {
	case api.Modified:
		slot = 1
	case api.Deleted:
		slot = 2
	}
	place := s.cache.server.family.recents.message(ev, slot)
	if *place != nil {
		return *place
	}
	m := &api.WatchEvent{Type: t, Cause: ev.cause}
	if t == api.Deleted {
		// The last state, with the revision of the deletion (or of the change that took it out of sight).
		m.Object = api.Copy(s.cache.object(ev.previous))
		m.Object.SetResourceVersion(formatRevision(ev.revision))
	} else {
		m.Object = s.cache.objectAfter(ev.current, ev.previous)
	}
	*place = m
	return m
}

func (s *watcherSet) bookmarkLater(w *watcher) {
	// Whole seconds, so that one timer serves many (cacher.go watcherBookmarkTimeBuckets).
	at := (s.cache.server.kernel.Now().Add(bookmarkPeriod) / sim.Time(time.Second)) * sim.Time(time.Second)
	s.bookmarks = append(s.bookmarks, bookmarkDue{at, w})
	if !s.timer.Pending() {
		s.timer = s.cache.server.scope.At(at, "bookmarks", s.sendBookmarks)
	}
}

// sendBookmarks tells those who are due how far they are, if that is further than they know.
func (s *watcherSet) sendBookmarks() {
	now := s.cache.server.kernel.Now()
	n := 0
	for n < len(s.bookmarks) && s.bookmarks[n].at <= now {
		n++
	}
	due := slices.Clone(s.bookmarks[:n])
	s.bookmarks = s.bookmarks[n:]
	for _, d := range due {
		w := d.watcher
		if w.closed {
			continue
		}
		if revision := s.cache.revision; revision > w.sent && revision > w.after {
			w.call.Send(s.bookmark(revision))
			w.sent = revision
		}
		s.bookmarkLater(w)
	}
	if len(s.bookmarks) > 0 && !s.timer.Pending() {
		s.timer = s.cache.server.scope.At(s.bookmarks[0].at, "bookmarks", s.sendBookmarks)
	}
}

func (s *watcherSet) bookmark(revision int64) *api.WatchEvent {
	if s.marked == nil || s.markedAt != revision {
		object := s.cache.resource.New()
		object.GetObjectKind().SetGroupVersionKind(s.cache.resource.GVK)
		object.SetResourceVersion(formatRevision(revision))
		s.marked, s.markedAt = &api.WatchEvent{Type: api.Bookmark, Object: object}, revision
	}
	return s.marked
}
