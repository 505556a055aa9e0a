package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThreeMembersElectALeaderAndServe(t *testing.T) {
	g := newGroup(t, 1, 3)
	g.run(5 * time.Second)
	require.GreaterOrEqual(t, g.leader(), 0)
	c := g.client("m1", "m2", "m3")
	g.run(time.Second)
	require.NoError(t, g.put(c, "a", "1"))
	for range 3 {
		v, err := g.get(c, "a")
		require.NoError(t, err)
		assert.Equal(t, "1", v)
	}
	g.run(time.Second)
	for i := range 3 {
		assert.EqualValues(t, 2, g.server(i).Revision())
		assert.True(t, g.server(i).Serving())
	}
}
