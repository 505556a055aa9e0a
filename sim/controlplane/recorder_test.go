package controlplane

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"ksim/sim/api"
)

func TestRecorderRemembersTheLatestKinds(t *testing.T) {
	r := &Recorder{known: map[uint64]*knownEvent{}}
	key := func(i int) *eventKey {
		return &eventKey{resource: api.Pods, name: "web", message: strconv.Itoa(i)}
	}
	first, before := r.remember(key(0), 1)
	require.False(t, before)
	again, before := r.remember(key(0), 2)
	require.True(t, before)
	require.Same(t, first, again)
	for i := range eventCache {
		r.remember(key(i+1), 3)
	}
	require.Len(t, r.order, eventCache)
	require.Len(t, r.known, eventCache)
	_, before = r.remember(key(eventCache), 4)
	require.True(t, before)
	_, before = r.remember(key(0), 5)
	require.False(t, before, "the oldest was forgotten")
}

func TestRecorderTellsKeysOfOneHashApart(t *testing.T) {
	a, b, c := &knownEvent{nano: 1}, &knownEvent{nano: 2}, &knownEvent{nano: 3}
	a.next, b.next = b, c
	r := &Recorder{known: map[uint64]*knownEvent{}}
	for _, known := range []*knownEvent{a, b, c} {
		known.eventKey = eventKey{resource: api.Pods}
	}
	hash := a.hash()
	r.known[hash] = a
	r.forget(b)
	require.Same(t, c, a.next)
	r.forget(a)
	require.Same(t, c, r.known[hash])
	r.forget(c)
	require.Empty(t, r.known)
}
