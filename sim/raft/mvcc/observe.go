package mvcc

// Since calls fn for each change after a revision, in order, for observers; complete is false when some of them are
// compacted. A deleted key has Version 0.
func (s *Store) Since(revision int64, fn func(*KeyValue)) (complete bool) {
	s.history.each(revision+1, func(c *change) { fn(c.kv) })
	return revision >= s.compacted
}
