package mvcc

import (
	"errors"
	"sort"
	"unsafe"

	"github.com/tidwall/btree"
)

// ErrCompacted is returned for a revision that was compacted.
var ErrCompacted = errors.New("mvcc: required revision has been compacted")

// ErrFutureRev is returned for a revision that does not exist yet.
var ErrFutureRev = errors.New("mvcc: required revision is a future revision")

// Store is one member's store. The newest version of every key is in a tree; what happened since the last
// compaction is in a history, from which older revisions are reconstructed and watches are fed.
//
// etcd keeps all versions in one index instead. Keeping them apart makes the tree small, snapshots cheap (the tree is
// copied on write, the history only grows) and compaction a cut.
type Store struct {
	tree      *btree.Map[string, *KeyValue]
	history   history   // of revisions >= compacted
	pending   []change  // of the transaction that is under way
	looked    *KeyValue // what was looked up last, if nothing was changed since: a transaction compares what it then puts
	revision  int64
	compacted int64 // the newest compaction, 0: none
	size      sizes
	leases    leases
	hub       hub
	writing   bool
	txn       Txn // the one that is under way
}

// New makes an empty store. Its revision is 1, as etcd's is.
func New() *Store { return NewSharing(NewVersions()) }

// NewSharing is New for one of several members that share their versions.
func NewSharing(versions *Versions) *Store {
	s := &Store{tree: newTree(), revision: 1, history: versions.begin()}
	s.leases.byID = map[int64]*Lease{}
	s.hub.store = s
	s.hub.exact = map[string]*group{}
	return s
}

func newTree() *btree.Map[string, *KeyValue] { return btree.NewMap[string, *KeyValue](32) }

// Revision returns the newest revision.
func (s *Store) Revision() int64 { return s.revision }

// CompactRevision returns the revision of the newest compaction, 0 if there was none.
func (s *Store) CompactRevision() int64 { return s.compacted }

// Len returns how many keys there are.
func (s *Store) Len() int { return s.tree.Len() }

// Get returns the newest version of a key, nil if there is none.
func (s *Store) Get(key []byte) *KeyValue {
	if next := s.history.ahead(); next != nil && same(next.kv.Key, key) {
		return next.prev
	}
	if s.looked == nil || s.looked.Name() != view(key) {
		s.looked, _ = s.tree.Get(view(key))
	}
	return s.looked
}

// Each calls fn for the newest version of each key with the prefix, in order, until fn returns false.
func (s *Store) Each(prefix string, fn func(*KeyValue) bool) {
	end := prefixEnd(prefix)
	s.tree.Ascend(prefix, func(key string, kv *KeyValue) bool {
		return (end == "" || key < end) && fn(kv)
	})
}

// RangeOptions say how much of a range is wanted.
type RangeOptions struct {
	Revision  int64 // 0: the newest
	Limit     int   // 0: all
	CountOnly bool
}

// Range returns the keys in [key, end) in order: the one key if end is empty, all from key on if end is "\x00".
// count is the number in the whole range, whatever the limit. Errors: ErrCompacted, ErrFutureRev.
func (s *Store) Range(key, end []byte, o RangeOptions) (kvs []*KeyValue, count int64, err error) {
	current := s.revision
	if s.writing { // a transaction sees what it has written
		current++
	}
	switch {
	case o.Revision > current:
		return nil, 0, ErrFutureRev
	case o.Revision <= 0 || o.Revision == current:
	case o.Revision < s.compacted:
		return nil, 0, ErrCompacted
	case o.Revision < s.revision || s.writing:
		kvs, count = s.rangeAt(span{view(key), endOf(end)}, len(end) == 0, o)
		return kvs, count, nil
	}
	if len(end) == 0 {
		kv, found := s.tree.Get(view(key))
		if !found {
			return nil, 0, nil
		}
		if o.CountOnly {
			return nil, 1, nil
		}
		return []*KeyValue{kv}, 1, nil
	}
	within := span{view(key), endOf(end)}
	count = int64(s.count(within))
	if o.CountOnly || count == 0 {
		return nil, count, nil
	}
	want := int(count)
	if o.Limit > 0 {
		want = min(want, o.Limit)
	}
	kvs = make([]*KeyValue, 0, want)
	s.tree.Ascend(within.start, func(_ string, kv *KeyValue) bool {
		kvs = append(kvs, kv)
		return len(kvs) < want
	})
	return kvs, count, nil
}

// count returns how many keys are in the span, by two searches in the tree.
func (s *Store) count(within span) int {
	high := s.tree.Len()
	if within.end != "" {
		high = s.rank(within.end)
	}
	return max(high-s.rank(within.start), 0)
}

// rank returns how many keys are before key.
func (s *Store) rank(key string) int {
	return sort.Search(s.tree.Len(), func(i int) bool {
		k, _, _ := s.tree.GetAt(i)
		return k >= key
	})
}

// rangeAt reconstructs a range as it was at an older revision, by undoing what happened since.
func (s *Store) rangeAt(within span, single bool, o RangeOptions) (kvs []*KeyValue, count int64) {
	undone := map[string]*KeyValue{} // what a key was; nil: nothing
	s.history.each(o.Revision+1, func(c *change) {
		key := view(c.kv.Key)
		if _, later := undone[key]; !later && (single && key == within.start || !single && within.contains(key)) {
			undone[key] = c.prev
		}
	})
	take := func(kv *KeyValue) {
		count++
		if !o.CountOnly && (o.Limit <= 0 || len(kvs) < o.Limit) {
			kvs = append(kvs, kv)
		}
	}
	if single {
		kv, changed := undone[within.start]
		if !changed {
			kv, _ = s.tree.Get(within.start)
		}
		if kv != nil {
			take(kv)
		}
		return kvs, count
	}
	var changed []string
	for key := range undone { // any order: sorted below
		changed = append(changed, key)
	}
	sort.Strings(changed)
	before := func(key string, all bool) {
		for len(changed) > 0 && (all || changed[0] < key) {
			if kv := undone[changed[0]]; kv != nil {
				take(kv)
			}
			changed = changed[1:]
		}
	}
	s.tree.Ascend(within.start, func(key string, kv *KeyValue) bool {
		if within.end != "" && key >= within.end {
			return false
		}
		before(key, false)
		if len(changed) > 0 && changed[0] == key {
			kv = undone[key]
			changed = changed[1:]
		}
		if kv != nil {
			take(kv)
		}
		return true
	})
	before("", true)
	return kvs, count
}

// span is the keys from start up to, not including, end; end "" means without end.
type span struct{ start, end string }

func (r span) contains(key string) bool { return key >= r.start && (r.end == "" || key < r.end) }

// endOf turns the end of a request into that of a span: etcd writes "\x00" for "without end".
func endOf(end []byte) string {
	if len(end) == 1 && end[0] == 0 {
		return ""
	}
	return view(end)
}

// prefixEnd returns the end of the span of all keys with that prefix.
func prefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}

// view returns the bytes as a string without copying them: bytes in the store never change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// firstOf and bytesFrom take a value apart, and put it together again: versions, which are very many, do without its
// capacity.
func firstOf(b []byte) *byte                { return unsafe.SliceData(b) }
func bytesFrom(first *byte, n int32) []byte { return unsafe.Slice(first, n) }
