package kubelet

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
)

// posting is the status manager's thread: it writes one status after the other, each with a read, a write and, where a
// pod has ended, its deletion.
type posting struct {
	m       *statusManager
	running bool // or about to run
	status  *podStatus
	version int // of status, as it is written
	tries   int
	gone    *corev1.Pod // whose deletion is under way

	// What was asked for last, and the answer.
	asked    api.Verb
	answer   *api.Response
	err      error
	answered func(*api.Response, error)
}

func (w *posting) init(m *statusManager) {
	w.m, w.running = m, true // until start
	w.answered = func(answer *api.Response, err error) {
		w.answer, w.err = answer, err
		w.Run()
	}
}

func (w *posting) send(r *api.Request) {
	w.asked = r.Verb
	w.m.kl.client.Start(r, w.answered)
}

func (m *statusManager) start() {
	m.post.running = false
	m.post.wake()
}

// wake has the thread look at what is to be posted, unless it is at it.
func (w *posting) wake() {
	if !w.running {
		w.running = true
		w.m.kl.scope.AfterRun(0, "status manager", w)
	}
}

// Run is the thread's turn: an answer has come, or there is something to post.
func (w *posting) Run() {
	asked, answer, err := w.asked, w.answer, w.err
	w.asked, w.answer, w.err = "", nil, nil
	switch asked {
	case api.Get:
		w.afterGet(answer, err)
	case api.Update:
		w.afterWrite(answer, err)
	case api.Delete:
		w.afterDelete(err)
	default:
		w.next()
	}
}

// next posts what is left of the batch (syncBatch).
func (w *posting) next() {
	m := w.m
	for m.batch > 0 && len(m.pending) > 0 {
		m.batch--
		s := m.pending[0]
		m.drop(s)
		m.kl.kernel.Because(s.cause)
		if w.begin(s) {
			return // ended goes on
		}
	}
	m.batch, w.running = 0, false
}

// begin begins to write one status, if it is not written (syncPod); false: there is nothing to wait for.
func (w *posting) begin(s *podStatus) bool {
	target := s.uid
	if isStatic(s.pod) {
		mirror := w.m.kl.known.mirrorOf(s.pod)
		if mirror == nil {
			w.again(s)
			return false
		}
		target = mirror.UID
	}
	if s.postedTo == target && s.posted >= s.version && !s.reconcile {
		return false
	}
	w.status, w.tries = s, 0
	w.get()
	return true
}

// again leaves a status to the next full sync.
func (w *posting) again(s *podStatus) {
	if w.m.byUID[s.uid] == s {
		w.m.queue(s)
		w.m.later()
	}
}

// ended goes on with the next status; done false: this one is tried again later.
func (w *posting) ended(done bool) {
	if !done {
		w.again(w.status)
	}
	w.status, w.gone = nil, nil
	w.next()
}

// get reads the pod.
func (w *posting) get() {
	pod := w.status.pod
	w.send(&api.Request{Verb: api.Get, Resource: api.Pods, Namespace: pod.Namespace, Name: pod.Name})
}

// afterGet merges the status into the pod as it was read, and writes it if that changes anything.
func (w *posting) afterGet(answer *api.Response, err error) {
	if err != nil {
		w.ended(api.IsNotFound(err))
		return
	}
	m, s, current := w.m, w.status, answer.Object.(*corev1.Pod)
	if m.resolved(current) != s.uid {
		delete(m.byUID, s.uid) // deleted and made again
		w.ended(true)
		return
	}
	w.version = s.version
	m.kl.kernel.Because(s.cause)
	merged := m.merged(s, current)
	if sameStatus(merged, &current.Status) && sameOthers(merged, &current.Status) {
		w.posted(current)
		return
	}
	pod := *current
	pod.Status = *merged
	if slices.Equal(merged.Conditions, s.status.Conditions) { // as mostly: nobody else has any
		pod.Status.Conditions = s.status.Conditions
	} else {
		pod.Status.Conditions = exact(merged.Conditions)
	}
	w.send(&api.Request{Verb: api.Update, Resource: api.Pods, Subresource: "status", Namespace: pod.Namespace,
		Name: pod.Name, Object: &pod})
}

// afterWrite reads again when somebody else wrote in between.
func (w *posting) afterWrite(answer *api.Response, err error) {
	switch {
	case err == nil:
		w.posted(answer.Object.(*corev1.Pod))
	case api.IsConflict(err):
		if w.tries++; w.tries < nodeStatusUpdateRetry {
			w.get()
			return
		}
		w.ended(false)
	default:
		w.ended(api.IsNotFound(err))
	}
}

// posted deletes the pod when it has ended.
func (w *posting) posted(current *corev1.Pod) {
	s := w.status
	s.posted, s.postedTo, s.revision, s.reconcile = w.version, current.UID, current.ResourceVersion, false
	if current.DeletionTimestamp == nil || isMirror(current) || !s.finished || !terminalPhase(current.Status.Phase) {
		w.ended(true)
		return
	}
	w.gone = current
	zero := int64(0)
	w.send(&api.Request{Verb: api.Delete, Resource: api.Pods, Namespace: current.Namespace,
		Name: current.Name, GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &current.UID}})
}

func (w *posting) afterDelete(err error) {
	if err != nil {
		w.ended(api.IsNotFound(err))
		return
	}
	w.m.tellGone(w.gone)
	delete(w.m.byUID, w.status.uid)
	w.ended(true)
}
