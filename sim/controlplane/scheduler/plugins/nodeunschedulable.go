package plugins

import (
	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// NodeUnschedulable keeps pods off cordoned nodes unless they tolerate the taint that goes with it.
//
// Models kube-scheduler's NodeUnschedulable plugin (pkg/scheduler/framework/plugins/nodeunschedulable, v1.36).
type NodeUnschedulable struct{}

var cordoned = fwk.NewStatus(fwk.UnschedulableAndUnresolvable, nodeUnschedulable, "node(s) were unschedulable")

// Name implements fwk.Plugin.
func (NodeUnschedulable) Name() string { return nodeUnschedulable }

// Filter implements fwk.FilterPlugin.
func (NodeUnschedulable) Filter(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	if !node.IsUnschedulable() || toleratesUnschedulable(pod.Pod) {
		return nil
	}
	return cordoned
}

func toleratesUnschedulable(pod *corev1.Pod) bool {
	return fwk.Tolerates(pod.Spec.Tolerations,
		&corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (NodeUnschedulable) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add | fwk.UpdateNodeTaint},
			Hint: func(_ *fwk.PodInfo, c *fwk.Change) bool {
				return !c.NewNode.Spec.Unschedulable && (c.OldNode == nil || c.OldNode.Spec.Unschedulable)
			}},
		{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.UpdatePodToleration},
			Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool {
				return c.NewPod.UID == pod.Pod.UID && toleratesUnschedulable(c.NewPod)
			}},
	}
}
