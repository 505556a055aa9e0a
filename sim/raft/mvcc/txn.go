package mvcc

// Txn is a write transaction: everything it does gets the same revision. End must be called.
type Txn struct {
	store *Store
}

// Write begins a transaction. There is one at a time.
func (s *Store) Write() *Txn {
	if s.writing {
		panic("mvcc: a transaction is under way")
	}
	s.writing = true
	s.txn = Txn{s}
	return &s.txn
}

// Revision returns the revision that readers of the transaction see: the new one once it has changed something.
func (t *Txn) Revision() int64 {
	if t.Changes() > 0 {
		return t.store.revision + 1
	}
	return t.store.revision
}

// Changes returns how many keys the transaction has changed.
func (t *Txn) Changes() int { return len(t.store.pending) }

// Get returns the version of a key that the transaction sees, nil if there is none.
func (t *Txn) Get(key []byte) *KeyValue { return t.store.Get(key) }

// Range is Store.Range as the transaction sees it.
func (t *Txn) Range(key, end []byte, o RangeOptions) ([]*KeyValue, int64, error) {
	if o.Revision > t.Revision() {
		return nil, 0, ErrFutureRev
	}
	if o.Revision == t.Revision() {
		o.Revision = 0
	}
	return t.store.Range(key, end, o)
}

// Put sets a key and returns what was there before, nil if nothing. The store keeps key and value: they must not be
// changed.
func (t *Txn) Put(key, value []byte, lease int64) (prev *KeyValue) {
	s := t.store
	next := KeyValue{Key: key, ModRevision: s.revision + 1, Lease: lease}
	next.setValue(value)
	prev = s.Get(key)
	if prev != nil {
		next.Key = prev.Key // so that versions, and the tree, share one
		next.CreateRevision, next.Version = prev.CreateRevision, prev.Version+1
	} else {
		next.CreateRevision, next.Version = next.ModRevision, 1
	}
	kv := s.record(next, prev)
	s.tree.Set(view(kv.Key), kv)
	if lease != 0 && (prev == nil || prev.Lease != lease) {
		s.leases.attach(lease, view(kv.Key))
	}
	return prev
}

// record adds a change to the history and returns its version.
func (s *Store) record(next KeyValue, prev *KeyValue) *KeyValue {
	kv := s.history.add(next, prev)
	s.looked = nil
	s.pending = append(s.pending, change{kv, prev})
	s.size.add(kv)
	return kv
}

// DeleteRange deletes the keys in [key, end), or the one key, and returns what they were.
func (t *Txn) DeleteRange(key, end []byte) (deleted []*KeyValue) {
	s := t.store
	deleted, _, _ = s.Range(key, end, RangeOptions{})
	for _, prev := range deleted {
		s.record(KeyValue{Key: prev.Key, ModRevision: s.revision + 1}, prev)
		s.tree.Delete(view(prev.Key))
	}
	return deleted
}

// End ends the transaction and tells the watchers.
func (t *Txn) End() {
	s := t.store
	s.writing = false
	if t.Changes() == 0 {
		return
	}
	s.revision++
	s.hub.notify(s.pending)
	clear(s.pending)
	s.pending = s.pending[:0]
}
