// Package memory decides when Go's garbage collector runs: as seldom as a budget of memory allows.
//
// A run allocates steadily and keeps little of it. Left to a fixed percentage (GOGC), a small run is collected for
// nothing and a large one grows to twice what is alive. And a collection beside the simulation costs twice what one
// between two events costs: the simulation then pays for barriers and has to help.
//
// What always holds: whoever has set GOGC or GOMEMLIMIT is left alone; what is alive decides, so a run that needs more
// than the budget is slower, never ended.
//
// It is driven by Look, which whoever runs simulations calls now and again, from any goroutine.
//
// Start reading at Keeper.
package memory

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// Budget is what the heap may grow to before it is collected, in bytes. With what the runtime needs besides (stacks,
	// spans, its own tables: about a fifth), a cluster of 500 nodes and 10,000 pods stays below 600 MiB.
	Budget = 460 << 20
	// leastGrowth, in percent of what is alive, bounds the work of collecting a heap near the budget or beyond.
	leastGrowth = 40
	heapObjects = "/memory/classes/heap/objects:bytes"
)

// Keeper holds a process to the budget. The zero Keeper leaves everything to the runtime.
type Keeper struct {
	lock  sync.Mutex
	limit uint64 // collect when the heap is this large; 0: never
}

// Keep begins to hold the process to the budget.
func Keep() *Keeper {
	k := &Keeper{}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		k.allow(4 << 20) // the least that the runtime takes for a heap
	}
	return k
}

// Look collects if it is time to. It costs about a microsecond; while one caller collects the others go on.
func (k *Keeper) Look() {
	if !k.lock.TryLock() {
		return
	}
	defer k.lock.Unlock()
	if k.limit == 0 || heap() < k.limit {
		return
	}
	runtime.GC()
	k.allow(heap())
}

// allow sets how large a heap of which so much is alive may become. The runtime itself collects only well beyond: when
// nobody looks.
func (k *Keeper) allow(live uint64) {
	k.limit = limit(live)
	debug.SetGCPercent(int(min(k.limit*3/2*100/max(live, 1), math.MaxInt32)))
}

func limit(live uint64) uint64 { return max(Budget, live+live*leastGrowth/100) }

func heap() uint64 {
	sample := [...]metrics.Sample{{Name: heapObjects}}
	metrics.Read(sample[:])
	return sample[0].Value.Uint64()
}
