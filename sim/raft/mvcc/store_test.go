package mvcc

import (
	"fmt"
	"sort"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is etcd in the simplest form: the whole state at every revision.
type model struct {
	states    []map[string]KeyValue // by revision
	compacted int64
}

func (m *model) now() int64 { return int64(len(m.states) - 1) }

func (m *model) next() map[string]KeyValue {
	fresh := map[string]KeyValue{}
	for k, v := range m.states[m.now()] {
		fresh[k] = v
	}
	m.states = append(m.states, fresh)
	return fresh
}

func (m *model) keys(revision int64, start, end string) (keys []string) {
	for k := range m.states[revision] {
		if k >= start && (end == "\x00" || k < end) || end == "" && k == start {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

func (m *model) put(state map[string]KeyValue, key, value string) {
	old, had := state[key]
	kv := *KeyValue{Key: []byte(key), ModRevision: m.now(), CreateRevision: m.now(), Version: 1}.With([]byte(value))
	if had {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
	}
	state[key] = kv
}

var keys = []string{"a", "a/1", "a/2", "b", "b/1", "c"}

// Whatever is put, deleted and compacted: any range at any revision gives what the model remembers of that
// revision, sizes never go wrong, snapshots stay as they were, and a watcher has seen every change once, in order.
func TestStoreIsAsTheModelRemembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.SampledFrom([]int{1, 2, 3, chunkSize}).Draw(t, "chunk size")
		s, m := NewSharing(newVersions(chunks, 1, 4)), &model{states: []map[string]KeyValue{{}, {}}}
		seen := map[string]KeyValue{}
		var last int64
		late := false // the watcher was told that what it wants is compacted
		watch := func(start int64) *Watcher {
			return s.Watch(WatchOptions{Key: []byte("a"), End: []byte("b"), Start: start, PrevKV: true,
				Compacted: func(int64) { late = true },
				Deliver: func(events []Event) {
					for _, e := range events {
						require.GreaterOrEqual(t, e.Kv.ModRevision, last)
						last = e.Kv.ModRevision
						if e.Type == Delete {
							delete(seen, string(e.Kv.Key))
						} else {
							seen[string(e.Kv.Key)] = *e.Kv
						}
					}
				}})
		}
		w := watch(0)
		var snapshots []*Snapshot
		key := rapid.SampledFrom(keys)
		t.Repeat(map[string]func(*rapid.T){
			"txn": func(t *rapid.T) {
				txn, state := s.Write(), m.next()
				done := map[string]bool{}
				for range rapid.IntRange(1, 3).Draw(t, "ops") {
					k := key.Draw(t, "key")
					if done[k] {
						continue
					}
					done[k] = true
					v := rapid.StringN(0, 3, -1).Draw(t, "value")
					m.put(state, k, v)
					txn.Put([]byte(k), []byte(v), 0)
				}
				txn.End()
			},
			"delete": func(t *rapid.T) {
				start, end := key.Draw(t, "start"), rapid.SampledFrom([]string{"", "b", "\x00"}).Draw(t, "end")
				gone := m.keys(m.now(), start, end)
				txn := s.Write()
				require.Len(t, txn.DeleteRange([]byte(start), []byte(end)), len(gone))
				txn.End()
				if len(gone) > 0 {
					state := m.next()
					for _, k := range gone {
						delete(state, k)
					}
				}
			},
			"compact": func(t *rapid.T) {
				revision := rapid.Int64Range(1, m.now()+1).Draw(t, "revision")
				err := s.Compact(revision)
				switch {
				case revision <= m.compacted:
					require.Equal(t, ErrCompacted, err)
				case revision > m.now():
					require.Equal(t, ErrFutureRev, err)
				default:
					require.NoError(t, err)
					m.compacted = revision
				}
			},
			"rewatch": func(*rapid.T) {
				next := w.next
				s.Unwatch(w)
				if late { // as a reflector does: list, then watch from there
					clear(seen)
					for _, k := range m.keys(m.now(), "a", "b") {
						seen[k] = m.states[m.now()][k]
					}
					late, next = false, m.now()+1
				}
				w = watch(next)
			},
			"sync":     func(*rapid.T) { s.Sync() },
			"snapshot": func(*rapid.T) { snapshots = append(snapshots, s.Snapshot()) },
			"restart":  func(*rapid.T) { s.Restore(s.Snapshot()) },
			"": func(t *rapid.T) {
				require.Equal(t, m.now(), s.Revision())
				require.Equal(t, len(m.states[m.now()]), s.Len())
				require.GreaterOrEqual(t, s.SizeInUse(), int64(initialFile))
				if w.Synced() && !late {
					want := m.keys(m.now(), "a", "b")
					require.Len(t, seen, len(want))
					for _, k := range want {
						was, is := m.states[m.now()][k], seen[k]
						require.Equal(t, tell(&was), tell(&is))
					}
				}
				compare(t, s, m)
			},
		})
		for _, snapshot := range snapshots {
			restored := snapshot.Store()
			old := *m
			old.states = m.states[:snapshot.Revision()+1]
			old.compacted = snapshot.compacted
			compare(t, restored, &old)
		}
	})
}

func compare(t require.TestingT, s *Store, m *model) {
	for revision := int64(1); revision <= m.now()+1; revision++ {
		for _, r := range [...][2]string{{"a", "\x00"}, {"a", "b"}, {"b", ""}} {
			kvs, count, err := s.Range([]byte(r[0]), []byte(r[1]), RangeOptions{Revision: revision})
			switch {
			case revision > m.now():
				require.Equal(t, ErrFutureRev, err)
				continue
			case revision < m.compacted:
				require.Equal(t, ErrCompacted, err)
				continue
			}
			require.NoError(t, err)
			want := m.keys(revision, r[0], r[1])
			require.EqualValues(t, len(want), count, "count of %q at %d", r, revision)
			require.Len(t, kvs, len(want))
			for i, k := range want {
				kv := m.states[revision][k]
				require.Equal(t, tell(&kv), tell(kvs[i]))
			}
			limited, count, err := s.Range([]byte(r[0]), []byte(r[1]), RangeOptions{Revision: revision, Limit: 1})
			require.NoError(t, err)
			require.EqualValues(t, len(want), count)
			require.Len(t, limited, min(1, len(want)))
		}
	}
}

func TestWatchersOfThePastGetHistoryThenWhatComes(t *testing.T) {
	s := New()
	put := func(key string) {
		txn := s.Write()
		txn.Put([]byte(key), []byte("v"), 0)
		txn.End()
	}
	for i := range 5 {
		put(fmt.Sprintf("p/%d", i))
	}
	var got []string
	var compacted int64
	watch := func(start int64) {
		s.Watch(WatchOptions{Key: []byte("p/"), End: []byte("p0"), Start: start,
			Deliver:   func(events []Event) { got = append(got, string(events[0].Kv.Key), fmt.Sprint(len(events))) },
			Compacted: func(at int64) { compacted = at }})
	}
	watch(4)
	put("q")
	put("p/x")
	assert.Empty(t, got, "not synced yet")
	s.Sync()
	put("p/y")
	assert.Equal(t, []string{"p/2", "4", "p/y", "1"}, got)
	require.NoError(t, s.Compact(6))
	watch(5)
	s.Sync()
	assert.EqualValues(t, 6, compacted)
	assert.Equal(t, 1, s.Watchers())
}

func TestIntervalsFindExactlyTheSpansThatContainAKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree intervals
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 3, -1)
		spans := map[span]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "spans") {
			s := span{text.Draw(t, "start"), text.Draw(t, "end")}
			if s.end != "" && s.end <= s.start {
				continue
			}
			tree.group(s)
			spans[s] = true
		}
		key := text.Draw(t, "key")
		want := map[span]bool{}
		for s := range spans {
			if s.contains(key) {
				want[s] = true
			}
		}
		got := map[span]bool{}
		tree.stab(key, func(g *group) { got[g.span] = true })
		require.Equal(t, want, got)
	})
}

func TestLeasesTakeTheirKeysAlong(t *testing.T) {
	s := New()
	s.Grant(7, 60)
	txn := s.Write()
	txn.Put([]byte("a"), []byte("1"), 7)
	txn.Put([]byte("b"), []byte("1"), 7)
	txn.End()
	txn = s.Write()
	txn.Put([]byte("b"), []byte("2"), 0) // without the lease
	txn.End()
	s = s.Snapshot().Store()
	assert.Equal(t, []string{"a"}, s.LeaseKeys(s.Lease(7)))
	assert.True(t, s.Revoke(7))
	assert.Nil(t, s.Get([]byte("a")))
	assert.NotNil(t, s.Get([]byte("b")))
	assert.False(t, s.Revoke(7))
}

func BenchmarkPutWithManyWatchers(b *testing.B) {
	s := New()
	for i := range 200 {
		prefix := fmt.Sprintf("/registry/%02d/", i/3)
		s.Watch(WatchOptions{Key: []byte(prefix), End: []byte(prefixEnd(prefix)), PrevKV: true, Deliver: func([]Event) {}})
	}
	value := make([]byte, 500)
	keys := make([][]byte, 10000)
	for i := range keys {
		keys[i] = []byte(fmt.Sprintf("/registry/%02d/%d", i%60, i))
	}
	b.ReportAllocs()
	for i := range b.N {
		txn := s.Write()
		txn.Put(keys[i%len(keys)], value, 0)
		txn.End()
		if i%5000 == 4999 {
			_ = s.Compact(s.Revision() - 100)
		}
	}
}
