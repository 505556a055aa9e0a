package mvcc

import "sort"

// Lease is a time-to-live that keys hang on. The store knows what it was granted for; when it expires is the
// leader's to say.
type Lease struct {
	ID   int64
	TTL  int64  // seconds, as granted
	used bool   // a key was put on it:
	low  string // none before,
	high string // and none after
}

// LeaseKeys returns the keys on a lease, sorted. They are looked for among all keys between the first and the last that
// ever were put on it: Kubernetes hangs its events on leases, by the ten thousand, and never asks for them before the
// lease ends.
func (s *Store) LeaseKeys(l *Lease) (keys []string) {
	if !l.used {
		return nil
	}
	s.tree.Ascend(l.low, func(key string, kv *KeyValue) bool {
		if key > l.high {
			return false
		}
		if kv.Lease == l.ID {
			keys = append(keys, key)
		}
		return true
	})
	return keys
}

type leases struct{ byID map[int64]*Lease }

// Lease returns the lease with that ID, nil if there is none.
func (s *Store) Lease(id int64) *Lease { return s.leases.byID[id] }

// Leases returns all leases, sorted by ID.
func (s *Store) Leases() []*Lease {
	all := make([]*Lease, 0, len(s.leases.byID))
	for _, l := range s.leases.byID { // any order: sorted below
		all = append(all, l)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].ID < all[j].ID })
	return all
}

// Grant makes a lease; the ID must be free.
func (s *Store) Grant(id, ttl int64) *Lease {
	l := &Lease{ID: id, TTL: ttl}
	s.leases.byID[id] = l
	return l
}

// Revoke ends a lease and deletes its keys in one transaction. It reports whether there was such a lease.
func (s *Store) Revoke(id int64) bool {
	l := s.leases.byID[id]
	if l == nil {
		return false
	}
	txn := s.Write()
	for _, key := range s.LeaseKeys(l) {
		txn.DeleteRange([]byte(key), nil)
	}
	txn.End()
	delete(s.leases.byID, id)
	return true
}

// attach notes that a key was put on a lease.
func (l *leases) attach(id int64, key string) {
	lease := l.byID[id]
	switch {
	case lease == nil:
	case !lease.used:
		lease.used, lease.low, lease.high = true, key, key
	default:
		lease.low, lease.high = min(lease.low, key), max(lease.high, key)
	}
}
