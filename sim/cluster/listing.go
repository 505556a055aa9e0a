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

// update takes the changes in, where they are: a list that was given out holds only until the next event.
func (l *listing) update(decode func(*mvcc.KeyValue) api.Object) {
	if len(l.changed) == 0 {
		return
	}
	slices.SortStableFunc(l.changed, func(a, b changedKey) int { return strings.Compare(a.key, b.key) })
	var keys []string // that are new, and their objects
	var objects []api.Object
	gone := false
	for i, change := range l.changed {
		if i+1 < len(l.changed) && l.changed[i+1].key == change.key {
			continue // the last change of a key counts
		}
		var object api.Object
		if change.kv.Version != 0 {
			object = decode(change.kv)
		}
		at, there := slices.BinarySearch(l.keys, change.key)
		switch {
		case there:
			l.objects[at] = object
			gone = gone || object == nil
		case object != nil:
			keys, objects = append(keys, change.key), append(objects, object)
		}
	}
	clear(l.changed)
	l.changed = l.changed[:0]
	if gone {
		l.compact()
	}
	l.merge(keys, objects)
}

// compact removes the places of objects that are gone.
func (l *listing) compact() {
	n := 0
	for i, object := range l.objects {
		if object != nil {
			l.keys[n], l.objects[n] = l.keys[i], object
			n++
		}
	}
	clear(l.keys[n:])
	clear(l.objects[n:])
	l.keys, l.objects = l.keys[:n], l.objects[:n]
}

// merge adds objects of keys that are new and sorted, from the end, so that each object moves once.
func (l *listing) merge(keys []string, objects []api.Object) {
	end := len(l.keys)
	l.keys, l.objects = append(l.keys, keys...), append(l.objects, objects...)
	for i := len(keys) - 1; i >= 0; i-- {
		at, _ := slices.BinarySearch(l.keys[:end], keys[i])
		copy(l.keys[at+i+1:], l.keys[at:end])
		copy(l.objects[at+i+1:], l.objects[at:end])
		l.keys[at+i], l.objects[at+i] = keys[i], objects[i]
		end = at
	}
}

// Objects returns the objects of a resource as they stand in the most advanced member's store.
func (w *world) Objects(res *api.Resource) []api.Object {
	decode := func(kv *mvcc.KeyValue) api.Object {
		object, err := w.codec.Decode(res, kv.Value(), kv.ModRevision)
		if err != nil {
			return nil
		}
		return object
	}
	place := w.place(res)
	list := place.list
	if list == nil {
		list = &listing{}
		place.list = list
		if w.newest != nil {
			w.newest.Each(res.Prefix, func(kv *mvcc.KeyValue) bool {
				list.changed = append(list.changed, changedKey{kv.Name(), kv})
				return true
			})
		}
	}
	list.update(decode)
	return list.objects
}
