package controlplane

import (
	"time"

	"ksim/sim"
)

// Models kube-controller-manager's UIDTrackingControllerExpectations and slowStartBatch
// (pkg/controller/controller_utils.go, pkg/controller/replicaset/replica_set.go, v1.36).

// expectationsTimeout is after how long a controller stops waiting for what it did to appear in its cache
// (pkg/controller/controller_utils.go ExpectationsTimeout, v1.36).
const expectationsTimeout = 5 * time.Minute

// Expectations keep a controller from acting twice: what it has created or deleted counts as done although its informer
// does not show it yet.
type Expectations struct {
	kernel *sim.Kernel
	byKey  map[Key]*expectation
}

type expectation struct {
	creations int
	deletions map[Key]struct{}
	since     sim.Time
}

// NewExpectations makes an empty set.
func NewExpectations(k *sim.Kernel) *Expectations {
	return &Expectations{kernel: k, byKey: map[Key]*expectation{}}
}

// ExpectCreations says that n objects are about to be created for owner.
func (x *Expectations) ExpectCreations(owner Key, n int) {
	x.byKey[owner] = &expectation{creations: n, since: x.kernel.Now()}
}

// ExpectDeletions says that these objects are about to be deleted for owner.
func (x *Expectations) ExpectDeletions(owner Key, objects []Key) {
	e := &expectation{deletions: make(map[Key]struct{}, len(objects)), since: x.kernel.Now()}
	for _, key := range objects {
		e.deletions[key] = struct{}{}
	}
	x.byKey[owner] = e
}

// Expect is both at once.
func (x *Expectations) Expect(owner Key, creations int, deletions []Key) {
	x.ExpectDeletions(owner, deletions)
	x.byKey[owner].creations = creations
}

// CreationObserved counts a creation as seen, or as failed.
func (x *Expectations) CreationObserved(owner Key) {
	if e := x.byKey[owner]; e != nil {
		e.creations--
	}
}

// DeletionObserved counts the deletion of that object as seen, or as failed.
func (x *Expectations) DeletionObserved(owner, object Key) {
	if e := x.byKey[owner]; e != nil {
		delete(e.deletions, object)
	}
}

// Satisfied reports whether owner may be synced: all has been seen, or five minutes have passed, or nothing is known.
func (x *Expectations) Satisfied(owner Key) bool {
	e := x.byKey[owner]
	return e == nil || e.creations <= 0 && len(e.deletions) == 0 || x.kernel.Now().Sub(e.since) > expectationsTimeout
}

// Delete forgets owner.
func (x *Expectations) Delete(owner Key) { delete(x.byKey, owner) }

// Parallel calls fn for 0 to n-1 at the same time, each in a process of its own, and waits for all. It returns how many
// succeeded and the first error in the order of i.
func Parallel(p *sim.Proc, n int, fn func(p *sim.Proc, i int) error) (succeeded int, err error) {
	if n == 1 {
		if err = fn(p, 0); err == nil {
			succeeded = 1
		}
		return succeeded, err
	}
	errs := make([]error, n)
	left := n
	cause := p.Kernel().Cause()
	done := sim.NewFuture[struct{}]()
	for i := range n {
		p.Scope().Go("parallel", func(p *sim.Proc) {
			errs[i] = fn(p, i)
			if left--; left == 0 {
				done.Resolve(struct{}{}, nil)
			}
		})
	}
	if n > 0 {
		_, _ = done.Await(p, sim.Forever) // cannot fail: no deadline
	}
	p.Because(cause)
	for _, e := range errs {
		if e == nil {
			succeeded++
		} else if err == nil {
			err = e
		}
	}
	return succeeded, err
}

// SlowStartBatch calls fn count times in batches of 1, 2, 4 ... at a time, and stops after the first batch with an
// error: what cannot work is not tried a thousand times at once.
func SlowStartBatch(p *sim.Proc, count int, fn func(p *sim.Proc, i int) error) (succeeded int, err error) {
	remaining := count
	for batch := min(count, 1); batch > 0; batch = min(2*batch, remaining) {
		from := count - remaining
		done, err := Parallel(p, batch, func(p *sim.Proc, i int) error { return fn(p, from+i) })
		succeeded += done
		if err != nil {
			return succeeded, err
		}
		remaining -= batch
	}
	return succeeded, nil
}
