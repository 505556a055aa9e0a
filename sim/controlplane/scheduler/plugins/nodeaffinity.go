package plugins

import fwk "ksim/sim/controlplane/scheduler/framework"

// NodeAffinity keeps pods off nodes that do not match their nodeSelector and required node affinity, and scores
// preferred node affinity.
//
// Models kube-scheduler's NodeAffinity plugin (pkg/scheduler/framework/plugins/nodeaffinity, v1.36). Leaves out: added
// affinity of a profile.
type NodeAffinity struct {
	features           *fwk.Features
	mismatch, conflict *fwk.Status
}

var skipNodeAffinity = fwk.NewStatus(fwk.Skip, nodeAffinity)

func newNodeAffinity(f *fwk.Features) *NodeAffinity {
	reason := "node(s) didn't match Pod's node affinity/selector"
	switch { // the texts of 1.19.0, 1.20.0 and 1.21.0
	case f.Minor < 20:
		reason = "node(s) didn't match node selector"
	case f.Minor < 21:
		reason = "node(s) didn't match Pod's node affinity"
	}
	return &NodeAffinity{features: f,
		mismatch: fwk.NewStatus(fwk.UnschedulableAndUnresolvable, nodeAffinity, reason),
		conflict: fwk.NewStatus(fwk.UnschedulableAndUnresolvable, nodeAffinity, "pod affinity terms conflict"),
	}
}

// Name implements fwk.Plugin.
func (pl *NodeAffinity) Name() string { return nodeAffinity }

// PreFilter implements fwk.PreFilterPlugin: a DaemonSet's pod names its node, and no other is looked at.
func (pl *NodeAffinity) PreFilter(_ *fwk.CycleState, pod *fwk.PodInfo) ([]string, *fwk.Status) {
	if pod.RequiredNode == nil {
		return nil, skipNodeAffinity
	}
	if !pl.features.PreFilterNames {
		return nil, nil
	}
	names, only := fwk.RequiredNodeNames(&pod.Pod.Spec)
	if only && len(names) == 0 {
		return nil, pl.conflict
	}
	return names, nil
}

// Filter implements fwk.FilterPlugin.
func (pl *NodeAffinity) Filter(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	if pod.RequiredNode.Match(node.Node()) {
		return nil
	}
	return pl.mismatch
}

// PreScore implements fwk.PreScorePlugin.
func (pl *NodeAffinity) PreScore(_ *fwk.CycleState, pod *fwk.PodInfo, _ []*fwk.NodeInfo) *fwk.Status {
	if len(pod.PreferredNode) == 0 {
		return skipNodeAffinity
	}
	return nil
}

// Score adds the weights of the preferences that the node meets.
func (pl *NodeAffinity) Score(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	return pod.PreferredNode.Score(node.Node())
}

// NormalizeScore implements fwk.ScoreExtensions.
func (pl *NodeAffinity) NormalizeScore(_ *fwk.CycleState, _ []*fwk.NodeInfo, scores []int64) {
	fwk.DefaultNormalizeScore(pl.features.MaxNodeScore, false, scores)
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (pl *NodeAffinity) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add | fwk.UpdateNodeLabel},
			Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool {
				return pod.RequiredNode.Match(c.NewNode) && (c.OldNode == nil || !pod.RequiredNode.Match(c.OldNode))
			}},
	}
}
