package mvcc

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// entry is what members apply.
type entry struct {
	key     string
	value   string // "": delete the key
	compact bool   // instead: everything that is older than two revisions
}

func (e entry) apply(s *Store) {
	if e.compact {
		_ = s.Compact(s.Revision() - 2)
		return
	}
	txn := s.Write()
	if e.value == "" {
		txn.DeleteRange([]byte(e.key), nil)
	} else {
		txn.Put([]byte(e.key), []byte(e.value), 0)
	}
	txn.End()
}

// replica is a store that shares its history with others, and its twin, which shares with nobody.
type replica struct {
	store, twin *Store
	log         []entry
	applied     int
}

// tale is everything that a new watcher of the past is told.
func tale(s *Store) (text []string) {
	w := s.Watch(WatchOptions{Key: []byte{0}, End: []byte{0}, Start: s.CompactRevision() + 1, PrevKV: true,
		Compacted: func(int64) {}, Deliver: func(events []Event) {
			for _, e := range events {
				was := "nothing"
				if e.PrevKv != nil {
					was = tell(e.PrevKv)
				}
				text = append(text, fmt.Sprint(e.Type, tell(e.Kv), was))
			}
		}})
	s.Sync()
	s.Unwatch(w)
	return text
}

func tell(kv *KeyValue) string {
	return fmt.Sprintf("%s=%s %d %d %d %d", kv.Key, kv.Value(), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease)
}

func (r *replica) check(t require.TestingT) {
	require.Equal(t, r.twin.Revision(), r.store.Revision())
	require.Equal(t, r.twin.CompactRevision(), r.store.CompactRevision())
	require.Equal(t, r.twin.SizeInUse(), r.store.SizeInUse())
	for at := max(r.twin.CompactRevision(), 1); at <= r.twin.Revision(); at++ {
		want, _, err := r.twin.HashKV(at)
		require.NoError(t, err)
		got, _, err := r.store.HashKV(at)
		require.NoError(t, err)
		require.Equal(t, want, got, "at %d", at)
	}
	require.Equal(t, tale(r.twin), tale(r.store))
	require.Equal(t, r.twin.Snapshot().Versions(), r.store.Snapshot().Versions())
}

// Stores that share their histories, lag behind each other, begin again from a snapshot, or part because they applied
// something else, are each as a store that shares nothing.
func TestSharedHistoriesDoNotMix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 2, 3, 5}).Draw(t, "chunk size")
		shared := newVersions(size, 1, 8)
		members := make([]*replica, 3)
		for i := range members {
			members[i] = &replica{store: NewSharing(shared), twin: NewSharing(newVersions(1<<10, packAfter, atticBatch))}
		}
		type saved struct {
			store, twin *Snapshot
			applied     int
			log         []entry
		}
		var snapshots []saved
		pick := func(t *rapid.T) *replica { return members[rapid.IntRange(0, 2).Draw(t, "member")] }
		t.Repeat(map[string]func(*rapid.T){
			"propose": func(t *rapid.T) { // to all with the same log
				r := pick(t)
				e := entry{rapid.SampledFrom(keys).Draw(t, "key"), rapid.StringMatching(`[ab]{0,20}`).Draw(t, "value"),
					rapid.IntRange(0, 9).Draw(t, "compact") == 0}
				log := append(r.log[:len(r.log):len(r.log)], e)
				for _, other := range members {
					if len(other.log) == len(r.log) && fmt.Sprint(other.log) == fmt.Sprint(r.log) && other != r {
						other.log = log
					}
				}
				r.log = log
			},
			"part": func(t *rapid.T) { // as a member that is made a cluster of its own
				r := pick(t)
				r.log = r.log[:r.applied:r.applied]
			},
			"apply": func(t *rapid.T) {
				r := pick(t)
				for n := rapid.IntRange(1, 8).Draw(t, "entries"); n > 0 && r.applied < len(r.log); n-- {
					r.log[r.applied].apply(r.store)
					r.log[r.applied].apply(r.twin)
					r.applied++
				}
				r.check(t)
			},
			"save": func(t *rapid.T) {
				r := pick(t)
				snapshots = append(snapshots, saved{r.store.Snapshot(), r.twin.Snapshot(), r.applied, r.log})
			},
			"restore": func(t *rapid.T) {
				if len(snapshots) == 0 {
					return
				}
				r, from := pick(t), rapid.SampledFrom(snapshots).Draw(t, "snapshot")
				r.store.Restore(from.store)
				r.twin.Restore(from.twin)
				r.applied, r.log = from.applied, from.log
				r.check(t)
			},
		})
	})
}

// What is packed comes back as it was, and takes a fraction of the memory.
func TestPackedChunksAreSmallAndComeBackWhole(t *testing.T) {
	s := NewSharing(newVersions(100, 1, 1<<14))
	filler := bytes.Repeat([]byte("0123456789abcdef"), 30)
	for i := range 400 {
		value := fmt.Appendf(nil, "node-%d renewed at %d %s and then %d", i%7, i*7919, filler, i)
		txn := s.Write()
		txn.Put(fmt.Appendf(nil, "/registry/leases/node-%d", i%7), value, int64(i%3))
		txn.End()
	}
	require.NotNil(t, s.history.chunks[0].rows)
	require.Nil(t, s.history.chunks[0].changes)
	require.Less(t, len(s.history.chunks[0].packed), 100*60)
	n := 0
	s.history.each(0, func(c *change) {
		require.Equal(t, fmt.Sprintf("node-%d renewed at %d %s and then %d", n%7, n*7919, filler, n), string(c.kv.Value()))
		require.EqualValues(t, n+2, c.kv.ModRevision)
		require.EqualValues(t, n%3, c.kv.Lease)
		if n >= 7 {
			require.EqualValues(t, n+2-7, c.prev.ModRevision)
		}
		n++
	})
	require.Equal(t, 400, n)
}
