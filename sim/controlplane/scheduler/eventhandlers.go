package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"ksim/sim/api"
	"ksim/sim/controlplane"
	fwk "ksim/sim/controlplane/scheduler/framework"
	"ksim/sim/controlplane/scheduler/plugins"
	"ksim/sim/controlplane/scheduler/queue"
)

// Models kube-scheduler's event handlers (pkg/scheduler/eventhandlers.go, v1.36). Leaves out: volumes, CSI drivers,
// devices, pod groups.

func (s *Scheduler) addEventHandlers() {
	inf := &s.informers
	inf.nodes.Handle(controlplane.Handler[*corev1.Node]{OnAdd: s.addNodeToCache, OnUpdate: s.updateNodeInCache,
		OnDelete: func(node *corev1.Node, _ bool) { s.deleteNodeFromCache(node) }})
	inf.pods.Handle(controlplane.Handler[*corev1.Pod]{OnAdd: s.addPod, OnUpdate: s.updatePod,
		OnDelete: func(pod *corev1.Pod, _ bool) { s.deletePod(pod) }})
	inf.claims.Handle(controlplane.Handler[*corev1.PersistentVolumeClaim]{
		OnAdd: func(claim *corev1.PersistentVolumeClaim) {
			s.move(fwk.Change{Event: event(fwk.PersistentVolumeClaim, fwk.Add), NewPVC: claim})
		},
		OnUpdate: func(old, claim *corev1.PersistentVolumeClaim) {
			s.move(fwk.Change{Event: event(fwk.PersistentVolumeClaim, fwk.Update), OldPVC: old,
				NewPVC: claim})
		}})
	inf.classes.Handle(controlplane.Handler[*storagev1.StorageClass]{
		OnAdd: func(*storagev1.StorageClass) {
			s.move(fwk.Change{Event: event(fwk.StorageClass, fwk.Add)})
		}})
	if !s.features.EventsPerPlugin { // Services mattered to ServiceAffinity
		changed := func() { s.move(fwk.Change{Event: event(fwk.Service, fwk.Update)}) }
		inf.services.Handle(controlplane.Handler[*corev1.Service]{OnAdd: func(*corev1.Service) { changed() },
			OnUpdate: func(_, _ *corev1.Service) { changed() }, OnDelete: func(*corev1.Service, bool) { changed() }})
	}
}

func event(resource fwk.EventResource, action fwk.ActionType) fwk.ClusterEvent {
	return fwk.ClusterEvent{Resource: resource, Action: action}
}

func (s *Scheduler) move(change fwk.Change) {
	if !s.queue.Idle() {
		s.queue.MoveAllToActiveOrBackoffQueue(change, nil)
	}
}

func (s *Scheduler) addNodeToCache(node *corev1.Node) {
	s.cache.AddNode(node)
	if !s.queue.Idle() {
		s.queue.MoveAllToActiveOrBackoffQueue(fwk.Change{Event: event(fwk.Node, fwk.Add), NewNode: node},
			s.preCheckForNode(node.Name))
	}
}

func (s *Scheduler) updateNodeInCache(old, node *corev1.Node) {
	s.cache.AddNode(node)
	if s.queue.Idle() {
		return
	}
	if !s.features.Backoff { // K@1.13: whatever has changed, also the time of a heartbeat
		s.move(fwk.Change{Event: event(fwk.Node, fwk.Update), OldNode: old, NewNode: node})
		return
	}
	for _, happened := range fwk.NodeSchedulingPropertiesChange(old, node) {
		s.queue.MoveAllToActiveOrBackoffQueue(fwk.Change{Event: happened, OldNode: old, NewNode: node},
			s.preCheckForNode(node.Name))
	}
}

func (s *Scheduler) deleteNodeFromCache(node *corev1.Node) {
	if s.features.NodeDeletionWakes {
		s.move(fwk.Change{Event: event(fwk.Node, fwk.Delete), OldNode: node})
	}
	s.cache.RemoveNode(node)
}

// preCheckForNode tells only those pods of a node that could run on it; queueing hints have taken its place.
func (s *Scheduler) preCheckForNode(name string) queue.PreEnqueueCheck {
	if s.features.QueueingHints || !s.features.EventsPerPlugin {
		return nil
	}
	node := s.cache.Node(name)
	return func(pod *fwk.PodInfo) bool {
		if node == nil || !plugins.AdmissionCheck(pod, node) {
			return false
		}
		_, repelled := node.Repels(pod.Pod.Spec.Tolerations)
		return !repelled
	}
}

func assigned(pod *corev1.Pod) bool { return pod.Spec.NodeName != "" }

// responsible reports whether a pod is for this scheduler.
func responsible(pod *corev1.Pod) bool {
	return pod.Spec.SchedulerName == defaultSchedulerName || pod.Spec.SchedulerName == ""
}

func (s *Scheduler) addPod(pod *corev1.Pod) {
	switch {
	case assigned(pod):
		s.addAssignedPodToCache(pod)
	case responsible(pod):
		s.queue.Add(fwk.NewPodInfo(pod, s.features))
	}
}

func (s *Scheduler) updatePod(old, pod *corev1.Pod) {
	switch {
	case assigned(old):
		s.updateAssignedPodInCache(old, pod)
	case assigned(pod): // bound: to the cache this is a new pod
		s.addAssignedPodToCache(pod)
		s.queue.Delete(pod.UID)
	case responsible(old):
		s.updatePodInSchedulingQueue(old, pod)
	}
}

func (s *Scheduler) deletePod(pod *corev1.Pod) {
	delete(s.told, pod.UID)
	switch {
	case assigned(pod):
		s.cache.RemovePod(pod.UID)
		s.move(assignedPodDelete(pod))
	case responsible(pod):
		s.queue.Delete(pod.UID)
		if s.cache.IsAssumed(pod.UID) {
			s.forgetDeletedPod(pod)
		} else if pod.Status.NominatedNodeName != "" && s.features.NominationsWake { // others have kept its place free
			s.queue.MoveAllToActiveOrBackoffQueue(assignedPodDelete(pod), lowerOrEqualPriority(pod))
		}
	}
}

func assignedPodDelete(pod *corev1.Pod) fwk.Change {
	return fwk.Change{Event: event(fwk.AssignedPod, fwk.Delete), OldPod: pod}
}

func lowerOrEqualPriority(than *corev1.Pod) queue.PreEnqueueCheck {
	return func(pod *fwk.PodInfo) bool { return fwk.Priority(pod.Pod) <= fwk.Priority(than) }
}

// forgetDeletedPod frees the room of a pod that is deleted while its binding is under way; up to v1.34 the failure of
// the binding does.
func (s *Scheduler) forgetDeletedPod(pod *corev1.Pod) {
	if !s.features.AssumedDeletionFrees {
		return
	}
	freed := pod.DeepCopy()
	freed.Spec.NodeName = s.cache.AssumedNode(pod.UID)
	s.cache.ForgetPod(pod.UID)
	s.move(assignedPodDelete(freed))
}

func (s *Scheduler) addAssignedPodToCache(pod *corev1.Pod) {
	delete(s.told, pod.UID)
	s.cache.AddPod(pod)
	s.tellOfAssigned(fwk.Change{Event: event(fwk.AssignedPod, fwk.Add), NewPod: pod})
}

func (s *Scheduler) tellOfAssigned(change fwk.Change) {
	if s.queue.Idle() {
		return
	}
	if s.features.QueueingHints {
		s.queue.MoveAllToActiveOrBackoffQueue(change, nil)
		return
	}
	var labels map[string]string
	if namespace, ok := s.informers.namespaces.Named("", change.NewPod.Namespace); ok {
		labels = namespace.Labels
	}
	s.queue.AssignedPodAdded(change, labels)
}

func (s *Scheduler) updateAssignedPodInCache(old, pod *corev1.Pod) {
	s.cache.UpdatePod(pod)
	if s.queue.Idle() {
		return
	}
	for _, happened := range fwk.PodSchedulingPropertiesChange(old, pod) {
		s.tellOfAssigned(fwk.Change{Event: happened, OldPod: old, NewPod: pod})
	}
}

func (s *Scheduler) updatePodInSchedulingQueue(old, pod *corev1.Pod) {
	if old.ResourceVersion == pod.ResourceVersion {
		return
	}
	if s.cache.IsAssumed(pod.UID) {
		if pod.DeletionTimestamp != nil && old.DeletionTimestamp == nil {
			s.forgetDeletedPod(pod)
		}
		return
	}
	s.queue.Update(old, fwk.NewPodInfo(pod, s.features))
	was := old.Status.NominatedNodeName
	if was != "" && was != pod.Status.NominatedNodeName && s.features.NominationsWake {
		s.queue.MoveAllToActiveOrBackoffQueue(assignedPodDelete(old), lowerOrEqualPriority(old))
	}
}

// lookup returns the pod as the informer has it now.
func (s *Scheduler) lookup(pod *corev1.Pod) (*corev1.Pod, bool) {
	return s.informers.pods.Get(api.KeyOf(pod))
}
