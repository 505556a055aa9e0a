package sim

// Runner is what an event can run instead of a closure; an object that schedules itself again and again implements it
// so that scheduling allocates nothing.
type Runner interface{ Run() }

// event is one entry of the kernel's queue. Events are recycled: a Timer names one together with its generation.
type event struct {
	at    Time
	seq   uint64
	gen   uint64
	index int // place in the heap, or one of the constants below
	cause EventID
	scope *Scope
	what  string
	fn    func()
	run   Runner
	proc  *Proc
}

const (
	notQueued = -1 // run, stopped, or free
	stashed   = -2 // due, but its scope is frozen
)

// eventHeap is a 4-ary heap ordered by (at, seq). It is written by hand because container/heap boxes every event; the
// keys lie in the heap itself, so that comparing does not touch the events.
type eventHeap struct{ items []heapItem }

type heapItem struct {
	at  Time
	seq uint64
	e   *event
}

func (a *heapItem) before(b *heapItem) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (h *eventHeap) push(e *event) {
	h.items = append(h.items, heapItem{})
	h.up(len(h.items)-1, heapItem{e.at, e.seq, e})
}

func (h *eventHeap) pop() *event {
	top := h.items[0].e
	h.remove(top)
	return top
}

// remove takes e, which must be in the heap, out of it.
func (h *eventHeap) remove(e *event) {
	place := e.index
	e.index = notQueued
	last := len(h.items) - 1
	moved := h.items[last]
	h.items[last] = heapItem{}
	h.items = h.items[:last]
	if moved.e == e {
		return
	}
	if !h.up(place, moved) {
		h.down(place, moved)
	}
}

// up moves an item, meant for place i, towards the root; it reports whether it moved.
func (h *eventHeap) up(i int, item heapItem) bool {
	start := i
	for i > 0 {
		parent := (i - 1) / 4
		if !item.before(&h.items[parent]) {
			break
		}
		h.items[i] = h.items[parent]
		h.items[i].e.index = i
		i = parent
	}
	h.items[i] = item
	item.e.index = i
	return i != start
}

func (h *eventHeap) down(i int, item heapItem) {
	for {
		first := 4*i + 1
		if first >= len(h.items) {
			break
		}
		least := first
		for child := first + 1; child < first+4 && child < len(h.items); child++ {
			if h.items[child].before(&h.items[least]) {
				least = child
			}
		}
		if !h.items[least].before(&item) {
			break
		}
		h.items[i] = h.items[least]
		h.items[i].e.index = i
		i = least
	}
	h.items[i] = item
	item.e.index = i
}
