package mvcc

// Since calls fn for each change after a revision, in order, for observers; complete is false when some of them are
// compacted. A deleted key has Version 0.
func (s *Store) Since(revision int64, fn func(*KeyValue)) (complete bool) {
	for i := s.since(revision + 1); i < len(s.history); i++ {
		fn(s.history[i].kv)
	}
	return revision >= s.compacted
}
