package apiserver

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ksim/sim"
	"ksim/sim/api"
)

// Models the eviction subresource (pkg/registry/core/pod/storage/eviction.go, v1.36): a delete that a
// PodDisruptionBudget can refuse.

const (
	// evictionTries and evictionPause: EvictionsRetry.
	evictionTries = 20
	evictionPause = 500 * time.Millisecond
	// maxDisruptedPods is how many evictions may wait for the controller (MaxDisruptedPodSize).
	maxDisruptedPods = 2000
	evictionRefused  = "Cannot evict pod as it would violate the pod's disruption budget."
	// evictionRetry is the Retry-After of refusals that pass by themselves, in seconds.
	evictionRetry = 10
)

func (q *request) evict(p *sim.Proc) (*api.Response, error) {
	eviction, ok := q.Object.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Eviction object: %T", q.Object))
	}
	if eviction.Name != q.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	options := metav1.DeleteOptions{}
	if eviction.DeleteOptions != nil {
		options = *eviction.DeleteOptions
	}
	e := &evicting{request: q, options: options}
	if err := e.run(p); err != nil {
		return nil, err
	}
	return &api.Response{Status: 201}, nil
}

// evicting is one eviction.
type evicting struct {
	*request
	options metav1.DeleteOptions
	pod     *corev1.Pod
}

func (e *evicting) run(p *sim.Proc) error {
	for try := 0; ; try++ {
		if err := e.readPod(p); err != nil {
			return err
		}
		if !e.ignoresBudget() {
			break
		}
		terminal := e.pod.Status.Phase != corev1.PodPending || e.pod.DeletionTimestamp != nil
		err := e.delete(p, !terminal)
		if !apierrors.IsConflict(err) || e.options.Preconditions != nil && e.options.Preconditions.ResourceVersion != nil ||
			try == evictionTries-1 {
			return err
		}
		p.Sleep(evictionPause)
	}
	pdb, err := e.budget(p)
	if err != nil {
		return err
	}
	guarded := false // the pod must not have changed meanwhile
	if pdb != nil {
		if guarded = e.unhealthyMayGo(pdb); !guarded {
			if err := e.decrement(p, pdb); err != nil {
				return err
			}
		}
	}
	err = e.delete(p, guarded)
	if guarded && apierrors.IsConflict(err) {
		return tooManyRequests(pdb.Name)
	}
	return err
}

func (e *evicting) readPod(p *sim.Proc) error {
	r := *e.Request
	r.Verb, r.Subresource, r.ResourceVersion = api.Get, "", ""
	get := *e.request
	get.Request = &r
	obj, err := get.getObject(p)
	if err != nil {
		return err
	}
	e.pod = obj.(*corev1.Pod)
	return nil
}

// ignoresBudget reports whether the pod costs no availability.
func (e *evicting) ignoresBudget() bool {
	release := e.server.release
	switch e.pod.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed:
		return release.EvictionIgnoresEnded
	case corev1.PodPending:
		return release.EvictionIgnoresUnready
	}
	return release.EvictionIgnoresUnready && e.pod.DeletionTimestamp != nil
}

// budget finds the one budget of the pod, nil if there is none. Errors: there are several.
func (e *evicting) budget(p *sim.Proc) (*policyv1.PodDisruptionBudget, error) {
	list := e.server.newRequest(&api.Request{Verb: api.List, Resource: api.PodDisruptionBudgets, Namespace: e.Namespace,
		User: loopbackUser, UserAgent: e.UserAgent})
	list.deadline, list.cause, list.mutating = e.deadline, e.cause, true
	found, err := list.list(p)
	if err != nil {
		return nil, err
	}
	var budget *policyv1.PodDisruptionBudget
	for _, item := range found.Items {
		pdb := item.(*policyv1.PodDisruptionBudget)
		selector, err := metav1.LabelSelectorAsSelector(pdb.Spec.Selector)
		if err != nil || !selector.Matches(labels.Set(e.pod.Labels)) {
			continue
		}
		if budget != nil {
			return nil, &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 500,
				Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}}
		}
		budget = pdb
	}
	return budget, nil
}

// unhealthyMayGo reports whether the pod is unready and may go without being counted.
func (e *evicting) unhealthyMayGo(pdb *policyv1.PodDisruptionBudget) bool {
	for i := range e.pod.Status.Conditions {
		if c := &e.pod.Status.Conditions[i]; c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	if !e.server.release.EvictionIgnoresUnready {
		return false
	}
	policy := pdb.Spec.UnhealthyPodEvictionPolicy
	if policy != nil && *policy == policyv1.AlwaysAllow && e.server.release.UnhealthyPodEvictionPolicy {
		return true
	}
	return pdb.Status.CurrentHealthy >= pdb.Status.DesiredHealthy && pdb.Status.DesiredHealthy > 0
}

// decrement takes one disruption from the budget, or says why there is none.
func (e *evicting) decrement(p *sim.Proc, pdb *policyv1.PodDisruptionBudget) error {
	q := e.server.newRequest(&api.Request{Verb: api.Update, Resource: api.PodDisruptionBudgets, Subresource: "status",
		Namespace: pdb.Namespace, Name: pdb.Name, User: loopbackUser})
	q.deadline, q.cause = e.deadline, e.cause
	// GuaranteedUpdate stands for the conflicts and retries of the real one, which reads the budget again each time.
	_, err := q.update(p, "Updated", func(existing api.Object) (change, error) {
		old := existing.(*policyv1.PodDisruptionBudget)
		if err := refusal(old); err != nil {
			return change{}, err
		}
		next := old.DeepCopy()
		next.Status.DisruptionsAllowed--
		if next.Status.DisruptionsAllowed == 0 {
			e.server.updateDisruptionAllowed(next)
		}
		if next.Status.DisruptedPods == nil {
			next.Status.DisruptedPods = map[string]metav1.Time{}
		}
		next.Status.DisruptedPods[e.Name] = e.server.now()
		return change{object: next, keep: e.DryRun}, nil
	})
	return err
}

// refusal says why a budget allows no disruption now, nil if it does.
func refusal(pdb *policyv1.PodDisruptionBudget) error {
	group := schema.GroupResource{Group: "policy", Resource: "poddisruptionbudget"}
	status := &pdb.Status
	switch {
	case status.ObservedGeneration < pdb.Generation:
		return tooManyRequests(pdb.Name)
	case status.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(group, pdb.Name, fmt.Errorf("pdb disruptions allowed is negative"))
	case len(status.DisruptedPods) > maxDisruptedPods:
		return apierrors.NewForbidden(group, pdb.Name,
			fmt.Errorf("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case status.DisruptionsAllowed > 0:
		return nil
	}
	why := fmt.Sprintf("The disruption budget %s does not allow evicting pods currently", pdb.Name)
	c := meta.FindStatusCondition(status.Conditions, policyv1.DisruptionAllowedCondition)
	said := c != nil && c.Status == metav1.ConditionFalse && c.Message != ""
	switch {
	case said && c.Reason == policyv1.SyncFailedReason:
		why += " because it failed sync: " + c.Message
	case status.CurrentHealthy <= status.DesiredHealthy:
		why = fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", pdb.Name,
			status.DesiredHealthy, status.CurrentHealthy)
	case said:
		why += fmt.Sprintf(" (%s): %s", c.Reason, c.Message)
	}
	err := apierrors.NewTooManyRequests(evictionRefused, 0)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: why}}
	return err
}

// tooManyRequests is a refusal that passes: the controller has not looked yet, or the pod has changed.
func tooManyRequests(budget string) error {
	err := apierrors.NewTooManyRequests(evictionRefused, evictionRetry)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause,
		Message: fmt.Sprintf("The disruption budget %s is still being processed by the server.", budget)}}
	return err
}

// updateDisruptionAllowed is pdbhelper.UpdateDisruptionAllowedCondition for a budget that is used up
// (component-helpers apps/poddisruptionbudget/helpers.go).
func (s *Server) updateDisruptionAllowed(pdb *policyv1.PodDisruptionBudget) {
	c := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse,
		Reason: policyv1.InsufficientPodsReason, ObservedGeneration: pdb.Status.ObservedGeneration,
		LastTransitionTime: s.now()}
	for i := range pdb.Status.Conditions {
		if old := &pdb.Status.Conditions[i]; old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	pdb.Status.Conditions = append(pdb.Status.Conditions, c)
}

// delete marks the pod as a target of disruption and deletes it. guarded: only if it is still what was read.
func (e *evicting) delete(p *sim.Proc, guarded bool) error {
	del := *e.request
	r := *e.Request
	del.Request = &r
	r.Verb, r.GracePeriodSeconds, r.Preconditions = api.Delete, e.options.GracePeriodSeconds, e.options.Preconditions
	r.PropagationPolicy = e.options.PropagationPolicy
	if guarded && (r.Preconditions == nil || r.Preconditions.ResourceVersion == nil) {
		pre := metav1.Preconditions{ResourceVersion: &e.pod.ResourceVersion}
		if r.Preconditions != nil {
			pre.UID = r.Preconditions.UID
		}
		r.Preconditions = &pre
	}
	if e.server.release.DisruptionTargetPodState && !e.DryRun {
		marked, err := del.update(p, "Updated", func(existing api.Object) (change, error) {
			if err := del.checkPreconditions(existing); err != nil {
				return change{}, err
			}
			pod := existing.(*corev1.Pod).DeepCopy()
			setPodCondition(pod, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
				Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting"}, e.server.now())
			return change{object: pod}, nil
		})
		if err != nil {
			return err
		}
		if r.Preconditions != nil && r.Preconditions.ResourceVersion != nil {
			version := marked.GetResourceVersion()
			r.Preconditions = &metav1.Preconditions{UID: r.Preconditions.UID, ResourceVersion: &version}
		}
	}
	_, err := del.remove(p)
	return err
}
