package kubelet

import (
	"slices"
	"time"

	"ksim/sim"
)

// resyncs are the workers whose next sync, once a minute or so, would find nothing to do but to wait for the next: they
// need no event each. What their ticks would have done, a draw for the next, is caught up on before anybody else draws
// and when one of them has something to do after all.
type resyncs struct {
	kl      *Kubelet
	entries []resync // in any order: some dozens
	next    sim.Time // nothing is due before that
	serial  uint64
}

// resync is a worker's place in the work queue. Ties go by order of entry, as the kernel's.
type resync struct {
	due    sim.Time
	serial uint64
	worker *podWorker
}

// rand returns the kubelet's stream of randomness, when all that draws from it earlier has done so.
func (kl *Kubelet) rand() *sim.Stream {
	kl.resyncs.catchUp(resync{due: kl.kernel.Now(), serial: ^uint64(0)})
	return kl.random
}

// add takes a worker in whose sync is due then; the worker is not in it.
func (r *resyncs) add(w *podWorker, due sim.Time) {
	r.serial++
	if len(r.entries) == 0 || due < r.next {
		r.next = due
	}
	r.entries = append(r.entries, resync{due, r.serial, w})
	w.waits = true
}

// remove takes a worker out, whose ticks have been caught up on; it returns when its sync is due.
func (r *resyncs) remove(w *podWorker) sim.Time {
	i := slices.IndexFunc(r.entries, func(e resync) bool { return e.worker == w })
	due := r.entries[i].due
	r.entries[i] = r.entries[len(r.entries)-1]
	r.entries[len(r.entries)-1] = resync{}
	r.entries = r.entries[:len(r.entries)-1]
	w.waits = false
	return due
}

// catchUp has the ticks before that one happen.
func (r *resyncs) catchUp(before resync) {
	for len(r.entries) > 0 && r.next <= before.due {
		first := &r.entries[0]
		for i := range r.entries {
			if e := &r.entries[i]; e.before(first) {
				first = e
			}
		}
		if !first.before(&before) {
			r.next = first.due
			return
		}
		r.serial++
		first.due, first.serial = first.worker.tickAfter(first.due, r.kl.resyncJitter()), r.serial
	}
}

func (a *resync) before(b *resync) bool {
	return a.due < b.due || a.due == b.due && a.serial < b.serial
}

func (kl *Kubelet) resyncJitter() time.Duration {
	return kl.random.Jitter(kl.config.syncFrequency, 500)
}

// tickAfter is the first tick of the sync loop after d from t. Pods that no source has any more are not in the loop's
// queue: housekeeping looks after them.
func (w *podWorker) tickAfter(t sim.Time, d time.Duration) sim.Time {
	period := syncTickerPeriod
	if w.wanted() == nil {
		period = housekeepingPeriod
	}
	return nextTick(w.kl.loop, t.Add(max(d, time.Nanosecond)), period)
}

// idle reports whether a sync would find nothing to do.
func (w *podWorker) idle() bool {
	return !w.dirty && !w.static && w.synced && !w.terminating && w.pending == nil
}

// enqueue has the worker sync at the first tick of the sync loop after d.
func (w *podWorker) enqueue(d time.Duration) {
	w.unqueue()
	due := w.tickAfter(w.kl.kernel.Now(), d)
	if w.idle() && w.wanted() != nil {
		w.kl.resyncs.add(w, due)
		return
	}
	w.timer = w.kl.scope.AtRun(due, "pod sync", w)
}

// unqueue takes the worker out of the work queue.
func (w *podWorker) unqueue() {
	w.rouse()
	w.timer.Stop()
}

// rouse has the worker's next sync happen: there is something to find.
func (w *podWorker) rouse() {
	if !w.waits {
		return
	}
	w.kl.rand() // for its ticks so far
	w.timer = w.kl.scope.AtRun(w.kl.resyncs.remove(w), "pod sync", w)
}
