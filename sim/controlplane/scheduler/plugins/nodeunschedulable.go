package plugins

import (
	corev1 "k8s.io/api/core/v1"

	"ksim/sim/controlplane/scheduler/framework"
)

// NodeUnschedulable keeps pods off cordoned nodes unless they tolerate the taint that goes with it.
//
// Models kube-scheduler's NodeUnschedulable plugin (pkg/scheduler/framework/plugins/nodeunschedulable, v1.36).
type NodeUnschedulable struct{}

var cordoned = framework.NewStatus(framework.UnschedulableAndUnresolvable, nodeUnschedulable, "node(s) were unschedulable")

// Name implements framework.Plugin.
func (NodeUnschedulable) Name() string { return nodeUnschedulable }

// Filter implements framework.FilterPlugin.
func (NodeUnschedulable) Filter(_ *framework.CycleState, pod *framework.PodInfo, node *framework.NodeInfo) *framework.Status {
	if !node.Node().Spec.Unschedulable || toleratesUnschedulable(pod.Pod) {
		return nil
	}
	return cordoned
}

func toleratesUnschedulable(pod *corev1.Pod) bool {
	return framework.Tolerates(pod.Spec.Tolerations,
		&corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
}

// EventsToRegister implements framework.EnqueueExtensions.
func (NodeUnschedulable) EventsToRegister() []framework.ClusterEventWithHint {
	return []framework.ClusterEventWithHint{
		{Event: framework.ClusterEvent{Resource: framework.Node, Action: framework.Add | framework.UpdateNodeTaint},
			Hint: func(_ *framework.PodInfo, c *framework.Change) bool {
				return !c.NewNode.Spec.Unschedulable && (c.OldNode == nil || c.OldNode.Spec.Unschedulable)
			}},
		{Event: framework.ClusterEvent{Resource: framework.Pod, Action: framework.UpdatePodToleration},
			Hint: func(pod *framework.PodInfo, c *framework.Change) bool {
				return c.NewPod.UID == pod.Pod.UID && toleratesUnschedulable(c.NewPod)
			}},
	}
}
