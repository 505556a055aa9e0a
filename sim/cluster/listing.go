package cluster

import (
	"slices"
	"strings"

	"ksim/sim/api"
	"ksim/sim/raft/mvcc"
)

// listing is a resource's objects as an observer last saw them, by key of etcd, and what has changed since: who looks
// once a second at ten thousand pods pays for the few that have changed.
type listing struct {
	keys    []string
	objects []api.Object
	changed []changedKey
}

type changedKey struct {
	key string
	kv  *mvcc.KeyValue // Version 0: deleted
}

// chosen: when that many changes lie there, and more than there are objects, nobody looks any more.
const manyChanges = 1 << 10

// note keeps a change for when somebody looks; false says that the listing is better made anew.
func (l *listing) note(key string, kv *mvcc.KeyValue) bool {
	l.changed = append(l.changed, changedKey{key, kv})
	return len(l.changed) <= max(manyChanges, len(l.keys))
}

// update takes the changes in. Lists that were given out stay as they are.
func (l *listing) update(decode func(*mvcc.KeyValue) api.Object) {
	if len(l.changed) == 0 {
		return
	}
	slices.SortStableFunc(l.changed, func(a, b changedKey) int { return strings.Compare(a.key, b.key) })
	keys := make([]string, 0, len(l.keys)+len(l.changed))
	objects := make([]api.Object, 0, cap(keys))
	from := 0
	upTo := func(end int) {
		keys, objects = append(keys, l.keys[from:end]...), append(objects, l.objects[from:end]...)
		from = end
	}
	for i, change := range l.changed {
		if i+1 < len(l.changed) && l.changed[i+1].key == change.key {
			continue // the last change of a key counts
		}
		at, there := slices.BinarySearch(l.keys, change.key)
		upTo(at)
		if there {
			from++
		}
		if change.kv.Version == 0 {
			continue
		}
		if object := decode(change.kv); object != nil {
			keys, objects = append(keys, change.key), append(objects, object)
		}
	}
	upTo(len(l.keys))
	l.keys, l.objects, l.changed = keys, objects, nil
}

// Objects returns the objects of a resource as they stand in the most advanced member's store.
func (w *world) Objects(res *api.Resource) []api.Object {
	decode := func(kv *mvcc.KeyValue) api.Object {
		object, err := w.codec.Decode(res, kv.Value, kv.ModRevision)
		if err != nil {
			return nil
		}
		return object
	}
	list := w.lists[res]
	if list == nil {
		list = &listing{}
		w.lists[res] = list
		if w.newest != nil {
			w.newest.Each(res.Prefix, func(kv *mvcc.KeyValue) bool {
				list.changed = append(list.changed, changedKey{string(kv.Key), kv})
				return true
			})
		}
	}
	list.update(decode)
	return list.objects
}
