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

// Models kube-controller-manager's Job controller (pkg/controller/job, v1.36): parallelism, completions, suspension,
// back-off, the replacement of lost pods, pod failure policies, deadlines, the finalizers by which ended pods are
// counted, and, for releases before them, the counting of the pods that there are (K@1.20, K@1.24). Leaves out: indexed
// completion and what builds on it (success policies, limits for each index), management by others, CronJobs.

const (
	// pkg/controller/job DefaultJobPodFailureBackOff, MaxJobPodFailureBackOff, DefaultJobApiBackOff, MaxJobApiBackOff.
	jobBackoff       = 10 * time.Second
	jobBackoffMax    = 10 * time.Minute
	jobAPIBackoff    = time.Second
	jobAPIBackoffMax = time.Minute
	// pkg/controller/job syncJobBatchPeriod: what happens to pods is collected for so long.
	jobBatchPeriod = time.Second
	// K@1.24:pkg/controller/job MaxJobBackOff.
	oldJobBackoffMax = 6 * time.Minute
	// pkg/controller/job MaxUncountedPods.
	maxUncountedPods = 500
)

// jobController is the controller.
type jobController struct {
	*manager
	jobs         *controlplane.Informer[*batchv1.Job]
	control      *podControl
	queue        *controlplane.WorkQueue[api.Key]
	orphans      *controlplane.WorkQueue[api.Key] // pods whose Job no longer takes their finalizer off
	expectations *controlplane.Expectations
	removing     map[api.Key]map[string]bool // by Job: UIDs of pods whose finalizer was taken off, until that is seen
	failures     map[api.Key]jobFailures
}

// jobFailures is what is remembered of a Job's failures, for the back-off.
type jobFailures struct {
	count int // since the last success
	last  time.Time
}

func newJobController(m *manager) *jobController {
	limits := controlplane.RateLimits{Base: jobAPIBackoff, Max: jobAPIBackoffMax}
	if !m.release.JobFinalizers {
		limits = controlplane.RateLimits{Base: jobBackoff, Max: oldJobBackoffMax}
	}
	jm := &jobController{manager: m, jobs: informerFor[*batchv1.Job](m, api.Jobs), control: newPodControl(m,
		"job-controller"), queue: controlplane.NewWorkQueue[api.Key](m.scope, limits),
		orphans:      controlplane.NewWorkQueue[api.Key](m.scope, limits),
		expectations: controlplane.NewExpectations(m.kernel), removing: map[api.Key]map[string]bool{},
		failures: map[api.Key]jobFailures{}}
	jm.jobs.Handle(controlplane.Handler[*batchv1.Job]{
		OnAdd: func(job *batchv1.Job) { jm.queue.Add(api.KeyOf(job)) },
		OnUpdate: func(old, job *batchv1.Job) {
			switch {
			case jobFinished(job):
				jm.releaseAll(job)
			case job.Generation == old.Generation:
				jm.enqueue(job)
			default:
				jm.queue.Add(api.KeyOf(job))
			}
		},
		OnDelete: func(job *batchv1.Job, _ bool) {
			jm.queue.Add(api.KeyOf(job))
			jm.releaseAll(job)
		},
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd:    jm.addPod,
		OnUpdate: jm.updatePod,
		OnDelete: func(pod *corev1.Pod, _ bool) { jm.deletePod(pod, true) },
	})
	return jm
}

func (jm *jobController) run() {
	jm.whenSynced("job", func(*sim.Proc) {
		workers := int(jm.options.ConcurrentJobSyncs)
		jm.orphans.RunRetrying("job-orphan-pod", 1, 0, jm.syncOrphan)
		if jm.release.JobFinalizers {
			jm.queue.RunRetrying("job", workers, 0, jm.sync)
			return
		}
		jm.queue.Run("job", workers, jm.syncOld)
	}, jm.jobs, jm.pods)
}

// enqueue queues a Job for what happened to its pods or its status.
func (jm *jobController) enqueue(job *batchv1.Job) {
	if jm.release.JobFinalizers {
		jm.queue.AddAfter(api.KeyOf(job), jobBatchPeriod)
		return
	}
	jm.queue.Add(api.KeyOf(job))
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

func (jm *jobController) addPod(pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil {
		jm.deletePod(pod, false)
		return
	}
	if controllerOf(pod) == nil {
		jm.orphanChanged(nil, pod)
	} else if job := jm.ownerOf(pod); job != nil {
		jm.expectations.CreationObserved(api.KeyOf(job))
		jm.enqueue(job)
	}
}

func (jm *jobController) updatePod(old, pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil {
		jm.deletePod(pod, false)
		return
	}
	if before := jm.ownerOf(old); before != nil && controllerUID(old) != controllerUID(pod) {
		jm.finalizerSeen(before, pod)
		jm.enqueue(before)
	}
	if controllerOf(pod) == nil {
		jm.orphanChanged(old, pod)
		return
	}
	job := jm.ownerOf(pod)
	if job == nil {
		return
	}
	jm.finalizerSeen(job, pod)
	if pod.Status.Phase == corev1.PodFailed && !jm.release.JobFinalizers {
		jm.queue.AddAfter(api.KeyOf(job), jm.oldBackoff(api.KeyOf(job)))
		return
	}
	jm.enqueue(job)
}

// deletePod notes that a pod is being deleted or, finally, is gone.
func (jm *jobController) deletePod(pod *corev1.Pod, final bool) {
	job := jm.ownerOf(pod)
	switch {
	case controllerOf(pod) == nil && !hasJobFinalizer(pod):
	case job == nil || jobFinished(job):
		if hasJobFinalizer(pod) {
			jm.orphans.Add(api.KeyOf(pod))
		}
	default:
		jm.expectations.DeletionObserved(api.KeyOf(job), api.KeyOf(pod))
		if final {
			delete(jm.removing[api.KeyOf(job)], string(pod.UID))
		}
		jm.finalizerSeen(job, pod)
		jm.enqueue(job)
	}
}

// finalizerSeen notes that a pod is without its finalizer.
func (jm *jobController) finalizerSeen(job *batchv1.Job, pod *corev1.Pod) {
	if !hasJobFinalizer(pod) {
		delete(jm.removing[api.KeyOf(job)], string(pod.UID))
	}
}

// orphanChanged queues an orphan that has a Job's finalizer, and the Jobs that might adopt it.
func (jm *jobController) orphanChanged(old, pod *corev1.Pod) {
	if hasJobFinalizer(pod) {
		jm.orphans.Add(api.KeyOf(pod))
	}
	if !relabelledOrReleased(old, pod) || len(pod.Labels) == 0 {
		return
	}
	for i := range jm.jobs.Len() {
		if job := jm.jobs.At(i); job.Namespace == pod.Namespace && selects(job.Spec.Selector, pod.Labels) {
			jm.enqueue(job)
		}
	}
}

// releaseAll queues the pods of a Job that has finished or is gone, as far as they have its finalizer.
func (jm *jobController) releaseAll(job *batchv1.Job) {
	for _, pod := range jm.candidates(job) {
		if hasJobFinalizer(pod) && selects(job.Spec.Selector, pod.Labels) {
			jm.orphans.Add(api.KeyOf(pod))
		}
	}
}

// syncOrphan takes the finalizer off a pod that no unfinished Job owns.
func (jm *jobController) syncOrphan(p *sim.Proc, key api.Key) error {
	pod, ok := jm.pods.Get(key)
	if !ok {
		return nil
	}
	if ref := controllerOf(pod); ref != nil {
		if job := jm.ownerOf(pod); ref.Kind != "Job" || job != nil && !jobFinished(job) {
			return nil
		}
	}
	return jm.removeFinalizer(p, pod)
}

func hasJobFinalizer(pod *corev1.Pod) bool {
	return slices.Contains(pod.Finalizers, batchv1.JobTrackingFinalizer)
}

// removeFinalizer takes a Job's finalizer off a pod. Upstream patches, and so does not lose against another write.
func (jm *jobController) removeFinalizer(p *sim.Proc, pod *corev1.Pod) error {
	cause, uid := jm.kernel.Cause(), pod.UID
	for hasJobFinalizer(pod) {
		copied := pod.DeepCopy()
		copied.Finalizers = slices.DeleteFunc(copied.Finalizers, func(f string) bool {
			return f == batchv1.JobTrackingFinalizer
		})
		_, err := api.UpdateObject(p, jm.client, copied)
		if err == nil || api.IsNotFound(err) {
			return nil
		}
		if !api.IsConflict(err) {
			return err
		}
		pod, err = api.GetObject[*corev1.Pod](p, jm.client, pod.Namespace, pod.Name)
		if api.IsNotFound(err) || err == nil && pod.UID != uid {
			return nil
		}
		if err != nil {
			return err
		}
		jm.kernel.Because(cause)
	}
	return nil
}

func jobCondition(status *batchv1.JobStatus, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == kind {
			return &status.Conditions[i]
		}
	}
	return nil
}

func jobIs(job *batchv1.Job, kind batchv1.JobConditionType) bool {
	c := jobCondition(&job.Status, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

func jobFinished(job *batchv1.Job) bool {
	return jobIs(job, batchv1.JobComplete) || jobIs(job, batchv1.JobFailed)
}

func jobSuspended(job *batchv1.Job) bool { return job.Spec.Suspend != nil && *job.Spec.Suspend }
