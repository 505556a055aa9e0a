package controllers

import (
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's disruption controller (pkg/controller/disruption, v1.36): the status of
// PodDisruptionBudgets, conditions DisruptionTarget that nothing followed. Leaves out: scale subresources of custom
// resources.

const (
	// disruptionTimeout is how long an eviction that the API server allowed may take until the pod is seen to be deleted
	// (pkg/controller/disruption DeletionTimeout).
	disruptionTimeout = 2 * time.Minute
	// staleDisruption is after how long the condition DisruptionTarget of a pod that was not deleted becomes False
	// (pkg/controller/disruption stalePodDisruptionTimeout).
	staleDisruption = 2 * time.Minute
)

// disruptionController is the controller.
type disruptionController struct {
	*manager
	budgets *controlplane.Informer[*policyv1.PodDisruptionBudget]
	sets    *controlplane.Informer[*appsv1.StatefulSet]
	deploys *controlplane.Informer[*appsv1.Deployment]
	byNS    *controlplane.Index[*corev1.Pod]
	queue   *controlplane.WorkQueue[api.Key]
	stale   *controlplane.WorkQueue[api.Key] // pods
	events  *controlplane.Recorder
}

func newDisruptionController(m *manager) *disruptionController {
	dc := &disruptionController{manager: m, budgets: informerFor[*policyv1.PodDisruptionBudget](m,
		api.PodDisruptionBudgets),
		sets: informerFor[*appsv1.StatefulSet](m, api.StatefulSets), deploys: informerFor[*appsv1.Deployment](m,
			api.Deployments),
		byNS:   m.pods.Index(func(pod *corev1.Pod) string { return pod.Namespace }),
		queue:  controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits()),
		stale:  controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits()),
		events: m.recorder("controllermanager")}
	dc.budgets.Handle(controlplane.Handler[*policyv1.PodDisruptionBudget]{
		OnAdd:    func(b *policyv1.PodDisruptionBudget) { dc.queue.Add(api.KeyOf(b)) },
		OnUpdate: func(_, b *policyv1.PodDisruptionBudget) { dc.queue.Add(api.KeyOf(b)) },
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd: func(pod *corev1.Pod) {
			dc.podChanged(pod)
			dc.noteStale(pod)
		},
		OnUpdate: func(old, pod *corev1.Pod) {
			if isPodReady(old) != isPodReady(pod) || (old.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) ||
				old.Status.Phase != pod.Status.Phase || !maps.Equal(old.Labels, pod.Labels) {
				dc.podChanged(pod)
			}
			dc.noteStale(pod)
		},
		OnDelete: func(pod *corev1.Pod, _ bool) { dc.podChanged(pod) },
	})
	return dc
}

func (dc *disruptionController) run() {
	dc.whenSynced("disruption", func(*sim.Proc) {
		dc.queue.RunRetrying("disruption", 1, 0, dc.sync)
		dc.stale.RunRetrying("disruption-stale", 1, 0, dc.syncStale)
	}, dc.pods, dc.budgets, dc.replicaSets, dc.sets, dc.deploys)
}

// podChanged queues the budget that a pod is in; of several the first, as upstream: the others are not kept up to date.
func (dc *disruptionController) podChanged(pod *corev1.Pod) {
	var first *policyv1.PodDisruptionBudget
	for i := range dc.budgets.Len() {
		b := dc.budgets.At(i)
		if b.Namespace != pod.Namespace || !budgetSelects(b.Spec.Selector, pod) {
			continue
		}
		if first == nil {
			first = b
			dc.queue.Add(api.KeyOf(b))
			continue
		}
		dc.record(pod, corev1.EventTypeWarning, "MultiplePodDisruptionBudgets", fmt.Sprintf(
			"Pod %q/%q matches multiple PodDisruptionBudgets.  Chose %q arbitrarily.", pod.Namespace, pod.Name, first.Name))
		return
	}
}

func (dc *disruptionController) record(obj api.Object, kind, reason, message string) {
	dc.events.Record(controlplane.Event{Resource: api.ResourceOf(obj), Object: obj, Type: kind, Reason: reason,
		Message: message, Trace: sim.Event{Level: sim.Detail}})
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
	if !ok {
		return nil
	}
	err := dc.trySync(p, budget)
	if err == nil || api.IsConflict(err) {
		return err
	}
	// While nobody knows how many pods there should be, none may go (failSafe).
	copied := budget.DeepCopy()
	copied.Status.DisruptionsAllowed = 0
	setAllowed(copied, metav1.Condition{Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason,
		Message: err.Error(), ObservedGeneration: copied.Status.ObservedGeneration, LastTransitionTime: dc.now()})
	_, err = api.UpdateStatus(p, dc.client, copied)
	return err
}

func (dc *disruptionController) trySync(p *sim.Proc, budget *policyv1.PodDisruptionBudget) error {
	var pods []*corev1.Pod
	for _, pod := range dc.byNS.Get(budget.Namespace) {
		if budgetSelects(budget.Spec.Selector, pod) {
			pods = append(pods, pod)
		}
	}
	if len(pods) == 0 {
		dc.record(budget, corev1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	expected, desired, unmanaged, err := dc.expectedPods(budget, pods)
	if err != nil {
		dc.record(budget, corev1.EventTypeWarning, "CalculateExpectedPodCountFailed",
			fmt.Sprintf("Failed to calculate the number of expected pods: %v", err))
		return err
	}
	if unmanaged > 0 {
		dc.record(budget, corev1.EventTypeWarning, "UnmanagedPods", fmt.Sprintf("Pods selected by this "+
			"PodDisruptionBudget (selector: %v) were found to be unmanaged. As a result, the status of the PDB cannot be "+
			"calculated correctly, which may result in undefined behavior. To account for these pods please set "+
			"\".spec.minAvailable\" field of the PDB to an integer value.", budget.Spec.Selector))
	}
	disrupted, recheck := dc.disruptedPods(budget, pods)
	current := int32(0)
	for _, pod := range pods {
		if _, evicted := disrupted[pod.Name]; !evicted && pod.DeletionTimestamp == nil && isPodReady(pod) {
			current++
		}
	}
	if err := dc.updateStatus(p, budget, policyv1.PodDisruptionBudgetStatus{CurrentHealthy: current,
		DesiredHealthy: desired, ExpectedPods: expected, DisruptedPods: disrupted}); err != nil {
		return err
	}
	if recheck > 0 {
		dc.queue.AddAfter(api.KeyOf(budget), recheck)
	}
	return nil
}

// updateStatus writes a budget's status, with how many disruptions it allows, if it differs.
func (dc *disruptionController) updateStatus(p *sim.Proc, budget *policyv1.PodDisruptionBudget,
	status policyv1.PodDisruptionBudgetStatus) error {
	status.DisruptionsAllowed = max(status.CurrentHealthy-status.DesiredHealthy, 0)
	if status.ExpectedPods <= 0 {
		status.DisruptionsAllowed = 0
	}
	status.ObservedGeneration = budget.Generation
	old := &budget.Status
	if old.CurrentHealthy == status.CurrentHealthy && old.DesiredHealthy == status.DesiredHealthy &&
		old.ExpectedPods == status.ExpectedPods && old.DisruptionsAllowed == status.DisruptionsAllowed &&
		old.ObservedGeneration == status.ObservedGeneration &&
		maps.EqualFunc(old.DisruptedPods, status.DisruptedPods, func(a, b metav1.Time) bool { return a.Equal(&b) }) &&
		saysWhetherAllowed(old) {
		return nil
	}
	copied := budget.DeepCopy()
	status.Conditions = copied.Status.Conditions
	copied.Status = status
	dc.setAllowedCondition(copied)
	_, err := api.UpdateStatus(p, dc.client, copied)
	return err
}

// saysWhetherAllowed reports whether the condition DisruptionAllowed is what the status' numbers make it
// (component-helpers apps/poddisruptionbudget ConditionsAreUpToDate).
func saysWhetherAllowed(status *policyv1.PodDisruptionBudgetStatus) bool {
	c := meta.FindStatusCondition(status.Conditions, policyv1.DisruptionAllowedCondition)
	if c == nil || c.ObservedGeneration != status.ObservedGeneration {
		return false
	}
	if status.DisruptionsAllowed > 0 {
		return c.Status == metav1.ConditionTrue && c.Reason == policyv1.SufficientPodsReason
	}
	return c.Status == metav1.ConditionFalse && c.Reason == policyv1.InsufficientPodsReason
}

// expectedPods returns how many pods there should be and how many must be healthy, and how many nobody controls.
func (dc *disruptionController) expectedPods(budget *policyv1.PodDisruptionBudget,
	pods []*corev1.Pod) (expected, desired int32, unmanaged int, err error) {
	spec := &budget.Spec
	switch {
	case spec.MaxUnavailable != nil:
		expected, unmanaged, err = dc.expectedScale(pods)
		return expected, max(expected-scaled(spec.MaxUnavailable, expected, true), 0), unmanaged, err
	case spec.MinAvailable == nil:
		return 0, 0, 0, nil
	case spec.MinAvailable.Type == intstr.Int:
		return int32(len(pods)), spec.MinAvailable.IntVal, 0, nil
	}
	expected, unmanaged, err = dc.expectedScale(pods)
	return expected, scaled(spec.MinAvailable, expected, true), unmanaged, err
}

// expectedScale sums up the replicas that the pods' controllers want; a ReplicaSet's Deployment counts in its place.
func (dc *disruptionController) expectedScale(pods []*corev1.Pod) (total int32, unmanaged int, err error) {
	scales := map[string]int32{} // by the UID of what has a scale
	asked := map[string]bool{}   // by the UID of what controls a pod
	for _, pod := range pods {
		ref := controllerOf(pod)
		if ref == nil {
			if unmanaged++; !dc.release.BudgetsAllowUnmanaged {
				return 0, unmanaged, fmt.Errorf("found no controller ref for pod %q", pod.Name)
			}
			continue
		}
		if asked[string(ref.UID)] {
			continue
		}
		asked[string(ref.UID)] = true
		uid, scale, err := dc.scaleOf(pod, ref)
		if err != nil {
			return 0, unmanaged, err
		}
		scales[uid] = scale
	}
	for _, scale := range scales { // any order: a sum
		total += scale
	}
	return total, unmanaged, nil
}

// scaleOf finds how many replicas the controller of a pod wants, and whose number that is.
func (dc *disruptionController) scaleOf(pod *corev1.Pod, ref *metav1.OwnerReference) (string, int32, error) {
	none := fmt.Errorf("found no controllers for pod %q", pod.Name)
	switch ref.Kind {
	case "ReplicaSet":
		rs, ok := dc.replicaSets.Named(pod.Namespace, ref.Name)
		if !ok || rs.UID != ref.UID {
			return "", 0, none
		}
		owner := controllerOf(rs)
		if owner == nil || owner.Kind != "Deployment" {
			return string(rs.UID), replicasOf(rs.Spec.Replicas), nil
		}
		if d, ok := dc.deploys.Named(pod.Namespace, owner.Name); ok && d.UID == owner.UID {
			return string(d.UID), replicasOf(d.Spec.Replicas), nil
		}
		return string(rs.UID), replicasOf(rs.Spec.Replicas), nil // by its scale subresource
	case "StatefulSet":
		if set, ok := dc.sets.Named(pod.Namespace, ref.Name); ok && set.UID == ref.UID {
			return string(set.UID), replicasOf(set.Spec.Replicas), nil
		}
		return "", 0, none
	}
	if r := api.ResourceByGVK(schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)); r != nil && dc.release.Minor >= 15 {
		return "", 0, fmt.Errorf("%s does not implement the scale subresource", r.GroupResource())
	}
	return "", 0, none
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
		until := at.Add(disruptionTimeout).Sub(now)
		if until < 0 {
			dc.record(pod, corev1.EventTypeWarning, "NotDeleted", fmt.Sprintf(
				"Pod was expected by PDB %s/%s to be deleted but it wasn't", budget.Namespace, budget.Namespace))
			continue
		}
		left[pod.Name] = at
		if recheck == 0 || until < recheck {
			recheck = max(until, 1)
		}
	}
	return left, recheck
}

// setAllowedCondition sets DisruptionAllowed (component-helpers apps/poddisruptionbudget).
func (dc *disruptionController) setAllowedCondition(budget *policyv1.PodDisruptionBudget) {
	c := metav1.Condition{Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason,
		ObservedGeneration: budget.Status.ObservedGeneration, LastTransitionTime: dc.now()}
	if budget.Status.DisruptionsAllowed > 0 {
		c.Status, c.Reason = metav1.ConditionTrue, policyv1.SufficientPodsReason
	}
	setAllowed(budget, c)
}

// setAllowed makes c the condition DisruptionAllowed; its time changes with its status.
func setAllowed(budget *policyv1.PodDisruptionBudget, c metav1.Condition) {
	c.Type = policyv1.DisruptionAllowedCondition
	for _, old := range budget.Status.Conditions {
		if old.Type == c.Type && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	budget.Status.Conditions = append(slices.DeleteFunc(slices.Clone(budget.Status.Conditions),
		func(old metav1.Condition) bool { return old.Type == c.Type }), c)
}

// noteStale queues a pod that was marked as disrupted, for when it should have been deleted.
func (dc *disruptionController) noteStale(pod *corev1.Pod) {
	if wait, marked := dc.untilStale(pod); marked {
		dc.stale.AddAfter(api.KeyOf(pod), wait)
	}
}

// untilStale returns how long a pod may still be marked as disrupted without being deleted; marked: it is.
func (dc *disruptionController) untilStale(pod *corev1.Pod) (wait time.Duration, marked bool) {
	if pod.DeletionTimestamp != nil || isTerminal(pod) || !dc.release.DisruptionTargetPodState {
		return 0, false
	}
	c := podCondition(pod, corev1.DisruptionTarget)
	if c == nil || c.Status != corev1.ConditionTrue || c.Reason == corev1.PodReasonTerminationByKubelet {
		return 0, false
	}
	return max(c.LastTransitionTime.Add(staleDisruption).Sub(dc.process.Machine().Clock().Now()), 0), true
}

// syncStale says of a pod that was not deleted after all that it is not disrupted.
func (dc *disruptionController) syncStale(p *sim.Proc, key api.Key) error {
	pod, ok := dc.pods.Get(key)
	if !ok {
		return nil
	}
	wait, marked := dc.untilStale(pod)
	if wait > 0 {
		dc.stale.AddAfter(key, wait)
	}
	if wait > 0 || !marked {
		return nil
	}
	copied := withOwnConditions(pod)
	setPodCondition(copied, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionFalse,
		LastTransitionTime: dc.now()})
	_, err := api.UpdateStatus(p, dc.client, copied)
	return err
}
