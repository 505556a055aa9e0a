package controllers

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's TTL-after-finished controller (pkg/controller/ttlafterfinished, v1.36): finished
// Jobs go after ttlSecondsAfterFinished.

// ttlAfterFinished is the controller.
type ttlAfterFinished struct {
	*manager
	jobs  *controlplane.Informer[*batchv1.Job]
	queue *controlplane.WorkQueue[api.Key]
}

func newTTLAfterFinished(m *manager) *ttlAfterFinished {
	tc := &ttlAfterFinished{manager: m, jobs: informerFor[*batchv1.Job](m, api.Jobs),
		queue: controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits())}
	enqueue := func(job *batchv1.Job) {
		if job.DeletionTimestamp == nil && job.Spec.TTLSecondsAfterFinished != nil && jobFinished(job) {
			tc.queue.Add(api.KeyOf(job))
		}
	}
	tc.jobs.Handle(controlplane.Handler[*batchv1.Job]{OnAdd: enqueue,
		OnUpdate: func(_, job *batchv1.Job) { enqueue(job) }})
	return tc
}

func (tc *ttlAfterFinished) run() {
	tc.whenSynced("ttl-after-finished", func(*sim.Proc) {
		tc.queue.RunRetrying("ttl-after-finished", 5, 0, tc.sync)
	}, tc.jobs)
}

func (tc *ttlAfterFinished) sync(p *sim.Proc, key api.Key) error {
	job, ok := tc.jobs.Get(key)
	if !ok || tc.waits(job) {
		return nil
	}
	fresh, err := api.GetObject[*batchv1.Job](p, tc.client, key.Namespace, key.Name)
	if api.IsNotFound(err) {
		return nil
	}
	if err != nil || tc.waits(fresh) {
		return err
	}
	tc.because(fresh)
	foreground := metav1.DeletePropagationForeground
	return api.DeleteObject[*batchv1.Job](p, tc.client, key, api.DeleteOptions{PropagationPolicy: &foreground,
		Preconditions: &metav1.Preconditions{UID: &fresh.UID}})
}

// waits reports whether a Job is not to go now, and sees to it that it is looked at when it is.
func (tc *ttlAfterFinished) waits(job *batchv1.Job) bool {
	ttl := job.Spec.TTLSecondsAfterFinished
	if job.DeletionTimestamp != nil || ttl == nil || !jobFinished(job) {
		return true
	}
	c := jobCondition(&job.Status, batchv1.JobComplete)
	if !jobIs(job, batchv1.JobComplete) {
		c = jobCondition(&job.Status, batchv1.JobFailed)
	}
	left := c.LastTransitionTime.Add(time.Duration(*ttl) * time.Second).Sub(tc.process.Machine().Clock().Now())
	if left > 0 {
		tc.queue.AddAfter(api.KeyOf(job), left)
	}
	return left > 0
}
