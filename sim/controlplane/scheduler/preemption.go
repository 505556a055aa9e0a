package scheduler

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

// Models kube-scheduler's preemption executor (pkg/scheduler/framework/preemption/executor.go, v1.36; in the scheduling
// cycle up to v1.32). Leaves out: pods that wait in permit or pre-bind, pod groups.

// preemption is the deletion of a pod's victims, under way.
type preemption struct{ last *corev1.Pod }

// preempt has the victims deleted: beside the cycle, or, up to v1.32, within it; then an error ends the cycle.
func (s *Scheduler) preempt(p *sim.Proc, pod *fwk.PodInfo, result *fwk.PostFilterResult) error {
	var victims []*corev1.Pod
	for _, victim := range result.Victims {
		if victim.DeletionTimestamp == nil {
			victims = append(victims, victim)
		}
	}
	if !s.features.AsyncPreemption {
		_, err := controlplane.Parallel(p, len(victims), func(p *sim.Proc, i int) error {
			return s.preemptPod(p, pod.Pod, victims[i], result.NominatedNodeName)
		})
		if err == nil {
			s.clearLowerNominations(p, pod.Pod, result.NominatedNodeName)
		}
		return err
	}
	if len(victims) == 0 {
		return nil
	}
	s.preempting[pod.Pod.UID] = &preemption{}
	s.scope.Go("preemption", func(p *sim.Proc) { s.prepareCandidateAsync(p, pod.Pod, victims, result.NominatedNodeName) })
	return nil
}

// prepareCandidateAsync deletes the victims, the last one last: only then may the pod be tried again, so that the last
// deletion is an event that it hears.
func (s *Scheduler) prepareCandidateAsync(p *sim.Proc, pod *corev1.Pod, victims []*corev1.Pod, node string) {
	s.clearLowerNominations(p, pod, node)
	last := len(victims) - 1
	_, err := controlplane.Parallel(p, last, func(p *sim.Proc, i int) error {
		return s.preemptPod(p, pod, victims[i], node)
	})
	if err == nil {
		s.preempting[pod.UID].last = victims[last]
		err = s.preemptPod(p, pod, victims[last], node)
	}
	delete(s.preempting, pod.UID)
	if err != nil {
		s.queue.Activate(pod.UID)
	}
}

// isRunningPreemption reports whether victims of the pod are still to be deleted.
func (s *Scheduler) isRunningPreemption(pod *corev1.Pod) bool {
	underway := s.preempting[pod.UID]
	if underway == nil {
		return false
	}
	if underway.last == nil {
		return true
	}
	victim, known := s.lookup(underway.last)
	return known && victim.DeletionTimestamp == nil
}

// preemptPod deletes one victim, with its own grace period. A victim that has gone by itself is no error.
func (s *Scheduler) preemptPod(p *sim.Proc, pod, victim *corev1.Pod, node string) error {
	if s.features.DisruptionTarget {
		c := podConditionPatch{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			Reason:  corev1.PodReasonPreemptionByScheduler,
			Message: defaultSchedulerName + ": preempting to accommodate a higher priority pod"}
		if s.features.Minor < 27 { // 1.26.0
			c.Reason = "PreemptionByKubeScheduler"
			c.Message = fmt.Sprintf("Kube-scheduler: preempting to accommodate a higher priority pod: %s/%s",
				pod.Namespace, pod.Name)
		}
		if s.setCondition(victim, &c) {
			var patch podStatusPatch
			patch.Status.Conditions = []podConditionPatch{c}
			if err := s.patchStatus(p, victim, &patch); err != nil {
				return ignoreNotFound(err)
			}
		}
	}
	_, err := s.client.Do(p, &api.Request{Verb: api.Delete, Resource: api.Pods, Namespace: victim.Namespace,
		Name: victim.Name})
	if err != nil {
		return ignoreNotFound(err)
	}
	s.recorder.Record(record{pod: victim, kind: corev1.EventTypeNormal, reason: "Preempted", action: "Preempting",
		related: pod, note: s.preemptedMessage(pod, node), trace: sim.Event{Level: sim.Story, Related: api.EventName(pod),
			Message: fmt.Sprintf("Preempted by %s/%s (priority %d) on node %s", pod.Namespace, pod.Name,
				fwk.Priority(pod), node)}})
	return nil
}

func ignoreNotFound(err error) error {
	if api.IsNotFound(err) {
		return nil
	}
	return err
}

// preemptedMessage is the text of 1.15.0, 1.26.0, 1.28.0, and of 1.29.0 and later.
func (s *Scheduler) preemptedMessage(pod *corev1.Pod, node string) string {
	switch {
	case s.features.Minor >= 29:
		return fmt.Sprintf("Preempted by pod %s on node %s", pod.UID, node)
	case s.features.Minor >= 27:
		return fmt.Sprintf("Preempted by a pod on node %s", node)
	case s.features.Minor < 16:
		return fmt.Sprintf("by %s/%s on node %s", pod.Namespace, pod.Name, node)
	}
	return fmt.Sprintf("Preempted by %s/%s on node %s", pod.Namespace, pod.Name, node)
}

// clearLowerNominations takes the node away from pods of lower priority that wait for it: they would not fit any more.
func (s *Scheduler) clearLowerNominations(p *sim.Proc, pod *corev1.Pod, node string) {
	for _, other := range append([]*fwk.PodInfo(nil), s.queue.NominatedPodsForNode(node)...) {
		if fwk.Priority(other.Pod) >= fwk.Priority(pod) || other.Pod.Status.NominatedNodeName == "" {
			continue
		}
		var patch podStatusPatch
		patch.Status.NominatedNodeName = new(string)
		_ = s.patchStatus(p, other.Pod, &patch) // upstream logs it; the pod keeps a nomination that means nothing
	}
}
