package queue

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

const (
	// DefaultPodInitialBackoff is the first back-off (apis/config/v1/defaults.go podInitialBackoffSeconds).
	DefaultPodInitialBackoff = time.Second
	// DefaultPodMaxBackoff is the longest (podMaxBackoffSeconds).
	DefaultPodMaxBackoff = 10 * time.Second
	// flushInterval is how often pods are looked for that have waited too long (scheduling_queue.go Run).
	flushInterval = 30 * time.Second
)

// QueuedPodInfo is a pod on its way to a node.
type QueuedPodInfo struct {
	*fwk.PodInfo
	// Timestamp is when the pod was added, or was last refused.
	Timestamp sim.Time
	Attempts  int
	// UnschedulablePlugins are those that refused the pod the last time; none after an error.
	UnschedulablePlugins []string
	// Cause is why it is tried now. Since, Wait and Setting tell of the wait that ended with it, if a timer ended it.
	Cause   sim.EventID
	Since   sim.EventID
	Wait    time.Duration
	Setting string
	// Failed is the trace event of the last refusal.
	Failed sim.EventID

	unschedulable     int // refusals
	errors            int // errors in a row
	tries             int // both, in releases that do not tell them apart
	backoffExpiration sim.Time
	gatingPlugin      string
	place             place
	index             int
	sequence          uint64 // breaks ties
}

// place is where a queued pod is.
type place uint8

const (
	nowhere place = iota
	activeQ
	backoffQ
	errorBackoffQ
	unschedulablePods
)

// Config is what a queue works with.
type Config struct {
	Scope                     *sim.Scope
	Features                  *fwk.Features
	PodInitialBackoff         time.Duration
	PodMaxBackoff             time.Duration
	PodMaxInUnschedulablePods time.Duration
	PreEnqueue                []fwk.PreEnqueuePlugin
	EnqueueExtensions         []fwk.EnqueueExtensions
}

// PriorityQueue implements the scheduling queue.
//
// Models kube-scheduler's PriorityQueue (pkg/scheduler/backend/queue, v1.36).
type PriorityQueue struct {
	*Nominator
	config Config
	kernel *sim.Kernel
	hints  []registration

	byUID    map[types.UID]*QueuedPodInfo // those that are somewhere
	active   podHeap
	backoff  podHeap
	failed   podHeap // back-off after errors
	pool     []*QueuedPodInfo
	sequence uint64

	inFlight map[types.UID]*QueuedPodInfo
	missed   []missedChange // while pods were in flight
	ready    sim.Signal

	started    sim.Time
	running    bool
	backoffAt  sim.Timer
	leftoverAt sim.Timer
}

// missedChange is an event that a pod in flight could not be told of.
type missedChange struct {
	fwk.Change
	cause sim.EventID
}

// registration is an event that a plugin wants to hear of.
type registration struct {
	plugin string
	event  fwk.ClusterEvent
	hint   fwk.Hint
}

// New makes a queue; Run starts its timers.
func New(config Config) *PriorityQueue {
	q := &PriorityQueue{Nominator: newNominator(), config: config, kernel: config.Scope.Kernel(),
		byUID: map[types.UID]*QueuedPodInfo{}, inFlight: map[types.UID]*QueuedPodInfo{}}
	q.active.less = less
	q.backoff.less = func(a, b *QueuedPodInfo) bool {
		if x, y := q.backoffTime(a), q.backoffTime(b); x != y {
			return x < y
		}
		return less(a, b)
	}
	q.failed.less = q.backoff.less
	for _, pl := range config.EnqueueExtensions {
		q.register(pl)
	}
	return q
}

// register notes the events of a plugin. What hears of new nodes hears of every change of taints and labels, too: until
// v1.31 a new node was passed over for pods that did not tolerate its taints, and the removal of the taints was all
// that was left, up to v1.23 not even that; the registration has stayed (pkg/scheduler/scheduler.go
// buildQueueingHintMap).
func (q *PriorityQueue) register(pl fwk.EnqueueExtensions) {
	added, taints := false, false
	for _, e := range pl.EventsToRegister() {
		if e.Event.Resource == fwk.Node {
			if e.Event.Action&fwk.Add != 0 && !q.config.Features.QueueingHints && q.config.Features.Minor >= 24 {
				e.Event.Action |= fwk.UpdateNodeTaint | fwk.UpdateNodeLabel
			}
			added = added || e.Event.Action&fwk.Add != 0
			taints = taints || e.Event.Action&fwk.UpdateNodeTaint != 0
		}
		if !q.config.Features.QueueingHints {
			e.Hint = nil
		}
		q.hints = append(q.hints, registration{pl.Name(), e.Event, e.Hint})
	}
	if added && !taints && q.config.Features.QueueingHints {
		q.hints = append(q.hints, registration{plugin: pl.Name(),
			event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.UpdateNodeTaint}})
	}
}

// less orders the active queue: by priority, then by age (plugins/queuesort/priority_sort.go).
func less(a, b *QueuedPodInfo) bool {
	if x, y := fwk.Priority(a.Pod), fwk.Priority(b.Pod); x != y {
		return x > y
	}
	if a.Timestamp != b.Timestamp {
		return a.Timestamp < b.Timestamp
	}
	return a.sequence < b.sequence
}

// Len returns how many pods are in the active queue, the back-off queues and the pool.
func (q *PriorityQueue) Len() (active, backoff, unschedulable int) {
	return q.active.len(), q.backoff.len() + q.failed.len(), len(q.pool)
}

// Add takes in a new pod.
func (q *PriorityQueue) Add(pod *fwk.PodInfo) {
	if q.byUID[pod.Pod.UID] == nil && q.inFlight[pod.Pod.UID] == nil {
		q.add(pod)
	}
}

func (q *PriorityQueue) add(pod *fwk.PodInfo) {
	q.sequence++
	info := &QueuedPodInfo{PodInfo: pod, Timestamp: q.kernel.Now(), sequence: q.sequence}
	if q.moveToActiveQ(info) {
		q.AddNominatedPod(pod, pod.Pod.Status.NominatedNodeName)
	}
}

// Pop takes out the pod that is to be tried next, waiting however long for one. From v1.33 on an idle scheduler takes
// pods out of their back-off. The pod is in flight until AddUnschedulableIfNotPresent or Done.
func (q *PriorityQueue) Pop(p *sim.Proc) *QueuedPodInfo {
	for {
		if info := q.TryPop(); info != nil {
			return info
		}
		q.ready.Wait(p, sim.Forever)
	}
}

// TryPop is Pop without waiting: nil when there is none.
func (q *PriorityQueue) TryPop() *QueuedPodInfo {
	info := q.active.peek()
	if info == nil && q.config.Features.PopFromBackoffQ {
		info = q.backoff.peek()
	}
	if info == nil {
		return nil
	}
	q.take(info)
	info.Attempts++
	q.inFlight[info.Pod.UID] = info
	return info
}

// Done ends the flight of a pod that does not come back.
func (q *PriorityQueue) Done(uid types.UID) {
	if delete(q.inFlight, uid); len(q.inFlight) == 0 {
		q.missed = q.missed[:0]
	}
}

// AddUnschedulableIfNotPresent takes back a pod in flight that was refused by its UnschedulablePlugins, or, without
// any, met an error.
func (q *PriorityQueue) AddUnschedulableIfNotPresent(info *QueuedPodInfo) {
	defer q.Done(info.Pod.UID)
	if q.byUID[info.Pod.UID] != nil {
		return
	}
	q.countFailure(info)
	info.Timestamp, info.backoffExpiration = q.kernel.Now(), 0
	q.explain(info, 0)
	if q.worthRetryingAlready(info) {
		q.requeue(info)
		return
	}
	q.addToPool(info)
}

// countFailure counts what the back-off depends on.
func (q *PriorityQueue) countFailure(info *QueuedPodInfo) {
	if q.config.Features.BackoffForgets && q.kernel.Now().Sub(info.Timestamp) > q.config.PodMaxBackoff {
		info.tries = 0
	}
	info.tries++
	if len(info.UnschedulablePlugins) == 0 {
		info.errors++
	} else {
		info.unschedulable++
		info.errors = 0
	}
}

// worthRetryingAlready reports whether something happened during the flight that may help, or nothing is known.
func (q *PriorityQueue) worthRetryingAlready(info *QueuedPodInfo) bool {
	if len(info.UnschedulablePlugins) == 0 && (q.config.Features.ErrorsRetried || !q.config.Features.Backoff) {
		return true
	}
	for i := range q.missed {
		if !q.config.Features.QueueingHints || q.isPodWorthRequeuing(info, &q.missed[i].Change) {
			info.Cause = q.missed[i].cause
			return true
		}
	}
	return false
}

// Update takes over a newer version of a pod that has no node yet.
func (q *PriorityQueue) Update(old *corev1.Pod, pod *fwk.PodInfo) {
	if q.inFlight[pod.Pod.UID] != nil && q.config.Features.QueueingHints {
		q.miss(podChanges(old, pod.Pod)...)
		return
	}
	info := q.byUID[pod.Pod.UID]
	if info == nil {
		q.add(pod) // without hints also one in flight, which does not come back then
		return
	}
	info.PodInfo = pod
	q.updateNominatedPod(old, pod)
	switch {
	case info.place == activeQ:
		q.active.fix(info.index)
		return
	case info.place != unschedulablePods && q.config.Features.UpdateEndsBackoff:
		q.Activate(pod.Pod.UID)
		return
	case info.place == backoffQ:
		q.backoff.fix(info.index)
		return
	case info.place == errorBackoffQ:
		q.failed.fix(info.index)
		return
	}
	if !q.config.Features.QueueingHints {
		switch {
		case !podUpdated(old, pod.Pod):
		case q.config.Features.UpdateEndsBackoff:
			if q.config.Features.BackoffForgets {
				info.tries = 0
			}
			q.Activate(pod.Pod.UID)
		default:
			q.wake(info)
		}
		return
	}
	for _, change := range podChanges(old, pod.Pod) {
		if q.isPodWorthRequeuing(info, &change) {
			q.wake(info)
			return
		}
	}
}

func podChanges(old, pod *corev1.Pod) []fwk.Change {
	var changes []fwk.Change
	for _, event := range fwk.PodSchedulingPropertiesChange(old, pod) {
		changes = append(changes, fwk.Change{Event: event, OldPod: old, NewPod: pod})
	}
	return changes
}

// podUpdated reports whether more than the status of a pod changed (scheduling_queue.go isPodUpdated).
func podUpdated(old, pod *corev1.Pod) bool {
	return old.Generation != pod.Generation || (old.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) ||
		!maps.Equal(old.Annotations, pod.Annotations) ||
		len(fwk.PodSchedulingPropertiesChange(old, pod)) > 1 ||
		fwk.PodSchedulingPropertiesChange(old, pod)[0].Action != fwk.Update
}

// Delete forgets a pod.
func (q *PriorityQueue) Delete(uid types.UID) {
	q.DeleteNominatedPodIfExists(uid)
	if info := q.byUID[uid]; info != nil {
		q.take(info)
	}
}

// Holds reports whether a pod is in the queue or in flight.
func (q *PriorityQueue) Holds(uid types.UID) bool {
	return q.byUID[uid] != nil || q.inFlight[uid] != nil
}

// Activate moves a pod to the active queue at once, whatever it waits for.
func (q *PriorityQueue) Activate(uid types.UID) {
	if info := q.byUID[uid]; info != nil && info.place != activeQ {
		q.take(info)
		q.explain(info, q.kernel.Cause())
		q.moveToActiveQ(info)
	}
}

func (q *PriorityQueue) take(info *QueuedPodInfo) {
	switch info.place {
	case activeQ:
		q.active.remove(info)
	case backoffQ:
		q.backoff.remove(info)
	case errorBackoffQ:
		q.failed.remove(info)
	case unschedulablePods:
		last := len(q.pool) - 1
		q.pool[info.index] = q.pool[last]
		q.pool[info.index].index = info.index
		q.pool[last] = nil
		q.pool = q.pool[:last]
	}
	info.place = nowhere
	delete(q.byUID, info.Pod.UID)
}

func (q *PriorityQueue) put(info *QueuedPodInfo, where place) {
	info.place = where
	q.byUID[info.Pod.UID] = info
}

func (q *PriorityQueue) addToPool(info *QueuedPodInfo) {
	q.put(info, unschedulablePods)
	info.index = len(q.pool)
	q.pool = append(q.pool, info)
	q.scheduleLeftover()
}

// gated runs the PreEnqueue plugins; the first that refuses keeps the pod in the pool.
func (q *PriorityQueue) gated(info *QueuedPodInfo) bool {
	info.gatingPlugin = ""
	for _, pl := range q.config.PreEnqueue {
		if s := pl.PreEnqueue(info.Pod); s != nil {
			info.gatingPlugin = pl.Name()
			info.UnschedulablePlugins = appendNew(info.UnschedulablePlugins, pl.Name())
			return true
		}
	}
	return false
}

func appendNew(names []string, name string) []string {
	for _, known := range names {
		if known == name {
			return names
		}
	}
	return append(names[:len(names):len(names)], name)
}

// moveToActiveQ puts a pod that is nowhere into the active queue, or into the pool if it is gated.
func (q *PriorityQueue) moveToActiveQ(info *QueuedPodInfo) bool {
	if info.Cause == 0 {
		info.Cause = q.kernel.Cause()
	}
	if q.gated(info) {
		q.addToPool(info)
		return false
	}
	q.put(info, activeQ)
	q.active.push(info)
	q.ready.Broadcast()
	return true
}

func (q *PriorityQueue) moveToBackoffQ(info *QueuedPodInfo) {
	if q.config.Features.PopFromBackoffQ && q.gated(info) {
		q.addToPool(info)
		return
	}
	if len(info.UnschedulablePlugins) == 0 {
		q.put(info, errorBackoffQ)
		q.failed.push(info)
	} else {
		q.put(info, backoffQ)
		q.backoff.push(info)
	}
	q.scheduleBackoff()
	if q.config.Features.PopFromBackoffQ {
		q.ready.Broadcast()
	}
}
