package plugins

import "ksim/sim/controlplane/scheduler/framework"

// NodeAffinity keeps pods off nodes that do not match their nodeSelector and required node affinity, and scores
// preferred node affinity.
//
// Models kube-scheduler's NodeAffinity plugin (pkg/scheduler/framework/plugins/nodeaffinity, v1.36). Leaves out: added
// affinity of a profile.
type NodeAffinity struct{ mismatch, conflict *framework.Status }

func newNodeAffinity(f *framework.Features) *NodeAffinity {
	reason := "node(s) didn't match Pod's node affinity/selector" // 1.24.0 and later
	switch {
	case f.Minor < 20:
		reason = "node(s) didn't match node selector"
	case f.Minor < 22:
		reason = "node(s) didn't match Pod's node affinity" // 1.20.0
	}
	return &NodeAffinity{
		mismatch: framework.NewStatus(framework.UnschedulableAndUnresolvable, nodeAffinity, reason),
		conflict: framework.NewStatus(framework.UnschedulableAndUnresolvable, nodeAffinity, "pod affinity terms conflict"),
	}
}

// Name implements framework.Plugin.
func (pl *NodeAffinity) Name() string { return nodeAffinity }

// PreFilter implements framework.PreFilterPlugin: a DaemonSet's pod names its node, and no other is looked at.
func (pl *NodeAffinity) PreFilter(_ *framework.CycleState, pod *framework.PodInfo) ([]string, *framework.Status) {
	if pod.RequiredNode == nil {
		return nil, framework.NewStatus(framework.Skip, nodeAffinity)
	}
	names, only := framework.RequiredNodeNames(&pod.Pod.Spec)
	if only && len(names) == 0 {
		return nil, pl.conflict
	}
	return names, nil
}

// Filter implements framework.FilterPlugin.
func (pl *NodeAffinity) Filter(_ *framework.CycleState, pod *framework.PodInfo, node *framework.NodeInfo) *framework.Status {
	if pod.RequiredNode.Match(node.Node()) {
		return nil
	}
	return pl.mismatch
}

// PreScore implements framework.PreScorePlugin.
func (pl *NodeAffinity) PreScore(_ *framework.CycleState, pod *framework.PodInfo, _ []*framework.NodeInfo) *framework.Status {
	if len(pod.PreferredNode) == 0 {
		return framework.NewStatus(framework.Skip, nodeAffinity)
	}
	return nil
}

// Score adds the weights of the preferences that the node meets.
func (pl *NodeAffinity) Score(_ *framework.CycleState, pod *framework.PodInfo, node *framework.NodeInfo) int64 {
	return pod.PreferredNode.Score(node.Node())
}

// NormalizeScore implements framework.ScoreExtensions.
func (pl *NodeAffinity) NormalizeScore(_ *framework.CycleState, _ []*framework.NodeInfo, scores []int64) {
	framework.DefaultNormalizeScore(false, scores)
}

// EventsToRegister implements framework.EnqueueExtensions.
func (pl *NodeAffinity) EventsToRegister() []framework.ClusterEventWithHint {
	return []framework.ClusterEventWithHint{
		{Event: framework.ClusterEvent{Resource: framework.Node, Action: framework.Add | framework.UpdateNodeLabel},
			Hint: func(pod *framework.PodInfo, c *framework.Change) bool {
				return pod.RequiredNode.Match(c.NewNode) && (c.OldNode == nil || !pod.RequiredNode.Match(c.OldNode))
			}},
	}
}
