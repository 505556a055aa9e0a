package raft

import (
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
)

// measured are seconds from kill -9 of the leader to the first write, etcd 3.6 with three members on one machine.
var measured = []float64{
	1.244, 1.494, 1.719, 0.913, 1.574, 1.318, 1.149, 1.276, 1.430, 1.550, 1.167, 1.075,
	0.973, 0.899, 1.099, 1.252, 1.136, 1.092, 1.035, 1.537, 0.983, 0.952, 1.578, 1.226,
	0.888, 0.994, 1.377, 1.053, 1.358, 1.194, 1.017, 1.194, 1.727, 1.392, 1.026, 1.032,
	1.079, 1.255, 1.099, 1.616, 1.593, 1.172, 1.280, 1.121, 1.512,
}

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

// kolmogorov returns the greatest distance of two samples' distributions.
func kolmogorov(a, b []float64) (distance float64) {
	a, b = slices.Clone(a), slices.Clone(b)
	sort.Float64s(a)
	sort.Float64s(b)
	for _, x := range append(slices.Clone(a), b...) {
		below := func(s []float64) float64 { return float64(sort.SearchFloat64s(s, x+1e-9)) / float64(len(s)) }
		distance = max(distance, below(a)-below(b), below(b)-below(a))
	}
	return distance
}

// Two samples of 100 and 45 differ with p <= 0.05 when the distance of their distributions exceeds
// 1.358 x sqrt((100+45)/(100x45)) = 0.244.
func TestElectionsTakeAsLongAsMeasured(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		took := elections(t, seed, 100)
		sort.Float64s(took)
		t.Logf("min %.3f p10 %.3f median %.3f p90 %.3f max %.3f", took[0], took[10], took[50], took[90], took[99])
		assert.Less(t, kolmogorov(took, measured), 0.244)
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
