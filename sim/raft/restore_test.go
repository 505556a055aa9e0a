package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim/hardware"
)

// A snapshot is saved from one member and restored on all: later keys are gone, deleted ones are back, the revision
// goes on from the snapshot's, the IDs are new with a new token and the old ones with the old.
func TestSnapshotIsRestoredAsANewCluster(t *testing.T) {
	g := newGroup(t, 40, 3)
	g.run(5 * time.Second)
	c := g.client("m1")
	require.NoError(t, g.put(c, "kept", "1"))
	require.NoError(t, g.put(c, "deleted", "1"))
	old := g.server(0).ClusterID()
	r, err := g.ask(c, &SnapshotRequest{}, time.Second)
	require.NoError(t, err)
	saved := r.(*SnapshotResponse).Content
	assert.True(t, saved.HasHash())
	require.NoError(t, g.put(c, "later", "1"))
	_, err = g.ask(c, &DeleteRangeRequest{Key: []byte("deleted")}, time.Second)
	require.NoError(t, err)
	for i, m := range g.machines {
		g.members[i].Signal(hardware.SIGKILL)
		config := RestoreConfig{Name: m.Name, DataDir: "/var/lib/etcd", InitialClusterToken: "new",
			InitialCluster:    "m1=https://m1:2380,m2=https://m2:2380,m3=https://m3:2380",
			AdvertisePeerURLs: []string{"https://" + m.Name + ":2380"}}
		assert.ErrorContains(t, RestoreSnapshot(m.Disk(), saved, config), "not empty")
		m.Disk().Lose()
		require.Error(t, RestoreSnapshot(m.Disk(), saved.Corrupt(), config))
		require.NoError(t, RestoreSnapshot(m.Disk(), saved, config))
	}
	g.run(time.Second)
	for i := range g.machines {
		g.restart(i)
	}
	g.run(6 * time.Second)
	require.GreaterOrEqual(t, g.leader(), 0)
	for i := range g.machines {
		s := g.server(i)
		assert.EqualValues(t, 3, s.Revision())
		assert.NotNil(t, s.Store().Get([]byte("deleted")))
		assert.Nil(t, s.Store().Get([]byte("later")))
		assert.NotEqual(t, old, s.ClusterID())
		assert.True(t, s.Serving())
	}
	require.NoError(t, g.put(g.client("m2"), "a", "1"))
	same := bootstrapMembership(map[string][]string{"m1": {"https://m1:2380"}, "m2": {"https://m2:2380"},
		"m3": {"https://m3:2380"}}, "etcd-cluster")
	assert.Equal(t, old, same.id, "the same token and URLs give the same IDs")
}

// One member survives of three; started once with --force-new-cluster it is a cluster of its own with all that was
// committed.
func TestForceNewCluster(t *testing.T) {
	g := newGroup(t, 41, 3)
	g.run(5 * time.Second)
	c := g.client("m1", "m2", "m3")
	require.NoError(t, g.put(c, "a", "1"))
	g.run(time.Second)
	id := g.server(0).ClusterID()
	for i := range g.machines {
		g.members[i].Signal(hardware.SIGKILL)
	}
	g.run(time.Second)
	g.extra = []string{"--force-new-cluster"}
	g.restart(0)
	g.run(4 * time.Second)
	require.Equal(t, 0, g.leader())
	assert.Len(t, g.server(0).Members(), 1)
	assert.Equal(t, id, g.server(0).ClusterID())
	v, err := g.get(g.client("m1"), "a")
	require.NoError(t, err)
	assert.Equal(t, "1", v)
}

func TestLearnerIsPromoted(t *testing.T) {
	g := newGroup(t, 42, 3)
	g.run(10 * time.Second)
	g.addMachine("m4")
	c := g.client(g.machines[(g.leader()+1)%3].Name) // the request goes on to the leader
	g.run(time.Second)
	r, err := g.ask(c, &MemberAddRequest{PeerURLs: []string{"https://m4:2380"}, IsLearner: true}, time.Second)
	require.NoError(t, err)
	id := r.(*MemberAddResponse).Member.ID
	_, err = g.ask(c, &MemberPromoteRequest{ID: id}, 5*time.Second)
	assert.Equal(t, error(ErrLearnerNotReady), err)
	g.start(3, "existing", g.names()...)
	g.run(3 * time.Second)
	assert.Equal(t, "learner", g.server(3).Role())
	l := g.client("m4")
	_, err = g.ask(l, &RangeRequest{Key: []byte("a")}, time.Second)
	assert.Equal(t, error(ErrNotSupportedForLearner), err)
	_, err = g.ask(c, &MemberPromoteRequest{ID: id}, 5*time.Second)
	require.NoError(t, err)
	g.run(time.Second)
	assert.Equal(t, "follower", g.server(3).Role())
	assert.NoError(t, g.put(l, "a", "b"))
	for i := range 4 { // a member that is removed ends
		if g.server(i).Role() == "follower" && i != 3 {
			_, err = g.ask(l, &MemberRemoveRequest{ID: g.server(i).MemberID()}, 5*time.Second)
			assert.Equal(t, error(ErrUnhealthy), err, "m4 has not been connected for 5 s")
			g.run(6 * time.Second)
			_, err = g.ask(l, &MemberRemoveRequest{ID: g.server(i).MemberID()}, 5*time.Second)
			require.NoError(t, err)
			g.run(5 * time.Second)
			assert.False(t, g.members[i].Alive())
			break
		}
	}
}
