package kubelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
)

// Models the kubelet's status manager (pkg/kubelet/status/status_manager.go, v1.36): the last status of each pod,
// posted one after the other as soon as it changes, again each 10 s while that fails, and when the API's differs.
// Where the real one patches, this one updates the status that it has just read: the outcome is the same, a conflict
// is read again.

// statusManager posts pod statuses.
type statusManager struct {
	kl      *Kubelet
	byUID   map[types.UID]*podStatus
	pending []*podStatus // to be posted, in the order in which they changed
	batch   int          // of pending, to be posted now; the rest waits for the next change or tick
	wake    sim.Signal
	timer   sim.Timer
}

// podStatus is a pod's last status (versionedPodStatus).
type podStatus struct {
	uid             types.UID
	pod             *corev1.Pod
	status          *corev1.PodStatus
	version, posted int
	postedTo        types.UID // the object that has it: the mirror pod's for a static pod
	revision        string    // of that object after our write
	finished        bool
	queued          bool
	reconcile       bool
	cause           sim.EventID
}

func (m *statusManager) init(kl *Kubelet) { m.kl, m.byUID = kl, map[types.UID]*podStatus{} }

func (m *statusManager) start() {
	m.kl.scope.Go("status manager", m.run)
}

// get returns the last status of a pod, nil if there is none. It must not be changed.
func (m *statusManager) get(uid types.UID) *corev1.PodStatus {
	if s := m.byUID[uid]; s != nil {
		return s.status
	}
	return nil
}

// set records a pod's status and has it posted if it differs from the last (SetPodStatus). It takes status over.
func (m *statusManager) set(pod *corev1.Pod, status *corev1.PodStatus) { m.update(pod, status, false) }

func (m *statusManager) update(pod *corev1.Pod, status *corev1.PodStatus, finished bool) {
	s := m.byUID[pod.UID]
	old := &pod.Status
	if s != nil {
		old = s.status
	} else if mirror := m.kl.known.mirrorOf(pod); mirror != nil {
		old = &mirror.Status
	}
	m.stamp(status, old)
	if s != nil && !finished && sameStatus(s.status, status) {
		s.pod = pod
		return
	}
	if s == nil {
		s = &podStatus{uid: pod.UID}
		m.byUID[pod.UID] = s
	}
	s.pod, s.status, s.cause = pod, status, m.kl.kernel.Cause()
	s.version++
	s.finished = s.finished || finished
	m.queue(s)
	m.signal()
	m.kl.probes.statusChanged(s.uid)
}

// stamp sets the times of transitions and of the start.
func (m *statusManager) stamp(status, old *corev1.PodStatus) {
	now := m.kl.now()
	for i := range status.Conditions {
		c := &status.Conditions[i]
		if !byKubelet(c.Type) {
			continue
		}
		c.LastTransitionTime = now
		for j := range old.Conditions {
			if old.Conditions[j].Type == c.Type && old.Conditions[j].Status == c.Status {
				c.LastTransitionTime = old.Conditions[j].LastTransitionTime
			}
		}
	}
	switch {
	case old.StartTime != nil && !old.StartTime.IsZero():
		status.StartTime = old.StartTime
	case status.StartTime == nil:
		status.StartTime = &metav1.Time{Time: now.Time}
	}
	status.ObservedGeneration = max(status.ObservedGeneration, old.ObservedGeneration)
}

// readyToStart sets the condition of that name as soon as the sandbox is there.
func (m *statusManager) readyToStart(pod *corev1.Pod) {
	s := m.byUID[pod.UID]
	if s == nil || !m.kl.options.Release.PodReadyToStartContainers {
		return
	}
	status := s.status.DeepCopy()
	for i := range status.Conditions {
		if c := &status.Conditions[i]; c.Type == corev1.PodReadyToStartContainers {
			c.Status = corev1.ConditionTrue
		}
	}
	m.update(s.pod, status, false)
}

// containerReady sets a container's readiness as soon as its probe says so (SetContainerReadiness).
func (m *statusManager) containerReady(pod *corev1.Pod, id string, ready bool) {
	m.setContainer(pod, id, func(c *corev1.ContainerStatus) { c.Ready = ready })
}

// containerStarted is SetContainerStartup.
func (m *statusManager) containerStarted(pod *corev1.Pod, id string, started bool) {
	m.setContainer(pod, id, func(c *corev1.ContainerStatus) { c.Started = &started })
}

func (m *statusManager) setContainer(pod *corev1.Pod, id string, set func(*corev1.ContainerStatus)) {
	s := m.byUID[pod.UID]
	if s == nil {
		return
	}
	status := s.status.DeepCopy()
	for _, list := range [][]corev1.ContainerStatus{status.ContainerStatuses, status.InitContainerStatuses} {
		for i := range list {
			if list[i].ContainerID == id {
				set(&list[i])
			}
		}
	}
	maker := statusMaker{kl: m.kl, pod: pod, old: s.status}
	ready, code, message := maker.containersReady(status)
	for i := range status.Conditions {
		c := &status.Conditions[i]
		switch c.Type {
		case corev1.ContainersReady:
			setCondition(c, ready, code, message)
		case corev1.PodReady:
			podReady, podCode, podMessage := ready, code, message
			if ready {
				podReady, podCode, podMessage = maker.readinessGates()
			}
			setCondition(c, podReady, podCode, podMessage)
		}
	}
	m.update(pod, status, false)
}

func setCondition(c *corev1.PodCondition, status bool, code, message string) {
	c.Status, c.Reason, c.Message = corev1.ConditionFalse, code, message
	if status {
		c.Status = corev1.ConditionTrue
	}
}

// terminate marks a pod whose containers have ended and been cleaned up: its object may go (TerminatePod).
func (m *statusManager) terminate(pod *corev1.Pod) {
	old := m.get(pod.UID)
	if old == nil {
		old = &pod.Status
	}
	status := old.DeepCopy()
	for i := range status.ContainerStatuses {
		c := &status.ContainerStatuses[i]
		if c.State.Terminated == nil {
			c.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "ContainerStatusUnknown",
				Message: "The container could not be located when the pod was terminated", ExitCode: 137}}
			c.Ready = false
		}
	}
	if !isStatic(pod) && !terminalPhase(status.Phase) {
		status.Phase = corev1.PodFailed
	}
	m.update(pod, status, true)
}

func (m *statusManager) forget(uid types.UID) {
	if s := m.byUID[uid]; s != nil {
		delete(m.byUID, uid)
		m.drop(s)
	}
}

func (m *statusManager) queue(s *podStatus) {
	if !s.queued {
		s.queued = true
		m.pending = append(m.pending, s)
	}
}

func (m *statusManager) drop(s *podStatus) {
	if !s.queued {
		return
	}
	s.queued = false
	for i, other := range m.pending {
		if other == s {
			m.pending = append(m.pending[:i:i], m.pending[i+1:]...)
			return
		}
	}
}

// signal has everything that is not posted looked at now.
func (m *statusManager) signal() {
	m.batch = len(m.pending)
	m.wake.Broadcast()
}

// later has it looked at by the next full sync, each 10 s.
func (m *statusManager) later() {
	if m.timer.Pending() {
		return
	}
	due := nextTick(m.kl.loop, m.kl.kernel.Now()+1, statusSyncPeriod)
	m.timer = m.kl.scope.At(due, "status sync", m.signal)
}

// observed compares what the API shows of a pod with what the kubelet last said of it, and reconciles it at the next
// full sync.
func (m *statusManager) observed(pod *corev1.Pod) {
	uid := pod.UID
	if isMirror(pod) {
		static := m.kl.known.statics[fullName(pod.Namespace, pod.Name)]
		if static == nil {
			return
		}
		uid = static.UID
	}
	s := m.byUID[uid]
	if s == nil || s.queued || s.revision == pod.ResourceVersion {
		return
	}
	if !sameStatus(m.merged(s, pod), &pod.Status) {
		s.reconcile = true
		s.cause = m.kl.kernel.Cause()
		m.queue(s)
		m.later()
	}
}

func (m *statusManager) run(p *sim.Proc) {
	for {
		for m.batch > 0 && len(m.pending) > 0 {
			m.batch--
			s := m.pending[0]
			m.drop(s)
			p.Because(s.cause)
			if !m.post(p, s) && m.byUID[s.uid] == s {
				m.queue(s)
				m.later()
			}
		}
		m.batch = 0
		m.wake.Wait(p, sim.Forever)
	}
}

// post writes one status, if it is not written, and deletes the pod when it has ended (syncPod); false: try again
// later.
func (m *statusManager) post(p *sim.Proc, s *podStatus) bool {
	target := s.uid
	if isStatic(s.pod) {
		mirror := m.kl.known.mirrorOf(s.pod)
		if mirror == nil {
			return false
		}
		target = mirror.UID
	}
	if s.postedTo == target && s.posted >= s.version && !s.reconcile {
		return true
	}
	for range nodeStatusUpdateRetry {
		done, again := m.postOnce(p, s)
		if !again {
			return done
		}
	}
	return false
}

// postOnce reads the pod, merges and writes. again: somebody else wrote in between.
func (m *statusManager) postOnce(p *sim.Proc, s *podStatus) (done, again bool) {
	current, err := api.GetObject[*corev1.Pod](p, m.kl.client, s.pod.Namespace, s.pod.Name)
	if err != nil {
		return api.IsNotFound(err), false
	}
	if m.resolved(current) != s.uid {
		delete(m.byUID, s.uid) // deleted and made again
		return true, false
	}
	version := s.version
	p.Because(s.cause)
	merged := m.merged(s, current)
	if !sameStatus(merged, &current.Status) || !sameOthers(merged, &current.Status) {
		pod := *current
		pod.Status = *merged
		current, err = api.UpdateStatus(p, m.kl.client, &pod)
		if err != nil {
			return api.IsNotFound(err), api.IsConflict(err)
		}
	}
	s.posted, s.postedTo, s.revision, s.reconcile = version, current.UID, current.ResourceVersion, false
	if current.DeletionTimestamp == nil || isMirror(current) || !s.finished || !terminalPhase(current.Status.Phase) {
		return true, false
	}
	zero := int64(0)
	err = api.DeleteObject[*corev1.Pod](p, m.kl.client, api.Key{Namespace: current.Namespace, Name: current.Name},
		api.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &current.UID}})
	if err != nil {
		return api.IsNotFound(err), false
	}
	m.tellGone(current)
	delete(m.byUID, s.uid)
	return true, false
}

// goneLate is from when on a deletion is told as one that only this kubelet could finish. chosen.
const goneLate = 30 * time.Second

// tellGone tells of a pod whose object had to wait for this kubelet longer than for its grace period.
func (m *statusManager) tellGone(pod *corev1.Pod) {
	late := m.kl.machine.Clock().Now().Sub(pod.DeletionTimestamp.Time)
	if late < goneLate {
		return
	}
	m.kl.scope.Emit(sim.Event{Level: storyFor(pod), Reason: "PodGone", Object: podEventName(pod),
		Related: "node/" + m.kl.config.nodeName, Message: "the deleted pod " + pod.Name + " is gone at last, " +
			late.Truncate(time.Second).String() + " after its grace period: only its kubelet could confirm that it ended"})
}

// resolved is the kubelet's own UID of an object of the API: the static pod's for its mirror.
func (m *statusManager) resolved(pod *corev1.Pod) types.UID {
	if isMirror(pod) {
		if static := m.kl.known.statics[fullName(pod.Namespace, pod.Name)]; static != nil {
			return static.UID
		}
	}
	return pod.UID
}

// merged is the status to write over a pod of the API: others' conditions stay, and a phase becomes terminal only
// when no container can run any more (mergePodStatus).
func (m *statusManager) merged(s *podStatus, current *corev1.Pod) *corev1.PodStatus {
	merged := *s.status
	merged.Conditions = make([]corev1.PodCondition, 0, len(s.status.Conditions)+len(current.Status.Conditions))
	for _, c := range current.Status.Conditions {
		if !byKubelet(c.Type) {
			merged.Conditions = append(merged.Conditions, c)
		}
	}
	for _, c := range s.status.Conditions {
		if byKubelet(c.Type) {
			merged.Conditions = append(merged.Conditions, c)
		}
	}
	merged.ResourceClaimStatuses = current.Status.ResourceClaimStatuses
	merged.NominatedNodeName = current.Status.NominatedNodeName
	if !terminalPhase(current.Status.Phase) && terminalPhase(merged.Phase) && m.kl.workers.couldRun(s.uid) {
		merged.Phase, merged.Reason, merged.Message = current.Status.Phase, current.Status.Reason, current.Status.Message
	}
	if terminalPhase(merged.Phase) {
		m.unready(&merged, &current.Status)
	}
	return &merged
}

// unready sees that a pod that has ended is not Ready.
func (m *statusManager) unready(status, old *corev1.PodStatus) {
	code := "PodFailed"
	if status.Phase == corev1.PodSucceeded {
		code = "PodCompleted"
	}
	for i := range status.Conditions {
		c := &status.Conditions[i]
		if (c.Type == corev1.PodReady || c.Type == corev1.ContainersReady) && c.Status == corev1.ConditionTrue {
			c.Status, c.Reason, c.LastTransitionTime = corev1.ConditionFalse, code, m.kl.now()
		}
	}
}

// sameStatus compares what the kubelet is responsible for (isPodStatusByKubeletEqual).
func sameStatus(a, b *corev1.PodStatus) bool {
	if a.Phase != b.Phase || a.Reason != b.Reason || a.Message != b.Message || a.PodIP != b.PodIP ||
		a.HostIP != b.HostIP ||
		a.ObservedGeneration != b.ObservedGeneration || a.QOSClass != b.QOSClass || !a.StartTime.Equal(b.StartTime) {
		return false
	}
	for i := range a.Conditions {
		if c := &a.Conditions[i]; byKubelet(c.Type) && !sameCondition(c, b.Conditions) {
			return false
		}
	}
	return sameContainers(a.ContainerStatuses, b.ContainerStatuses) &&
		sameContainers(a.InitContainerStatuses, b.InitContainerStatuses)
}

func sameCondition(c *corev1.PodCondition, list []corev1.PodCondition) bool {
	for i := range list {
		if o := &list[i]; o.Type == c.Type {
			return o.Status == c.Status && o.Reason == c.Reason && o.Message == c.Message &&
				o.ObservedGeneration == c.ObservedGeneration
		}
	}
	return false
}

func sameContainers(a, b []corev1.ContainerStatus) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := &a[i], &b[i]
		if x.Name != y.Name || x.ContainerID != y.ContainerID || x.Ready != y.Ready || x.RestartCount != y.RestartCount ||
			(x.Started != nil && *x.Started) != (y.Started != nil && *y.Started) ||
			!apiequality.Semantic.DeepEqual(x.State, y.State) ||
			!apiequality.Semantic.DeepEqual(x.LastTerminationState, y.LastTerminationState) {
			return false
		}
	}
	return true
}

// sameOthers compares the conditions that the kubelet shares with others.
func sameOthers(a, b *corev1.PodStatus) bool { return len(a.Conditions) == len(b.Conditions) }
