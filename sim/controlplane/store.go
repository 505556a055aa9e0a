package controlplane

import (
	"slices"

	"ksim/sim/api"
)

// Key names an object within its resource.
type Key = api.Key

// Store holds the objects that an informer knows, by key and by any number of indexes. Its order is that of arrival,
// disturbed by deletions: arbitrary, but the same in every run. (Models client-go's ThreadSafeStore,
// tools/cache/store.go, v0.36.)
type Store[T api.Object] struct {
	byKey   map[Key]*entry[T]
	all     bucket[T]
	indexes []*Index[T]
	fresh   []entry[T]  // for the next objects: one piece of memory for many
	free    []*entry[T] // of objects that were removed
	tallies []func(object T, sign int)
}

// Index finds objects by one property, as pods by the node that they are bound to.
type Index[T api.Object] struct {
	of      func(T) string
	number  int
	buckets map[string]*bucket[T]
}

type bucket[T api.Object] struct {
	value   string
	entries []*entry[T]
}

type entry[T api.Object] struct {
	object T
	at     int        // in Store.all
	places []place[T] // by index number
}

type place[T api.Object] struct {
	in *bucket[T] // nil: not in this index
	at int
}

func newStore[T api.Object]() *Store[T] { return &Store[T]{byKey: map[Key]*entry[T]{}} }

// Len returns how many objects there are.
func (s *Store[T]) Len() int { return len(s.all.entries) }

// Get returns the object of that key.
func (s *Store[T]) Get(key Key) (object T, ok bool) {
	if e := s.byKey[key]; e != nil {
		return e.object, true
	}
	return object, false
}

// Named is Get for a namespace ("" for cluster-scoped resources) and a name.
func (s *Store[T]) Named(namespace, name string) (object T, ok bool) {
	return s.Get(Key{Namespace: namespace, Name: name})
}

// At returns the i-th of Len objects. For loops that neither wait nor change the store.
func (s *Store[T]) At(i int) T { return s.all.entries[i].object }

// List returns all objects in a slice of the caller's.
func (s *Store[T]) List() []T { return s.all.objects() }

// Index adds an index; of returns the value that an object is found by, "" when it is not to be found.
func (s *Store[T]) Index(of func(T) string) *Index[T] {
	index := &Index[T]{of: of, number: len(s.indexes), buckets: map[string]*bucket[T]{}}
	s.indexes = append(s.indexes, index)
	s.fresh, s.free = nil, nil // have too few places
	for _, e := range s.all.entries {
		e.places = append(e.places, place[T]{})
		index.put(e, of(e.object))
	}
	return index
}

// Tally has fn told of every state that enters (sign +1) or leaves (-1) the store from now on, before any handler: sums
// over objects are kept by it at a cost of one object for each change.
func (s *Store[T]) Tally(fn func(object T, sign int)) { s.tallies = append(s.tallies, fn) }

func (s *Store[T]) tally(object T, sign int) {
	for _, fn := range s.tallies {
		fn(object, sign)
	}
}

// Get returns the objects with that value in a slice of the caller's.
func (index *Index[T]) Get(value string) []T {
	if b := index.buckets[value]; b != nil {
		return b.objects()
	}
	return nil
}

// Len returns how many objects have that value.
func (index *Index[T]) Len(value string) int {
	if b := index.buckets[value]; b != nil {
		return len(b.entries)
	}
	return 0
}

// Values returns those values with objects for which is reports true, sorted.
func (index *Index[T]) Values(is func(string) bool) []string {
	var values []string
	for value := range index.buckets { // any order: sorted below
		if is(value) {
			values = append(values, value)
		}
	}
	slices.Sort(values)
	return values
}

func (b *bucket[T]) objects() []T {
	objects := make([]T, len(b.entries))
	for i, e := range b.entries {
		objects[i] = e.object
	}
	return objects
}

// set stores an object and returns what was there before.
func (s *Store[T]) set(object T) (old T, had bool) {
	key := api.KeyOf(object)
	e := s.byKey[key]
	s.tally(object, 1)
	if e == nil {
		e = s.newEntry()
		e.object, e.at = object, len(s.all.entries)
		s.byKey[key] = e
		s.all.entries = append(s.all.entries, e)
		for _, index := range s.indexes {
			index.put(e, index.of(object))
		}
		return old, false
	}
	old = e.object
	s.tally(old, -1)
	e.object = object
	for _, index := range s.indexes {
		if after := index.of(object); index.value(e) != after {
			index.drop(e)
			index.put(e, after)
		}
	}
	return old, true
}

// newEntry returns an entry that is empty, with its places.
func (s *Store[T]) newEntry() *entry[T] {
	if n := len(s.free); n > 0 {
		e := s.free[n-1]
		s.free[n-1] = nil
		s.free = s.free[:n-1]
		return e
	}
	if len(s.fresh) == 0 {
		n := min(max(len(s.byKey), 1), 1<<7)
		s.fresh = make([]entry[T], n)
		if width := len(s.indexes); width > 0 {
			places := make([]place[T], n*width)
			for i := range s.fresh {
				s.fresh[i].places = places[i*width : (i+1)*width : (i+1)*width]
			}
		}
	}
	e := &s.fresh[0]
	s.fresh = s.fresh[1:]
	return e
}

// remove takes an object out and returns it.
func (s *Store[T]) remove(key Key) (old T, had bool) {
	e := s.byKey[key]
	if e == nil {
		return old, false
	}
	s.tally(e.object, -1)
	delete(s.byKey, key)
	last := len(s.all.entries) - 1
	moved := s.all.entries[last]
	s.all.entries[e.at], moved.at = moved, e.at
	s.all.entries[last] = nil
	s.all.entries = s.all.entries[:last]
	for _, index := range s.indexes {
		index.drop(e)
	}
	old = e.object
	*e = entry[T]{places: e.places}
	s.free = append(s.free, e)
	return old, true
}

func (index *Index[T]) put(e *entry[T], value string) {
	if value == "" {
		return
	}
	b := index.buckets[value]
	if b == nil {
		b = &bucket[T]{value: value}
		index.buckets[value] = b
	}
	e.places[index.number] = place[T]{b, len(b.entries)}
	b.entries = append(b.entries, e)
}

// value is what the object that is in the store now is found by: to ask that object again would be to read memory that
// nothing has touched since it came.
func (index *Index[T]) value(e *entry[T]) string {
	if b := e.places[index.number].in; b != nil {
		return b.value
	}
	return ""
}

func (index *Index[T]) drop(e *entry[T]) {
	at := e.places[index.number]
	if at.in == nil {
		return
	}
	last := len(at.in.entries) - 1
	moved := at.in.entries[last]
	at.in.entries[at.at] = moved
	moved.places[index.number].at = at.at
	at.in.entries[last] = nil
	at.in.entries = at.in.entries[:last]
	e.places[index.number] = place[T]{}
	if last == 0 {
		delete(index.buckets, at.in.value)
	}
}
