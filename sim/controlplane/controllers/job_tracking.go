package controllers

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models trackJobStatusAndRemoveFinalizers, the conditions, pod_failure_policy.go and backoff_utils.go of
// pkg/controller/job, v1.36: a pod that has ended is written into the Job's status, then loses its finalizer, and then
// moves from there into the count.

// noteCounts puts the counts of pods into the status; it reports whether they changed.
func (s *jobSync) noteCounts() bool {
	status := &s.job.Status
	before := *status
	status.Active, status.Ready, status.Terminating = s.active, nil, nil
	if s.release.JobReadyPods {
		status.Ready = &s.ready
	}
	if s.release.JobReplacementPolicy {
		status.Terminating = &s.terminating
	}
	return before.Active != status.Active || !equalPointers(before.Ready, status.Ready) ||
		!equalPointers(before.Terminating, status.Terminating)
}

// track counts ended pods, takes their finalizers off, and finishes the Job when all are counted.
func (s *jobSync) track(p *sim.Proc, changed bool) error {
	held := map[types.UID]bool{} // pods with a finalizer
	for _, pod := range s.pods {
		if s.counts(pod) {
			held[pod.UID] = true
		}
	}
	if s.moveCounted(held) {
		changed = true
	}
	release, more, full := s.countEnded()
	if s.announceEnd() || more {
		changed = true
	}
	if changed {
		if err := s.save(p); err != nil {
			return fmt.Errorf("tracking status: adding uncounted pods to status: %w", err)
		}
		s.failures[s.key], changed = s.backoff, false
	}
	if err := s.removeFinalizers(p, release, held); err != nil {
		return err
	}
	if s.moveCounted(held) {
		changed = true
	}
	done := !full && s.enactEnd()
	if !done && !changed {
		return nil
	}
	if err := s.save(p); err != nil {
		return fmt.Errorf("tracking status: removing uncounted pods from status: %w", err)
	}
	if done {
		s.recordEnd()
	}
	return nil
}

// moveCounted moves pods that have lost their finalizer from the list of the uncounted to the counts.
func (s *jobSync) moveCounted(held map[types.UID]bool) (moved bool) {
	u := s.job.Status.UncountedTerminatedPods
	for _, l := range []struct {
		uids  *[]types.UID
		count *int32
	}{{&u.Succeeded, &s.job.Status.Succeeded}, {&u.Failed, &s.job.Status.Failed}} {
		before := len(*l.uids)
		*l.uids = slices.DeleteFunc(slices.Clone(*l.uids), func(uid types.UID) bool { return !held[uid] })
		*l.count += int32(before - len(*l.uids))
		moved = moved || len(*l.uids) != before
	}
	return moved
}

// countEnded lists pods that have ended as uncounted, and returns all that are to lose their finalizer.
func (s *jobSync) countEnded() (release []*corev1.Pod, changed, full bool) {
	u := s.job.Status.UncountedTerminatedPods
	success := s.finished != nil && (s.finished.Type == batchv1.JobSuccessCriteriaMet)
	for _, pod := range s.pods {
		failed := s.isFailed(pod)
		if !s.counts(pod) || s.job.DeletionTimestamp == nil && s.finished == nil && !failed &&
			pod.Status.Phase != corev1.PodSucceeded {
			continue
		}
		release = append(release, pod)
		switch {
		case pod.Status.Phase == corev1.PodSucceeded && !slices.Contains(u.Failed, pod.UID):
			if !slices.Contains(u.Succeeded, pod.UID) {
				u.Succeeded, changed = append(u.Succeeded, pod.UID), true
			}
		case (failed || s.finished != nil && !success) && !slices.Contains(u.Failed, pod.UID):
			if _, counts := s.matchFailurePolicy(pod); counts {
				u.Failed, changed = append(u.Failed, pod.UID), true
			}
		}
		if len(u.Succeeded)+len(u.Failed) >= maxUncountedPods {
			return release, changed, true
		}
	}
	return release, changed, false
}

// announceEnd writes down what the Job's end will be, where that is done before pods are released.
func (s *jobSync) announceEnd() bool {
	if s.finished == nil {
		return false
	}
	switch c := s.finished; c.Type {
	case batchv1.JobFailureTarget:
		s.job.Status.Conditions = append(s.job.Status.Conditions, *c)
		s.finished = s.newCondition(batchv1.JobFailed, c.Reason, c.Message)
		return true
	case batchv1.JobSuccessCriteriaMet:
		announced := jobIs(s.job, batchv1.JobSuccessCriteriaMet)
		if !announced {
			s.job.Status.Conditions = append(s.job.Status.Conditions, *c)
		}
		s.finished = s.newCondition(batchv1.JobComplete, c.Reason, c.Message)
		return !announced
	}
	return false
}

// enactEnd finishes the Job, unless pods are uncounted or, where that is waited for, still end.
func (s *jobSync) enactEnd() bool {
	u := s.job.Status.UncountedTerminatedPods
	if s.finished == nil || len(u.Succeeded)+len(u.Failed) > 0 || s.release.JobEndsLast && s.terminating > 0 {
		return false
	}
	s.setCondition(*s.finished)
	if s.finished.Type == batchv1.JobComplete {
		s.job.Status.CompletionTime = &s.finished.LastTransitionTime
	}
	return true
}

func (s *jobSync) recordEnd() {
	if s.finished.Type == batchv1.JobComplete {
		if s.job.Spec.Completions != nil && s.job.Status.Succeeded > *s.job.Spec.Completions {
			s.control.record(s.job, corev1.EventTypeWarning, "TooManySucceededPods",
				"Too many succeeded pods running after completion count reached", nil)
		}
		s.control.record(s.job, corev1.EventTypeNormal, "Completed", "Job completed", nil)
		return
	}
	s.control.record(s.job, corev1.EventTypeWarning, s.finished.Reason, s.finished.Message, nil)
}

// save writes the status and goes on with what the API answered.
func (s *jobSync) save(p *sim.Proc) error {
	updated, err := api.UpdateStatus(p, s.client, s.job.DeepCopy())
	if err != nil {
		return err
	}
	s.job = updated.DeepCopy()
	if s.job.Status.UncountedTerminatedPods == nil {
		s.job.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	return nil
}

// removeFinalizers takes the finalizers off pods; those that lost theirs are no longer held.
func (s *jobSync) removeFinalizers(p *sim.Proc, pods []*corev1.Pod, held map[types.UID]bool) error {
	cause, removing := s.kernel.Cause(), s.removing[s.key]
	if removing == nil && len(pods) > 0 {
		removing = map[string]bool{}
		s.removing[s.key] = removing
	}
	for _, pod := range pods {
		removing[string(pod.UID)] = true
	}
	_, err := controlplane.Parallel(p, len(pods), func(p *sim.Proc, i int) error {
		p.Because(cause)
		err := s.removeFinalizer(p, pods[i])
		if err != nil {
			delete(removing, string(pods[i].UID))
			return err
		}
		delete(held, pods[i].UID)
		return nil
	})
	if err != nil {
		if s.moveCounted(held) {
			_ = s.save(p) // the first error counts
		}
		return fmt.Errorf("tracking status: %w", err)
	}
	return nil
}

func (s *jobSync) newCondition(kind batchv1.JobConditionType, reason, message string) *batchv1.JobCondition {
	now := s.now()
	return &batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message,
		LastProbeTime: now, LastTransitionTime: now}
}

func (s *jobSync) failureCondition(reason, message string) *batchv1.JobCondition {
	kind := batchv1.JobFailed
	if s.release.JobEndsLast {
		kind = batchv1.JobFailureTarget
	}
	return s.newCondition(kind, reason, message)
}

func (s *jobSync) successCondition() *batchv1.JobCondition {
	if !s.release.JobEndsLast { // and no success policies, which gave the condition a reason: both from v1.31
		return s.newCondition(batchv1.JobComplete, "", "")
	}
	return s.newCondition(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonCompletionsReached,
		"Reached expected number of succeeded pods")
}

// failurePolicy returns the Job's pod failure policy, nil if it has none or the release knows none.
func (s *jobSync) failurePolicy() *batchv1.PodFailurePolicy {
	if !s.release.JobFailurePolicy {
		return nil
	}
	return s.job.Spec.PodFailurePolicy
}

// matchFailurePolicy says what a failed pod means: the message with which the Job fails, "" if it does not, and
// whether the failure counts.
func (s *jobSync) matchFailurePolicy(pod *corev1.Pod) (message string, counts bool) {
	policy := s.failurePolicy()
	if policy == nil {
		return "", true
	}
	for i := range policy.Rules {
		rule := &policy.Rules[i]
		var what string
		if rule.OnExitCodes != nil {
			c := matchExitCodes(pod, rule.OnExitCodes)
			if c == nil {
				continue
			}
			what = fmt.Sprintf("Container %s for pod %s/%s failed with exit code %d", c.Name, pod.Namespace, pod.Name,
				c.State.Terminated.ExitCode)
		} else {
			c := matchPodConditions(pod, rule.OnPodConditions)
			if c == nil {
				continue
			}
			what = fmt.Sprintf("Pod %s/%s has condition %s", pod.Namespace, pod.Name, c.Type)
		}
		switch rule.Action {
		case batchv1.PodFailurePolicyActionIgnore:
			return "", false
		case batchv1.PodFailurePolicyActionFailJob:
			return fmt.Sprintf("%s matching %s rule at index %d", what, rule.Action, i), true
		case batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex:
			return "", true
		}
	}
	return "", true
}

func matchExitCodes(pod *corev1.Pod, want *batchv1.PodFailurePolicyOnExitCodesRequirement) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			t := list[i].State.Terminated
			if t == nil || t.ExitCode == 0 || want.ContainerName != nil && *want.ContainerName != list[i].Name {
				continue
			}
			if slices.Contains(want.Values, t.ExitCode) == (want.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
				return &list[i]
			}
		}
	}
	return nil
}

func matchPodConditions(pod *corev1.Pod, want []batchv1.PodFailurePolicyOnPodConditionsPattern) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if slices.ContainsFunc(want, func(w batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
			return w.Type == c.Type && w.Status == c.Status
		}) {
			return c
		}
	}
	return nil
}

// with returns what is remembered after pods have newly succeeded and failed: a success forgets the failures before it.
func (f jobFailures) with(succeeded, failed []*corev1.Pod) jobFailures {
	lastSuccess := time.Time{}
	for _, pod := range succeeded {
		if at := finishedAt(pod); at.After(lastSuccess) {
			lastSuccess = at
		}
	}
	if len(succeeded) > 0 {
		f = jobFailures{}
	}
	for _, pod := range failed {
		at := finishedAt(pod)
		if len(succeeded) > 0 && !at.After(lastSuccess) {
			continue
		}
		f.count++
		if at.After(f.last) || f.count == 1 {
			f.last = at
		}
	}
	return f
}

// remaining returns how long the next pod must wait: 10 s after the last failure, doubled with each one.
func (f jobFailures) remaining(now time.Time) time.Duration {
	if f.count == 0 {
		return 0
	}
	delay := jobBackoffMax
	if f.count <= 10 {
		delay = min(jobBackoff<<(f.count-1), jobBackoffMax)
	}
	return max(f.last.Add(delay).Sub(now), 0)
}

// finishedAt is when a pod ended: when the last of its containers did, if all have; else when it stopped being ready,
// when it was deleted, when it was made.
func finishedAt(pod *corev1.Pod) time.Time {
	last, all := time.Time{}, true
	for i := range pod.Status.ContainerStatuses {
		t := pod.Status.ContainerStatuses[i].State.Terminated
		if t == nil || t.FinishedAt.IsZero() {
			all = false
			break
		}
		if t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	if all && !last.IsZero() {
		return last
	}
	if c := podCondition(pod, corev1.PodReady); c != nil && c.Status == corev1.ConditionFalse &&
		!c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	if pod.DeletionTimestamp != nil {
		grace := int64(0)
		if pod.DeletionGracePeriodSeconds != nil {
			grace = *pod.DeletionGracePeriodSeconds
		}
		return pod.DeletionTimestamp.Add(-time.Duration(grace) * time.Second)
	}
	return pod.CreationTimestamp.Time
}
