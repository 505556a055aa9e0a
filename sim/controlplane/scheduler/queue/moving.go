package queue

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

// PreEnqueueCheck lets only some pods hear of an event.
type PreEnqueueCheck func(pod *fwk.PodInfo) bool

// MoveAllToActiveOrBackoffQueue tells all pods in the pool of a change; those that it may help are tried again, after
// their back-off. check may be nil.
func (q *PriorityQueue) MoveAllToActiveOrBackoffQueue(change fwk.Change, check PreEnqueueCheck) {
	interest := q.isEventOfInterest(change.Event)
	if interest || q.config.Features.Minor < 30 { // K@1.29, K@1.30:internal/queue/scheduling_queue.go
		q.miss(change)
	}
	if len(q.pool) > 0 && interest {
		q.moveMatching(&change, check)
	}
}

// Idle reports whether nobody would hear of an event.
func (q *PriorityQueue) Idle() bool { return len(q.pool) == 0 && len(q.inFlight) == 0 }

// moveMatching goes through the pool once. Who leaves is replaced by the last, so the place is looked at again; who
// comes back because it is gated is not.
func (q *PriorityQueue) moveMatching(change *fwk.Change, check PreEnqueueCheck) {
	for i, left := 0, len(q.pool); left > 0; left-- {
		info := q.pool[i]
		if check != nil && !check(info.PodInfo) || !q.hears(info, change.Event) || !q.isPodWorthRequeuing(info, change) {
			i++
			continue
		}
		q.wake(info)
	}
}

// AssignedPodAdded tells of a pod that got a node, in releases without queueing hints: only those hear of it whose
// affinity or spreading it may help.
func (q *PriorityQueue) AssignedPodAdded(change fwk.Change, namespaceLabels map[string]string) {
	q.MoveAllToActiveOrBackoffQueue(change, func(pod *fwk.PodInfo) bool {
		info := q.byUID[pod.Pod.UID]
		if info != nil && q.config.Features.PlacedPodsWakeSpread &&
			slices.Contains(info.UnschedulablePlugins, "PodTopologySpread") &&
			pod.Pod.Namespace == change.NewPod.Namespace {
			return true
		}
		for i := range pod.RequiredAffinity {
			if pod.RequiredAffinity[i].Matches(change.NewPod, namespaceLabels) {
				return true
			}
		}
		return false
	})
}

func (q *PriorityQueue) miss(changes ...fwk.Change) {
	if len(q.inFlight) == 0 {
		return
	}
	for _, change := range changes {
		q.missed = append(q.missed, missedChange{change, q.kernel.Cause()})
	}
}

func (q *PriorityQueue) isEventOfInterest(event fwk.ClusterEvent) bool {
	if event.IsWildCard() || !q.config.Features.EventsPerPlugin {
		return true
	}
	for i := range q.hints {
		if q.hints[i].event.Matches(event) {
			return true
		}
	}
	return false
}

// hears reports whether a pod is not gated, or by a plugin that waits for this event.
func (q *PriorityQueue) hears(info *QueuedPodInfo, event fwk.ClusterEvent) bool {
	if info.gatingPlugin == "" {
		return true
	}
	for i := range q.hints {
		if r := &q.hints[i]; r.plugin == info.gatingPlugin && r.event.Matches(event) && !event.IsWildCard() {
			return true
		}
	}
	return false
}

// isPodWorthRequeuing asks the plugins that refused the pod whether the change may help.
func (q *PriorityQueue) isPodWorthRequeuing(info *QueuedPodInfo, change *fwk.Change) bool {
	if len(info.UnschedulablePlugins) == 0 || change.Event.IsWildCard() || !q.config.Features.EventsPerPlugin {
		return true
	}
	for i := range q.hints {
		r := &q.hints[i]
		if r.event.Matches(change.Event) && slices.Contains(info.UnschedulablePlugins, r.plugin) &&
			(r.hint == nil || r.hint(info.PodInfo, change)) {
			return true
		}
	}
	return false
}

// wake takes a pod out of the pool because of what is happening now.
func (q *PriorityQueue) wake(info *QueuedPodInfo) {
	q.explain(info, q.kernel.Cause())
	q.take(info)
	q.requeue(info)
}

// requeue puts a pod that is nowhere into the active queue, or into a back-off queue while its back-off lasts.
func (q *PriorityQueue) requeue(info *QueuedPodInfo) {
	if q.isPodBackingoff(info) {
		q.moveToBackoffQ(info)
		return
	}
	q.moveToActiveQ(info)
}

func (q *PriorityQueue) explain(info *QueuedPodInfo, cause sim.EventID) {
	info.Cause, info.Since, info.Wait, info.Setting = cause, 0, 0, ""
}

// Run starts the timers. Upstream polls: each second for pods whose back-off is over, every 30 s for pods that have
// waited too long; from v1.33 on the former at whole seconds of the clock.
func (q *PriorityQueue) Run() {
	q.started, q.running = q.kernel.Now(), true
	q.scheduleBackoff()
	q.scheduleLeftover()
}

// window is the interval of the back-off flush (backoff_queue.go backoffQOrderingWindowDuration).
const window = time.Second

func alignToWindow(t sim.Time) sim.Time { return t - t%sim.Time(window) }

// backoffTime is when the pod's back-off ends: 1 s after the first refusal or error, doubling up to 10 s; at once up to
// v1.13.
func (q *PriorityQueue) backoffTime(info *QueuedPodInfo) sim.Time {
	count := info.unschedulable
	switch {
	case q.config.Features.BackoffByAttempts:
		count = info.tries
	case info.errors > 0:
		count = info.errors
	}
	if count == 0 || q.config.PodMaxBackoff == 0 || !q.config.Features.Backoff {
		return 0
	}
	if info.backoffExpiration == 0 {
		duration := q.config.PodMaxBackoff
		if shift := count - 1; shift < 32 && q.config.PodInitialBackoff <= q.config.PodMaxBackoff>>shift {
			duration = q.config.PodInitialBackoff << shift
		}
		info.backoffExpiration = info.Timestamp.Add(duration)
		if q.config.Features.PopFromBackoffQ {
			info.backoffExpiration = alignToWindow(info.backoffExpiration)
		}
	}
	return info.backoffExpiration
}

func (q *PriorityQueue) isPodBackingoff(info *QueuedPodInfo) bool {
	if q.config.Features.PopFromBackoffQ {
		return q.backoffTime(info) >= alignToWindow(q.kernel.Now())
	}
	return q.backoffTime(info) > q.kernel.Now()
}

// scheduleBackoff sets the timer for the tick that finds the first pod whose back-off is over.
func (q *PriorityQueue) scheduleBackoff() {
	first := q.backoff.peek()
	if f := q.failed.peek(); f != nil && (first == nil || q.backoffTime(f) < q.backoffTime(first)) {
		first = f
	}
	q.backoffAt.Stop()
	if first == nil || !q.running {
		return
	}
	over := q.backoffTime(first)
	var tick sim.Time
	if q.config.Features.PopFromBackoffQ {
		tick = alignToWindow(max(over, q.kernel.Now())).Add(window)
	} else {
		tick = nextTick(q.started, max(over, q.kernel.Now()), window)
	}
	q.backoffAt = q.config.Scope.At(tick, "flush back-off", q.flushBackoffQCompleted)
}

// nextTick returns the first tick of a ticker that is not before t.
func nextTick(started, t sim.Time, interval time.Duration) sim.Time {
	ticks := (t.Sub(started) + interval - 1) / interval
	return started.Add(max(ticks, 0) * interval)
}

func (q *PriorityQueue) flushBackoffQCompleted() {
	for _, h := range [...]*podHeap{&q.backoff, &q.failed} {
		for {
			info := h.peek()
			if info == nil || q.isPodBackingoff(info) {
				break
			}
			q.take(info)
			info.Since, info.Wait = info.Failed, q.kernel.Now().Sub(info.Timestamp)
			info.Setting = "podInitialBackoffSeconds"
			if q.backoffTime(info).Sub(info.Timestamp) >= q.config.PodMaxBackoff-window {
				info.Setting = "podMaxBackoffSeconds"
			}
			if info.Cause == 0 {
				info.Cause = info.Failed
			}
			q.moveToActiveQ(info)
		}
	}
	q.scheduleBackoff()
}

// scheduleLeftover sets the timer for the tick that finds the first pod that has waited too long in the pool. Gated
// pods are not waited for.
func (q *PriorityQueue) scheduleLeftover() {
	if !q.running || q.leftoverAt.Pending() || q.config.PodMaxInUnschedulablePods == 0 {
		return // a tick for a pod that has gone sets the next one
	}
	oldest := sim.Time(-1)
	for _, info := range q.pool {
		if info.gatingPlugin == "" && (oldest < 0 || info.Timestamp < oldest) {
			oldest = info.Timestamp
		}
	}
	if oldest < 0 {
		return
	}
	due := oldest.Add(q.config.PodMaxInUnschedulablePods) + 1 // longer than, not as long as
	q.leftoverAt = q.config.Scope.At(nextTick(q.started, max(due, q.kernel.Now()+1), flushInterval), "flush unschedulable",
		q.flushUnschedulablePodsLeftover)
}

func (q *PriorityQueue) flushUnschedulablePodsLeftover() {
	now := q.kernel.Now()
	for i, left := 0, len(q.pool); left > 0; left-- {
		info := q.pool[i]
		if info.gatingPlugin != "" || now.Sub(info.Timestamp) <= q.config.PodMaxInUnschedulablePods {
			i++
			continue
		}
		q.explain(info, info.Failed)
		info.Since, info.Wait, info.Setting = info.Failed, now.Sub(info.Timestamp), "pod-max-in-unschedulable-pods-duration"
		q.take(info)
		q.requeue(info)
	}
	q.scheduleLeftover()
}

// PendingPods returns the pods that are in the queue, in no meaningful but the same order in every run.
func (q *PriorityQueue) PendingPods() []*corev1.Pod {
	var pods []*corev1.Pod
	for _, list := range [...][]*QueuedPodInfo{q.active.items, q.backoff.items, q.failed.items, q.pool} {
		for _, info := range list {
			pods = append(pods, info.Pod)
		}
	}
	return pods
}
