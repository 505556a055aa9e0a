package sim

import (
	"fmt"
	"runtime/debug"
	"slices"
)

// Kernel owns one simulation: its clock, its queue of events, its processes, its randomness and its trace.
// It is not safe for concurrent use; two kernels share nothing.
type Kernel struct {
	now        Time
	seq        uint64
	steps      uint64
	seed       uint64
	cause      EventID // of the event that runs now
	queue      queue
	events     []*[eventChunk]event // all that were ever made
	free       []int32              // of events
	idle       []*coroutine         // parked between two bodies
	coroutines []*coroutine         // all that were ever made and not stopped
	reap       []*Proc              // parked processes of killed scopes, to be unwound after the event
	running    *Proc
	scope      *Scope // of the event that runs now, and what it is, for errors
	what       string
	failure    error
	root       *Scope
	streams    map[string]*Stream
	trace      *Trace
	observers  []func(Event)
	invariants []invariant
	memos      map[any]any
	closed     bool
}

const eventChunk = 256

type invariant struct {
	name  string
	check func() error
}

// New makes a kernel at virtual time 0. All its randomness derives from seed.
func New(seed uint64) *Kernel {
	k := &Kernel{seed: seed, streams: map[string]*Stream{}}
	k.trace = newTrace()
	k.root = &Scope{kernel: k, alive: true}
	return k
}

// Now returns the virtual time.
func (k *Kernel) Now() Time { return k.now }

// Seed returns the seed that the kernel was made with.
func (k *Kernel) Seed() uint64 { return k.seed }

// Root returns the scope that everything lives in; it ends with Close.
func (k *Kernel) Root() *Scope { return k.root }

// Trace returns the trace so far.
func (k *Kernel) Trace() *Trace { return k.trace }

// Steps returns how many events have run.
func (k *Kernel) Steps() uint64 { return k.steps }

// Cause returns the trace event that led to what runs now.
func (k *Kernel) Cause() EventID { return k.cause }

// Because says that what the running callback or process does from here on was caused by id. For a process it holds
// until its next wait ends; what it waits for then brings its own cause.
func (k *Kernel) Because(id EventID) {
	if id != 0 {
		k.cause = id
	}
}

// Observe calls fn for each trace event from now on. An observer must not touch the simulation.
func (k *Kernel) Observe(fn func(Event)) { k.observers = append(k.observers, fn) }

// Invariant has check called after every event; what it returns ends the run. A check that is not trivial should
// first look whether anything that it speaks of has changed.
func (k *Kernel) Invariant(name string, check func() error) {
	k.invariants = append(k.invariants, invariant{name, check})
}

// Memo returns what make made for key in this simulation, calling it the first time. It is for memories that save the
// simulator work (one decoding of the same bytes for everybody) and that nothing simulated could notice: they would be
// package-level variables if simulations did not run side by side. key should be of a type of the caller's own.
func (k *Kernel) Memo(key any, make func() any) any {
	value, ok := k.memos[key]
	if !ok {
		value = make()
		if k.memos == nil {
			k.memos = map[any]any{}
		}
		k.memos[key] = value
	}
	return value
}

// NextAt returns when the next event is due; ok is false when there is none.
func (k *Kernel) NextAt() (at Time, ok bool) { return k.queue.first() }

// Step takes one event from the queue and runs it, then the invariants; an event of a dead scope is dropped, one of a
// frozen scope put aside. It reports whether there may be more, and an error if a process or callback
// panicked or an invariant broke; after an error the kernel must not be stepped further.
func (k *Kernel) Step() (more bool, err error) {
	if k.failure != nil {
		return false, k.failure
	}
	if k.queue.length == 0 {
		return false, nil
	}
	defer k.catch(&more, &err)
	k.step()
	return k.failure == nil, k.failure
}

// RunUntil runs all events due up to and including t, and sets the clock to t.
func (k *Kernel) RunUntil(t Time) (err error) {
	defer k.catch(nil, &err)
	for k.failure == nil {
		at, ok := k.queue.first()
		if !ok || at > t {
			k.advance(t)
			break
		}
		k.step()
	}
	return k.failure
}

// catch turns a panic into the kernel's failure.
func (k *Kernel) catch(more *bool, err *error) {
	v := recover()
	if v == nil {
		return
	}
	where := k.scope.Path() + " (" + k.what + ")"
	k.failure = &Panic{Value: v, Where: where, At: k.now, Seed: k.seed, Stack: debug.Stack()}
	*err = k.failure
	if more != nil {
		*more = false
	}
}

// step does Step's work; a panic passes through it.
func (k *Kernel) step() {
	due := k.queue.pop()
	e := k.event(due.n)
	scope := e.scope
	if !scope.alive {
		k.release(e)
		return
	}
	k.advance(due.at)
	if scope.frozen > 0 {
		k.queue.places[e.n].slot = stashed
		scope.stash = append(scope.stash, due)
		return
	}
	k.cause, k.scope, k.what = e.cause, scope, e.what
	k.steps++
	run := e.run
	k.release(e)
	run.Run()
	if len(k.reap) > 0 {
		k.reapKilled()
	}
	if k.failure != nil {
		return
	}
	for i := range k.invariants {
		if broken := k.invariants[i].check(); broken != nil {
			k.failure = fmt.Errorf("invariant broken at %s: %s: %w", k.now, k.invariants[i].name, broken)
			return
		}
	}
}

// Close kills everything and gives back the memory of all processes. The trace stays readable.
func (k *Kernel) Close() {
	if k.closed {
		return
	}
	k.closed = true
	k.root.Kill("the simulation was closed")
	k.reapKilled()
	for _, c := range k.coroutines {
		c.stop()
	}
	k.coroutines, k.idle, k.queue, k.events, k.free = nil, nil, queue{}, nil, nil
}

func (k *Kernel) advance(t Time) {
	if t > k.now {
		k.now = t
	}
}

// schedule queues an event; the caller has checked that the scope is alive.
func (k *Kernel) schedule(s *Scope, at Time, what string, run Runner) Timer {
	if len(k.free) == 0 {
		k.makeEvents()
	}
	last := len(k.free) - 1
	e := k.event(k.free[last])
	k.free = k.free[:last]
	k.seq++
	e.cause, e.scope, e.what, e.run = k.cause, s, what, run
	k.queue.push(queueItem{max(at, k.now), k.seq, e.n})
	return Timer{e, e.gen}
}

func (k *Kernel) event(n int32) *event { return &k.events[n/eventChunk][n%eventChunk] }

func (k *Kernel) makeEvents() {
	first := int32(len(k.events) * eventChunk)
	chunk := &[eventChunk]event{}
	k.events = append(k.events, chunk)
	for i := range chunk {
		chunk[i].n = first + int32(i)
		k.queue.places = append(k.queue.places, place{slot: notQueued})
		k.free = append(k.free, first+eventChunk-1-int32(i))
	}
}

// release makes e free for another use; timers that still name it notice by the generation. What it pointed to is
// overwritten by that use, which comes soon.
func (k *Kernel) release(e *event) {
	e.gen++
	e.scope, e.run = nil, nil
	k.queue.places[e.n].slot = notQueued
	k.free = append(k.free, e.n)
}

// requeue puts back what was due while a scope was frozen, in the order in which it was due.
func (k *Kernel) requeue(due []queueItem) {
	slices.SortFunc(due, func(a, b queueItem) int {
		if a.before(&b) {
			return -1
		}
		return 1
	})
	for _, item := range due {
		k.seq++
		k.queue.push(queueItem{k.now, k.seq, item.n})
	}
}

// Panic is the error of Step when simulated code panicked: a defect of the simulator, never an outcome of the model.
type Panic struct {
	Value any
	Where string // scope path and process or event
	At    Time
	Seed  uint64
	Stack []byte
}

func (p *Panic) Error() string {
	return fmt.Sprintf("panic in %s at %s (seed %d): %v\n%s", p.Where, p.At, p.Seed, p.Value, p.Stack)
}

// Assert panics with the formatted message unless cond holds. It states what a programmer relies on.
func Assert(cond bool, format string, args ...any) {
	if !cond {
		panic(fmt.Sprintf(format, args...))
	}
}
