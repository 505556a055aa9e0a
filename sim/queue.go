package sim

import "math/bits"

// Runner is what an event can run instead of a closure; an object that schedules itself again and again implements it
// so that scheduling allocates nothing.
type Runner interface{ Run() }

// callback is a closure as a Runner; the conversion allocates nothing.
type callback func()

func (fn callback) Run() { fn() }

// event is one entry of the kernel's queue. Events are recycled: a Timer names one together with its generation.
type event struct {
	at    Time
	seq   uint64
	gen   uint64
	index int32 // place in the heap or slot, or one of the constants below
	slot  int32 // of the wheels; -1: in the heap
	cause EventID
	scope *Scope
	what  string
	run   Runner
}

const (
	notQueued = -1 // run, stopped, or free
	stashed   = -2 // due, but its scope is frozen
)

const inHeap = -1

// queue holds events in the order of (at, seq). What is due soon lies in a heap; everything later lies unsorted in
// wheels of ever coarser slots, and comes to the heap when its time comes near. Most timers are time-outs that are
// stopped long before, so they are never sorted at all, and the heap stays as small as what is on the wires.
type queue struct {
	near   eventHeap // due in the slot of base or before
	base   Time
	wheels [wheelCount]wheel
	length int
}

const (
	slotBits   = 6
	slotCount  = 1 << slotBits
	finest     = 22 // a slot of the first wheel is 2^22 ns, about 4 ms
	wheelCount = (63 - finest + slotBits - 1) / slotBits
)

// wheel holds events whose time agrees with base in all bits above the wheel's own, by the wheel's bits; those are
// above the bits of base. Events in a slot are not in order.
type wheel struct {
	occupied uint64 // a bit a slot
	slots    [slotCount][]queueItem
}

// queueItem has the keys beside the event, so that comparing does not touch the events.
type queueItem struct {
	at  Time
	seq uint64
	e   *event
}

func (a *queueItem) before(b *queueItem) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (q *queue) push(e *event) {
	q.length++
	q.place(queueItem{e.at, e.seq, e})
}

// place puts an item into the heap, or into the wheel of the highest bit in which its time differs from base.
func (q *queue) place(item queueItem) {
	if item.at>>finest <= q.base>>finest {
		item.e.slot = inHeap
		q.near.push(item)
		return
	}
	n := (bits.Len64(uint64(item.at^q.base)) - 1 - finest) / slotBits
	i := int(item.at>>(finest+n*slotBits)) % slotCount
	w := &q.wheels[n]
	item.e.slot, item.e.index = int32(n*slotCount+i), int32(len(w.slots[i]))
	w.slots[i] = append(w.slots[i], item)
	w.occupied |= 1 << i
}

// first returns when the first event is due; ok is false when there is none.
func (q *queue) first() (at Time, ok bool) {
	if len(q.near.items) == 0 {
		if q.length == 0 {
			return 0, false
		}
		q.advance()
	}
	return q.near.items[0].at, true
}

// pop takes the first event, which must be there.
func (q *queue) pop() *event {
	if len(q.near.items) == 0 {
		q.advance()
	}
	q.length--
	return q.near.pop()
}

// advance moves base to the first slot that holds anything until the heap does.
func (q *queue) advance() {
	for n := 0; len(q.near.items) == 0; n++ {
		w := &q.wheels[n]
		if w.occupied == 0 {
			continue
		}
		i := bits.TrailingZeros64(w.occupied)
		w.occupied &^= 1 << i
		width := finest + n*slotBits
		q.base = (q.base>>(width+slotBits)<<slotBits | Time(i)) << width
		items := w.slots[i]
		w.slots[i] = items[:0] // what it holds now goes to the heap or to finer wheels
		for _, item := range items {
			q.place(item)
		}
		n = -1
	}
}

// remove takes e, which must be in the queue, out of it.
func (q *queue) remove(e *event) {
	q.length--
	if e.slot == inHeap {
		q.near.remove(e)
		return
	}
	w, i := &q.wheels[e.slot/slotCount], e.slot%slotCount
	items := w.slots[i]
	last := len(items) - 1
	items[e.index] = items[last]
	items[e.index].e.index = e.index
	w.slots[i] = items[:last]
	if last == 0 {
		w.occupied &^= 1 << i
	}
	e.index = notQueued
}

// eventHeap is a 4-ary heap. It is written by hand because container/heap boxes every event.
type eventHeap struct{ items []queueItem }

func (h *eventHeap) push(item queueItem) {
	h.items = append(h.items, queueItem{})
	h.up(len(h.items)-1, item)
}

func (h *eventHeap) pop() *event {
	top := h.items[0].e
	top.index = notQueued
	last := len(h.items) - 1
	moved := h.items[last]
	h.items = h.items[:last]
	if last > 0 {
		h.down(0, moved)
	}
	return top
}

func (h *eventHeap) remove(e *event) {
	place := int(e.index)
	e.index = notQueued
	last := len(h.items) - 1
	moved := h.items[last]
	h.items = h.items[:last]
	if moved.e == e {
		return
	}
	if !h.up(place, moved) {
		h.down(place, moved)
	}
}

// up moves an item, meant for place i, towards the root; it reports whether it moved.
func (h *eventHeap) up(i int, item queueItem) bool {
	start := i
	for i > 0 {
		parent := (i - 1) / 4
		if !item.before(&h.items[parent]) {
			break
		}
		h.items[i] = h.items[parent]
		h.items[i].e.index = int32(i)
		i = parent
	}
	h.items[i] = item
	item.e.index = int32(i)
	return i != start
}

func (h *eventHeap) down(i int, item queueItem) {
	items := h.items
	for {
		first := 4*i + 1
		if first >= len(items) {
			break
		}
		least := first
		for child := first + 1; child < first+4 && child < len(items); child++ {
			if items[child].before(&items[least]) {
				least = child
			}
		}
		if !items[least].before(&item) {
			break
		}
		items[i] = items[least]
		items[i].e.index = int32(i)
		i = least
	}
	items[i] = item
	item.e.index = int32(i)
}
