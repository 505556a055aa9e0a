package raft

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim/hardware"
)

func TestWatchGoesOnAfterItsMemberWasRestarted(t *testing.T) {
	g := newGroup(t, 11, 3)
	g.run(5 * time.Second)
	f := (g.leader() + 1) % 3
	w := g.client(g.machines[f].Name)
	c := g.client(g.machines[g.leader()].Name)
	g.run(time.Second)
	var got []string
	created := 0
	w.Watch(&WatchRequest{Key: []byte("a"), RangeEnd: []byte("b"), PrevKv: true}, func(r *WatchResponse) {
		assert.False(t, r.Canceled)
		if r.Created {
			created++
		}
		for _, e := range r.Events {
			got = append(got, fmt.Sprintf("%s %s=%s", e.Type, e.Kv.Key, e.Kv.Value()))
		}
	})
	g.run(time.Second)
	require.NoError(t, g.put(c, "a1", "1"))
	g.members[f].Signal(hardware.SIGKILL)
	g.run(time.Second)
	require.NoError(t, g.put(c, "a2", "2"))
	require.NoError(t, g.put(c, "x", "2"))
	_, err := g.ask(c, &DeleteRangeRequest{Key: []byte("a1")}, time.Second)
	require.NoError(t, err)
	g.restart(f)
	g.run(10 * time.Second)
	require.NoError(t, g.put(c, "a3", "3"))
	g.run(time.Second)
	assert.Equal(t, []string{"PUT a1=1", "PUT a2=2", "DELETE a1=", "PUT a3=3"}, got)
	assert.Equal(t, 1, created)
}

func TestWatchOfCompactedRevisionsIsCanceled(t *testing.T) {
	g := newGroup(t, 12, 1)
	g.run(5 * time.Second)
	c := g.client("m1")
	for range 5 {
		require.NoError(t, g.put(c, "a", "1"))
	}
	_, err := g.ask(c, &CompactionRequest{Revision: 4}, time.Second)
	require.NoError(t, err)
	_, err = g.ask(c, &CompactionRequest{Revision: 4}, time.Second)
	assert.Equal(t, error(ErrCompacted), err)
	_, err = g.ask(c, &RangeRequest{Key: []byte("a"), Revision: 3}, time.Second)
	assert.EqualError(t, err, "etcdserver: mvcc: required revision has been compacted")
	_, err = g.ask(c, &RangeRequest{Key: []byte("a"), Revision: 99}, time.Second)
	assert.EqualError(t, err, "etcdserver: mvcc: required revision is a future revision")
	var last *WatchResponse
	c.Watch(&WatchRequest{Key: []byte("a"), StartRevision: 2}, func(r *WatchResponse) { last = r })
	g.run(time.Second)
	require.NotNil(t, last)
	assert.True(t, last.Canceled)
	assert.EqualValues(t, 4, last.CompactRevision)
	assert.Equal(t, error(ErrCompacted), last.Err)
}

// grpc's attempts against an endpoint that refuses come at 0, 1, 2.7, 5, 9, 16, 27, 43 s, give or take a fifth of
// each wait.
func TestDialsBackOffAsGrpcDoes(t *testing.T) {
	g := newGroup(t, 13, 1)
	g.run(3 * time.Second)
	g.members[0].Signal(hardware.SIGKILL)
	g.run(time.Second)
	c := g.client("m1")
	var at []float64
	start := g.k.Now()
	began := c.conns[0].began
	at = append(at, began.Sub(start).Seconds())
	for g.k.Now().Sub(start) < 45*time.Second {
		_, err := g.k.Step()
		require.NoError(t, err)
		if c.conns[0].began != began {
			began = c.conns[0].began
			at = append(at, began.Sub(start).Seconds())
		}
	}
	for i, want := range []float64{0, 1, 2.6, 5.2, 9.3, 15.8, 26.3, 43.1} {
		if i < len(at) {
			assert.InDelta(t, want, at[i], 0.21*want, "attempt %d", i)
		}
	}
	assert.GreaterOrEqual(t, len(at), 7)
	_, err := g.ask(c, &PutRequest{Key: []byte("a")}, 5*time.Second)
	assert.EqualError(t, err, "context deadline exceeded") // it waits for a connection
}

// A write sent to a leader that has lost its majority, unknown to itself, gets the plain time-out after 7 s and is
// not sent again; one sent when there is no leader comes back as a deadline, and is sent again until the caller's
// own time is over.
func TestWritesWithoutQuorum(t *testing.T) {
	g := newGroup(t, 14, 3)
	g.run(5 * time.Second)
	l := g.leader()
	c := g.client(g.machines[l].Name)
	g.run(time.Second)
	for i := range 3 {
		if i != l {
			g.members[i].Signal(hardware.SIGKILL)
		}
	}
	start := g.k.Now()
	_, err := g.ask(c, &PutRequest{Key: []byte("a")}, 60*time.Second)
	assert.EqualError(t, err, "etcdserver: request timed out")
	assert.InDelta(t, 7, g.k.Now().Sub(start).Seconds(), 0.1)
	start = g.k.Now()
	_, err = g.ask(c, &PutRequest{Key: []byte("a")}, 60*time.Second)
	assert.EqualError(t, err, "context deadline exceeded")
	assert.InDelta(t, 60, g.k.Now().Sub(start).Seconds(), 0.1)
}

func TestNoSpaceIsRaisedForTheWholeClusterAndStaysUntilDisarmed(t *testing.T) {
	g := newGroup(t, 15, 3, "--quota-backend-bytes=200000")
	g.run(5 * time.Second)
	c := g.client("m1", "m2", "m3")
	g.run(time.Second)
	var err error
	for i := 0; err == nil && i < 500; i++ {
		err = g.put(c, "a", string(make([]byte, 1000)))
	}
	assert.EqualError(t, err, "etcdserver: mvcc: database space exceeded")
	g.run(time.Second)
	assert.EqualError(t, g.put(c, "b", ""), "etcdserver: mvcc: database space exceeded")
	_, err = g.ask(c, &DeleteRangeRequest{Key: []byte("nothing")}, time.Second)
	require.NoError(t, err)
	r, err := g.ask(c, &StatusRequest{}, time.Second)
	require.NoError(t, err)
	assert.Contains(t, r.(*StatusResponse).Errors[0], "alarm:NOSPACE")
	_, err = g.ask(c, &CompactionRequest{Revision: g.server(0).Revision()}, time.Second)
	require.NoError(t, err)
	for i := range 3 {
		one := g.client(g.machines[i].Name)
		_, err = g.ask(one, &DefragmentRequest{}, time.Minute)
		require.NoError(t, err)
	}
	assert.Error(t, g.put(c, "b", ""), "the alarm stays")
	_, err = g.ask(c, &AlarmRequest{Action: AlarmDeactivate, Alarm: AlarmNoSpace}, time.Second)
	require.NoError(t, err)
	assert.NoError(t, g.put(c, "b", ""))
}

func TestLeasesExpireAndAreKeptAlive(t *testing.T) {
	g := newGroup(t, 16, 3)
	g.run(5 * time.Second)
	c := g.client(g.machines[(g.leader()+1)%3].Name) // a follower sends renewals to the leader
	g.run(time.Second)
	r, err := g.ask(c, &LeaseGrantRequest{TTL: 5}, time.Second)
	require.NoError(t, err)
	id := r.(*LeaseGrantResponse).ID
	_, err = g.ask(c, &PutRequest{Key: []byte("a"), Value: []byte("1"), Lease: id}, time.Second)
	require.NoError(t, err)
	for range 4 {
		g.run(3 * time.Second)
		k, err := g.ask(c, &LeaseKeepAliveRequest{ID: id}, time.Second)
		require.NoError(t, err)
		assert.EqualValues(t, 5, k.(*LeaseKeepAliveResponse).TTL)
	}
	v, err := g.get(c, "a")
	require.NoError(t, err)
	assert.Equal(t, "1", v)
	g.run(6 * time.Second)
	v, err = g.get(c, "a")
	require.NoError(t, err)
	assert.Empty(t, v)
	_, err = g.ask(c, &PutRequest{Key: []byte("a"), Lease: id}, time.Second)
	assert.Equal(t, error(ErrLeaseNotFound), err)
}

// Kills survived by groups of 1 to 7 members: 0, 0, 1, 1, 2, 2, 3.
func TestAMinorityMayDie(t *testing.T) {
	for n, survives := range []int{0, 0, 0, 1, 1, 2, 2, 3} {
		if n == 0 {
			continue
		}
		g := newGroup(t, uint64(20+n), n)
		g.run(5 * time.Second)
		dead := 0
		for dead < n {
			g.members[dead].Signal(hardware.SIGKILL)
			dead++
			g.run(6 * time.Second)
			if dead == n {
				break
			}
			c := g.client(g.machines[n-1].Name)
			if g.put(c, "a", "b") != nil {
				break
			}
		}
		assert.Equal(t, survives, dead-1, "%d members", n)
	}
}

func TestHealthEndpoints(t *testing.T) {
	g := newGroup(t, 30, 3)
	g.run(5 * time.Second)
	c := g.client("m1")
	get := func(path string) string {
		r, err := g.ask(c, &HealthRequest{path}, 20*time.Second)
		require.NoError(t, err)
		return fmt.Sprint(r.(*HealthResponse).Code, " ", r.(*HealthResponse).Body)
	}
	assert.Equal(t, `200 {"health":"true","reason":""}`, get("/health"))
	assert.Equal(t, "200 ok\n", get("/livez"))
	assert.Equal(t, "200 ok\n", get("/readyz"))
	g.members[1].Signal(hardware.SIGKILL)
	g.members[2].Signal(hardware.SIGKILL)
	g.run(5 * time.Second)
	assert.Equal(t, `503 {"health":"false","reason":"RAFT NO LEADER"}`, get("/health"))
	assert.Equal(t, `200 {"health":"true","reason":""}`, get("/health?exclude=NOSPACE&serializable=true"))
	assert.Equal(t, "200 ok\n", get("/livez"))
	assert.Contains(t, get("/readyz"), "503 ")
}
