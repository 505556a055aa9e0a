package raft

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
)

var (
	swarmSeeds = flag.Int("seeds", 8, "how many seeds TestSwarm runs")
	swarmSeed  = flag.Uint64("seed", 0, "the only seed that TestSwarm runs")
)

// operation is what a client asked: a write of a unique value, or a read.
type operation struct {
	key   string
	write bool
	value string
}

// register is a key as porcupine checks it: reads return the last write. A write whose answer is unknown may have
// happened.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		byKey := map[string]int{}
		for _, op := range history {
			key := op.Input.(operation).key
			i, ok := byKey[key]
			if !ok {
				i = len(parts)
				byKey[key] = i
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		op := input.(operation)
		if op.write {
			return true, op.value
		}
		return output.(string) == state.(string), state
	},
}

// swarm is a run of clients under random faults.
type swarm struct {
	*group
	random  *sim.Stream
	history []porcupine.Operation
	writes  int
	next    int
	acked   int
}

// client reads and writes keys through one member, or all, one request after the other.
func (w *swarm) drive(id int, until sim.Time) {
	names := w.names()
	if id%2 == 0 {
		names = names[id/2%len(names) : id/2%len(names)+1]
	}
	c := w.client(names...)
	var next func()
	next = func() {
		if w.k.Now() >= until {
			return
		}
		op := operation{key: fmt.Sprintf("k%d", w.random.IntN(3)), write: w.random.IntN(2) == 0}
		start := w.k.Now()
		finish := func(output string, err error) {
			end := int64(w.k.Now())
			if err != nil {
				end = 1 << 60 // it may still happen
			} else {
				w.acked++
			}
			if err == nil || op.write {
				w.history = append(w.history, porcupine.Operation{ClientId: w.next, Input: op, Call: int64(start), Output: output,
					Return: end})
				w.next++
			}
			w.operator.Scope().After(w.random.Between(time.Millisecond, 300*time.Millisecond), "next", next)
		}
		if op.write {
			w.writes++
			op.value = fmt.Sprint(w.writes)
			c.StartPut(&PutRequest{Key: []byte(op.key), Value: []byte(op.value)}, 3*time.Second,
				func(_ *PutResponse, err error) { finish("", err) })
			return
		}
		c.StartRange(&RangeRequest{Key: []byte(op.key)}, 3*time.Second, func(r *RangeResponse, err error) {
			value := ""
			if err == nil && len(r.Kvs) > 0 {
				value = string(r.Kvs[0].Value())
			}
			finish(value, err)
		})
	}
	w.operator.Scope().After(0, "drive", next)
}

// fault does something bad to one member, of the kinds that this seed has.
func (w *swarm) fault(kinds []int) {
	i := w.random.IntN(len(w.machines))
	m := w.machines[i]
	switch kinds[w.random.IntN(len(kinds))] {
	case 0:
		if p := w.members[i]; p.Alive() {
			p.Signal(hardware.SIGKILL)
		}
	case 1:
		m.PowerOff()
	case 2:
		w.dc.Isolate(m)
	case 3:
		w.dc.Cut(m, w.machines[(i+1)%len(w.machines)], false) // one way only
	case 4:
		m.Disk().SetSlow(w.random.Between(50*time.Millisecond, time.Second))
	case 5:
		w.dc.DropLink(m, w.machines[(i+1)%len(w.machines)], 100_000)
	case 6:
		if p := w.members[i]; p.Alive() {
			p.Signal(hardware.SIGTERM)
		}
	case 7:
		m.Freeze()
	}
}

// repair undoes what was done and starts what is down.
func (w *swarm) repair() {
	w.dc.Heal()
	for i, m := range w.machines {
		m.Disk().SetSlow(0)
		m.Thaw()
		if !m.Up() {
			m.PowerOn()
		}
		if !w.members[i].Alive() {
			w.restart(i)
		}
	}
}

func runSwarm(t *testing.T, seed uint64) {
	defer func() {
		if t.Failed() {
			t.Logf("again: go test ./sim/raft -run TestSwarm -seed=%d", seed)
		}
	}()
	sizes := [...]int{1, 3, 3, 3, 5}
	flags := []string{"--snapshot-count=50", "--snapshot-catchup-entries=20"}
	w := &swarm{group: newGroup(t, seed, sizes[seed%5], flags...)}
	w.random = w.k.Rand("swarm")
	w.run(4 * time.Second)
	var kinds []int
	for kind := range 8 {
		if w.random.IntN(2) == 0 {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		kinds = []int{0}
	}
	until := w.k.Now().Add(40 * time.Second)
	for id := range 6 {
		w.drive(id, until)
	}
	for w.k.Now() < until {
		w.run(w.random.Between(100*time.Millisecond, 3*time.Second))
		w.fault(kinds)
		if w.random.IntN(3) == 0 {
			w.repair()
		}
	}
	w.repair()
	w.run(15 * time.Second) // who was told to stop has stopped by then
	w.repair()
	w.run(15 * time.Second)
	w.check(t)
}

func (w *swarm) check(t *testing.T) {
	leaders := map[string]string{} // by term
	for _, e := range w.k.Trace().Events() {
		if e.Reason != "BecameLeader" {
			continue
		}
		var name string
		var term int
		_, err := fmt.Sscanf(e.Message, "etcd %s was elected leader at term %d", &name, &term)
		require.NoError(t, err)
		key := fmt.Sprint(term)
		require.Contains(t, []string{"", name}, leaders[key], "two leaders of one term")
		leaders[key] = name
	}
	require.GreaterOrEqual(t, w.leader(), 0, "no leader after everything was repaired")
	first := w.server(0)
	require.NotNil(t, first)
	hash, _, err := first.Store().HashKV(0)
	require.NoError(t, err)
	for i := range w.machines {
		s := w.server(i)
		require.NotNil(t, s, "member %d is not there", i)
		other, _, err := s.Store().HashKV(0)
		require.NoError(t, err)
		assert.Equal(t, first.Applied(), s.Applied())
		assert.Equal(t, hash, other, "stores differ")
	}

	assert.Positive(t, w.acked)
	result := porcupine.CheckOperationsTimeout(register, w.history, 300*time.Millisecond)
	assert.NotEqual(t, porcupine.Illegal, result, "the history is not linearizable")
}

// Clients read and write while members are killed, lose power, are cut off or slowed down. Nothing acknowledged may
// be lost, no read may be stale, no term may have two leaders; once everything is repaired all members must have
// the same store.
func TestSwarm(t *testing.T) {
	if *swarmSeed != 0 {
		runSwarm(t, *swarmSeed)
		return
	}
	for seed := range uint64(*swarmSeeds) {
		runSwarm(t, seed+1)
		if t.Failed() {
			return
		}
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	digest := func() string {
		g := newGroup(t, 77, 3)
		c := g.client("m1", "m2", "m3")
		g.run(5 * time.Second)
		for range 20 {
			_ = g.put(c, "a", "b")
		}
		g.machines[g.leader()].PowerOff()
		g.run(5 * time.Second)
		return g.k.Trace().Digest()
	}
	assert.Equal(t, digest(), digest())
}
