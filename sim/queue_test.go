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
		var model []queueItem // sorted
		now := Time(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				ahead := Time(rapid.IntRange(0, 20).Draw(t, "ahead")) << rapid.IntRange(0, 58-5).Draw(t, "shift")
				n := len(q.places)
				q.places = append(q.places, place{slot: notQueued})
				item := queueItem{at: now + ahead, seq: uint64(n), n: int32(n)}
				q.push(item)
				i, _ := slices.BinarySearchFunc(model, item, order)
				model = slices.Insert(model, i, item)
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
				first := q.pop()
				require.Equal(t, model[0], first)
				require.EqualValues(t, notQueued, q.places[first.n].slot)
				now, model = first.at, model[1:]
			},
			"remove": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				q.remove(model[i].n)
				require.EqualValues(t, notQueued, q.places[model[i].n].slot)
				model = append(model[:i:i], model[i+1:]...)
			},
			"": func(t *rapid.T) { requireSound(t, &q, len(model)) },
		})
	})
}

func order(a, b queueItem) int {
	if a.before(&b) {
		return -1
	}
	return 1
}

// requireSound checks what the queue relies on between two calls.
func requireSound(t *rapid.T, q *queue, length int) {
	require.Equal(t, length, q.length)
	found := len(q.near)
	for i, item := range q.near {
		require.Equal(t, place{inHeap, int32(i)}, q.places[item.n])
		require.LessOrEqual(t, item.at>>finest, q.base>>finest)
		require.False(t, i > 0 && item.before(&q.near[(i-1)/4]), "a child before its parent")
	}
	for n := range q.wheels {
		w := &q.wheels[n]
		for i, items := range w.slots {
			require.Equal(t, len(items) > 0, w.occupied>>i&1 == 1)
			found += len(items)
			for at, item := range items {
				require.Equal(t, place{int32(n*slotCount + i), int32(at)}, q.places[item.n])
				require.Greater(t, item.at>>finest, q.base>>finest)
			}
		}
	}
	require.Equal(t, length, found)
}
