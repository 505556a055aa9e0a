package mvcc

import "slices"

// Watcher gets the events of a range of keys.
type Watcher struct {
	options WatchOptions
	group   *group
	next    int64 // the revision from which on events are wanted
	synced  bool  // it has all events up to the store's revision
	closed  bool
	quiet   bool // nothing came since Quiet was last asked
}

// WatchOptions say what a watcher wants.
type WatchOptions struct {
	Key, End []byte // as in Range
	Start    int64  // first revision; 0: the next one
	PrevKV   bool
	NoPut    bool
	NoDelete bool
	// Deliver is called with the events of one or more revisions, in order; the slice is shared. It must not call
	// the store.
	Deliver func([]Event)
	// Compacted is called, instead of anything else from then on, when revisions that the watcher needs are
	// compacted.
	Compacted func(compacted int64)
}

// hub has all watchers, those with the same range in one group. Kubernetes' watches are few different prefixes,
// each watched by every API server.
type hub struct {
	store    *Store
	exact    map[string]*group // watchers of one key
	spans    intervals         // watchers of a range
	unsynced []*Watcher
	touched  []*group // during notify
}

type group struct {
	span     span
	single   bool
	watchers []*Watcher // synced ones, in the order in which they became so
	changes  []int      // places in the transaction that notify is at
}

// Watch adds a watcher. If it starts in the past it is not synced: Sync brings what it has missed.
func (s *Store) Watch(o WatchOptions) *Watcher {
	w := &Watcher{options: o, next: o.Start, quiet: true}
	w.group = s.hub.groupFor(o.Key, o.End)
	if w.next == 0 || w.next > s.revision {
		w.next = max(w.next, s.revision+1)
		w.join(&s.hub)
	} else {
		s.hub.unsynced = append(s.hub.unsynced, w)
	}
	return w
}

// Unsynced returns how many watchers wait for Sync.
func (s *Store) Unsynced() int { return len(s.hub.unsynced) }

// Watchers returns how many watchers there are.
func (s *Store) Watchers() int {
	n := len(s.hub.unsynced)
	for _, g := range s.hub.exact { // any order: a sum
		n += len(g.watchers)
	}
	for _, g := range s.hub.spans.groups {
		n += len(g.watchers)
	}
	return n
}

// Synced reports whether the watcher has got everything up to the store's revision.
func (w *Watcher) Synced() bool { return w.synced }

// Quiet reports whether no event came since the last call: then a progress notification is due.
func (w *Watcher) Quiet() bool {
	quiet := w.quiet
	w.quiet = true
	return quiet && w.synced
}

// Unwatch ends the watcher.
func (s *Store) Unwatch(w *Watcher) {
	if w.closed {
		return
	}
	w.closed = true
	if w.synced {
		g := w.group
		if i := slices.Index(g.watchers, w); i >= 0 {
			g.watchers = slices.Delete(g.watchers, i, i+1)
		}
		s.hub.tidy(g)
	} else if i := slices.Index(s.hub.unsynced, w); i >= 0 {
		s.hub.unsynced = slices.Delete(s.hub.unsynced, i, i+1)
	}
}

// Sync brings unsynced watchers what they have missed.
func (s *Store) Sync() {
	unsynced := s.hub.unsynced
	s.hub.unsynced = nil
	for _, w := range unsynced {
		if w.closed {
			continue
		}
		if w.next < s.compacted {
			w.closed = true
			w.options.Compacted(s.compacted)
			continue
		}
		var events []Event
		s.history.each(w.next, func(c *change) {
			if w.group.wants(view(c.kv.Key)) && w.wants(c) {
				events = append(events, c.event(s.tellsPrev(c, w)))
			}
		})
		w.next = max(w.next, s.revision+1)
		w.join(&s.hub)
		if len(events) > 0 {
			w.quiet = false
			w.options.Deliver(events)
		}
	}
}

// tellsPrev reports whether a watcher is told what was there before: before a revision that is compacted it is unknown.
func (s *Store) tellsPrev(c *change, w *Watcher) bool {
	return w.options.PrevKV && c.revision() > s.compacted
}

func (w *Watcher) wants(c *change) bool {
	if c.deletes() {
		return !w.options.NoDelete
	}
	return !w.options.NoPut
}

// join puts the watcher among the synced ones of its group, which may have been forgotten meanwhile.
func (w *Watcher) join(h *hub) {
	w.synced = true
	w.group = h.groupFor(w.options.Key, w.options.End)
	w.group.watchers = append(w.group.watchers, w)
}

func (g *group) wants(key string) bool {
	if g.single {
		return key == g.span.start
	}
	return g.span.contains(key)
}

func (h *hub) groupFor(key, end []byte) *group {
	if len(end) == 0 {
		g := h.exact[string(key)]
		if g == nil {
			g = &group{span: span{start: string(key)}, single: true}
			h.exact[g.span.start] = g
		}
		return g
	}
	return h.spans.group(span{string(key), string(endOf(end))})
}

// tidy forgets a group without watchers. Those of ranges are kept: they are few, and watched again.
func (h *hub) tidy(g *group) {
	if g.single && len(g.watchers) == 0 {
		delete(h.exact, g.span.start)
	}
}

// desync makes all watchers unsynced, because the store's content was replaced.
func (h *hub) desync() {
	take := func(g *group) {
		for _, w := range g.watchers {
			w.synced = false
			h.unsynced = append(h.unsynced, w)
		}
		g.watchers = nil
	}
	keys := make([]string, 0, len(h.exact))
	for key := range h.exact { // any order: sorted below
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		take(h.exact[key])
	}
	for _, g := range h.spans.groups {
		take(g)
	}
}

// notify hands the changes of one transaction to the watchers of their keys.
func (h *hub) notify(changes []change) {
	for i := range changes {
		key := view(changes[i].kv.Key)
		if g := h.exact[key]; g != nil {
			h.touch(g, i)
		}
		h.spans.stab(key, func(g *group) { h.touch(g, i) })
	}
	touched := h.touched
	h.touched = nil
	for _, g := range touched {
		g.deliver(h.store, changes)
	}
	h.touched = touched[:0]
}

func (h *hub) touch(g *group, i int) {
	if len(g.watchers) == 0 {
		return
	}
	if len(g.changes) == 0 {
		h.touched = append(h.touched, g)
	}
	g.changes = append(g.changes, i)
}

// deliver gives each watcher of the group its events. Those that want the same share them.
func (g *group) deliver(s *Store, changes []change) {
	revision := changes[0].revision()
	for _, w := range slices.Clip(g.watchers) {
		if w.closed || revision < w.next {
			continue
		}
		w.next = revision + 1
		if events := g.events(s, changes, w); len(events) > 0 {
			w.quiet = false
			w.options.Deliver(events)
		}
	}
	g.changes = g.changes[:0]
}

// events returns what a watcher is told of a transaction.
func (g *group) events(s *Store, changes []change, w *Watcher) []Event {
	if len(g.changes) == 1 {
		c := &changes[g.changes[0]]
		if !w.wants(c) {
			return nil
		}
		return s.history.shared.events(c, s.tellsPrev(c, w))
	}
	events := make([]Event, 0, len(g.changes))
	for _, i := range g.changes {
		if c := &changes[i]; w.wants(c) {
			events = append(events, c.event(s.tellsPrev(c, w)))
		}
	}
	return events
}
