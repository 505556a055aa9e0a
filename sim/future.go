package sim

import (
	"slices"
	"time"
)

// Future is a value that will be there later: one side resolves it once, the other waits.
// The zero Future is unresolved.
type Future[T any] struct {
	done   bool
	value  T
	err    error
	waiter *Proc   // nearly always the only one
	others []*Proc // who came after it
	then   []continuation[T]
}

type continuation[T any] struct {
	scope *Scope
	fn    func(T, error)
}

// NewFuture makes an unresolved future.
func NewFuture[T any]() *Future[T] { return &Future[T]{} }

// Done reports whether the future is resolved.
func (f *Future[T]) Done() bool { return f.done }

// Resolve sets the outcome and wakes who waits. Only the first call counts.
func (f *Future[T]) Resolve(value T, err error) {
	if f.done {
		return
	}
	f.done, f.value, f.err = true, value, err
	if f.waiter != nil {
		f.waiter.wake()
	}
	for _, p := range f.others {
		p.wake()
	}
	for _, c := range f.then {
		c.scope.After(0, "future", func() { c.fn(value, err) })
	}
	f.waiter, f.others, f.then = nil, nil, nil
}

// Hand is Resolve for the last thing that a callback does: the process that waits, if it is the only one, goes on
// within the event that runs.
func (f *Future[T]) Hand(value T, err error) {
	if f.done || f.waiter == nil || len(f.others) > 0 || len(f.then) > 0 {
		f.Resolve(value, err)
		return
	}
	f.done, f.value, f.err = true, value, err
	p := f.waiter
	f.waiter = nil
	p.wakeWithin()
}

// Await waits at most within (Forever: no limit) for the outcome; ErrTimeout when it did not come.
func (f *Future[T]) Await(p *Proc, within time.Duration) (T, error) {
	if !f.done {
		if f.waiter == nil && len(f.others) == 0 {
			f.waiter = p
		} else {
			f.others = append(f.others, p)
		}
		if !p.wait(within) && !f.done {
			if f.waiter == p {
				f.waiter = nil
			} else if i := slices.Index(f.others, p); i >= 0 {
				f.others = slices.Delete(f.others, i, i+1)
			}
			var none T
			return none, ErrTimeout
		}
	}
	return f.value, f.err
}

// Then has fn called in scope s with the outcome, at the time when it is there, through the queue.
func (f *Future[T]) Then(s *Scope, fn func(T, error)) {
	if f.done {
		s.After(0, "future", func() { fn(f.value, f.err) })
		return
	}
	f.then = append(f.then, continuation[T]{s, fn})
}

// Queue hands values from whoever puts to processes that get, in order.
type Queue[T any] struct {
	kernel  *Kernel
	items   []queued[T]
	waiters []*Proc
}

type queued[T any] struct {
	value T
	cause EventID
}

// NewQueue makes an empty queue.
func NewQueue[T any](k *Kernel) *Queue[T] { return &Queue[T]{kernel: k} }

// Len returns how many values wait.
func (q *Queue[T]) Len() int { return len(q.items) }

// Put appends a value and wakes the process that has waited longest.
func (q *Queue[T]) Put(value T) {
	q.items = append(q.items, queued[T]{value, q.kernel.cause})
	if len(q.waiters) > 0 {
		p := q.waiters[0]
		q.waiters = q.waiters[1:]
		p.wake()
	}
}

// Get takes the first value, waiting at most within (Forever: no limit) for one; ok is false when none came. The
// process goes on with the cause that the value was put with.
func (q *Queue[T]) Get(p *Proc, within time.Duration) (value T, ok bool) {
	deadline := p.Now().Add(within)
	for len(q.items) == 0 {
		left := within
		if within >= 0 {
			if left = deadline.Sub(p.Now()); left < 0 {
				return value, false
			}
		}
		q.waiters = append(q.waiters, p)
		if !p.wait(left) {
			q.forget(p)
			if len(q.items) == 0 {
				return value, false
			}
		}
	}
	first := q.items[0]
	q.items[0] = queued[T]{}
	q.items = q.items[1:]
	p.Because(first.cause)
	return first.value, true
}

func (q *Queue[T]) forget(p *Proc) {
	for i, w := range q.waiters {
		if w == p {
			q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
			return
		}
	}
}

// Signal is a condition that processes wait for and that can come again.
type Signal struct{ waiters []*Proc }

// Broadcast wakes all who wait now.
func (s *Signal) Broadcast() {
	for _, p := range s.waiters {
		p.wake()
	}
	s.waiters = s.waiters[:0]
}

// Wait waits at most within (Forever: no limit) for the next Broadcast; it reports whether it came.
func (s *Signal) Wait(p *Proc, within time.Duration) bool {
	s.waiters = append(s.waiters, p)
	if p.wait(within) {
		return true
	}
	for i, w := range s.waiters {
		if w == p {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			break
		}
	}
	return false
}
