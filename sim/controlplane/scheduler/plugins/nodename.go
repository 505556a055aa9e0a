package plugins

import "ksim/sim/controlplane/scheduler/framework"

// NodeName keeps a pod that names its node off all others.
//
// Models kube-scheduler's NodeName plugin (pkg/scheduler/framework/plugins/nodename, v1.36).
type NodeName struct{}

var otherNode = framework.NewStatus(framework.UnschedulableAndUnresolvable, nodeName,
	"node(s) didn't match the requested node name")

// Name implements framework.Plugin.
func (NodeName) Name() string { return nodeName }

// Filter implements framework.FilterPlugin.
func (NodeName) Filter(_ *framework.CycleState, pod *framework.PodInfo, node *framework.NodeInfo) *framework.Status {
	if pod.Pod.Spec.NodeName == "" || pod.Pod.Spec.NodeName == node.Name() {
		return nil
	}
	return otherNode
}

// EventsToRegister implements framework.EnqueueExtensions.
func (NodeName) EventsToRegister() []framework.ClusterEventWithHint {
	return []framework.ClusterEventWithHint{
		{Event: framework.ClusterEvent{Resource: framework.Node, Action: framework.Add}},
	}
}
