package controllers

import (
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's disruption controller (pkg/controller/disruption, v1.36): the status of
// PodDisruptionBudgets. Leaves out: scale subresources of custom resources, stale DisruptionTarget conditions.

// disruptionTimeout is how long an eviction that the API server allowed may take until the pod is seen to be deleted
// (pkg/controller/disruption DeletionTimeout).
const disruptionTimeout = 2 * time.Minute

// disruptionController is the controller.
type disruptionController struct {
	*manager
	budgets *controlplane.Informer[*policyv1.PodDisruptionBudget]
	sets    *controlplane.Informer[*appsv1.StatefulSet]
	deploys *controlplane.Informer[*appsv1.Deployment]
	byNS    *controlplane.Index[*corev1.Pod]
	queue   *controlplane.WorkQueue[api.Key]
}

func newDisruptionController(m *manager) *disruptionController {
	dc := &disruptionController{manager: m, budgets: informerFor[*policyv1.PodDisruptionBudget](m,
		api.PodDisruptionBudgets),
		sets: informerFor[*appsv1.StatefulSet](m, api.StatefulSets), deploys: informerFor[*appsv1.Deployment](m,
			api.Deployments),
		byNS:  m.pods.Index(func(pod *corev1.Pod) string { return pod.Namespace }),
		queue: controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits())}
	dc.budgets.Handle(controlplane.Handler[*policyv1.PodDisruptionBudget]{
		OnAdd:    func(b *policyv1.PodDisruptionBudget) { dc.queue.Add(api.KeyOf(b)) },
		OnUpdate: func(_, b *policyv1.PodDisruptionBudget) { dc.queue.Add(api.KeyOf(b)) },
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd: dc.podChanged,
		OnUpdate: func(old, pod *corev1.Pod) {
			if isPodReady(old) != isPodReady(pod) || (old.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) ||
				old.Status.Phase != pod.Status.Phase || !maps.Equal(old.Labels, pod.Labels) {
				dc.podChanged(pod)
			}
		},
		OnDelete: func(pod *corev1.Pod, _ bool) { dc.podChanged(pod) },
	})
	return dc
}

func (dc *disruptionController) run() {
	dc.whenSynced("disruption", func(*sim.Proc) {
		dc.queue.RunRetrying("disruption", 1, 0, dc.sync)
	}, dc.pods, dc.budgets, dc.replicaSets, dc.sets, dc.deploys)
}

func (dc *disruptionController) podChanged(pod *corev1.Pod) {
	for i := range dc.budgets.Len() {
		if b := dc.budgets.At(i); b.Namespace == pod.Namespace && budgetSelects(b.Spec.Selector, pod) {
			dc.queue.Add(api.KeyOf(b))
		}
	}
}

// budgetSelects is selects, but an empty selector selects all (policy/v1).
func budgetSelects(selector *metav1.LabelSelector, pod *corev1.Pod) bool {
	if selector != nil && len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return true
	}
	return selects(selector, pod.Labels)
}

func (dc *disruptionController) sync(p *sim.Proc, key api.Key) error {
	budget, ok := dc.budgets.Get(key)
	if !ok || budget.DeletionTimestamp != nil {
		return nil
	}
	var pods []*corev1.Pod
	for _, pod := range dc.byNS.Get(budget.Namespace) {
		if budgetSelects(budget.Spec.Selector, pod) && !isTerminal(pod) {
			pods = append(pods, pod)
		}
	}
	expected, desired := dc.expectedPods(budget, pods)
	disrupted, recheck := dc.disruptedPods(budget, pods)
	current := int32(0)
	for _, pod := range pods {
		if _, evicted := disrupted[pod.Name]; !evicted && pod.DeletionTimestamp == nil && isPodReady(pod) {
			current++
		}
	}
	if recheck > 0 {
		dc.queue.AddAfter(key, recheck)
	}
	allowed := max(current-desired, 0)
	if expected <= 0 {
		allowed = 0
	}
	old := &budget.Status
	if old.CurrentHealthy == current && old.DesiredHealthy == desired && old.ExpectedPods == expected &&
		old.DisruptionsAllowed == allowed && old.ObservedGeneration == budget.Generation &&
		maps.EqualFunc(old.DisruptedPods, disrupted, func(a, b metav1.Time) bool { return a.Equal(&b) }) {
		return nil
	}
	copied := budget.DeepCopy()
	copied.Status.CurrentHealthy, copied.Status.DesiredHealthy, copied.Status.ExpectedPods = current, desired, expected
	copied.Status.DisruptionsAllowed, copied.Status.ObservedGeneration = allowed, budget.Generation
	copied.Status.DisruptedPods = disrupted
	dc.setAllowedCondition(copied)
	_, err := api.UpdateStatus(p, dc.client, copied)
	return err
}

// expectedPods returns how many pods there should be and how many must be healthy.
func (dc *disruptionController) expectedPods(budget *policyv1.PodDisruptionBudget,
	pods []*corev1.Pod) (expected, desired int32) {
	spec := &budget.Spec
	switch {
	case spec.MaxUnavailable != nil:
		expected = dc.expectedScale(pods)
		return expected, max(expected-scaled(spec.MaxUnavailable, expected, true), 0)
	case spec.MinAvailable == nil:
		return int32(len(pods)), 0
	case spec.MinAvailable.Type == intstr.Int:
		return int32(len(pods)), spec.MinAvailable.IntVal
	}
	expected = dc.expectedScale(pods)
	return expected, scaled(spec.MinAvailable, expected, true)
}

// expectedScale sums up the replicas that the pods' controllers want; a ReplicaSet's Deployment counts in its place.
func (dc *disruptionController) expectedScale(pods []*corev1.Pod) (total int32) {
	counted := map[string]bool{}
	for _, pod := range pods {
		ref := controllerOf(pod)
		if ref == nil || counted[string(ref.UID)] {
			continue
		}
		uid, replicas := string(ref.UID), int32(0)
		switch ref.Kind {
		case "ReplicaSet":
			rs, ok := dc.replicaSets.Named(pod.Namespace, ref.Name)
			if !ok {
				continue
			}
			replicas = replicasOf(rs.Spec.Replicas)
			if owner := controllerOf(rs); owner != nil && owner.Kind == "Deployment" {
				if d, ok := dc.deploys.Named(pod.Namespace, owner.Name); ok {
					uid, replicas = string(owner.UID), replicasOf(d.Spec.Replicas)
				}
			}
		case "StatefulSet":
			set, ok := dc.sets.Named(pod.Namespace, ref.Name)
			if !ok {
				continue
			}
			replicas = replicasOf(set.Spec.Replicas)
		default:
			continue
		}
		counted[string(ref.UID)] = true
		if uid == string(ref.UID) || !counted[uid] {
			counted[uid] = true
			total += replicas
		}
	}
	return total
}

// disruptedPods returns the evictions under way, and when the first of them counts as failed.
func (dc *disruptionController) disruptedPods(budget *policyv1.PodDisruptionBudget,
	pods []*corev1.Pod) (map[string]metav1.Time, time.Duration) {
	if len(budget.Status.DisruptedPods) == 0 {
		return nil, 0
	}
	now := dc.process.Machine().Clock().Now()
	left := map[string]metav1.Time{}
	recheck := time.Duration(0)
	for _, pod := range pods {
		at, ok := budget.Status.DisruptedPods[pod.Name]
		if !ok || pod.DeletionTimestamp != nil {
			continue
		}
		if until := at.Add(disruptionTimeout).Sub(now); until > 0 {
			left[pod.Name] = at
			if recheck == 0 || until < recheck {
				recheck = until
			}
		}
	}
	return left, recheck
}

// setAllowedCondition sets DisruptionAllowed (component-helpers apps/poddisruptionbudget).
func (dc *disruptionController) setAllowedCondition(budget *policyv1.PodDisruptionBudget) {
	c := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse,
		Reason: policyv1.InsufficientPodsReason, ObservedGeneration: budget.Generation, LastTransitionTime: dc.now()}
	if budget.Status.DisruptionsAllowed > 0 {
		c.Status, c.Reason = metav1.ConditionTrue, policyv1.SufficientPodsReason
	}
	for _, old := range budget.Status.Conditions {
		if old.Type == c.Type && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	budget.Status.Conditions = append(slices.DeleteFunc(slices.Clone(budget.Status.Conditions),
		func(old metav1.Condition) bool { return old.Type == c.Type }), c)
}
