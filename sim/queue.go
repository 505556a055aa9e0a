package sim

import "math/bits"

// Runner is what an event can run instead of a closure; an object that schedules itself again and again implements it
// so that scheduling allocates nothing.
type Runner interface{ Run() }

// callback is a closure as a Runner; the conversion allocates nothing.
type callback func()

func (fn callback) Run() { fn() }

// event is what is to run. Events are recycled: a Timer names one together with its generation, the queue by number. It
// fills one line of a processor's cache.
type event struct {
	gen   uint64
	n     int32
	cause EventID
	scope *Scope
	what  string
	run   Runner
}

// queueItem is an event with when it is due. It has no pointer: a queue of pointers would have the collector told of
// every move in the heap.
type queueItem struct {
	at  Time
	seq uint64
	n   int32 // of the event
}

func (a *queueItem) before(b *queueItem) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// place is where an event is.
type place struct {
	slot  int32 // of the wheels, or one of the constants below
	index int32 // in the heap or slot
}

const (
	inHeap    = -1
	notQueued = -2 // run, stopped, or free
	stashed   = -3 // due, but its scope is frozen
)

// queue holds events in the order of (at, seq). What is due soon lies in a heap; everything later lies unsorted in
// wheels of ever coarser slots, and comes to the heap when its time comes near. Most timers are time-outs that are
// stopped long before, so they are never sorted at all, and the heap stays as small as what is on the wires.
type queue struct {
	near   []queueItem // a 4-ary heap of what is due in the slot of base or before
	base   Time
	wheels [wheelCount]wheel
	length int
	places []place // by number of the event
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

// push adds an event that is not in the queue.
func (q *queue) push(item queueItem) {
	q.length++
	q.put(item)
}

// put puts an item into the heap, or into the wheel of the highest bit in which its time differs from base.
func (q *queue) put(item queueItem) {
	if item.at>>finest <= q.base>>finest {
		q.near = append(q.near, item)
		q.up(len(q.near)-1, item)
		return
	}
	n := (bits.Len64(uint64(item.at^q.base)) - 1 - finest) / slotBits
	i := int(item.at>>(finest+n*slotBits)) % slotCount
	w := &q.wheels[n]
	q.places[item.n] = place{int32(n*slotCount + i), int32(len(w.slots[i]))}
	w.slots[i] = append(w.slots[i], item)
	w.occupied |= 1 << i
}

// first returns when the first event is due; ok is false when there is none.
func (q *queue) first() (at Time, ok bool) {
	if len(q.near) == 0 {
		if q.length == 0 {
			return 0, false
		}
		q.advance()
	}
	return q.near[0].at, true
}

// pop takes the first event, which must be there.
func (q *queue) pop() queueItem {
	if len(q.near) == 0 {
		q.advance()
	}
	q.length--
	top, last := q.near[0], len(q.near)-1
	moved := q.near[last]
	q.near = q.near[:last]
	if last > 0 {
		q.down(0, moved)
	}
	q.places[top.n].slot = notQueued
	return top
}

// advance moves base to the first slot that holds anything until the heap does.
func (q *queue) advance() {
	for n := 0; len(q.near) == 0; n++ {
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
			q.put(item)
		}
		n = -1
	}
}

// remove takes an event, which must be in the queue, out of it.
func (q *queue) remove(n int32) {
	q.length--
	at := q.places[n]
	q.places[n].slot = notQueued
	if at.slot == inHeap {
		last := len(q.near) - 1
		moved := q.near[last]
		q.near = q.near[:last]
		if i := int(at.index); i < last && !q.up(i, moved) {
			q.down(i, moved)
		}
		return
	}
	w, i := &q.wheels[at.slot/slotCount], at.slot%slotCount
	items := w.slots[i]
	last := len(items) - 1
	if moved := items[last]; moved.n != n {
		items[at.index] = moved
		q.places[moved.n].index = at.index
	}
	w.slots[i] = items[:last]
	if last == 0 {
		w.occupied &^= 1 << i
	}
}

// up moves an item, meant for place i of the heap, towards the root; it reports whether it moved. The heap is written
// by hand because container/heap boxes every item.
func (q *queue) up(i int, item queueItem) bool {
	start := i
	for i > 0 {
		parent := (i - 1) / 4
		if !item.before(&q.near[parent]) {
			break
		}
		q.set(i, q.near[parent])
		i = parent
	}
	q.set(i, item)
	return i != start
}

func (q *queue) down(i int, item queueItem) {
	items := q.near
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
		q.set(i, items[least])
		i = least
	}
	q.set(i, item)
}

func (q *queue) set(i int, item queueItem) {
	q.near[i] = item
	q.places[item.n] = place{inHeap, int32(i)}
}
