package controlplane

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"ksim/sim/api"
)

func TestRecorderRemembersTheLatestKinds(t *testing.T) {
	r := &Recorder{known: map[uint64]knownEvent{}}
	hash := func(i int) uint64 {
		key := eventKey{resource: api.Pods, name: "web", message: strconv.Itoa(i)}
		return key.hash()
	}
	require.Equal(t, knownEvent{nano: 1, count: 1}, r.remember(hash(0), 1))
	require.Equal(t, knownEvent{nano: 1, count: 2}, r.remember(hash(0), 2))
	for i := range eventCache {
		r.remember(hash(i+1), 3)
	}
	require.Len(t, r.order, eventCache)
	require.Len(t, r.known, eventCache)
	require.Equal(t, knownEvent{nano: 3, count: 2}, r.remember(hash(eventCache), 4))
	require.Equal(t, knownEvent{nano: 5, count: 1}, r.remember(hash(0), 5), "the oldest was forgotten")
}

func TestEventsOfDifferentTextsHaveDifferentHashes(t *testing.T) {
	a := eventKey{resource: api.Pods, namespace: "a", name: "b"}
	b := eventKey{resource: api.Pods, namespace: "b", name: "a"}
	c := eventKey{resource: api.Pods, namespace: "b", name: "a", message: "x"}
	require.NotEqual(t, a.hash(), b.hash())
	require.NotEqual(t, b.hash(), c.hash())
	require.NotEqual(t, a.spamHash(), b.spamHash())
	require.Equal(t, b.spamHash(), c.spamHash())
}
