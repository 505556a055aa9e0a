package controllers

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models syncJob and manageJob of pkg/controller/job/job_controller.go, v1.36.

// jobSync is one sync of one Job.
type jobSync struct {
	*jobController
	key                        api.Key
	job                        *batchv1.Job // our own copy
	pods, activePods           []*corev1.Pod
	active, ready, terminating int32
	succeeded, failed          int32
	satisfied                  bool // all that was created and deleted before has been seen
	finished                   *batchv1.JobCondition
	backoff                    jobFailures
}

func (jm *jobController) sync(p *sim.Proc, key api.Key) error {
	cached, ok := jm.jobs.Get(key)
	if !ok {
		jm.expectations.Delete(key)
		delete(jm.removing, key)
	}
	if !ok || jobFinished(cached) {
		delete(jm.failures, key)
		return nil
	}
	s := &jobSync{jobController: jm, key: key, job: cached.DeepCopy(), satisfied: jm.expectations.Satisfied(key)}
	if s.job.Status.UncountedTerminatedPods == nil {
		s.job.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	if err := s.look(p); err != nil {
		return err
	}
	if s.job.Status.StartTime == nil && !jobSuspended(s.job) {
		now := jm.now()
		s.job.Status.StartTime = &now
	}
	s.finished = s.end()
	suspension, manageErr := false, error(nil)
	if s.finished != nil {
		manageErr = s.deleteActive(p)
	} else {
		managed := s.satisfied && s.job.DeletionTimestamp == nil
		if managed {
			manageErr = s.manage(p)
		}
		if s.complete() {
			s.finished = s.successCondition()
		} else if managed {
			suspension = s.noteSuspension()
		}
	}
	changed := s.noteCounts() || suspension
	if err := s.track(p, changed); err != nil {
		return err
	}
	return manageErr
}

// look finds the Job's pods and counts them.
func (s *jobSync) look(p *sim.Proc) error {
	c := claimer[*corev1.Pod]{manager: s.manager, owner: s.job, finalizer: batchv1.JobTrackingFinalizer,
		match: func(pod *corev1.Pod) bool { return selects(s.job.Spec.Selector, pod.Labels) }}
	var err error
	if s.pods, err = c.claim(p, s.candidates(s.job)); err != nil {
		return err
	}
	s.activePods = filterActive(s.pods)
	s.active = int32(len(s.activePods))
	for _, pod := range s.activePods {
		if isPodReady(pod) {
			s.ready++
		}
	}
	for _, pod := range s.pods {
		if pod.DeletionTimestamp != nil && !isTerminal(pod) {
			s.terminating++
		}
	}
	uncounted := s.job.Status.UncountedTerminatedPods
	succeeded := s.newlyEnded(func(pod *corev1.Pod) bool {
		return pod.Status.Phase == corev1.PodSucceeded && !slices.Contains(uncounted.Succeeded, pod.UID)
	})
	failed := s.newlyEnded(func(pod *corev1.Pod) bool {
		return s.isFailed(pod) && !slices.Contains(uncounted.Failed, pod.UID)
	})
	s.succeeded = s.job.Status.Succeeded + int32(len(succeeded)+len(uncounted.Succeeded))
	s.failed = s.job.Status.Failed + int32(len(uncounted.Failed))
	for _, pod := range failed {
		if _, counts := s.matchFailurePolicy(pod); counts {
			s.failed++
		}
	}
	s.backoff = s.failures[s.key].with(succeeded, failed)
	return nil
}

// newlyEnded returns the pods that is reports true for and that have not been counted.
func (s *jobSync) newlyEnded(is func(*corev1.Pod) bool) []*corev1.Pod {
	var found []*corev1.Pod
	for _, pod := range s.pods {
		if s.counts(pod) && is(pod) {
			found = append(found, pod)
		}
	}
	return found
}

// counts reports whether a pod has not been counted and released yet.
func (s *jobSync) counts(pod *corev1.Pod) bool {
	return hasJobFinalizer(pod) && !s.removing[s.key][string(pod.UID)]
}

// isFailed reports whether a pod counts as failed: one that is being deleted does, too, unless its end is waited for.
func (s *jobSync) isFailed(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || !s.waitsForEnd() && pod.DeletionTimestamp != nil &&
		pod.Status.Phase != corev1.PodSucceeded
}

// waitsForEnd reports whether a pod is replaced only when it has failed, not when it is being deleted.
func (s *jobSync) waitsForEnd() bool {
	policy := s.job.Spec.PodReplacementPolicy
	return s.release.JobReplacementPolicy && policy != nil && *policy == batchv1.Failed || s.failurePolicy() != nil
}

// end decides whether the Job has come to its end; nil: it goes on.
func (s *jobSync) end() *batchv1.JobCondition {
	if jobIs(s.job, batchv1.JobSuccessCriteriaMet) {
		return jobCondition(&s.job.Status, batchv1.JobSuccessCriteriaMet)
	}
	if c := jobCondition(&s.job.Status, batchv1.JobFailureTarget); c != nil && c.Status == corev1.ConditionTrue {
		return s.newCondition(batchv1.JobFailed, c.Reason, c.Message)
	}
	if s.failurePolicy() != nil {
		for _, pod := range s.pods {
			if message, _ := s.matchFailurePolicy(pod); message != "" && s.isFailed(pod) {
				return s.newCondition(batchv1.JobFailureTarget, "PodFailurePolicy", message)
			}
		}
	}
	limit := int32(6) // pkg/apis/batch/v1/defaults.go
	if s.job.Spec.BackoffLimit != nil {
		limit = *s.job.Spec.BackoffLimit
	}
	deadline := s.job.Spec.ActiveDeadlineSeconds
	switch {
	case s.failed > limit || s.restartedTooOften(limit):
		return s.failureCondition("BackoffLimitExceeded", "Job has reached the specified backoff limit")
	case deadline == nil || jobSuspended(s.job) || s.job.Status.StartTime == nil:
		return nil
	}
	left := s.job.Status.StartTime.Add(time.Duration(*deadline) * time.Second).Sub(s.wallNow())
	if left <= 0 {
		return s.failureCondition("DeadlineExceeded", "Job was active longer than specified deadline")
	}
	s.queue.AddAfter(s.key, left)
	return nil
}

func (s *jobSync) wallNow() time.Time { return s.process.Machine().Clock().Now() }

// restartedTooOften reports whether containers were restarted as often as the limit says (restartPolicy OnFailure).
func (s *jobSync) restartedTooOften(limit int32) bool {
	return restartedTooOften(s.job, s.pods, limit)
}

func restartedTooOften(job *batchv1.Job, pods []*corev1.Pod, limit int32) bool {
	if job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return false
	}
	restarts := int32(0)
	for _, pod := range pods {
		if pod.Status.Phase != corev1.PodRunning && pod.Status.Phase != corev1.PodPending {
			continue
		}
		for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
			for i := range list {
				restarts += list[i].RestartCount
			}
		}
	}
	return restarts >= max(limit, 1)
}

// complete reports whether the Job has all its successes.
func (s *jobSync) complete() bool {
	if s.active > 0 {
		return false
	}
	if s.job.Spec.Completions == nil {
		return s.succeeded > 0
	}
	return s.succeeded >= *s.job.Spec.Completions
}

// deleteActive ends the pods of a Job that has come to its end.
func (s *jobSync) deleteActive(p *sim.Proc) error {
	cause, deletedReady := s.kernel.Cause(), int32(0)
	deleted, err := controlplane.Parallel(p, len(s.activePods), func(p *sim.Proc, i int) error {
		p.Because(cause)
		if isPodReady(s.activePods[i]) {
			deletedReady++
		}
		if err := s.control.delete(p, s.activePods[i], s.job); !api.IsNotFound(err) {
			return err
		}
		return nil
	})
	if deleted != len(s.activePods) || !s.satisfied {
		s.finished = nil // there may be pods left to be counted
	}
	s.gone(int32(deleted), deletedReady)
	return err
}

// gone notes that so many active pods were told to end.
func (s *jobSync) gone(pods, ready int32) {
	s.active -= pods
	s.ready -= ready
	s.terminating += pods
}

// manage creates or deletes pods until as many are active as should be.
func (s *jobSync) manage(p *sim.Proc) error {
	wanted := replicasOf(s.job.Spec.Parallelism)
	switch {
	case jobSuspended(s.job):
		return s.deletePods(p, s.activePods)
	case s.job.Spec.Completions != nil:
		wanted = max(min(wanted, *s.job.Spec.Completions-s.succeeded), 0)
	case s.succeeded > 0:
		wanted = s.active // a work queue that drains gets no new pods
	}
	if excess := int(s.active - wanted); excess > 0 {
		victims := slices.Clone(s.activePods)
		order := victimOrder{now: s.wallNow(), rank: map[string]int{}}
		slices.SortStableFunc(victims, order.compare)
		return s.deletePods(p, victims[:min(excess, len(victims), burstReplicas)])
	}
	missing := int(wanted - s.active)
	if s.waitsForEnd() {
		missing -= int(s.terminating)
	}
	if missing <= 0 {
		return nil
	}
	if wait := s.backoff.remaining(s.wallNow()); wait > 0 {
		s.queue.AddAfter(s.key, max(wait, jobBatchPeriod))
		s.active = 0 // as upstream: what it returns then
		return nil
	}
	return s.createPods(p, min(missing, burstReplicas))
}

func (s *jobSync) createPods(p *sim.Proc, count int) error {
	cause := s.kernel.Cause()
	s.expectations.ExpectCreations(s.key, count)
	created, err := controlplane.SlowStartBatch(p, count, func(p *sim.Proc, _ int) error {
		p.Because(cause)
		pod := podFromTemplate(&s.job.Spec.Template, s.job, ownerReference(s.job))
		if s.release.JobFinalizers && !hasJobFinalizer(pod) {
			pod.Finalizers = append(pod.Finalizers, batchv1.JobTrackingFinalizer)
		}
		err := s.control.create(p, pod, s.job)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		return err
	})
	s.active += int32(created)
	for range count - created {
		s.expectations.CreationObserved(s.key)
	}
	return err
}

// deletePods deletes pods that are not to be counted.
func (s *jobSync) deletePods(p *sim.Proc, pods []*corev1.Pod) error {
	if len(pods) == 0 {
		return nil
	}
	keys := make([]api.Key, len(pods))
	for i, pod := range pods {
		keys[i] = api.KeyOf(pod)
	}
	cause, ready := s.kernel.Cause(), int32(0)
	s.expectations.ExpectDeletions(s.key, keys)
	deleted, err := controlplane.Parallel(p, len(pods), func(p *sim.Proc, i int) error {
		p.Because(cause)
		err := s.removeFinalizer(p, pods[i])
		if err == nil {
			p.Because(cause)
			err = s.control.delete(p, pods[i], s.job)
		}
		if isPodReady(pods[i]) {
			ready++
		}
		if err != nil {
			s.expectations.DeletionObserved(s.key, keys[i])
		}
		if api.IsNotFound(err) {
			return nil
		}
		return err
	})
	s.gone(int32(deleted), ready)
	return err
}

// noteSuspension brings the condition Suspended up to date; it reports whether it changed.
func (s *jobSync) noteSuspension() bool {
	now, c := s.now(), jobCondition(&s.job.Status, batchv1.JobSuspended)
	switch {
	case jobSuspended(s.job) && (c == nil || c.Status != corev1.ConditionTrue):
		s.setCondition(batchv1.JobCondition{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue, Reason: "JobSuspended",
			Message: "Job suspended", LastProbeTime: now, LastTransitionTime: now})
		s.control.record(s.job, corev1.EventTypeNormal, "Suspended", "Job suspended", nil)
		if s.release.JobSuspendResetsStart {
			s.job.Status.StartTime = nil
		}
	case !jobSuspended(s.job) && c != nil && c.Status == corev1.ConditionTrue:
		s.setCondition(batchv1.JobCondition{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse, Reason: "JobResumed",
			Message: "Job resumed", LastProbeTime: now, LastTransitionTime: now})
		s.control.record(s.job, corev1.EventTypeNormal, "Resumed", "Job resumed", nil)
		s.job.Status.StartTime = &now
	default:
		return false
	}
	return true
}

// setCondition sets a condition of the Job.
func (s *jobSync) setCondition(c batchv1.JobCondition) {
	if old := jobCondition(&s.job.Status, c.Type); old != nil {
		*old = c
		return
	}
	s.job.Status.Conditions = append(s.job.Status.Conditions, c)
}
