package mvcc

import "github.com/tidwall/btree"

// Snapshot is a store at one moment. It never changes, and costs next to nothing to take.
type Snapshot struct {
	tree      *btree.Map[string, *KeyValue]
	history   history
	revision  int64
	compacted int64
	size      sizes
	leases    []Lease // without keys: those are found by their versions
}

// Snapshot returns the store as it is now.
func (s *Store) Snapshot() *Snapshot {
	snap := &Snapshot{s.tree.Copy(), s.history.copied(), s.revision, s.compacted, s.size, nil}
	for _, l := range s.Leases() {
		snap.leases = append(snap.leases, Lease{ID: l.ID, TTL: l.TTL})
	}
	return snap
}

// Size returns the size of the snapshot's file in bytes.
func (p *Snapshot) Size() int64 { return initialFile + p.size.file }

// Revision returns the snapshot's revision.
func (p *Snapshot) Revision() int64 { return p.revision }

// Len returns how many keys the snapshot holds.
func (p *Snapshot) Len() int { return p.tree.Len() }

// Versions returns how many versions of keys the snapshot holds: what etcdutl counts as keys.
func (p *Snapshot) Versions() int {
	n := p.tree.Len()
	p.history.each(0, func(c *change) {
		if c.prev != nil {
			n++
		}
		if c.deletes() {
			n++
		}
	})
	return n
}

// Store returns a new store with the content of the snapshot.
func (p *Snapshot) Store() *Store {
	s := NewSharing(p.history.shared)
	s.load(p)
	return s
}

// Restore replaces the content of the store by that of the snapshot. Watchers stay: they get what they have missed
// by the next Sync.
func (s *Store) Restore(p *Snapshot) {
	s.load(p)
	s.hub.desync()
}

func (s *Store) load(p *Snapshot) {
	s.tree, s.history = p.tree.Copy(), p.history.copied()
	s.revision, s.compacted, s.size = p.revision, p.compacted, p.size
	s.looked = nil
	s.leases.byID = map[int64]*Lease{}
	for _, l := range p.leases {
		s.Grant(l.ID, l.TTL)
	}
	if len(p.leases) > 0 {
		s.tree.Scan(func(key string, kv *KeyValue) bool {
			if kv.Lease != 0 {
				s.leases.attach(kv.Lease, key)
			}
			return true
		})
	}
}

// Bumped returns the snapshot with its revision raised by that much, everything before marked as compacted if so
// asked: etcdutl snapshot restore --bump-revision --mark-compacted.
func (p *Snapshot) Bumped(by int64, markCompacted bool) *Snapshot {
	bumped := *p
	bumped.tree = p.tree.Copy()
	bumped.revision += by
	if markCompacted {
		bumped.compacted = bumped.revision
		bumped.history = history{shared: p.history.shared, chunks: []*chunk{{}}}
	}
	return &bumped
}
