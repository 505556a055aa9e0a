package plugins

import (
	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// NodePorts keeps pods off nodes whose ports they want and another pod has.
//
// Models kube-scheduler's NodePorts plugin (pkg/scheduler/framework/plugins/nodeports, v1.36).
type NodePorts struct{}

var (
	portsTaken = fwk.NewStatus(fwk.Unschedulable, nodePorts,
		"node(s) didn't have free ports for the requested pod ports")
	skipNodePorts = fwk.NewStatus(fwk.Skip, nodePorts)
)

// Name implements fwk.Plugin.
func (NodePorts) Name() string { return nodePorts }

// PreFilter implements fwk.PreFilterPlugin.
func (NodePorts) PreFilter(_ *fwk.CycleState, pod *fwk.PodInfo) ([]string, *fwk.Status) {
	if len(pod.HostPorts) == 0 {
		return nil, skipNodePorts
	}
	return nil, nil
}

// Filter implements fwk.FilterPlugin.
func (NodePorts) Filter(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	if fwk.PortsConflict(pod.HostPorts, node.UsedPorts) {
		return portsTaken
	}
	return nil
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (NodePorts) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.Delete},
			Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool {
				return wasPlaced(c.OldPod) && fwk.PortsConflict(pod.HostPorts, fwk.HostPortsOf(c.OldPod))
			}},
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add}},
	}
}

// wasPlaced reports whether a pod counted on a node, or was about to.
func wasPlaced(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" || pod.Status.NominatedNodeName != ""
}
