package sim

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestQueueRunsInOrderOfTimeThenScheduling drives the queue with random pushes, pops and removals, of times near and
// far, beside a sorted list.
func TestQueueRunsInOrderOfTimeThenScheduling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var model []*event // sorted
		now, seq := Time(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				seq++
				ahead := Time(rapid.IntRange(0, 20).Draw(t, "ahead")) << rapid.IntRange(0, 58-5).Draw(t, "shift")
				e := &event{at: now + ahead, seq: seq}
				q.push(e)
				i, _ := slices.BinarySearchFunc(model, e, order)
				model = slices.Insert(model, i, e)
			},
			"look": func(t *rapid.T) {
				at, ok := q.first()
				require.Equal(t, len(model) > 0, ok)
				if ok {
					require.Equal(t, model[0].at, at)
				}
			},
			"pop": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				e := q.pop()
				require.Same(t, model[0], e)
				require.EqualValues(t, notQueued, e.index)
				now, model = e.at, model[1:]
			},
			"remove": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				q.remove(model[i])
				require.EqualValues(t, notQueued, model[i].index)
				model = append(model[:i:i], model[i+1:]...)
			},
			"": func(t *rapid.T) { requireSound(t, &q, len(model)) },
		})
	})
}

func order(a, b *event) int {
	if before(a, b) {
		return -1
	}
	return 1
}

// requireSound checks what the queue relies on between two calls.
func requireSound(t *rapid.T, q *queue, length int) {
	require.Equal(t, length, q.length)
	found := len(q.near.items)
	for i, item := range q.near.items {
		require.EqualValues(t, inHeap, item.e.slot)
		require.EqualValues(t, i, item.e.index)
		require.LessOrEqual(t, item.at>>finest, q.base>>finest)
		require.False(t, i > 0 && before(item.e, q.near.items[(i-1)/4].e), "a child before its parent")
	}
	for n := range q.wheels {
		w := &q.wheels[n]
		for i, items := range w.slots {
			require.Equal(t, len(items) > 0, w.occupied>>i&1 == 1)
			found += len(items)
			for place, item := range items {
				require.EqualValues(t, n*slotCount+i, item.e.slot)
				require.EqualValues(t, place, item.e.index)
				require.Greater(t, item.at>>finest, q.base>>finest)
			}
		}
	}
	require.Equal(t, length, found)
}
