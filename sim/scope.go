package sim

import (
	"slices"
	"time"
)

// Scope is a lifetime: of a machine between two boots, of an operating-system process on it, of a component inside
// that. Timers and processes belong to a scope and end with it. Killing a scope kills all scopes below it.
type Scope struct {
	kernel     *Kernel
	frozen     int32 // how many of itself and its ancestors are frozen
	alive      bool
	selfFrozen bool

	parent    *Scope
	name      string
	machine   string
	component string
	killedBy  string
	stash     []queueItem // due while frozen
	procs     procList
	hooks     []*killHook

	firstChild, lastChild    *Scope
	nextSibling, prevSibling *Scope
}

type killHook struct{ fn func() }

// Child makes a scope that ends with s at the latest. Its trace labels are those of s.
// A child of a dead scope is born dead.
func (s *Scope) Child(name string) *Scope {
	c := &Scope{kernel: s.kernel, parent: s, name: name, machine: s.machine, component: s.component,
		alive: s.alive, frozen: s.frozen}
	if !s.alive {
		return c
	}
	c.prevSibling = s.lastChild
	if s.lastChild != nil {
		s.lastChild.nextSibling = c
	} else {
		s.firstChild = c
	}
	s.lastChild = c
	return c
}

// Label sets what trace events of this scope, and of scopes made below it later, name as their machine and component.
// An empty string leaves a label as it is. It returns s.
func (s *Scope) Label(machine, component string) *Scope {
	if machine != "" {
		s.machine = machine
	}
	if component != "" {
		s.component = component
	}
	return s
}

// Kernel returns the kernel that the scope belongs to.
func (s *Scope) Kernel() *Kernel { return s.kernel }

// Now returns the virtual time.
func (s *Scope) Now() Time { return s.kernel.now }

// Rand returns the kernel's random stream of that name; see Kernel.Rand.
func (s *Scope) Rand(stream string) *Stream { return s.kernel.Rand(stream) }

// Alive reports whether the scope has not been killed.
func (s *Scope) Alive() bool { return s.alive }

// KilledBy returns why the scope was killed, "" while it lives or when it died with one above it.
func (s *Scope) KilledBy() string { return s.killedBy }

// Frozen reports whether the scope, or one above it, is frozen.
func (s *Scope) Frozen() bool { return s.frozen > 0 }

// Path names the scope from the root, as in worker-1/kubelet.
func (s *Scope) Path() string {
	if s.parent == nil {
		return s.name
	}
	if above := s.parent.Path(); above != "" {
		return above + "/" + s.name
	}
	return s.name
}

// After has fn run after d of virtual time, unless the scope dies or the timer is stopped before; what names it for
// errors.
func (s *Scope) After(d time.Duration, what string, fn func()) Timer {
	if !s.alive {
		return Timer{}
	}
	return s.kernel.schedule(s, s.kernel.now.Add(d), what, callback(fn))
}

// AfterRun is After for a Runner; it allocates nothing.
func (s *Scope) AfterRun(d time.Duration, what string, r Runner) Timer {
	if !s.alive {
		return Timer{}
	}
	return s.kernel.schedule(s, s.kernel.now.Add(d), what, r)
}

// AtRun is AfterRun for an instant; one that has passed means now.
func (s *Scope) AtRun(t Time, what string, r Runner) Timer {
	return s.AfterRun(t.Sub(s.kernel.now), what, r)
}

// At is After for an instant; one that has passed means now.
func (s *Scope) At(t Time, what string, fn func()) Timer {
	return s.After(t.Sub(s.kernel.now), what, fn)
}

// OnKill has fn called when the scope is killed, after everything in it has been marked dead, last hook first.
// It is for what the world around notices of a death: the operating system resets the connections of a process.
// The function returned takes the hook off again.
func (s *Scope) OnKill(fn func()) (remove func()) {
	h := &killHook{fn}
	s.hooks = append(s.hooks, h)
	return func() {
		h.fn = nil
		if n := len(s.hooks); n > 0 && s.hooks[n-1] == h {
			s.hooks = s.hooks[:n-1]
		}
	}
}

// Kill ends the scope and all below it between two steps: nothing of theirs runs again. Processes parked in them are
// unwound after the current event (their defers run, and see a dead scope). Killing a dead scope does nothing.
func (s *Scope) Kill(why string) {
	if !s.alive {
		return
	}
	s.killedBy = why
	if p := s.parent; p != nil {
		s.unlink(p)
	}
	var dead []*Scope
	s.markDead(&dead)
	for _, d := range dead {
		for i := len(d.hooks) - 1; i >= 0; i-- {
			if fn := d.hooks[i].fn; fn != nil {
				fn()
			}
		}
		d.hooks = nil
	}
}

func (s *Scope) unlink(parent *Scope) {
	if s.prevSibling != nil {
		s.prevSibling.nextSibling = s.nextSibling
	} else {
		parent.firstChild = s.nextSibling
	}
	if s.nextSibling != nil {
		s.nextSibling.prevSibling = s.prevSibling
	} else {
		parent.lastChild = s.prevSibling
	}
	s.nextSibling, s.prevSibling = nil, nil
}

// markDead marks s and all below it dead, collects them (children before parents) and hands their processes to the
// reaper.
func (s *Scope) markDead(dead *[]*Scope) {
	s.alive = false
	for c := s.firstChild; c != nil; c = c.nextSibling {
		c.markDead(dead)
	}
	s.firstChild, s.lastChild = nil, nil
	for p := s.procs.first; p != nil; p = p.next {
		s.kernel.reap = append(s.kernel.reap, p)
	}
	for _, due := range s.stash {
		s.kernel.release(s.kernel.event(due.n))
	}
	s.stash = nil
	*dead = append(*dead, s)
}

// Freeze stops the scope and all below it, as SIGSTOP stops a process: what falls due waits until Thaw.
func (s *Scope) Freeze() {
	if !s.selfFrozen && s.alive {
		s.selfFrozen = true
		s.addFrozen(1)
	}
}

// Thaw ends Freeze: what fell due meanwhile runs now, in the order in which it was due.
func (s *Scope) Thaw() {
	if !s.selfFrozen || !s.alive {
		return
	}
	s.selfFrozen = false
	s.addFrozen(-1)
	var due []queueItem
	s.unstash(&due)
	s.kernel.requeue(due)
}

func (s *Scope) addFrozen(n int32) {
	s.frozen += n
	for c := s.firstChild; c != nil; c = c.nextSibling {
		c.addFrozen(n)
	}
}

func (s *Scope) unstash(due *[]queueItem) {
	if s.frozen == 0 {
		*due = append(*due, s.stash...)
		s.stash = nil
	}
	for c := s.firstChild; c != nil; c = c.nextSibling {
		c.unstash(due)
	}
}

// Timer is a handle on something that After scheduled. The zero Timer is one that has ended.
type Timer struct {
	e   *event
	gen uint64
}

// Pending reports whether the timer has neither run nor been stopped.
func (t Timer) Pending() bool { return t.e != nil && t.e.gen == t.gen }

// Stop keeps the timer from running; it reports whether it was still pending.
func (t Timer) Stop() bool {
	if !t.Pending() {
		return false
	}
	scope := t.e.scope
	k := scope.kernel
	switch {
	case k.closed:
		return false
	case k.queue.places[t.e.n].slot == stashed:
		scope.stash = slices.DeleteFunc(scope.stash, func(due queueItem) bool { return due.n == t.e.n })
	default:
		k.queue.remove(t.e.n)
	}
	k.release(t.e)
	return true
}
