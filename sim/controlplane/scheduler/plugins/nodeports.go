package plugins

import (
	corev1 "k8s.io/api/core/v1"

	"ksim/sim/controlplane/scheduler/framework"
)

// NodePorts keeps pods off nodes whose ports they want and another pod has.
//
// Models kube-scheduler's NodePorts plugin (pkg/scheduler/framework/plugins/nodeports, v1.36).
type NodePorts struct{}

var (
	portsTaken = framework.NewStatus(framework.Unschedulable, nodePorts,
		"node(s) didn't have free ports for the requested pod ports")
	skipNodePorts = framework.NewStatus(framework.Skip, nodePorts)
)

// Name implements framework.Plugin.
func (NodePorts) Name() string { return nodePorts }

// PreFilter implements framework.PreFilterPlugin.
func (NodePorts) PreFilter(_ *framework.CycleState, pod *framework.PodInfo) ([]string, *framework.Status) {
	if len(pod.HostPorts) == 0 {
		return nil, skipNodePorts
	}
	return nil, nil
}

// Filter implements framework.FilterPlugin.
func (NodePorts) Filter(_ *framework.CycleState, pod *framework.PodInfo, node *framework.NodeInfo) *framework.Status {
	if framework.PortsConflict(pod.HostPorts, node.UsedPorts) {
		return portsTaken
	}
	return nil
}

// EventsToRegister implements framework.EnqueueExtensions.
func (NodePorts) EventsToRegister() []framework.ClusterEventWithHint {
	return []framework.ClusterEventWithHint{
		{Event: framework.ClusterEvent{Resource: framework.Pod, Action: framework.Delete},
			Hint: func(pod *framework.PodInfo, c *framework.Change) bool {
				return wasPlaced(c.OldPod) && framework.PortsConflict(pod.HostPorts, framework.HostPortsOf(c.OldPod))
			}},
		{Event: framework.ClusterEvent{Resource: framework.Node, Action: framework.Add}},
	}
}

// wasPlaced reports whether a pod counted on a node, or was about to.
func wasPlaced(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" || pod.Status.NominatedNodeName != ""
}
