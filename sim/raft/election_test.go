package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
	"ksim/sim/internal/samples"
)

// What was measured of etcd 3.6 with three members on one machine: seconds from kill -9 of the leader to the first
// write, and from its restart to the first write through it.
var (
	measured = samples.Sample{
		1.244, 1.494, 1.719, 0.913, 1.574, 1.318, 1.149, 1.276, 1.430, 1.550, 1.167, 1.075,
		0.973, 0.899, 1.099, 1.252, 1.136, 1.092, 1.035, 1.537, 0.983, 0.952, 1.578, 1.226,
		0.888, 0.994, 1.377, 1.053, 1.358, 1.194, 1.017, 1.194, 1.727, 1.392, 1.026, 1.032,
		1.079, 1.255, 1.099, 1.616, 1.593, 1.172, 1.280, 1.121, 1.512,
	}
	measuredRejoins = samples.Sample{
		1.225, 1.177, 0.657, 1.635, 0.774, 0.962, 1.163, 0.925, 0.930, 0.737, 1.153, 1.303,
		1.278, 1.365, 1.216, 1.371, 1.382, 1.243, 1.228, 0.697, 1.313, 1.670, 0.972, 1.269,
		1.264, 1.577, 1.164, 1.505, 1.296, 1.224, 1.649, 1.304, 0.643, 1.046, 1.108, 1.698,
		1.362, 1.433, 1.277, 0.836, 0.886, 1.255, 1.081, 1.066, 0.893,
	}
)

// elections kills the leader again and again and returns the seconds that a new one took each time.
func elections(t testing.TB, seed uint64, kills int) (took []float64) {
	g := newGroup(t, seed, 3)
	g.run(5 * time.Second)
	for range kills {
		g.run(g.k.Rand("test").Between(4*time.Second, 6*time.Second))
		l := g.leader()
		require.GreaterOrEqual(t, l, 0)
		start := g.k.Now()
		g.members[l].Signal(hardware.SIGKILL)
		for g.leader() < 0 || g.leader() == l {
			_, err := g.k.Step()
			require.NoError(t, err)
		}
		took = append(took, g.k.Now().Sub(start).Seconds())
		g.run(time.Second)
		g.restart(l)
	}
	return took
}

func TestElectionsTakeAsLongAsMeasured(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		took := samples.Sample(elections(t, seed, 200))
		t.Logf("min %.3f p10 %.3f median %.3f p90 %.3f max %.3f; p %.2f", took.Quantile(0), took.Quantile(0.1),
			took.Quantile(0.5), took.Quantile(0.9), took.Quantile(1), samples.Same(took, measured))
		assert.Greater(t, samples.Same(took, measured), 0.05)
	}
}

// prober writes every 10 ms through one of some members in turn, each time for 150 ms at most, until one has worked.
type prober struct {
	*group
	through []*Client
}

func (p *prober) firstWrite(members ...int) float64 {
	start, written := p.k.Now(), false
	for turn := 0; ; turn++ {
		put := &PutRequest{Key: []byte("k"), Value: []byte("v")}
		p.through[members[turn%len(members)]].Start(put, 150*time.Millisecond,
			func(_ any, err error) { written = written || err == nil })
		for next := p.k.Now().Add(10 * time.Millisecond); !written; {
			if at, more := p.k.NextAt(); !more || at > next {
				p.run(next.Sub(p.k.Now()))
				break
			}
			_, err := p.k.Step()
			require.NoError(p.t, err)
		}
		if written {
			return p.k.Now().Sub(start).Seconds()
		}
	}
}

// A client finds a restarted member at its connection's next attempt, the third since the loss: 2.6 s after it or so.
func TestLossAndReturnOfALeaderTakeAsLongAsMeasured(t *testing.T) {
	p := &prober{group: newGroup(t, 1, 3)}
	p.run(5 * time.Second)
	for _, m := range p.machines {
		p.through = append(p.through, p.client(m.Name))
	}
	var writes, rejoins samples.Sample
	for range 200 {
		p.run(p.k.Rand("test").Between(2*time.Second, 3*time.Second))
		l := p.leader()
		p.members[l].Signal(hardware.SIGKILL)
		writes = append(writes, p.firstWrite((l+1)%3, (l+2)%3))
		p.run(200 * time.Millisecond) // chosen: the recording does not say when the member was started again
		p.restart(l)
		rejoins = append(rejoins, p.firstWrite(l))
	}
	t.Logf("writes %.2f, rejoins %.2f", samples.Same(writes, measured), samples.Same(rejoins, measuredRejoins))
	assert.Greater(t, samples.Same(writes, measured), 0.05)
	assert.Greater(t, samples.Same(rejoins, measuredRejoins), 0.05)
}

// Measured: SIGTERM of a leader costs 0.03 to 0.12 s, the loss of a follower 0.02 to 0.09 s.
func TestStoppedLeadersAndLostFollowersAreHardlyNoticed(t *testing.T) {
	p := &prober{group: newGroup(t, 1, 3)}
	p.run(5 * time.Second)
	for _, m := range p.machines {
		p.through = append(p.through, p.client(m.Name))
	}
	for round := range 40 {
		p.run(p.k.Rand("test").Between(2*time.Second, 3*time.Second))
		gone, signal := p.leader(), hardware.SIGTERM
		if round%2 == 1 {
			gone, signal = (gone+1)%3, hardware.SIGKILL
		}
		p.members[gone].Signal(signal)
		assert.Less(t, p.firstWrite((gone+1)%3, (gone+2)%3), 0.13)
		p.run(time.Second)
		p.restart(gone)
	}
}

func TestElectionTimeoutsAreAFunctionOfSeedMemberTermAndState(t *testing.T) {
	assert.Equal(t, elections(t, 9, 5), elections(t, 9, 5))
	seen := map[int]bool{}
	for term := range uint64(200) {
		d := draw(7, term, 0, 10)
		assert.True(t, d >= 0 && d < 10)
		seen[d] = true
	}
	assert.Len(t, seen, 10)
}

// A new leader's election was caused by what befell the machine of the old one, though nobody told the others of it.
func TestElectionsNameWhatHasSilencedTheLeader(t *testing.T) {
	g := newGroup(t, 50, 3)
	g.run(5 * time.Second)
	old := g.machines[g.leader()]
	fault := g.k.Root().Emit(sim.Event{Level: sim.Fault, Reason: "Crash", Object: "machine/" + old.Name})
	old.PowerOff()
	g.run(5 * time.Second)
	events := g.k.Trace().Events()
	var chain []string
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Reason != "BecameLeader" {
			continue
		}
		require.NotEqual(t, old.Name, events[i].Machine)
		for id := events[i].Seq; id != 0; id = g.k.Trace().Event(id).Cause {
			chain = append(chain, g.k.Trace().Event(id).Reason)
			if id == fault {
				break
			}
		}
		break
	}
	assert.Equal(t, "BecameLeader", chain[0])
	assert.Equal(t, "Crash", chain[len(chain)-1])
	assert.Contains(t, chain, "LostLeader")
}
