package controllers

import (
	"errors"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models the Job controller of releases without finalizers (K@1.20, K@1.24:pkg/controller/job): what counts are the
// pods that there are; one that was deleted is neither a failure nor a success. The back-off is that of the queue: a
// sync that finds a new failure fails itself.

var errNewFailure = errors.New("failed pod(s) detected")

// oldBackoff is how long a Job waits after another pod of it has failed.
func (jm *jobController) oldBackoff(key api.Key) time.Duration {
	n := jm.queue.NumRequeues(key)
	if n == 0 {
		return 0
	}
	return min(jobBackoff<<min(n-1, 10), oldJobBackoffMax)
}

// syncOld is a sync as the queue calls it: failures are forgotten only when the sync says so.
func (jm *jobController) syncOld(p *sim.Proc, key api.Key) {
	forget, err := jm.tryOld(p, key)
	switch {
	case err != nil:
		jm.queue.AddRateLimited(key)
	case forget:
		jm.queue.Forget(key)
	}
}

func (jm *jobController) tryOld(p *sim.Proc, key api.Key) (forget bool, err error) {
	cached, ok := jm.jobs.Get(key)
	if !ok {
		jm.expectations.Delete(key)
		return true, nil
	}
	if jobFinished(cached) {
		return true, nil
	}
	s := &jobSync{jobController: jm, key: key, job: cached.DeepCopy(), satisfied: jm.expectations.Satisfied(key)}
	if err := s.lookOld(p); err != nil {
		return false, err
	}
	status := &s.job.Status
	if status.StartTime == nil && !jobSuspended(s.job) {
		now := jm.now()
		status.StartTime = &now
	}
	newFailure, newSuccess := s.failed > status.Failed, s.succeeded > status.Succeeded
	condition := s.endOld(newFailure)
	suspension, manageErr := false, error(nil)
	if condition != nil {
		manageErr = s.deletePods(p, s.activePods)
		s.failed += int32(len(s.activePods))
		s.active, s.ready = 0, 0
	} else {
		managed := s.satisfied && s.job.DeletionTimestamp == nil
		if managed {
			manageErr = s.manage(p)
		}
		if s.complete() {
			condition = s.newCondition(batchv1.JobComplete, "", "")
			status.CompletionTime = &condition.LastTransitionTime
		} else if managed {
			suspension = s.noteSuspension()
		}
	}
	changed := s.noteCounts() || suspension
	if !changed && condition == nil && status.Succeeded == s.succeeded && status.Failed == s.failed {
		return newSuccess, manageErr
	}
	status.Succeeded, status.Failed = s.succeeded, s.failed
	if condition != nil {
		s.setCondition(*condition)
	}
	if _, err := api.UpdateStatus(p, s.client, s.job.DeepCopy()); err != nil {
		return newSuccess, err
	}
	if s.finished = condition; condition != nil {
		s.recordEnd()
	}
	if newFailure && condition == nil {
		return newSuccess, errNewFailure // it comes back after the back-off
	}
	return true, manageErr
}

// lookOld finds the Job's pods and counts them.
func (s *jobSync) lookOld(p *sim.Proc) (err error) {
	s.pods, err = s.claimPods(p, s.job, func(pod *corev1.Pod) bool { return selects(s.job.Spec.Selector, pod.Labels) })
	if err != nil {
		return err
	}
	s.activePods = filterActive(s.pods)
	s.active = int32(len(s.activePods))
	for _, pod := range s.pods {
		switch {
		case pod.Status.Phase == corev1.PodSucceeded:
			s.succeeded++
		case pod.Status.Phase == corev1.PodFailed:
			s.failed++
		case slices.Contains(s.activePods, pod) && isPodReady(pod):
			s.ready++
		}
	}
	return nil
}

// endOld decides whether the Job has failed.
func (s *jobSync) endOld(newFailure bool) *batchv1.JobCondition {
	limit := int32(6) // pkg/apis/batch/v1/defaults.go
	if s.job.Spec.BackoffLimit != nil {
		limit = *s.job.Spec.BackoffLimit
	}
	tooMany := newFailure && s.active != replicasOf(s.job.Spec.Parallelism) && s.failed > limit
	deadline := s.job.Spec.ActiveDeadlineSeconds
	switch {
	case tooMany || s.restartedTooOften(limit):
		return s.newCondition(batchv1.JobFailed, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
	case deadline == nil || s.job.Status.StartTime == nil || jobSuspended(s.job):
		return nil
	}
	left := s.job.Status.StartTime.Add(time.Duration(*deadline) * time.Second).Sub(s.wallNow())
	if left > 0 {
		s.queue.AddAfter(s.key, left)
		return nil
	}
	return s.newCondition(batchv1.JobFailed, "DeadlineExceeded", "Job was active longer than specified deadline")
}
