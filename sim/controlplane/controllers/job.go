package controllers

import (
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's Job controller (pkg/controller/job, v1.36): parallelism, completions, back-off,
// the replacement of lost pods, deadlines. Leaves out: indexed completion, pod failure policies, suspension,
// finalizers on pods, CronJobs.

const (
	// pkg/controller/job DefaultJobPodFailureBackOff and MaxJobPodFailureBackOff.
	jobBackoff    = 10 * time.Second
	jobBackoffMax = 10 * time.Minute
)

// jobController is the controller.
type jobController struct {
	*manager
	jobs         *controlplane.Informer[*batchv1.Job]
	control      *podControl
	queue        *controlplane.WorkQueue[api.Key]
	expectations *controlplane.Expectations
}

func newJobController(m *manager) *jobController {
	jm := &jobController{manager: m, jobs: informerFor[*batchv1.Job](m, api.Jobs), control: newPodControl(m,
		"job-controller"),
		queue:        controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits()),
		expectations: controlplane.NewExpectations(m.kernel)}
	jm.jobs.Handle(controlplane.Handler[*batchv1.Job]{
		OnAdd:    func(job *batchv1.Job) { jm.queue.Add(api.KeyOf(job)) },
		OnUpdate: func(_, job *batchv1.Job) { jm.queue.Add(api.KeyOf(job)) },
		OnDelete: func(job *batchv1.Job, _ bool) { jm.queue.Add(api.KeyOf(job)) },
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd: func(pod *corev1.Pod) {
			if job := jm.ownerOf(pod); job != nil {
				jm.expectations.CreationObserved(api.KeyOf(job))
				jm.queue.Add(api.KeyOf(job))
			}
		},
		OnUpdate: func(_, pod *corev1.Pod) { jm.podChanged(pod) },
		OnDelete: func(pod *corev1.Pod, _ bool) { jm.podChanged(pod) },
	})
	return jm
}

func (jm *jobController) run() {
	jm.whenSynced("job", func(*sim.Proc) {
		jm.queue.RunRetrying("job", int(jm.options.ConcurrentJobSyncs), 0, jm.sync)
	}, jm.jobs, jm.pods)
}

func (jm *jobController) ownerOf(pod *corev1.Pod) *batchv1.Job {
	ref := controllerOf(pod)
	if ref == nil || ref.Kind != "Job" {
		return nil
	}
	if job, ok := jm.jobs.Named(pod.Namespace, ref.Name); ok && job.UID == ref.UID {
		return job
	}
	return nil
}

func (jm *jobController) podChanged(pod *corev1.Pod) {
	job := jm.ownerOf(pod)
	if job == nil {
		return
	}
	if pod.DeletionTimestamp != nil {
		jm.expectations.DeletionObserved(api.KeyOf(job), api.KeyOf(pod))
	}
	jm.queue.Add(api.KeyOf(job))
}

func jobFinished(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// jobSync is one sync of one Job.
type jobSync struct {
	*jobController
	job               *batchv1.Job
	active            []*corev1.Pod
	succeeded, failed int32
	terminating       int32
	lastFailure       time.Time
}

func (jm *jobController) sync(p *sim.Proc, key api.Key) error {
	job, ok := jm.jobs.Get(key)
	if !ok {
		jm.expectations.Delete(key)
		return nil
	}
	if job.DeletionTimestamp != nil || jobFinished(job) {
		return nil
	}
	s := &jobSync{jobController: jm, job: job}
	s.countPods()
	status := *job.Status.DeepCopy()
	if status.StartTime == nil {
		now := jm.now()
		status.StartTime = &now
	}
	condition, err := s.finish(p, &status)
	if err == nil && condition == nil && jm.expectations.Satisfied(key) {
		err = s.manage(p)
	}
	if statusErr := s.updateStatus(p, status, condition); err == nil {
		err = statusErr
	}
	return err
}

func (s *jobSync) countPods() {
	for _, pod := range s.podsByOwner.Get(string(s.job.UID)) {
		switch {
		case pod.Status.Phase == corev1.PodSucceeded:
			s.succeeded++
		case pod.Status.Phase == corev1.PodFailed:
			s.failed++
			if at := finishedAt(pod); at.After(s.lastFailure) {
				s.lastFailure = at
			}
		case pod.DeletionTimestamp != nil:
			s.terminating++
		default:
			s.active = append(s.active, pod)
		}
	}
	// Pods that ended and were deleted since stay counted.
	s.succeeded, s.failed = max(s.succeeded, s.job.Status.Succeeded), max(s.failed, s.job.Status.Failed)
}

// finishedAt is when the last container of a pod ended; when nobody says, when the pod stopped being ready, or was
// made.
func finishedAt(pod *corev1.Pod) (last time.Time) {
	for i := range pod.Status.ContainerStatuses {
		if t := pod.Status.ContainerStatuses[i].State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	if last.IsZero() {
		last = pod.CreationTimestamp.Time
		if c := podCondition(pod, corev1.PodReady); c != nil && !c.LastTransitionTime.IsZero() {
			last = c.LastTransitionTime.Time
		}
	}
	return last
}

// finish decides whether the Job has ended, and ends its remaining pods if so.
func (s *jobSync) finish(p *sim.Proc, status *batchv1.JobStatus) (*batchv1.JobCondition, error) {
	limit := int32(6) // pkg/apis/batch/v1/defaults.go
	if s.job.Spec.BackoffLimit != nil {
		limit = *s.job.Spec.BackoffLimit
	}
	now := s.now()
	failed := func(reason, message string) *batchv1.JobCondition {
		return &batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: reason, Message: message,
			LastProbeTime: now, LastTransitionTime: now}
	}
	var condition *batchv1.JobCondition
	if s.failed > limit {
		condition = failed("BackoffLimitExceeded", "Job has reached the specified backoff limit")
	} else if deadline := s.job.Spec.ActiveDeadlineSeconds; deadline != nil {
		left := status.StartTime.Add(time.Duration(*deadline) * time.Second).Sub(now.Time)
		if left <= 0 {
			condition = failed("DeadlineExceeded", "Job was active longer than specified deadline")
		} else {
			s.queue.AddAfter(api.KeyOf(s.job), left)
		}
	}
	if condition != nil {
		return condition, s.deletePods(p, s.active)
	}
	done := s.job.Spec.Completions != nil && s.succeeded >= *s.job.Spec.Completions
	if s.job.Spec.Completions == nil {
		done = s.succeeded > 0 && len(s.active) == 0
	}
	if !done {
		return nil, nil
	}
	status.CompletionTime = &now
	return &batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, Reason: "CompletionsReached",
			Message: "Reached expected number of succeeded pods", LastProbeTime: now, LastTransitionTime: now},
		s.deletePods(p, s.active)
}

// manage creates or deletes pods until as many are active as should be.
func (s *jobSync) manage(p *sim.Proc) error {
	parallelism := replicasOf(s.job.Spec.Parallelism)
	wanted := parallelism
	if s.job.Spec.Completions != nil {
		wanted = min(parallelism, *s.job.Spec.Completions-s.succeeded)
	} else if s.succeeded > 0 {
		wanted = int32(len(s.active)) // a work queue that drains gets no new pods
	}
	have := int32(len(s.active))
	if policy := s.job.Spec.PodReplacementPolicy; policy != nil && *policy == batchv1.Failed {
		have += s.terminating // their end is waited for
	}
	if excess := int(have - max(wanted, 0)); excess > 0 {
		victims := slices.Clone(s.active)
		order := victimOrder{now: s.process.Machine().Clock().Now(), rank: map[string]int{}}
		slices.SortStableFunc(victims, order.compare)
		return s.deletePods(p, victims[:min(excess, len(victims))])
	}
	missing := int(wanted - have)
	if missing <= 0 {
		return nil
	}
	if wait := s.backoff(); wait > 0 {
		s.queue.AddAfter(api.KeyOf(s.job), wait)
		return nil
	}
	key, cause := api.KeyOf(s.job), s.kernel.Cause()
	missing = min(missing, burstReplicas)
	s.expectations.ExpectCreations(key, missing)
	created, err := controlplane.SlowStartBatch(p, missing, func(p *sim.Proc, _ int) error {
		p.Because(cause)
		return s.control.create(p, podFromTemplate(&s.job.Spec.Template, s.job, ownerReference(s.job)), s.job)
	})
	for range missing - created {
		s.expectations.CreationObserved(key)
	}
	return err
}

// backoff returns how long the next pod must wait after the last failure: 10 s doubling with each failure.
func (s *jobSync) backoff() time.Duration {
	if s.failed == 0 || s.lastFailure.IsZero() {
		return 0
	}
	delay := min(jobBackoff<<min(s.failed-1, 10), jobBackoffMax)
	return s.lastFailure.Add(delay).Sub(s.process.Machine().Clock().Now())
}

func (s *jobSync) deletePods(p *sim.Proc, pods []*corev1.Pod) error {
	keys := make([]api.Key, len(pods))
	for i, pod := range pods {
		keys[i] = api.KeyOf(pod)
	}
	if len(pods) == 0 {
		return nil
	}
	key, cause := api.KeyOf(s.job), s.kernel.Cause()
	s.expectations.ExpectDeletions(key, keys)
	_, err := controlplane.Parallel(p, len(pods), func(p *sim.Proc, i int) error {
		p.Because(cause)
		err := s.control.delete(p, pods[i], s.job)
		if err != nil {
			s.expectations.DeletionObserved(key, keys[i])
		}
		if api.IsNotFound(err) {
			return nil
		}
		return err
	})
	return err
}

func (s *jobSync) updateStatus(p *sim.Proc, status batchv1.JobStatus, condition *batchv1.JobCondition) error {
	ready := int32(0)
	for _, pod := range s.active {
		if isPodReady(pod) {
			ready++
		}
	}
	old := &s.job.Status
	status.Active, status.Succeeded, status.Failed = int32(len(s.active)), s.succeeded, s.failed
	status.Ready, status.Terminating = &ready, &s.terminating
	if condition != nil {
		status.Active, ready = 0, 0
		status.Conditions = append(status.Conditions, *condition)
	}
	if condition == nil && old.StartTime != nil && old.Active == status.Active && old.Succeeded == status.Succeeded &&
		old.Failed == status.Failed && equalPointers(old.Ready, status.Ready) && equalPointers(old.Terminating,
		status.Terminating) {
		return nil
	}
	copied := s.job.DeepCopy()
	copied.Status = status
	if _, err := api.UpdateStatus(p, s.client, copied); err != nil {
		return err
	}
	if condition == nil {
		return nil
	}
	reason, kind, message := "Completed", corev1.EventTypeNormal, "Job completed"
	if condition.Type == batchv1.JobFailed {
		reason, kind, message = condition.Reason, corev1.EventTypeWarning, condition.Message
	}
	s.control.record(s.job, kind, reason, message, nil)
	return nil
}
