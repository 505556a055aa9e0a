package controllers

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models what the node lifecycle controller does to single pods (pkg/controller/nodelifecycle podUpdated and
// processPod, v1.36; DeletePods of pkg/controller/util/node, K@1.12, K@1.20): those that come to a lost node late are
// marked, and, in releases without taint based eviction or with --enable-taint-manager=false, a lost node's pods are
// deleted by --pod-eviction-timeout.

// podUpdated looks at pods that are bound to a node that is lost already.
func (nc *nodeLifecycle) podUpdated(old, pod *corev1.Pod) {
	if pod.Spec.NodeName != "" && (old == nil || old.Spec.NodeName != pod.Spec.NodeName) {
		if h := nc.health[pod.Spec.NodeName]; h != nil && h.hasReady && h.ready.status != corev1.ConditionTrue {
			nc.podQueue.Add(api.KeyOf(pod))
		}
	}
}

func (nc *nodeLifecycle) processPod(p *sim.Proc, key api.Key) error {
	pod, ok := nc.pods.Get(key)
	if !ok {
		return nil
	}
	h := nc.health[pod.Spec.NodeName]
	if h == nil {
		return nil
	}
	if _, exists := nc.nodes.Named("", h.name); !exists {
		return fmt.Errorf("failed to read node %s", h.name)
	}
	if !h.hasReady || h.ready.status == corev1.ConditionTrue {
		return nil
	}
	if nc.evictByTimeout && h.zone != nil && nc.timedOut(h, h.ready.status) {
		if !nc.evictPods(p, h, []*corev1.Pod{pod}) {
			return fmt.Errorf("unable to process pod %s eviction from node %s", key, h.name)
		}
	}
	if !nc.markPodsNotReady(p, []*corev1.Pod{pod}, h.name) {
		return fmt.Errorf("unable to mark pod %s NotReady", key)
	}
	return nil
}

// timedOut reports whether the pods of a node that has that Ready status have waited for --pod-eviction-timeout.
func (nc *nodeLifecycle) timedOut(h *nodeHealth, ready corev1.ConditionStatus) bool {
	since := h.probe // Unknown: since the last heartbeat
	if ready == corev1.ConditionFalse {
		since = h.readyTransition
	}
	return ready != corev1.ConditionTrue && nc.kernel.Now() > since.Add(nc.options.PodEvictionTimeout)
}

// processTimeoutEviction queues a node whose pods have waited for --pod-eviction-timeout, or takes it out again.
func (nc *nodeLifecycle) processTimeoutEviction(p *sim.Proc, h *nodeHealth, ready corev1.ConditionStatus) {
	switch {
	case ready == corev1.ConditionTrue:
		nc.cancelPodEviction(h)
	case nc.timedOut(h, ready):
		nc.evictPods(p, h, nc.podsByNode.Get(h.name))
	}
}

func (nc *nodeLifecycle) cancelPodEviction(h *nodeHealth) {
	h.zone.queue.remove(h.name)
	h.queuedBy, h.evicted = 0, false
}

// evictPods queues a node to be emptied. From one that was, what came since is deleted at once (nodeEvictionMap).
func (nc *nodeLifecycle) evictPods(p *sim.Proc, h *nodeHealth, pods []*corev1.Pod) bool {
	if h.evicted && nc.release.LateNodePods {
		return nc.deletePods(p, h, pods)
	}
	nc.kernel.Because(nc.kernel.Trace().Silence(h.name, h.heartbeat))
	nc.enqueueForEviction(h)
	return true
}

// deletePods marks pods of a node as lost and deletes those that are no DaemonSet's; false: not all could be marked.
func (nc *nodeLifecycle) deletePods(p *sim.Proc, h *nodeHealth, pods []*corev1.Pod) bool {
	if len(pods) > 0 {
		nc.recordNode(h.name, "DeletingAllPods", fmt.Sprintf("Node %s event: Deleting all Pods from Node %s.", h.name,
			h.name))
	}
	cause, all := nc.kernel.Trace().Silence(h.name, h.heartbeat), true
	for _, pod := range pods {
		nc.kernel.Because(cause)
		if pod.Status.Reason != "NodeLost" {
			copied := withOwnConditions(pod)
			copied.Status.Reason = "NodeLost"
			copied.Status.Message = fmt.Sprintf("Node %s which was running pod %s is unresponsive", h.name, pod.Name)
			if _, err := api.UpdateStatus(p, nc.client, copied); api.IsConflict(err) {
				all = false
				continue
			}
		}
		if pod.DeletionGracePeriodSeconds != nil || nc.isDaemonPod(pod) {
			continue
		}
		id := nc.events.Record(controlplane.Event{Resource: api.Pods, Object: pod, Reason: "NodeControllerEviction",
			Message: fmt.Sprintf("Marking for deletion Pod %s from Node %s", pod.Name, h.name),
			Trace: sim.Event{Level: sim.Story, Related: nodeObject(h.name), Since: h.heartbeat,
				Wait: nc.options.PodEvictionTimeout, Setting: "pod-eviction-timeout", Cause: cause}})
		nc.kernel.Because(id)
		if err := api.DeleteObject[*corev1.Pod](p, nc.client, api.KeyOf(pod), api.DeleteOptions{}); err != nil &&
			!api.IsNotFound(err) {
			return false
		}
	}
	return all
}

// isDaemonPod reports whether a DaemonSet selects the pod (DaemonSetLister.GetPodDaemonSets).
func (nc *nodeLifecycle) isDaemonPod(pod *corev1.Pod) bool {
	for i := range nc.daemonSets.Len() {
		if ds := nc.daemonSets.At(i); ds.Namespace == pod.Namespace && selects(ds.Spec.Selector, pod.Labels) {
			return true
		}
	}
	return false
}
