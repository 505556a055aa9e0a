package kubelet

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/cluster/containerd"
)

// Models generateAPIPodStatus, convertStatusToAPIStatus, getPhase and the conditions (pkg/kubelet/kubelet_pods.go,
// status/generate.go, v1.36). Leaves out: resources, volume mounts, ephemeral containers.

// generateStatus makes the status of a pod from its spec, its containers and its probes. It is the draft: it holds
// until another is made.
func (kl *Kubelet) generateStatus(w *podWorker, pod *corev1.Pod, status containerd.PodStatus,
	terminal bool) *corev1.PodStatus {
	old := kl.status.get(pod.UID)
	if old == nil {
		old = &pod.Status
	}
	d := kl.draft
	s := d.begin()
	s.QOSClass, s.StartTime = pod.Status.QOSClass, old.StartTime
	if s.QOSClass == "" {
		s.QOSClass = qosOf(pod)
	}
	if !isStatic(pod) && kl.options.Release.Minor >= 34 { // PodObservedGenerationTracking: beta 1.34
		s.ObservedGeneration = pod.Generation
	}
	c := statusMaker{kl: kl, w: w, pod: pod, runtime: &status, old: old, terminal: terminal}
	d.initContainers = c.containers(d.initContainers[:0], pod.Spec.InitContainers, old.InitContainerStatuses, true)
	d.containers = c.containers(d.containers[:0], pod.Spec.Containers, old.ContainerStatuses, false)
	s.InitContainerStatuses, s.ContainerStatuses = d.initContainers, d.containers
	s.Phase = c.phase(s)
	c.keepPhase(s)
	kl.probes.setReadiness(pod, s)
	c.addresses(s)
	d.conditions = c.conditions(d.conditions[:0], s)
	s.Conditions = d.conditions
	return s
}

// statusMaker makes one status.
type statusMaker struct {
	kl       *Kubelet
	w        *podWorker
	pod      *corev1.Pod
	runtime  *containerd.PodStatus
	old      *corev1.PodStatus
	terminal bool
}

// keepPhase sees that a phase never leaves Failed or Succeeded, and that its reason stays.
func (c *statusMaker) keepPhase(s *corev1.PodStatus) {
	switch {
	case terminalPhase(c.old.Phase) && !isStatic(c.pod):
		s.Phase = c.old.Phase
	case !terminalPhase(s.Phase) && terminalPhase(c.pod.Status.Phase):
		s.Phase = c.pod.Status.Phase
	}
	if terminalPhase(c.pod.Status.Phase) && !isStatic(c.pod) {
		s.Phase = c.pod.Status.Phase
	}
	if s.Phase == c.old.Phase {
		s.Reason, s.Message = c.old.Reason, c.old.Message
		if s.Reason == "" {
			s.Reason = c.pod.Status.Reason
		}
		if s.Message == "" {
			s.Message = c.pod.Status.Message
		}
	}
}

func (c *statusMaker) addresses(s *corev1.PodStatus) {
	ip := c.kl.hostIPs[0].IP
	s.HostIP, s.HostIPs = ip, c.kl.hostIPs
	switch {
	case c.pod.Spec.HostNetwork:
		s.PodIP = ip
	case len(c.runtime.Sandboxes) > 0 && c.runtime.Sandboxes[0].Ready:
		s.PodIP = c.runtime.Sandboxes[0].IP
	default:
		s.PodIP = c.old.PodIP // of a pod that has ended, it stays to be seen
	}
	switch {
	case s.PodIP == "":
	case len(c.old.PodIPs) == 1 && c.old.PodIPs[0].IP == s.PodIP:
		s.PodIPs = c.old.PodIPs
	default:
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
}

// containers appends the statuses of all containers of one kind, in the order of the spec.
func (c *statusMaker) containers(list []corev1.ContainerStatus, specs []corev1.Container,
	old []corev1.ContainerStatus, initial bool) []corev1.ContainerStatus {
	for i := range specs {
		list = append(list, corev1.ContainerStatus{Name: specs[i].Name, Image: specs[i].Image})
		c.container(&list[i], &specs[i], statusOf(old, specs[i].Name), initial)
	}
	return list
}

func statusOf(list []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// container fills in the status of a container; old is the one before, nil if there is none.
func (c *statusMaker) container(s *corev1.ContainerStatus, spec *corev1.Container, old *corev1.ContainerStatus,
	initial bool) {
	var newest, before *containerd.Container
	for _, run := range c.runtime.Containers {
		if run.Name != spec.Name {
			continue
		}
		if newest == nil {
			newest = run
		} else {
			before = run
			break
		}
	}
	if newest == nil {
		c.neverRan(s, old)
	} else {
		var state, last *corev1.ContainerState // as they were
		if old != nil {
			state, last = &old.State, &old.LastTerminationState
		}
		s.ContainerID = newest.StatusID
		s.RestartCount = int32(newest.Attempt)
		s.ImageID = c.kl.draft.words("sha256:", spec.Image)
		s.State = c.state(newest, state)
		if old != nil && old.ContainerID == s.ContainerID {
			s.Started = old.Started
		}
		if before != nil && before.State == containerd.Exited {
			s.LastTerminationState = c.state(before, last)
		} else if old != nil && old.State.Terminated != nil && old.ContainerID != s.ContainerID {
			s.LastTerminationState = corev1.ContainerState{Terminated: old.State.Terminated}
		} else if old != nil {
			s.LastTerminationState = old.LastTerminationState
		}
	}
	c.waitingForRestart(spec, newest, s, initial)
}

// neverRan is the status of a container that the runtime knows nothing of.
func (c *statusMaker) neverRan(s, old *corev1.ContainerStatus) {
	code := "ContainerCreating"
	if len(c.pod.Spec.InitContainers) > 0 {
		code = "PodInitializing"
	}
	if old == nil {
		s.State = waiting(nil, code, "")
		return
	}
	s.State = waiting(&old.State, code, "")
	s.RestartCount, s.LastTerminationState = old.RestartCount, old.LastTerminationState
	switch {
	case old.State.Terminated != nil:
		s.State, s.ContainerID, s.ImageID = old.State, old.ContainerID, old.ImageID
	case old.State.Running != nil:
		// It ran and is gone (ContainerStatusUnknown).
		lost := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "ContainerStatusUnknown",
			ExitCode: 137,
			Message:  "The container could not be located when the pod was deleted.  The container used to be Running"}}
		if c.pod.DeletionTimestamp != nil || c.pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
			s.State = lost
		} else {
			s.LastTerminationState = lost
			s.RestartCount++
		}
	}
}

// waitingForRestart shows why a container that should run does not: the reason of the last attempt to start it.
func (c *statusMaker) waitingForRestart(spec *corev1.Container, newest *containerd.Container,
	s *corev1.ContainerStatus, initial bool) {
	if c.terminal || c.w == nil || newest != nil && newest.State == containerd.Running {
		return
	}
	why, ok := c.w.reasons[spec.Name]
	if !ok || !shouldRestart(c.pod, newest) && !initial {
		return
	}
	if newest != nil && newest.State == containerd.Exited {
		s.LastTerminationState = c.state(newest, &s.State)
	}
	s.State = waiting(nil, why.code, why.message)
}

// state is how a run stands; was, if not nil, is a state that is shared when it is the same.
func (c *statusMaker) state(run *containerd.Container, was *corev1.ContainerState) corev1.ContainerState {
	if was == nil {
		was = &corev1.ContainerState{}
	}
	switch run.State {
	case containerd.Running:
		began := seconds(run.StartedAt)
		if was.Running != nil && was.Running.StartedAt.Equal(&began) {
			return corev1.ContainerState{Running: was.Running}
		}
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
	case containerd.Exited:
		now := corev1.ContainerStateTerminated{ExitCode: int32(run.ExitCode), Reason: run.Reason,
			StartedAt: seconds(run.StartedAt), FinishedAt: seconds(run.FinishedAt), ContainerID: run.StatusID}
		if was.Terminated != nil && *was.Terminated == now {
			return corev1.ContainerState{Terminated: was.Terminated}
		}
		return corev1.ContainerState{Terminated: now.DeepCopy()}
	}
	return waiting(was, "ContainerCreating", "")
}

// waiting is the state of a container that waits; was is as in state.
func waiting(was *corev1.ContainerState, code, message string) corev1.ContainerState {
	if was != nil && was.Waiting != nil && was.Waiting.Reason == code && was.Waiting.Message == message {
		return corev1.ContainerState{Waiting: was.Waiting}
	}
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: code, Message: message}}
}

func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// phase is getPhase.
func (c *statusMaker) phase(s *corev1.PodStatus) corev1.PodPhase {
	never := c.pod.Spec.RestartPolicy == corev1.RestartPolicyNever
	pending := false
	for i := range c.pod.Spec.InitContainers {
		if isSidecar(&c.pod.Spec.InitContainers[i]) {
			continue
		}
		switch state, last := &s.InitContainerStatuses[i].State, &s.InitContainerStatuses[i].LastTerminationState; {
		case state.Terminated != nil:
			if state.Terminated.ExitCode != 0 && never {
				return corev1.PodFailed
			}
			// A failed one that will run again counts neither as pending nor as failed.
		case state.Running != nil:
			pending = true
		case last.Terminated != nil:
			if last.Terminated.ExitCode != 0 && never {
				return corev1.PodFailed
			}
		default:
			pending = true
		}
	}
	var running, waiting, stopped, succeeded int
	for i := range s.ContainerStatuses {
		switch state := &s.ContainerStatuses[i].State; {
		case state.Running != nil:
			running++
		case state.Terminated != nil:
			stopped++
			if state.Terminated.ExitCode == 0 {
				succeeded++
			}
		case s.ContainerStatuses[i].LastTerminationState.Terminated != nil:
			stopped++
		default:
			waiting++
		}
	}
	switch {
	case pending, waiting > 0:
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case stopped == 0:
		return corev1.PodPending
	case c.terminal && !isStatic(c.pod):
	case c.pod.Spec.RestartPolicy == corev1.RestartPolicyNever:
	case c.pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && stopped == succeeded:
	default:
		return corev1.PodRunning
	}
	if stopped == succeeded {
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}

// kubeletConditions are those that only the kubelet sets (kubetypes.PodConditionByKubelet).
func byKubelet(kind corev1.PodConditionType) bool {
	switch kind {
	case corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady,
		corev1.PodScheduled:
		return true
	}
	return false
}

// conditions appends the pod's conditions in the order in which the kubelet does.
func (c *statusMaker) conditions(list []corev1.PodCondition, s *corev1.PodStatus) []corev1.PodCondition {
	for i := range c.pod.Status.Conditions {
		if other := &c.pod.Status.Conditions[i]; !byKubelet(other.Type) {
			list = append(list, *other)
		}
	}
	generation := s.ObservedGeneration
	if c.kl.options.Release.PodReadyToStartContainers {
		ready := len(c.runtime.Sandboxes) > 0 && c.runtime.Sandboxes[0].Ready
		list = append(list, condition(corev1.PodReadyToStartContainers, generation, ready, "", ""))
	}
	initialized, code, message := c.initialized(s)
	list = append(list, condition(corev1.PodInitialized, generation, initialized, code, message))
	ready, code, message := c.containersReady(s)
	podReady, podCode, podMessage := ready, code, message
	if ready {
		podReady, podCode, podMessage = c.readinessGates()
	}
	return append(list, condition(corev1.PodReady, generation, podReady, podCode, podMessage),
		condition(corev1.ContainersReady, generation, ready, code, message),
		condition(corev1.PodScheduled, generation, true, "", ""))
}

func condition(kind corev1.PodConditionType, generation int64, is bool, code, message string) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, ObservedGeneration: generation}
	setCondition(&c, is, code, message)
	return c
}

func (c *statusMaker) initialized(s *corev1.PodStatus) (is bool, code, message string) {
	var missing []string
	for i := range s.InitContainerStatuses {
		status := &s.InitContainerStatuses[i]
		if isSidecar(&c.pod.Spec.InitContainers[i]) {
			if status.Started == nil || !*status.Started {
				missing = append(missing, status.Name)
			}
		} else if !status.Ready {
			missing = append(missing, status.Name)
		}
	}
	switch {
	case s.Phase == corev1.PodSucceeded:
		return true, "PodCompleted", ""
	case len(missing) > 0 && !c.anyContainerBegan():
		return false, "ContainersNotInitialized",
			c.kl.draft.words("containers with incomplete status: [", strings.Join(missing, " "), "]")
	}
	return true, "", ""
}

// anyContainerBegan: once a container has run in the sandbox the pod was initialized.
func (c *statusMaker) anyContainerBegan() bool {
	for i := range c.pod.Spec.Containers {
		run := latest(c.runtime, c.pod.Spec.Containers[i].Name)
		if run != nil && len(c.runtime.Sandboxes) > 0 && run.SandboxID == c.runtime.Sandboxes[0].ID {
			return true
		}
	}
	return false
}

func (c *statusMaker) containersReady(s *corev1.PodStatus) (ready bool, code, message string) {
	switch s.Phase {
	case corev1.PodSucceeded:
		return false, "PodCompleted", ""
	case corev1.PodFailed:
		return false, "PodFailed", ""
	}
	var unready []string
	for i := range s.InitContainerStatuses {
		if isSidecar(&c.pod.Spec.InitContainers[i]) && !s.InitContainerStatuses[i].Ready {
			unready = append(unready, s.InitContainerStatuses[i].Name)
		}
	}
	for i := range s.ContainerStatuses {
		if !s.ContainerStatuses[i].Ready {
			unready = append(unready, s.ContainerStatuses[i].Name)
		}
	}
	if len(unready) > 0 {
		return false, "ContainersNotReady",
			c.kl.draft.words("containers with unready status: [", strings.Join(unready, " "), "]")
	}
	return true, "", ""
}

func (c *statusMaker) readinessGates() (ready bool, code, message string) {
	for _, gate := range c.pod.Spec.ReadinessGates {
		ok := false
		for _, condition := range c.pod.Status.Conditions {
			ok = ok || condition.Type == gate.ConditionType && condition.Status == corev1.ConditionTrue
		}
		if !ok {
			return false, "ReadinessGatesNotReady",
				fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType)
		}
	}
	return true, "", ""
}

// qosOf is GetPodQOS (pkg/apis/core/v1/helper/qos), for static pods; others have it from the API server.
func qosOf(pod *corev1.Pod) corev1.PodQOSClass {
	any, guaranteed := false, true
	for i := range pod.Spec.Containers {
		r := &pod.Spec.Containers[i].Resources
		any = any || len(r.Requests) > 0 || len(r.Limits) > 0
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, ok := r.Limits[name]
			request, asked := r.Requests[name]
			guaranteed = guaranteed && ok && (!asked || request.Cmp(limit) == 0)
		}
	}
	switch {
	case !any:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
