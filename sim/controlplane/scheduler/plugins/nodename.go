package plugins

import fwk "ksim/sim/controlplane/scheduler/framework"

// NodeName keeps a pod that names its node off all others.
//
// Models kube-scheduler's NodeName plugin (pkg/scheduler/framework/plugins/nodename, v1.36).
type NodeName struct{}

var otherNode = fwk.NewStatus(fwk.UnschedulableAndUnresolvable, nodeName,
	"node(s) didn't match the requested node name")

// Name implements fwk.Plugin.
func (NodeName) Name() string { return nodeName }

// Filter implements fwk.FilterPlugin.
func (NodeName) Filter(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	if pod.Pod.Spec.NodeName == "" || pod.Pod.Spec.NodeName == node.Name() {
		return nil
	}
	return otherNode
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (NodeName) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add}},
	}
}
