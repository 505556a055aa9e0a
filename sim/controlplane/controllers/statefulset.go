package controllers

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's StatefulSet controller (pkg/controller/statefulset, v1.36): stable identities,
// ordered and parallel management, adoption, RollingUpdate with partition and maxUnavailable, OnDelete, start ordinals.
// Leaves out: PersistentVolumeClaims and their retention.

// statefulSetController is the controller.
type statefulSetController struct {
	*manager
	sets    *controlplane.Informer[*appsv1.StatefulSet]
	control *podControl
	history *revisionHistory
	queue   *controlplane.WorkQueue[api.Key]
}

func newStatefulSetController(m *manager) *statefulSetController {
	ssc := &statefulSetController{manager: m, sets: informerFor[*appsv1.StatefulSet](m, api.StatefulSets),
		control: newPodControl(m, "statefulset-controller"), history: newRevisionHistory(m),
		queue: controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits())}
	ssc.sets.Handle(controlplane.Handler[*appsv1.StatefulSet]{
		OnAdd:    func(set *appsv1.StatefulSet) { ssc.queue.Add(api.KeyOf(set)) },
		OnUpdate: func(_, set *appsv1.StatefulSet) { ssc.queue.Add(api.KeyOf(set)) },
		OnDelete: func(set *appsv1.StatefulSet, _ bool) { ssc.queue.Add(api.KeyOf(set)) },
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd:    func(pod *corev1.Pod) { ssc.podChanged(nil, pod) },
		OnUpdate: ssc.podChanged,
		OnDelete: func(pod *corev1.Pod, _ bool) { ssc.podChanged(pod, pod) },
	})
	return ssc
}

func (ssc *statefulSetController) run() {
	ssc.whenSynced("statefulset", func(*sim.Proc) {
		ssc.queue.RunRetrying("statefulset", int(ssc.options.ConcurrentStatefulSetSyncs), 0, ssc.sync)
	}, ssc.sets, ssc.pods, ssc.history.revisions)
}

func (ssc *statefulSetController) ownerOf(pod *corev1.Pod) *appsv1.StatefulSet {
	ref := controllerOf(pod)
	if ref == nil || ref.Kind != "StatefulSet" {
		return nil
	}
	if set, ok := ssc.sets.Named(pod.Namespace, ref.Name); ok && set.UID == ref.UID {
		return set
	}
	return nil
}

// podChanged queues the sets that a new, changed or deleted pod is about. old is nil for one that is new.
func (ssc *statefulSetController) podChanged(old, pod *corev1.Pod) {
	if old != nil && controllerUID(old) != controllerUID(pod) {
		if set := ssc.ownerOf(old); set != nil {
			ssc.queue.Add(api.KeyOf(set))
		}
	}
	if controllerOf(pod) != nil {
		set := ssc.ownerOf(pod)
		if set == nil {
			return
		}
		ssc.queue.Add(api.KeyOf(set))
		if old != nil && !isPodReady(old) && isPodReady(pod) && set.Spec.MinReadySeconds > 0 {
			ssc.queue.AddAfter(api.KeyOf(set), time.Duration(set.Spec.MinReadySeconds+1)*time.Second)
		}
		return
	}
	if old != pod && relabelledOrReleased(old, pod) {
		for i := range ssc.sets.Len() { // an orphan: whoever might adopt it
			if set := ssc.sets.At(i); set.Namespace == pod.Namespace && selects(set.Spec.Selector, pod.Labels) {
				ssc.queue.Add(api.KeyOf(set))
			}
		}
	}
}

func (ssc *statefulSetController) sync(p *sim.Proc, key api.Key) error {
	set, ok := ssc.sets.Get(key)
	if !ok {
		return nil
	}
	all, current, update, err := ssc.history.statefulSetRevisions(p, set)
	if err != nil {
		return err
	}
	s := &statefulSync{statefulSetController: ssc, set: set, update: update, current: current}
	s.all, err = ssc.claimPods(p, set, func(pod *corev1.Pod) bool {
		name, _ := splitOrdinal(pod.Name)
		return selects(set.Spec.Selector, pod.Labels) && name == set.Name
	})
	if err != nil {
		return err
	}
	if err = s.run(p); err != nil {
		return err
	}
	inUse := func(r *appsv1.ControllerRevision) bool {
		return r.Name == update.Name || r.Name == current.Name || slices.ContainsFunc(s.all,
			func(pod *corev1.Pod) bool { return pod.Labels[appsv1.StatefulSetRevisionLabel] == r.Name })
	}
	old := slices.DeleteFunc(all, inUse)
	if err = ssc.history.truncate(p, old, set.Spec.RevisionHistoryLimit, inUse); err != nil {
		return err
	}
	if set.Spec.MinReadySeconds > 0 && s.ready != s.available {
		ssc.queue.AddAfter(key, time.Duration(set.Spec.MinReadySeconds)*time.Second)
	}
	return nil
}

// statefulSync is one sync of one StatefulSet.
type statefulSync struct {
	*statefulSetController
	set              *appsv1.StatefulSet
	current, update  *appsv1.ControllerRevision
	replicas         []*corev1.Pod // by ordinal, from the first one on; nil where there is none
	condemned        []*corev1.Pod // beyond the replicas, highest ordinal first
	all              []*corev1.Pod
	updating         int32 // pods that were deleted for the update
	ready, available int32
}

// run brings the set closer to what it should be, and writes its status.
func (s *statefulSync) run(p *sim.Proc) error {
	s.sortPods()
	if s.set.DeletionTimestamp != nil {
		return s.updateStatus(p, s.all)
	}
	err := s.advance(p)
	statusErr := s.updateStatus(p, append(s.replicas, s.condemned...))
	if err != nil {
		return err
	}
	return statusErr
}

// sortPods finds the pods of the ordinals that there should be, and those beyond.
func (s *statefulSync) sortPods() {
	s.replicas = make([]*corev1.Pod, replicasOf(s.set.Spec.Replicas))
	for _, pod := range s.all {
		_, n := splitOrdinal(pod.Name)
		switch i := n - s.start(); {
		case i >= 0 && i < len(s.replicas):
			s.replicas[i] = pod
		case n >= 0:
			s.condemned = append(s.condemned, pod)
		}
	}
	slices.SortFunc(s.condemned, func(a, b *corev1.Pod) int {
		_, x := splitOrdinal(a.Name)
		_, y := splitOrdinal(b.Name)
		return y - x
	})
}

// start is the ordinal of the first replica.
func (s *statefulSync) start() int {
	if s.set.Spec.Ordinals == nil || !s.release.StatefulSetStartOrdinal {
		return 0
	}
	return int(s.set.Spec.Ordinals.Start)
}

// updateStatus writes the status that the pods make, if it differs. nil pods are not counted.
func (s *statefulSync) updateStatus(p *sim.Proc, pods []*corev1.Pod) error {
	status := appsv1.StatefulSetStatus{ObservedGeneration: s.set.Generation, CurrentRevision: s.current.Name,
		UpdateRevision: s.update.Name, CollisionCount: new(int32), Conditions: s.set.Status.Conditions}
	if s.set.Status.CollisionCount != nil {
		*status.CollisionCount = *s.set.Status.CollisionCount
	}
	for _, pod := range pods {
		if pod == nil {
			continue
		}
		status.Replicas++
		if isRunningAndReady(pod) {
			status.ReadyReplicas++
			if isPodAvailable(pod, s.set.Spec.MinReadySeconds, s.now()) {
				status.AvailableReplicas++
			}
		}
		if pod.DeletionTimestamp == nil {
			if pod.Labels[appsv1.StatefulSetRevisionLabel] == s.current.Name {
				status.CurrentReplicas++
			}
			if pod.Labels[appsv1.StatefulSetRevisionLabel] == s.update.Name {
				status.UpdatedReplicas++
			}
		}
	}
	s.ready, s.available = status.ReadyReplicas, status.AvailableReplicas
	status.CurrentReplicas -= s.updating
	s.completeUpdate(&status)
	old := &s.set.Status
	if old.ObservedGeneration >= status.ObservedGeneration && old.Replicas == status.Replicas &&
		old.ReadyReplicas == status.ReadyReplicas && old.AvailableReplicas == status.AvailableReplicas &&
		old.CurrentReplicas == status.CurrentReplicas && old.UpdatedReplicas == status.UpdatedReplicas &&
		old.CurrentRevision == status.CurrentRevision && old.UpdateRevision == status.UpdateRevision {
		return nil
	}
	copied := s.set.DeepCopy()
	copied.Status = status
	_, err := api.UpdateStatus(p, s.client, copied)
	return err
}

// completeUpdate makes the update revision the current one when all replicas have it and are ready.
func (s *statefulSync) completeUpdate(status *appsv1.StatefulSetStatus) {
	wanted := replicasOf(s.set.Spec.Replicas)
	if !s.release.StatefulSetReplacesSucceeded { // the same change: K@1.28, K@1.31 stateful_set_utils.go
		wanted = status.Replicas
	}
	if s.set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType &&
		status.UpdatedReplicas == wanted && status.ReadyReplicas == wanted && status.Replicas == wanted {
		status.CurrentReplicas, status.CurrentRevision = status.UpdatedReplicas, status.UpdateRevision
	}
}
