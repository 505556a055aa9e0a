package scheduler

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	fwk "ksim/sim/controlplane/scheduler/framework"
	"ksim/sim/controlplane/scheduler/queue"
)

// bind sends the pod's binding. Models the binding cycle with the DefaultBinder plugin
// (pkg/scheduler/framework/plugins/defaultbinder, v1.36).
func (s *Scheduler) bind(info *queue.QueuedPodInfo, node string) {
	pod := info.Pod
	cause := s.kernel.Cause()
	s.client.Start(&api.Request{Verb: api.Create, Resource: api.Pods, Subresource: "binding", Namespace: pod.Namespace,
		Name: pod.Name, Object: &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: node}}},
		func(_ *api.Response, err error) {
			if err != nil {
				s.handleBindingCycleError(info, node, err)
				return
			}
			s.kernel.Because(cause)
			s.recorder.Record(record{pod: pod, kind: corev1.EventTypeNormal, reason: "Scheduled", action: "Binding",
				note: fmt.Sprintf("Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node),
				trace: sim.Event{Level: sim.Story, Related: "node/" + node, Since: info.Since, Wait: info.Wait,
					Setting: info.Setting}})
		})
}

// handleBindingCycleError gives the pod's place free again and tries the pod later.
func (s *Scheduler) handleBindingCycleError(info *queue.QueuedPodInfo, node string, err error) {
	freed := info.Pod.DeepCopy()
	freed.Spec.NodeName = node
	s.cache.ForgetPod(info.Pod.UID)
	s.move(assignedPodDelete(freed))
	f := failure{reason: corev1.PodReasonSchedulerError, nominate: new(string),
		message: fmt.Sprintf("running Bind plugin %q: %s", "DefaultBinder", err)}
	switch { // the texts of 1.13.0, 1.19.0 and 1.25.0
	case s.features.Minor < 14:
		f.reason, f.message = "BindingRejected", "Binding rejected: "+err.Error()
	case s.features.Minor < 20:
		f.message = "Binding rejected: " + err.Error()
	case s.features.Minor < 26:
		f.message = "binding rejected: " + f.message
	}
	s.scope.Go("binding failure", func(p *sim.Proc) { s.handleSchedulingFailure(p, info, f) })
}

// failure is why a pod has no node, and what to do about it.
type failure struct {
	reason   string   // of the pod's condition
	message  string   // of the condition and the event
	plugins  []string // that refused it; none after an error
	nominate *string  // the node that it is to wait for, "" none; nil: as before
}

// noteLengthLimit is how long the message of an event may be (pkg/apis/core/validation NoteLengthLimit).
const noteLengthLimit = 1024

// handleSchedulingFailure puts the pod back, tells of the failure, and waits until the pod's status says so, also when
// somebody else has bound it meanwhile.
func (s *Scheduler) handleSchedulingFailure(p *sim.Proc, info *queue.QueuedPodInfo, f failure) {
	pod, known := s.lookup(info.Pod)
	switch {
	case known && pod.UID != info.Pod.UID:
		s.queue.Done(info.Pod.UID)
		if !known || pod.UID == info.Pod.UID { // deleted, or bound by somebody else: told all the same
			s.kernel.Because(s.tellFailure(info.Pod, info, f.message))
			s.updatePodStatus(p, info.Pod, f)
			delete(s.told, info.Pod.UID)
		}
		return
	case !known || assigned(pod):
		s.queue.Done(info.Pod.UID)
		s.kernel.Because(s.tellFailure(info.Pod, info, f.message))
		s.updatePodStatus(p, info.Pod, f)
		return
	}
	info.PodInfo = fwk.NewPodInfo(pod, s.features)
	info.UnschedulablePlugins = f.plugins
	info.Failed = s.tellFailure(pod, info, f.message)
	s.kernel.Because(info.Failed)
	nominated := pod.Status.NominatedNodeName
	if f.nominate != nil {
		nominated = *f.nominate
	}
	s.queue.AddNominatedPod(info.PodInfo, nominated)
	if s.features.AsksServerFirst {
		s.scope.Go("retry", func(p *sim.Proc) { s.requeueFromServer(p, info) })
	} else {
		s.queue.AddUnschedulableIfNotPresent(info)
	}
	s.updatePodStatus(p, pod, f)
}

const (
	getBackoffInitial = 100 * time.Millisecond // pkg/scheduler/factory.go initialGetBackoff, v1.18
	getBackoffMax     = time.Minute            // maximalGetBackoff
)

// requeueFromServer puts the pod back once the API server has said that it is still there and has no node
// (pkg/scheduler/factory.go MakeDefaultErrorFunc, v1.18). It asks for ever.
func (s *Scheduler) requeueFromServer(p *sim.Proc, info *queue.QueuedPodInfo) {
	for wait := getBackoffInitial; ; {
		answer, err := s.client.Do(p, &api.Request{Verb: api.Get, Resource: api.Pods, Namespace: info.Pod.Namespace,
			Name: info.Pod.Name})
		switch {
		case err == nil:
			pod, ok := answer.Object.(*corev1.Pod)
			if ok && pod.UID == info.Pod.UID && !assigned(pod) {
				s.queue.AddUnschedulableIfNotPresent(info)
			} else {
				s.queue.Done(info.Pod.UID)
			}
			return
		case api.IsNotFound(err):
			s.queue.Done(info.Pod.UID)
			return
		}
		wait = min(2*wait, getBackoffMax)
		p.Sleep(wait)
	}
}

// tellFailure records FailedScheduling; the story tells it once for each message of a pod.
func (s *Scheduler) tellFailure(pod *corev1.Pod, info *queue.QueuedPodInfo, message string) sim.EventID {
	level := sim.Detail
	if s.told[pod.UID] != message && !says(pod, message) {
		level = sim.Story
	}
	s.told[pod.UID] = message
	note := message
	if len(note) > noteLengthLimit {
		note = note[:noteLengthLimit-len(" ...")] + " ..."
	}
	return s.recorder.Record(record{pod: pod, kind: corev1.EventTypeWarning, reason: "FailedScheduling",
		action: "Scheduling", note: note,
		trace: sim.Event{Level: level, Since: info.Since, Wait: info.Wait, Setting: info.Setting}})
}

// says reports whether the pod's status has that message already, from this scheduler or one before it.
func says(pod *corev1.Pod, message string) bool {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodScheduled {
			return c.Message == message
		}
	}
	return false
}

// podStatusPatch is the part of a pod's status that the scheduler writes.
type podStatusPatch struct {
	Status struct {
		Conditions        []podConditionPatch `json:"conditions,omitempty"`
		NominatedNodeName *string             `json:"nominatedNodeName,omitempty"`
	} `json:"status"`
}

type podConditionPatch struct {
	Type               corev1.PodConditionType `json:"type"`
	Status             corev1.ConditionStatus  `json:"status"`
	Reason             string                  `json:"reason,omitempty"`
	Message            string                  `json:"message,omitempty"`
	LastProbeTime      *metav1.Time            `json:"lastProbeTime"`
	LastTransitionTime metav1.Time             `json:"lastTransitionTime"`
	ObservedGeneration int64                   `json:"observedGeneration,omitempty"`
}

// updatePodStatus writes the PodScheduled condition and the nomination, if either is new.
func (s *Scheduler) updatePodStatus(p *sim.Proc, pod *corev1.Pod, f failure) {
	var patch podStatusPatch
	c := podConditionPatch{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: f.reason, Message: f.message}
	if s.setCondition(pod, &c) {
		patch.Status.Conditions = []podConditionPatch{c}
	}
	if f.nominate != nil && *f.nominate != pod.Status.NominatedNodeName {
		patch.Status.NominatedNodeName = f.nominate
	}
	if patch.Status.Conditions != nil || patch.Status.NominatedNodeName != nil {
		_ = s.patchStatus(p, pod, &patch) // upstream logs it; the next attempt writes it again
	}
}

// setCondition fills in a condition's times as podutil.UpdatePodCondition does; false when the pod has it already.
func (s *Scheduler) setCondition(pod *corev1.Pod, c *podConditionPatch) bool {
	c.LastTransitionTime = metav1.NewTime(s.now().Truncate(time.Second))
	if s.features.Minor >= 34 { // PodObservedGenerationTracking, beta on 1.34
		c.ObservedGeneration = pod.Generation
	}
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != c.Type {
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		return old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message
	}
	return true
}

func (s *Scheduler) patchStatus(p *sim.Proc, pod *corev1.Pod, patch *podStatusPatch) error {
	body, err := json.Marshal(patch)
	sim.Assert(err == nil, "a status patch is no JSON: %v", err)
	_, err = s.client.Do(p, &api.Request{Verb: api.Patch, Resource: api.Pods, Subresource: "status",
		Namespace: pod.Namespace, Name: pod.Name, PatchType: types.StrategicMergePatchType, Patch: body})
	return err
}
