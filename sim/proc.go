package sim

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"
)

// Proc is a simulated thread of control: a coroutine that reads as ordinary sequential code and waits in virtual time.
// Only code that is handed a *Proc can wait.
type Proc struct {
	scope      *Scope
	name       string
	body       func(*Proc)
	co         *coroutine
	next, prev *Proc
	waiting    bool // parked, and nothing has woken it yet
	timedOut   bool
	killed     bool
	ended      bool
	timer      Timer
}

// ErrTimeout is what a wait returns when its deadline passed.
var ErrTimeout = errors.New("context deadline exceeded")

// errKilled unwinds a process whose scope is dead.
var errKilled = errors.New("process killed")

type procList struct{ first, last *Proc }

func (l *procList) add(p *Proc) {
	p.prev = l.last
	if l.last != nil {
		l.last.next = p
	} else {
		l.first = p
	}
	l.last = p
}

func (l *procList) remove(p *Proc) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		l.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		l.last = p.prev
	}
	p.next, p.prev = nil, nil
}

// coroutine runs one body after another, so that a short process does not pay for making one.
type coroutine struct {
	kernel *Kernel
	proc   *Proc
	yield  func(struct{}) bool
	next   func() (struct{}, bool)
	stop   func()
}

// Go starts a process in the scope; its body begins at the current time, after what is already due.
func (s *Scope) Go(name string, body func(p *Proc)) *Proc {
	p := &Proc{scope: s, name: name, body: body}
	if !s.alive {
		p.killed, p.ended = true, true
		return p
	}
	s.procs.add(p)
	s.kernel.schedule(s, s.kernel.now, name, (*resumption)(p))
	return p
}

// Begin is Go for the last thing that a callback does: the body begins within the event that runs, so that a process
// which never waits costs no event. From a process, and in a frozen scope, it is Go.
func (s *Scope) Begin(name string, body func(p *Proc)) {
	k := s.kernel
	if k.running != nil || !s.alive || s.frozen > 0 {
		s.Go(name, body)
		return
	}
	p := &Proc{scope: s, name: name, body: body}
	s.procs.add(p)
	p.within()
}

// Scope returns the scope that the process lives in.
func (p *Proc) Scope() *Scope { return p.scope }

// Kernel returns the kernel.
func (p *Proc) Kernel() *Kernel { return p.scope.kernel }

// Now returns the virtual time.
func (p *Proc) Now() Time { return p.scope.kernel.now }

// Ended reports whether the body has returned or was unwound.
func (p *Proc) Ended() bool { return p.ended }

// Because is Kernel.Because.
func (p *Proc) Because(id EventID) { p.scope.kernel.Because(id) }

// Sleep waits for d.
func (p *Proc) Sleep(d time.Duration) { p.wait(max(d, 0)) }

// wait parks the process until wake is called or within has passed (Forever: no limit); it reports whether it was
// woken.
func (p *Proc) wait(within time.Duration) (woken bool) {
	k := p.scope.kernel
	if !p.scope.alive {
		panic(errKilled)
	}
	if k.running != p { // Assert would make its arguments each time
		panic(fmt.Sprintf("process %s waits while %v runs", p.name, k.running))
	}
	p.waiting, p.timedOut = true, false
	if within >= 0 {
		p.timer = k.schedule(p.scope, k.now.Add(within), p.name, (*resumption)(p))
	} else {
		p.timer = Timer{}
	}
	p.co.yield(struct{}{})
	if p.killed || !p.scope.alive {
		p.killed = true
		panic(errKilled)
	}
	return !p.timedOut
}

// wake lets a waiting process go on at the current time, through the queue. Waking one that is not waiting does
// nothing.
func (p *Proc) wake() {
	if !p.waiting || p.ended || !p.scope.alive {
		return
	}
	p.waiting = false
	p.timer.Stop()
	k := p.scope.kernel
	k.schedule(p.scope, k.now, p.name, (*resumption)(p))
}

// wakeWithin is wake for the last thing that a callback does: the process goes on within the event that runs. Woken by
// another process, and in a frozen scope, it goes on through the queue.
func (p *Proc) wakeWithin() {
	if !p.waiting || p.ended || !p.scope.alive {
		return
	}
	if p.scope.kernel.running != nil || p.scope.frozen > 0 {
		p.wake()
		return
	}
	p.waiting = false
	p.timer.Stop()
	p.within()
}

// within lets the process go on as part of the event that runs, which keeps its own cause.
func (p *Proc) within() {
	k := p.scope.kernel
	cause := k.cause
	(*resumption)(p).Run()
	k.cause = cause
}

// resumption is a process as what an event runs.
type resumption Proc

// Run lets the process go on until it parks or ends.
func (r *resumption) Run() {
	p := (*Proc)(r)
	k := p.scope.kernel
	if p.ended {
		return
	}
	if p.waiting { // nobody woke it: its deadline passed
		p.waiting, p.timedOut = false, true
	}
	if p.co == nil {
		p.co = k.coroutine()
		p.co.proc = p
	}
	k.running = p
	p.co.next()
	k.running = nil
}

func (k *Kernel) coroutine() *coroutine {
	if n := len(k.idle); n > 0 {
		c := k.idle[n-1]
		k.idle = k.idle[:n-1]
		return c
	}
	c := &coroutine{kernel: k}
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		for {
			c.runBody()
			if !yield(struct{}{}) {
				return
			}
		}
	})
	k.coroutines = append(k.coroutines, c)
	return c
}

// runBody runs the body of the coroutine's process to its end, catching what it panics with: a panic that crossed
// iter.Pull would reach Step without its stack.
func (c *coroutine) runBody() {
	p, k := c.proc, c.kernel
	defer func() {
		if v := recover(); v != nil && !errorIs(v, errKilled) {
			k.failure = &Panic{Value: v, Where: p.scope.Path() + " (process " + p.name + ")", At: k.now, Seed: k.seed,
				Stack: debug.Stack()}
		}
		p.ended, p.co, c.proc, p.body = true, nil, nil, nil
		p.scope.procs.remove(p)
		k.idle = append(k.idle, c)
	}()
	p.body(p)
}

func errorIs(v any, target error) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, target)
}

// reapKilled unwinds the processes of scopes that were killed during the event.
func (k *Kernel) reapKilled() {
	for len(k.reap) > 0 {
		p := k.reap[0]
		k.reap = k.reap[1:]
		if p.ended {
			continue
		}
		p.killed = true
		if p.co == nil { // it never began
			p.ended = true
			p.scope.procs.remove(p)
			continue
		}
		k.running = p
		p.co.next()
		k.running = nil
		Assert(p.ended, "process %s waits in a defer after its scope was killed", p.name)
	}
}

// String names the process for errors.
func (p *Proc) String() string {
	if p == nil {
		return "no process"
	}
	return fmt.Sprintf("%s (%s)", p.name, p.scope.Path())
}
