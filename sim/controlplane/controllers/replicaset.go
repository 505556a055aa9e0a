package controllers

import (
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's ReplicaSet controller (pkg/controller/replicaset, v1.36): adoption, expectations,
// slow start, the order of victims, status. Leaves out: ReplicationControllers.

const (
	// pkg/controller/replicaset BurstReplicas.
	burstReplicas = 500
	// pkg/controller/replicaset statusUpdateRetries.
	statusUpdateRetries = 1
)

// replicaSetController is the controller.
type replicaSetController struct {
	*manager
	control      *podControl
	queue        *controlplane.WorkQueue[api.Key]
	expectations *controlplane.Expectations
	tallies      map[types.UID]*podTally
}

func newReplicaSetController(m *manager) *replicaSetController {
	rsc := &replicaSetController{manager: m, control: newPodControl(m, "replicaset-controller"),
		queue:        controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits()),
		expectations: controlplane.NewExpectations(m.kernel), tallies: map[types.UID]*podTally{}}
	m.pods.Tally(rsc.tallyPod)
	m.replicaSets.Handle(controlplane.Handler[*appsv1.ReplicaSet]{
		OnAdd:    func(rs *appsv1.ReplicaSet) { rsc.queue.Add(api.KeyOf(rs)) },
		OnUpdate: func(_, rs *appsv1.ReplicaSet) { rsc.queue.Add(api.KeyOf(rs)) },
		OnDelete: func(rs *appsv1.ReplicaSet, _ bool) {
			rsc.expectations.Delete(api.KeyOf(rs))
			delete(rsc.tallies, rs.UID)
			rsc.queue.Add(api.KeyOf(rs))
		},
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd: rsc.addPod, OnUpdate: rsc.updatePod,
		OnDelete: func(pod *corev1.Pod, _ bool) { rsc.deletePod(pod) },
	})
	return rsc
}

func (rsc *replicaSetController) run() {
	rsc.whenSynced("replicaset", func(*sim.Proc) {
		rsc.queue.RunRetrying("replicaset", int(rsc.options.ConcurrentReplicaSetSyncs), 0, rsc.sync)
	}, rsc.pods, rsc.replicaSets)
}

// resolve returns the ReplicaSet that a reference means, nil if it is another's or gone.
func (rsc *replicaSetController) resolve(namespace string, ref *metav1.OwnerReference) *appsv1.ReplicaSet {
	if ref == nil || ref.Kind != "ReplicaSet" {
		return nil
	}
	rs, ok := rsc.replicaSets.Named(namespace, ref.Name)
	if !ok || rs.UID != ref.UID {
		return nil
	}
	return rs
}

func (rsc *replicaSetController) addPod(pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil {
		rsc.deletePod(pod) // a restart of the controller may show a pod for the first time that is being deleted
		return
	}
	if ref := controllerOf(pod); ref != nil {
		if rs := rsc.resolve(pod.Namespace, ref); rs != nil {
			rsc.expectations.CreationObserved(api.KeyOf(rs))
			rsc.queue.Add(api.KeyOf(rs))
		}
		return
	}
	rsc.enqueueMatching(pod)
}

func (rsc *replicaSetController) updatePod(old, pod *corev1.Pod) {
	relabelled := !maps.Equal(old.Labels, pod.Labels)
	if pod.DeletionTimestamp != nil {
		rsc.deletePod(pod)
		if relabelled {
			rsc.deletePod(old)
		}
		return
	}
	ref, before := controllerOf(pod), controllerOf(old)
	moved := controllerUID(pod) != controllerUID(old)
	if moved && before != nil {
		if rs := rsc.resolve(old.Namespace, before); rs != nil {
			rsc.queue.Add(api.KeyOf(rs))
		}
	}
	if ref != nil {
		rs := rsc.resolve(pod.Namespace, ref)
		if rs == nil {
			return
		}
		rsc.queue.Add(api.KeyOf(rs))
		if !isPodReady(old) && isPodReady(pod) && rs.Spec.MinReadySeconds > 0 {
			rsc.queue.AddAfter(api.KeyOf(rs), time.Duration(rs.Spec.MinReadySeconds)*time.Second)
		}
		return
	}
	if relabelled || moved {
		rsc.enqueueMatching(pod)
	}
}

func (rsc *replicaSetController) deletePod(pod *corev1.Pod) {
	if rs := rsc.resolve(pod.Namespace, controllerOf(pod)); rs != nil {
		rsc.expectations.DeletionObserved(api.KeyOf(rs), api.KeyOf(pod))
		rsc.queue.Add(api.KeyOf(rs))
	}
}

// enqueueMatching queues the ReplicaSets that might adopt an orphan.
func (rsc *replicaSetController) enqueueMatching(pod *corev1.Pod) {
	if len(pod.Labels) == 0 {
		return
	}
	for i := range rsc.replicaSets.Len() {
		rs := rsc.replicaSets.At(i)
		if rs.Namespace == pod.Namespace && selects(rs.Spec.Selector, pod.Labels) {
			rsc.queue.Add(api.KeyOf(rs))
		}
	}
}

// selects reports whether a label selector selects labels; an invalid or empty one selects nothing.
func selects(selector *metav1.LabelSelector, set map[string]string) bool {
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return false
	}
	if len(selector.MatchExpressions) == 0 {
		for key, value := range selector.MatchLabels { // any order: all must match
			if set[key] != value {
				return false
			}
			if _, has := set[key]; !has {
				return false
			}
		}
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(set))
}

func (rsc *replicaSetController) sync(p *sim.Proc, key api.Key) error {
	rs, ok := rsc.replicaSets.Get(key)
	if !ok {
		rsc.expectations.Delete(key)
		return nil
	}
	satisfied := rsc.expectations.Satisfied(key) && rs.DeletionTimestamp == nil
	count, settled := rsc.settled(rs)
	var manageErr error
	missing := int(replicasOf(rs.Spec.Replicas)) - count.active
	switch {
	case settled && missing > 0 && satisfied: // which pods there are does not matter
		manageErr = rsc.createReplicas(p, missing, rs)
	case !settled || satisfied && missing < 0:
		owned := rsc.candidates(rs)
		c := claimer[*corev1.Pod]{manager: rsc.manager, owner: rs,
			match: func(pod *corev1.Pod) bool { return selects(rs.Spec.Selector, pod.Labels) }}
		active, err := c.claim(p, filterActive(owned))
		if err != nil {
			return err
		}
		count = countPods(rs, active, owned)
		if missing = int(replicasOf(rs.Spec.Replicas)) - len(active); satisfied && missing > 0 {
			manageErr = rsc.createReplicas(p, missing, rs)
		} else if satisfied && missing < 0 {
			manageErr = rsc.deleteReplicas(p, active, -missing, rs)
		}
		// Availability is a matter of time, and time has passed.
		count.available = availableOf(active, rs.Spec.MinReadySeconds, rsc.now())
	}
	status := rsc.calculateStatus(rs, count, manageErr)
	if err := rsc.updateStatus(p, rs, status); err != nil {
		return err
	}
	if manageErr != nil {
		return manageErr
	}
	if rs.Spec.MinReadySeconds > 0 && status.ReadyReplicas != status.AvailableReplicas {
		rsc.queue.AddAfter(key, time.Duration(rs.Spec.MinReadySeconds)*time.Second)
	}
	return nil
}

func filterActive(pods []*corev1.Pod) []*corev1.Pod {
	active := make([]*corev1.Pod, 0, len(pods))
	for _, pod := range pods {
		if isActive(pod) {
			active = append(active, pod)
		}
	}
	return active
}

// createReplicas creates as many pods as are missing (upstream's manageReplicas, when there are too few).
func (rsc *replicaSetController) createReplicas(p *sim.Proc, missing int, rs *appsv1.ReplicaSet) error {
	key, cause, owner := api.KeyOf(rs), rsc.kernel.Cause(), ownerReference(rs)
	count := min(missing, burstReplicas)
	rsc.expectations.ExpectCreations(key, count)
	created, err := controlplane.SlowStartBatch(p, count, func(p *sim.Proc, _ int) error {
		p.Because(cause)
		err := rsc.control.create(p, podFromTemplate(&rs.Spec.Template, rs, owner), rs)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		return err
	})
	for range count - created {
		rsc.expectations.CreationObserved(key)
	}
	return err
}

// deleteReplicas deletes as many of the pods as are too many (upstream's manageReplicas, when there are).
func (rsc *replicaSetController) deleteReplicas(p *sim.Proc, active []*corev1.Pod, excess int,
	rs *appsv1.ReplicaSet) error {
	key, cause := api.KeyOf(rs), rsc.kernel.Cause()
	victims := rsc.podsToDelete(active, rs, min(excess, burstReplicas))
	keys := make([]api.Key, len(victims))
	for i, pod := range victims {
		keys[i] = api.KeyOf(pod)
	}
	rsc.expectations.ExpectDeletions(key, keys)
	_, err := controlplane.Parallel(p, len(victims), func(p *sim.Proc, i int) error {
		p.Because(cause)
		err := rsc.control.delete(p, victims[i], rs)
		if err != nil {
			rsc.expectations.DeletionObserved(key, keys[i])
		}
		if api.IsNotFound(err) {
			return nil
		}
		return err
	})
	return err
}

// podsToDelete returns the count pods that the ReplicaSet can do without best.
func (rsc *replicaSetController) podsToDelete(active []*corev1.Pod, rs *appsv1.ReplicaSet, count int) []*corev1.Pod {
	if count >= len(active) {
		return active
	}
	onNode := map[string]int{}
	for _, pod := range rsc.relatedPods(rs) {
		if isActive(pod) {
			onNode[pod.Spec.NodeName]++
		}
	}
	order := victimOrder{now: rsc.process.Machine().Clock().Now(), rank: onNode,
		logarithmic: rsc.release.LogarithmicScaleDown,
		cost:        rsc.release.PodDeletionCost}
	slices.SortStableFunc(active, order.compare)
	return active[:count]
}

// relatedPods returns the pods of all ReplicaSets of the same owner.
func (rsc *replicaSetController) relatedPods(rs *appsv1.ReplicaSet) []*corev1.Pod {
	related := []*appsv1.ReplicaSet{rs}
	if uid := controllerUID(rs); uid != "" {
		related = rsc.rsByOwner.Get(uid)
	}
	var pods []*corev1.Pod
	for _, other := range related {
		pods = append(pods, rsc.podsByOwner.Get(string(other.UID))...)
	}
	return pods
}

func (rsc *replicaSetController) calculateStatus(rs *appsv1.ReplicaSet, count podCount,
	manageErr error) appsv1.ReplicaSetStatus {
	status := *rs.Status.DeepCopy()
	status.Replicas, status.FullyLabeledReplicas = int32(count.active), int32(count.fullyLabeled)
	status.ReadyReplicas, status.AvailableReplicas = int32(count.ready), int32(count.available)
	terminating := int32(count.terminating)
	if rsc.release.TerminatingReplicas {
		status.TerminatingReplicas = &terminating
	}
	failed := slices.ContainsFunc(status.Conditions, isReplicaFailure)
	if manageErr != nil && !failed {
		reason := "FailedCreate"
		if count.active > int(replicasOf(rs.Spec.Replicas)) {
			reason = "FailedDelete"
		}
		status.Conditions = append(status.Conditions, appsv1.ReplicaSetCondition{Type: appsv1.ReplicaSetReplicaFailure,
			Status: corev1.ConditionTrue, LastTransitionTime: rsc.now(), Reason: reason, Message: manageErr.Error()})
	} else if manageErr == nil && failed {
		status.Conditions = slices.DeleteFunc(status.Conditions, isReplicaFailure)
	}
	return status
}

func isReplicaFailure(c appsv1.ReplicaSetCondition) bool {
	return c.Type == appsv1.ReplicaSetReplicaFailure
}

func containsAll(set, subset map[string]string) bool {
	for key, value := range subset { // any order: all must match
		if set[key] != value {
			return false
		}
	}
	return true
}

// updateStatus writes a status that differs from the ReplicaSet's.
func (rsc *replicaSetController) updateStatus(p *sim.Proc, rs *appsv1.ReplicaSet,
	status appsv1.ReplicaSetStatus) error {
	old := &rs.Status
	if old.Replicas == status.Replicas && old.FullyLabeledReplicas == status.FullyLabeledReplicas &&
		old.ReadyReplicas == status.ReadyReplicas && old.AvailableReplicas == status.AvailableReplicas &&
		equalPointers(old.TerminatingReplicas, status.TerminatingReplicas) && rs.Generation == old.ObservedGeneration &&
		len(old.Conditions) == len(status.Conditions) {
		return nil
	}
	status.ObservedGeneration = rs.Generation
	for try := 0; ; try++ {
		copied := *rs // its status is all that is written
		copied.Status = status
		_, err := api.UpdateStatus(p, rsc.client, &copied)
		if err == nil || try >= statusUpdateRetries {
			return err
		}
		if rs, err = api.GetObject[*appsv1.ReplicaSet](p, rsc.client, rs.Namespace, rs.Name); err != nil {
			return err
		}
	}
}

func equalPointers[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// replicasOf is what a number of replicas defaults to.
func replicasOf(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}
