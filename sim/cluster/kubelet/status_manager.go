package kubelet

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
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
	timer   sim.Timer
	post    posting
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

// share lets go of the status where the API's object, which the kubelet has as well, says the same.
func (s *podStatus) share(pod *corev1.Pod) {
	api := &pod.Status
	if len(s.status.Conditions) == len(api.Conditions) && sameStatus(s.status, api) && sameTimes(s.status, api) {
		s.status = api
	}
}

// sameTimes compares the times of the conditions, which sameStatus leaves out.
func sameTimes(a, b *corev1.PodStatus) bool {
	for i := range a.Conditions {
		x, y := &a.Conditions[i], &b.Conditions[i]
		if x.Type != y.Type || !x.LastTransitionTime.Equal(&y.LastTransitionTime) {
			return false
		}
	}
	return true
}

func (m *statusManager) init(kl *Kubelet) {
	m.kl, m.byUID = kl, map[types.UID]*podStatus{}
	m.post.init(m)
}

// get returns the last status of a pod, nil if there is none. It must not be changed.
func (m *statusManager) get(uid types.UID) *corev1.PodStatus {
	if s := m.byUID[uid]; s != nil {
		return s.status
	}
	return nil
}

// set records a pod's status, the draft, and has it posted if it differs from the last (SetPodStatus).
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
		s.pod = m.newest(pod)
		return
	}
	if s == nil {
		s = &podStatus{uid: pod.UID}
		m.byUID[pod.UID] = s
	}
	s.pod, s.status, s.cause = m.newest(pod), kept(status), m.kl.kernel.Cause()
	s.version++
	s.finished = s.finished || finished
	m.queue(s)
	m.signal()
	m.kl.probes.statusChanged(s.uid)
}

// newest returns the pod as its source has it now: who is told of its status may have begun with an older one, which
// nobody is to hold on to.
func (m *statusManager) newest(pod *corev1.Pod) *corev1.Pod {
	if now := m.kl.known.get(pod.UID); now != nil {
		return now
	}
	return pod
}

// refresh replaces the pod whose status this is by one that differs only in status.
func (m *statusManager) refresh(pod *corev1.Pod) {
	if s := m.byUID[pod.UID]; s != nil {
		s.pod = pod
	}
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
	status := m.kl.draft.of(s.status)
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
	m.setContainer(pod, id, func(c *corev1.ContainerStatus) { c.Started = m.kl.draft.bool(started) })
}

func (m *statusManager) setContainer(pod *corev1.Pod, id string, set func(*corev1.ContainerStatus)) {
	s := m.byUID[pod.UID]
	if s == nil {
		return
	}
	status := m.kl.draft.of(s.status)
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
	status := m.kl.draft.of(old)
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
	if i := slices.Index(m.pending, s); i >= 0 {
		m.pending = slices.Delete(m.pending, i, i+1)
	}
}

// signal has everything that is not posted looked at now.
func (m *statusManager) signal() {
	m.batch = len(m.pending)
	m.post.wake()
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
	if s == nil {
		return
	}
	s.share(pod)
	if s.queued || s.revision == pod.ResourceVersion {
		return
	}
	if !sameStatus(m.merged(s, pod), &pod.Status) {
		s.reconcile = true
		s.cause = m.kl.kernel.Cause()
		m.queue(s)
		m.later()
	}
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
// when no container can run any more (mergePodStatus). It is a draft: it holds until another is made.
func (m *statusManager) merged(s *podStatus, current *corev1.Pod) *corev1.PodStatus {
	d := m.kl.draft
	merged := &d.merged
	*merged = *s.status
	list := d.mergedConditions[:0]
	for i := range current.Status.Conditions {
		if c := &current.Status.Conditions[i]; !byKubelet(c.Type) {
			list = append(list, *c)
		}
	}
	for i := range s.status.Conditions {
		if c := &s.status.Conditions[i]; byKubelet(c.Type) {
			list = append(list, *c)
		}
	}
	merged.Conditions, d.mergedConditions = list, list
	merged.ResourceClaimStatuses = current.Status.ResourceClaimStatuses
	merged.NominatedNodeName = current.Status.NominatedNodeName
	if !terminalPhase(current.Status.Phase) && terminalPhase(merged.Phase) && m.kl.workers.couldRun(s.uid) {
		merged.Phase, merged.Reason, merged.Message = current.Status.Phase, current.Status.Reason, current.Status.Message
	}
	if terminalPhase(merged.Phase) {
		m.unready(merged)
	}
	return merged
}

// unready sees that a pod that has ended is not Ready.
func (m *statusManager) unready(status *corev1.PodStatus) {
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
			(x.Started != nil && *x.Started) != (y.Started != nil && *y.Started) || !sameState(&x.State, &y.State) ||
			!sameState(&x.LastTerminationState, &y.LastTerminationState) {
			return false
		}
	}
	return true
}

// sameState compares states, by identity first: statuses that follow each other share what has not changed.
func sameState(a, b *corev1.ContainerState) bool {
	if a.Waiting != b.Waiting && (a.Waiting == nil || b.Waiting == nil || *a.Waiting != *b.Waiting) {
		return false
	}
	if a.Running != b.Running &&
		(a.Running == nil || b.Running == nil || !a.Running.StartedAt.Equal(&b.Running.StartedAt)) {
		return false
	}
	x, y := a.Terminated, b.Terminated
	return x == y || x != nil && y != nil && x.ExitCode == y.ExitCode && x.Signal == y.Signal && x.Reason == y.Reason &&
		x.Message == y.Message && x.ContainerID == y.ContainerID && x.StartedAt.Equal(&y.StartedAt) &&
		x.FinishedAt.Equal(&y.FinishedAt)
}

// sameOthers compares the conditions that the kubelet shares with others.
func sameOthers(a, b *corev1.PodStatus) bool { return len(a.Conditions) == len(b.Conditions) }
