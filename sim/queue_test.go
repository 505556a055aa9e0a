package sim

import (
	"sort"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestQueueRunsInOrderOfTimeThenScheduling drives the heap with random pushes, pops and removals beside a sorted list.
func TestQueueRunsInOrderOfTimeThenScheduling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var heap eventHeap
		var model []*event // sorted
		seq := uint64(0)
		insert := func(e *event) {
			i := sort.Search(len(model), func(i int) bool { return before(e, model[i]) })
			model = append(model, nil)
			copy(model[i+1:], model[i:])
			model[i] = e
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				seq++
				e := &event{at: Time(rapid.IntRange(0, 20).Draw(t, "at")), seq: seq}
				heap.push(e)
				insert(e)
			},
			"pop": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				require.Same(t, model[0], heap.pop())
				model = model[1:]
			},
			"remove": func(t *rapid.T) {
				if len(model) == 0 {
					t.Skip("empty")
				}
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				heap.remove(model[i])
				require.Equal(t, notQueued, model[i].index)
				model = append(model[:i:i], model[i+1:]...)
			},
			"": func(t *rapid.T) {
				require.Len(t, heap.items, len(model))
				for i, item := range heap.items {
					require.Equal(t, i, item.e.index)
					require.False(t, i > 0 && before(item.e, heap.items[(i-1)/4].e), "a child before its parent")
				}
			},
		})
	})
}
