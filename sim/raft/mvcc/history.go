package mvcc

import (
	"bytes"
	"sort"
)

// change is one change of one key: kv was put over prev, or, when its Version is 0, prev was deleted.
type change struct {
	kv   *KeyValue
	prev *KeyValue
}

func (c *change) revision() int64 { return c.kv.ModRevision }
func (c *change) deletes() bool   { return c.kv.Version == 0 }

// frees returns how much of the database is no longer in use when the change is compacted.
func (c *change) frees() (size int64) {
	if c.prev != nil {
		size = versionSize(c.prev)
	}
	if c.deletes() {
		size += versionSize(c.kv)
	}
	return size
}

// history is what happened to a store since its last compaction, in chunks. Stores that live through the same share
// them: each looks, before it adds a change, whether the one that is there already is equal, and goes on in a copy of
// its own when it is not (after a restore, or a split of the cluster by force). So three members hold one history, and
// a member that restarts finds its way back into it.
type history struct {
	shared *Versions
	chunks []*chunk
	skip   int      // changes of the first chunk that are compacted
	end    int      // changes of the last chunk that have happened here
	thawed *chunk   // whose changes, because this store lags behind, are
	again  []change // these
}

// chunk is a part of a history. Its changes are only ever appended to; once they are old they are packed: most of what
// was overwritten is never looked at again, and as objects it would cost ten times the memory. What was not overwritten
// until then waits for the attic.
type chunk struct {
	changes []change // nil once they are packed
	packed  []byte
	kept    []*KeyValue // versions that are not in packed, in the order of their use
	rows    []row       // of a packed chunk
	begin   int64       // revision of the first change of a packed chunk
	next    *chunk
}

// row is what is asked about a packed change without unpacking it.
type row struct {
	since uint32 // its revision, counted from that of the chunk's first
	frees uint32
}

// Versions is what the stores of one simulation share: the memory of their histories. It is no way for one to learn
// from another: each asks for what it has made already.
type Versions struct {
	size   int      // changes of a chunk
	after  int      // how many younger chunks there are when one is packed
	root   *chunk   // of a history that begins empty, until it is full
	filled []*chunk // those that became full last
	recent []told
	attic  attic
	keys   []byte // of new versions
}

// told is what watchers were told of a change.
type told struct {
	change change
	events [2][]Event
}

// chosen: members and watchers are seconds behind each other at most, and large clusters write a few hundred a second;
// a member that restarts reads 10,000 entries of its log (--snapshot-count, v3.6).
const (
	chunkSize  = 512
	packAfter  = 8 // chunks
	leadAfter  = 32
	recentTold = 256     // changes
	keySlab    = 1 << 10 // bytes: a dozen keys, so that a few that live on hold on to little
)

// NewVersions makes a memory for the members of one simulation.
func NewVersions() *Versions { return newVersions(chunkSize, packAfter, atticBatch) }

func newVersions(size, after, batch int) *Versions {
	return &Versions{size: size, after: after, root: &chunk{}, attic: attic{batch: batch},
		recent: make([]told, recentTold)}
}

// begin returns the history of a new store.
func (v *Versions) begin() history {
	first := v.root
	if first == nil {
		first = &chunk{}
	}
	return history{shared: v, chunks: []*chunk{first}}
}

// add appends a change and returns its version: the one that another store has made already, if it is equal.
func (h *history) add(kv KeyValue, prev *KeyValue) *KeyValue {
	last := h.chunks[len(h.chunks)-1]
	if h.end == h.shared.size {
		if last.next == nil {
			last.next = &chunk{}
			h.shared.full(last)
		}
		last = last.next
		h.chunks, h.end = append(h.chunks, last), 0
	}
	there := h.all(last)
	if h.end < len(there) {
		if c := &there[h.end]; sameVersion(c.kv, &kv) && (c.prev == prev || sameVersion(c.prev, prev)) {
			h.end++
			if c.kv.is(superseded) && last.rows != nil { // what is unpacked is not to live on with a key
				return h.shared.version(&kv)
			}
			return c.kv
		}
		last = &chunk{changes: append(make([]change, 0, h.shared.size), there[:h.end]...)}
		h.chunks = append(h.chunks[:len(h.chunks)-1:len(h.chunks)-1], last)
	}
	prev.supersede()
	made := h.shared.version(&kv)
	if last.changes == nil {
		last.changes = make([]change, 0, h.shared.size)
	}
	last.changes = append(last.changes, change{made, prev})
	h.end++
	return made
}

// version returns the version of a key that is equal to kv and was made a moment ago, or else makes it.
func (v *Versions) version(kv *KeyValue) *KeyValue {
	t := &v.recent[kv.ModRevision%recentTold]
	if sameVersion(t.change.kv, kv) {
		return t.change.kv
	}
	made := new(KeyValue)
	*made = *kv
	if kv.Version == 1 { // all versions share the key: it is not to hold on to what came with the first
		made.Key = v.key(kv.Key)
	}
	return made
}

// key copies a key to where others that came with it are.
func (v *Versions) key(k []byte) []byte {
	if len(k) > cap(v.keys)-len(v.keys) {
		v.keys = make([]byte, 0, max(keySlab, len(k)))
	}
	n := len(v.keys)
	v.keys = append(v.keys, k...)
	return v.keys[n:len(v.keys):len(v.keys)]
}

// ahead returns the change that another store, in the same state as this one is in now, has made next; nil if there is
// none. So what was there before that change is what is here: of three members one looks in its tree.
func (h *history) ahead() *change {
	last := h.chunks[len(h.chunks)-1]
	if h.end == h.shared.size {
		if last = last.next; last == nil || len(last.changes) == 0 {
			return nil
		}
		return &last.changes[0]
	}
	if h.end < len(last.changes) {
		return &last.changes[h.end]
	}
	return nil
}

// full is told of each chunk that is full. One that was full a while ago is packed; much later it no longer leads to
// the next, so that who holds on to an old snapshot does not hold on to all that came after.
func (v *Versions) full(c *chunk) {
	if c == v.root {
		v.root = nil
	}
	v.filled = append(v.filled, c)
	if n := len(v.filled); n > v.after {
		v.attic.packer.pack(v.filled[n-1-v.after], &v.attic)
		v.attic.look()
	}
	if len(v.filled) > leadAfter {
		v.filled[0].next = nil
		v.filled = append(v.filled[:0], v.filled[1:]...)
	}
}

// all returns the changes of a chunk.
func (h *history) all(c *chunk) []change {
	if c.rows == nil {
		return c.changes
	}
	if h.thawed != c {
		h.thawed, h.again = c, unpack(c)
	}
	return h.again
}

// bounds returns which changes of the i-th chunk belong to the history.
func (h *history) bounds(i int) (from, to int) {
	to = h.shared.size
	if i == len(h.chunks)-1 {
		to = h.end
	}
	if i == 0 {
		from = h.skip
	}
	return from, to
}

// part returns the changes of the i-th chunk that belong to the history.
func (h *history) part(i int) []change {
	from, to := h.bounds(i)
	if from == to {
		return nil
	}
	c := h.chunks[i]
	if c.rows != nil && c != h.thawed {
		return unpack(c)[from:to]
	}
	return h.all(c)[from:to]
}

// since finds the first change of that revision or later: its chunk, and its place in part.
func (h *history) since(revision int64) (i, j int) {
	i = sort.Search(len(h.chunks), func(i int) bool {
		_, to := h.bounds(i)
		return to == 0 || h.chunks[i].revision(to-1) >= revision
	})
	if i == len(h.chunks) {
		return i, 0
	}
	from, to := h.bounds(i)
	return i, sort.Search(to-from, func(j int) bool { return h.chunks[i].revision(from+j) >= revision })
}

// each calls fn for each change of that revision or later, in order.
func (h *history) each(revision int64, fn func(*change)) {
	for i, j := h.since(revision); i < len(h.chunks); i, j = i+1, 0 {
		part := h.part(i)
		for ; j < len(part); j++ {
			fn(&part[j])
		}
	}
}

// compact forgets what is before a revision, and returns how much of the database was in use for it.
func (h *history) compact(revision int64) (freed int64) {
	cut, place := h.since(revision)
	for i := 0; i <= cut && i < len(h.chunks); i++ {
		from, to := h.bounds(i)
		if i == cut {
			to = from + place
		}
		for j := from; j < to; j++ {
			freed += h.chunks[i].frees(j)
		}
		h.skip = to
	}
	if cut = min(cut, len(h.chunks)-1); cut > 0 { // copied, so that the memory of what is forgotten goes
		h.chunks = append([]*chunk(nil), h.chunks[cut:]...)
	}
	h.thawed, h.again = nil, nil
	return freed
}

// copied returns the history as it is now.
func (h *history) copied() history {
	n := len(h.chunks)
	return history{shared: h.shared, chunks: h.chunks[:n:n], skip: h.skip, end: h.end}
}

func (c *chunk) revision(i int) int64 {
	if c.rows != nil {
		return c.begin + int64(c.rows[i].since)
	}
	return c.changes[i].revision()
}

func (c *chunk) frees(i int) int64 {
	if c.rows != nil {
		return int64(c.rows[i].frees)
	}
	return c.changes[i].frees()
}

func sameVersion(a, b *KeyValue) bool {
	return a != nil && b != nil && a.ModRevision == b.ModRevision && a.CreateRevision == b.CreateRevision &&
		a.Version == b.Version && a.Lease == b.Lease && same(a.Key, b.Key) && a.size == b.size && same(a.Value(), b.Value())
}

// same compares by identity first: members mostly share one array of bytes.
func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

// events returns what watchers are told of one change, without or with what was before: the same for all of them.
func (v *Versions) events(c *change, withPrev bool) []Event {
	t := &v.recent[c.revision()%recentTold]
	if t.change != *c {
		*t = told{change: *c}
	}
	variant := 0
	if withPrev {
		variant = 1
	}
	if t.events[variant] == nil {
		t.events[variant] = []Event{c.event(withPrev)}
	}
	return t.events[variant]
}

// event describes a change.
func (c *change) event(withPrev bool) Event {
	e := Event{Kv: c.kv}
	if c.deletes() {
		e.Type = Delete
	}
	if withPrev {
		e.PrevKv = c.prev
	}
	return e
}
