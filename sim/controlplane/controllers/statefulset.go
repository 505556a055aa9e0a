package controllers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's StatefulSet controller (pkg/controller/statefulset, v1.36): stable identities,
// ordered and parallel management, RollingUpdate with a partition, OnDelete. Leaves out: claims' retention,
// maxUnavailable above 1, start ordinals.

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
		OnAdd: ssc.podChanged,
		OnUpdate: func(old, pod *corev1.Pod) {
			ssc.podChanged(pod)
			if set := ssc.ownerOf(pod); set != nil && !isPodReady(old) && isPodReady(pod) && set.Spec.MinReadySeconds > 0 {
				ssc.queue.AddAfter(api.KeyOf(set), time.Duration(set.Spec.MinReadySeconds+1)*time.Second)
			}
		},
		OnDelete: func(pod *corev1.Pod, _ bool) { ssc.podChanged(pod) },
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

func (ssc *statefulSetController) podChanged(pod *corev1.Pod) {
	if set := ssc.ownerOf(pod); set != nil {
		ssc.queue.Add(api.KeyOf(set))
	}
}

// ordinal returns the number of a pod of the set, -1 if its name has none.
func ordinal(set *appsv1.StatefulSet, pod *corev1.Pod) int {
	text, ok := strings.CutPrefix(pod.Name, set.Name+"-")
	n, err := strconv.Atoi(text)
	if !ok || err != nil {
		return -1
	}
	return n
}

// statefulSync is one sync of one StatefulSet.
type statefulSync struct {
	*statefulSetController
	set             *appsv1.StatefulSet
	current, update string        // names of revisions
	replicas        []*corev1.Pod // by ordinal, nil where there is none
	condemned       []*corev1.Pod // beyond the replicas, highest ordinal first
	all             []*corev1.Pod
}

func (ssc *statefulSetController) sync(p *sim.Proc, key api.Key) error {
	set, ok := ssc.sets.Get(key)
	if !ok {
		return nil
	}
	update, err := ssc.history.statefulSetRevision(p, set)
	if err != nil {
		return err
	}
	s := &statefulSync{statefulSetController: ssc, set: set, update: update, current: set.Status.CurrentRevision}
	if s.current == "" {
		s.current = update
	}
	s.all = ssc.podsByOwner.Get(string(set.UID))
	s.replicas = make([]*corev1.Pod, replicasOf(set.Spec.Replicas))
	for _, pod := range s.all {
		switch n := ordinal(set, pod); {
		case n >= 0 && n < len(s.replicas):
			s.replicas[n] = pod
		case n >= 0:
			s.condemned = append(s.condemned, pod)
		}
	}
	slices.SortFunc(s.condemned, func(a, b *corev1.Pod) int { return ordinal(set, b) - ordinal(set, a) })
	if set.DeletionTimestamp == nil {
		if err = s.advance(p); err != nil {
			_ = s.updateStatus(p) // the first error counts
			return err
		}
	}
	return s.updateStatus(p)
}

func (s *statefulSync) isHealthy(pod *corev1.Pod) bool {
	return pod != nil && pod.Status.Phase == corev1.PodRunning && isPodReady(pod) && pod.DeletionTimestamp == nil
}

func (s *statefulSync) isAvailable(pod *corev1.Pod) bool {
	return s.isHealthy(pod) && isPodAvailable(pod, s.set.Spec.MinReadySeconds, s.now())
}

// advance does the next thing that is to be done; under OrderedReady one at a time (stateful_set_control.go).
func (s *statefulSync) advance(p *sim.Proc) error {
	monotonic := s.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	for n := range s.replicas {
		wait, err := s.processReplica(p, n, monotonic)
		if err != nil || wait {
			return err
		}
	}
	for _, pod := range s.condemned {
		if pod.DeletionTimestamp != nil {
			if monotonic {
				return nil
			}
			continue
		}
		if monotonic && !s.isAvailable(pod) && s.firstUnhealthy() != pod {
			return nil // something before it is not well: nothing is scaled down
		}
		if err := s.control.deleteStateful(p, pod, s.set); err != nil || monotonic {
			return err
		}
	}
	if s.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return nil
	}
	return s.rollingUpdate(p)
}

// firstUnhealthy is the unhealthy pod with the lowest ordinal, nil if there is none.
func (s *statefulSync) firstUnhealthy() *corev1.Pod {
	for _, pod := range s.replicas {
		if pod != nil && !s.isHealthy(pod) {
			return pod
		}
	}
	for _, pod := range slices.Backward(s.condemned) {
		if !s.isHealthy(pod) {
			return pod
		}
	}
	return nil
}

// processReplica sees to one ordinal; wait says that nothing further may be done in this sync.
func (s *statefulSync) processReplica(p *sim.Proc, n int, monotonic bool) (wait bool, err error) {
	pod := s.replicas[n]
	switch {
	case pod == nil:
		created, err := s.create(p, n)
		if err == nil {
			s.replicas[n] = created
		}
		return monotonic, err
	case pod.DeletionTimestamp != nil:
		return monotonic, nil // the identity is taken until the object is gone
	case isTerminal(pod):
		// It is deleted first; the pod that takes its place is made when the object is gone.
		reason := "RecreatingFailedPod"
		if pod.Status.Phase == corev1.PodSucceeded {
			reason = "RecreatingTerminatedPod"
		}
		s.control.record(s.set, corev1.EventTypeWarning, reason, fmt.Sprintf("StatefulSet %s/%s is recreating %s Pod %s",
			s.set.Namespace, s.set.Name, strings.ToLower(string(pod.Status.Phase)), pod.Name), pod)
		return true, s.control.deleteStateful(p, pod, s.set)
	case monotonic && !s.isAvailable(pod):
		return true, nil
	}
	return false, nil
}

func (s *statefulSync) create(p *sim.Proc, n int) (*corev1.Pod, error) {
	pod := podFromTemplate(&s.set.Spec.Template, s.set, ownerReference(s.set))
	pod.GenerateName, pod.Name = "", fmt.Sprintf("%s-%d", s.set.Name, n)
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[appsv1.StatefulSetPodNameLabel] = pod.Name
	pod.Labels[appsv1.PodIndexLabel] = strconv.Itoa(n)
	pod.Labels[appsv1.StatefulSetRevisionLabel] = s.update
	pod.Spec.Hostname, pod.Spec.Subdomain = pod.Name, s.set.Spec.ServiceName
	for _, claim := range s.set.Spec.VolumeClaimTemplates {
		pod.Spec.Volumes = append(slices.DeleteFunc(pod.Spec.Volumes,
			func(v corev1.Volume) bool { return v.Name == claim.Name }),
			corev1.Volume{Name: claim.Name,
				VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
					ClaimName: claim.Name + "-" + pod.Name}}})
	}
	name := pod.Name
	created, err := api.CreateObject(p, s.client, pod)
	if err != nil {
		if !api.IsAlreadyExists(err) {
			s.control.record(s.set, corev1.EventTypeWarning, "FailedCreate", fmt.Sprintf(
				"Create Pod %s in StatefulSet %s failed error: %v", name, s.set.Name, err), nil)
		}
		return nil, err
	}
	s.because(created)
	s.control.record(s.set, corev1.EventTypeNormal, "SuccessfulCreate", fmt.Sprintf(
		"Create Pod %s in StatefulSet %s successful", name, s.set.Name), created)
	return created, nil
}

// deleteStateful deletes a pod of a StatefulSet, with its event's text.
func (c *podControl) deleteStateful(p *sim.Proc, pod *corev1.Pod, set *appsv1.StatefulSet) error {
	err := api.DeleteObject[*corev1.Pod](p, c.client, api.KeyOf(pod), api.DeleteOptions{})
	if err != nil {
		if api.IsNotFound(err) {
			return nil
		}
		c.record(set, corev1.EventTypeWarning, "FailedDelete", fmt.Sprintf("Delete Pod %s in StatefulSet %s failed error: %v",
			pod.Name, set.Name, err), pod)
		return err
	}
	c.record(set, corev1.EventTypeNormal, "SuccessfulDelete", fmt.Sprintf("Delete Pod %s in StatefulSet %s successful",
		pod.Name, set.Name), pod)
	return nil
}

// rollingUpdate deletes the highest outdated pod above the partition, when all above it are well.
func (s *statefulSync) rollingUpdate(p *sim.Proc) error {
	partition := 0
	if update := s.set.Spec.UpdateStrategy.RollingUpdate; update != nil && update.Partition != nil {
		partition = int(*update.Partition)
	}
	for n := len(s.replicas) - 1; n >= partition; n-- {
		pod := s.replicas[n]
		if pod == nil {
			return nil
		}
		if pod.Labels[appsv1.StatefulSetRevisionLabel] != s.update && pod.DeletionTimestamp == nil {
			return s.control.deleteStateful(p, pod, s.set)
		}
		if !s.isAvailable(pod) {
			return nil
		}
	}
	return nil
}

func (s *statefulSync) updateStatus(p *sim.Proc) error {
	status := appsv1.StatefulSetStatus{ObservedGeneration: s.set.Generation, CurrentRevision: s.current,
		UpdateRevision: s.update,
		CollisionCount: new(int32), Conditions: s.set.Status.Conditions}
	if s.set.Status.CollisionCount != nil {
		*status.CollisionCount = *s.set.Status.CollisionCount
	}
	pods := slices.Concat(s.replicas, s.condemned)
	for _, pod := range pods {
		if pod == nil {
			continue
		}
		status.Replicas++
		if pod.Status.Phase == corev1.PodRunning && isPodReady(pod) {
			status.ReadyReplicas++
			if isPodAvailable(pod, s.set.Spec.MinReadySeconds, s.now()) {
				status.AvailableReplicas++
			}
		}
		if pod.DeletionTimestamp == nil {
			if pod.Labels[appsv1.StatefulSetRevisionLabel] == s.current {
				status.CurrentReplicas++
			}
			if pod.Labels[appsv1.StatefulSetRevisionLabel] == s.update {
				status.UpdatedReplicas++
			}
		}
	}
	if status.UpdatedReplicas == status.Replicas && status.ReadyReplicas == status.Replicas {
		status.CurrentReplicas, status.CurrentRevision = status.UpdatedReplicas, status.UpdateRevision
	}
	old := &s.set.Status
	if old.ObservedGeneration == status.ObservedGeneration && old.Replicas == status.Replicas &&
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
