package kubelet

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/cluster/containerd"
)

// Models the kubelet's pod workers (pkg/kubelet/pod_workers.go, v1.36): one worker a pod, its states sync,
// terminating, terminated, the queue of next syncs, static pods that wait for their name. Leaves out: evictions by
// the kubelet itself.

// syncKind says why a worker is asked to work (kubetypes.SyncPodType).
type syncKind uint8

const (
	syncCreate syncKind = iota
	syncUpdate
	syncSync
	syncKill
)

// updateOptions is what a worker is asked to do (UpdatePodOptions).
type updateOptions struct {
	kind     syncKind
	pod      *corev1.Pod
	mirror   *corev1.Pod
	orphan   *containerd.PodStatus // of a pod that only the runtime knows
	override *int64                // grace period
	statusFn func(*corev1.PodStatus)
	cause    sim.EventID
}

// podWorkers holds the workers of all pods.
type podWorkers struct {
	kl     *Kubelet
	byUID  map[types.UID]*podWorker
	order  []*podWorker // as they came
	waits  map[string][]types.UID
	starts map[string]types.UID // static pods that run, by full name
}

// podWorker works for one pod.
type podWorker struct {
	kl       *Kubelet
	uid      types.UID
	fullName string      // of a static pod
	pod      *corev1.Pod // the last that it was told of
	known    *knownPod   // by the sources
	static   bool

	pending     *updateOptions
	active      updateOptions // what it was last asked to do
	asked       bool          // active is set
	working     bool
	started     bool
	terminating bool
	terminated  bool
	finished    bool
	deleted     bool
	observed    bool // by the runtime
	restart     bool // asked for while terminating
	grace       int64
	statusFns   []func(*corev1.PodStatus)

	synced   bool     // at least once
	lastSync sim.Time // end of the last sync
	fresh    bool     // PLEG has looked at this pod on its own since then
	timer    sim.Timer
	waits    bool            // in resyncs
	body     func(*sim.Proc) // loop
	dirty    bool            // something has changed since the last sync, or it failed
	changes  int             // of its containers, as the runtime tells
	seen     int             // by PLEG

	mounted bool
	reasons map[string]reason // why containers could not be started (reasonCache)
}

// reason is what a waiting container's status says.
type reason struct{ code, message string }

func (ws *podWorkers) init(kl *Kubelet) {
	ws.kl, ws.byUID = kl, map[types.UID]*podWorker{}
	ws.waits, ws.starts = map[string][]types.UID{}, map[string]types.UID{}
}

func (ws *podWorkers) get(uid types.UID) *podWorker { return ws.byUID[uid] }

// couldRun reports whether containers of the pod may still run (CouldHaveRunningContainers).
func (ws *podWorkers) couldRun(uid types.UID) bool {
	if w := ws.byUID[uid]; w != nil {
		return !w.terminated
	}
	return !ws.kl.sourcesReady()
}

// update tells a pod's worker of a change (UpdatePod).
func (ws *podWorkers) update(o updateOptions) {
	o.cause = ws.kl.kernel.Cause()
	uid := o.podUID()
	w, known := ws.byUID[uid]
	if !known {
		w = ws.add(uid, &o)
	}
	runtimeOnly := o.orphan != nil && o.pod == nil
	if runtimeOnly {
		w.observed = true
		switch {
		case w.pending != nil && w.pending.pod != nil:
			o.pod, o.orphan = w.pending.pod, nil
		case w.active.pod != nil:
			o.pod, o.orphan = w.active.pod, nil
		}
	}
	if known && w.terminating && o.kind == syncCreate {
		w.restart = true
		ws.kl.housekeepingSoon()
		return
	}
	if w.finished {
		return
	}
	if !w.terminating {
		w.decideTermination(&o, runtimeOnly)
	}
	switch {
	case w.terminated:
		if runtimeOnly {
			return
		}
		o.override = nil
	case w.terminating:
		if o.statusFn != nil {
			w.statusFns = append(w.statusFns, o.statusFn)
		}
		w.grace = w.effectiveGrace(&o)
		o.override = &w.grace
	default:
		o.override = nil
	}
	w.dirty = true
	w.pending = &o
	w.work()
}

func (o *updateOptions) podUID() types.UID {
	if o.pod != nil {
		return o.pod.UID
	}
	return o.orphan.UID
}

func (ws *podWorkers) add(uid types.UID, o *updateOptions) *podWorker {
	w := &podWorker{kl: ws.kl, uid: uid, pod: o.pod}
	if o.pod != nil {
		if terminalPhase(o.pod.Status.Phase) && ws.kl.nothingRuns(uid) {
			w.terminating, w.terminated = true, true
		}
		if isStatic(o.pod) {
			w.static, w.fullName = true, fullName(o.pod.Namespace, o.pod.Name)
			ws.waits[w.fullName] = append(ws.waits[w.fullName], uid)
		}
	}
	ws.byUID[uid] = w
	ws.order = append(ws.order, w)
	return w
}

func (kl *Kubelet) nothingRuns(uid types.UID) bool {
	status, err := kl.runtime.Status(uid)
	if err != nil {
		return false
	}
	for _, c := range status.Containers {
		if c.State == containerd.Running {
			return false
		}
	}
	return len(status.Sandboxes) == 0 || !status.Sandboxes[0].Ready
}

func (w *podWorker) decideTermination(o *updateOptions, runtimeOnly bool) {
	switch {
	case runtimeOnly:
		w.deleted, w.terminating = true, true
	case o.pod.DeletionTimestamp != nil:
		w.deleted, w.terminating = true, true
	case terminalPhase(o.pod.Status.Phase), o.kind == syncKill:
		w.terminating = true
	}
}

// effectiveGrace is the shortest grace period that anybody has asked for (calculateEffectiveGracePeriod).
func (w *podWorker) effectiveGrace(o *updateOptions) int64 {
	grace, overridden := w.grace, false
	shorten := func(seconds *int64) {
		if seconds != nil && (grace == 0 || *seconds < grace) {
			grace, overridden = *seconds, true
		}
	}
	if o.pod != nil {
		shorten(o.pod.DeletionGracePeriodSeconds)
	}
	shorten(o.override)
	if !overridden && grace == 0 && o.pod != nil && o.pod.Spec.TerminationGracePeriodSeconds != nil {
		grace = *o.pod.Spec.TerminationGracePeriodSeconds
	}
	return max(grace, 1)
}

// refresh replaces the pod that the worker was told of by one that differs only in status. Nobody is to hold on to an
// older one: a cluster has as many as pods.
func (w *podWorker) refresh(pod *corev1.Pod) {
	w.pod = pod
	if w.active.pod != nil {
		w.active.pod = pod
	}
	if w.pending != nil && w.pending.pod != nil {
		w.pending.pod = pod
	}
}

// work starts a process for the worker unless one is at it. It goes on until there is nothing left to do.
func (w *podWorker) work() {
	if w.working {
		return
	}
	w.working = true
	w.unqueue()
	if w.body == nil {
		w.body = w.loop
	}
	w.kl.scope.Go("pod worker", w.body)
}

// loop is podWorkerLoop, up to where nothing is pending.
func (w *podWorker) loop(p *sim.Proc) {
	for w.pending != nil && w.kl.workers.byUID[w.uid] == w {
		if !w.turn(p) {
			break
		}
	}
	w.working = false
}

// turn takes the pending update and does its work; false when the worker cannot go on now.
func (w *podWorker) turn(p *sim.Proc) bool {
	ws := &w.kl.workers
	o := w.pending
	w.pending = nil
	p.Because(o.cause)
	if !w.started && o.orphan == nil {
		can, ever := ws.allowStart(w, o)
		if !ever {
			w.cleanupUnstarted()
			return false
		}
		if !can {
			w.pending = o
			return false
		}
		w.started = true
	}
	w.remember(o)
	err, phaseTransition := w.process(p, o)
	if w.finished {
		return false
	}
	w.complete(phaseTransition, err)
	return true
}

// remember keeps the last pod and mirror for when the worker is only asked to kill (mergeLastUpdate).
func (w *podWorker) remember(o *updateOptions) {
	w.asked = true
	if o.pod != nil {
		w.pod, w.active.pod = o.pod, o.pod
	}
	if o.mirror != nil {
		w.active.mirror = o.mirror
	}
	w.active.override = o.override
	if o.orphan != nil {
		w.active.orphan = o.orphan
	}
}

func (w *podWorker) process(p *sim.Proc, o *updateOptions) (err error, phaseTransition bool) {
	kl := w.kl
	if o.orphan != nil {
		if err = kl.syncTerminatingRuntimePod(p, o.orphan); err == nil {
			w.terminated, w.finished = true, true
			kl.housekeepingSoon()
		}
		return err, false
	}
	w.dirty = false
	status, err := kl.newerStatus(p, w)
	if err != nil {
		return err, false
	}
	switch {
	case w.terminated:
		if err = kl.syncTerminatedPod(p, w, o.pod, status); err == nil {
			w.finished = true
			kl.workers.release(w)
			kl.housekeepingSoon()
		}
	case w.terminating:
		fns := w.statusFns
		if err = kl.syncTerminatingPod(p, w, o, status, fns); err == nil {
			w.terminated, phaseTransition = true, true
		}
	default:
		var terminal, relist bool
		terminal, relist, err = kl.syncPod(p, w, o, status)
		w.synced, w.lastSync, w.fresh = true, p.Now(), false
		if terminal {
			w.terminating, phaseTransition = true, true
			w.grace = w.effectiveGrace(&updateOptions{pod: o.pod})
		}
		if relist && err == nil {
			kl.relistPod(w)
		}
		return err, phaseTransition
	}
	w.synced, w.lastSync, w.fresh = true, p.Now(), false
	return err, phaseTransition
}

// complete queues the next sync (completeWork).
func (w *podWorker) complete(phaseTransition bool, err error) {
	kl := w.kl
	w.dirty = w.dirty || err != nil
	switch {
	case phaseTransition: // on to the next state (requeueLastPodUpdate)
		if w.pending == nil {
			again := w.active
			again.override, again.cause = &w.grace, kl.kernel.Cause()
			w.pending = &again
		}
	case err == nil:
		w.enqueue(kl.rand().Jitter(kl.config.syncFrequency, 500))
	default:
		w.enqueue(kl.rand().Jitter(kl.retryAfter(err), 500))
	}
}

// retryAfter is when a sync that failed is done again.
func (kl *Kubelet) retryAfter(err error) time.Duration {
	var expiry *backoffError
	if errors.As(err, &expiry) && kl.options.Release.RestartAtExpiry {
		return min(max(expiry.until.Sub(kl.kernel.Now()), 0), kl.config.syncFrequency)
	}
	return backOffPeriod
}

// wanted returns the pod as its source has it, nil when none has.
func (w *podWorker) wanted() *corev1.Pod {
	if w.known == nil || w.known.pod == nil {
		if w.known = w.kl.known.byUID[w.uid]; w.known == nil {
			return nil
		}
	}
	return w.known.pod
}

// Run is a due entry of the work queue. Where nothing has changed since the last sync there is nothing to do but to
// wait for the next: all that a sync would look at tells when it changes.
func (w *podWorker) Run() {
	kl := w.kl
	pod := w.wanted()
	if pod == nil {
		pod = w.pod
	}
	if w.working || pod == nil {
		return
	}
	if w.idle() {
		w.enqueue(kl.rand().Jitter(kl.config.syncFrequency, 500))
		return
	}
	mirror := kl.known.mirrorOf(pod)
	if w.pending != nil {
		w.work()
		return
	}
	kl.workers.update(updateOptions{kind: syncSync, pod: pod, mirror: mirror})
}

// allowStart lets a static pod start only when no other of its name runs (allowPodStart).
func (ws *podWorkers) allowStart(w *podWorker, o *updateOptions) (can, ever bool) {
	if o.pod == nil {
		return false, false
	}
	if !w.static {
		return true, true
	}
	if w.terminating {
		return false, false
	}
	if !ws.allowStaticStart(w) {
		w.enqueue(ws.kl.rand().Jitter(backOffPeriod, 500))
		return false, true
	}
	return true, true
}

func (ws *podWorkers) allowStaticStart(w *podWorker) bool {
	if running, ok := ws.starts[w.fullName]; ok {
		return running == w.uid
	}
	waiting := ws.waits[w.fullName]
	for i, uid := range waiting {
		first := ws.byUID[uid]
		if first == nil || first.terminating {
			continue // it will never start
		}
		if first != w {
			ws.waits[w.fullName] = waiting[i:]
			return false
		}
		waiting = waiting[i+1:]
		break
	}
	ws.waits[w.fullName] = waiting
	if len(waiting) == 0 {
		delete(ws.waits, w.fullName)
	}
	ws.starts[w.fullName] = w.uid
	return true
}

// cleanupUnstarted ends a worker whose pod was terminated before it could start (cleanupUnstartedPod).
func (w *podWorker) cleanupUnstarted() {
	w.terminating, w.terminated, w.finished = true, true, true
	w.kl.workers.release(w)
	w.kl.housekeepingSoon()
}

// release lets the next static pod of the same name start.
func (ws *podWorkers) release(w *podWorker) {
	if ws.starts[w.fullName] == w.uid {
		delete(ws.starts, w.fullName)
	}
}

// forget removes a finished worker (removeTerminatedWorker's end).
func (ws *podWorkers) forget(w *podWorker) {
	ws.release(w)
	w.unqueue()
	delete(ws.byUID, w.uid)
	for i, other := range ws.order {
		if other == w {
			ws.order = append(ws.order[:i:i], ws.order[i+1:]...)
			return
		}
	}
}
