package mvcc

import "sort"

// Lease is a time-to-live that keys hang on. The store knows what it was granted for; when it expires is the
// leader's to say.
type Lease struct {
	ID   int64
	TTL  int64 // seconds, as granted
	keys map[string]struct{}
}

// Keys returns the keys on the lease, sorted.
func (l *Lease) Keys() []string {
	keys := make([]string, 0, len(l.keys))
	for key := range l.keys { // any order: sorted below
		keys = append(keys, key)
	}
	sort.Strings(keys)
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
	l := &Lease{ID: id, TTL: ttl, keys: map[string]struct{}{}}
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
	for _, key := range l.Keys() {
		txn.DeleteRange([]byte(key), nil)
	}
	txn.End()
	delete(s.leases.byID, id)
	return true
}

func (l *leases) attach(id int64, key string) {
	if lease := l.byID[id]; lease != nil {
		lease.keys[key] = struct{}{}
	}
}

func (l *leases) detach(id int64, key string) {
	if id == 0 {
		return
	}
	if lease := l.byID[id]; lease != nil {
		delete(lease.keys, key)
	}
}
