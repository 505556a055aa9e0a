package plugins

import (
	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// NodeConditions keeps pods off nodes that are cordoned, not ready or without a network.
//
// Models kube-scheduler's predicate CheckNodeCondition (pkg/scheduler/algorithm/predicates/predicates.go, v1.11), in
// whose place taints have come. Leaves out: pressure conditions.
type NodeConditions struct{}

// Name implements fwk.Plugin.
func (NodeConditions) Name() string { return nodeConditions }

// Filter implements fwk.FilterPlugin.
func (NodeConditions) Filter(_ *fwk.CycleState, _ *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	var reasons []string
	for i := range node.Node().Status.Conditions {
		switch c := &node.Node().Status.Conditions[i]; {
		case c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue:
			reasons = append(reasons, "node(s) were not ready")
		case c.Type == corev1.NodeNetworkUnavailable && c.Status != corev1.ConditionFalse:
			reasons = append(reasons, "node(s) had unavailable network")
		}
	}
	if node.IsUnschedulable() {
		reasons = append(reasons, "node(s) were unschedulable")
	}
	if reasons == nil {
		return nil
	}
	return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, nodeConditions, reasons...)
}

// GeneralPredicates says all that a node's resources, name, ports and labels have against a pod.
//
// Models kube-scheduler's predicate GeneralPredicates (pkg/scheduler/algorithm/predicates/predicates.go, v1.16).
type GeneralPredicates struct {
	fit      *Fit
	affinity *NodeAffinity
}

// Name implements fwk.Plugin.
func (pl *GeneralPredicates) Name() string { return generalPredicates }

// Filter implements fwk.FilterPlugin.
func (pl *GeneralPredicates) Filter(state *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	all := [...]*fwk.Status{pl.fit.Filter(state, pod, node), NodeName{}.Filter(state, pod, node),
		NodePorts{}.Filter(state, pod, node), pl.affinity.Filter(state, pod, node)}
	var one *fwk.Status
	for _, s := range all {
		switch {
		case s == nil:
		case one == nil:
			one = s
		default:
			reasons := append(append([]string(nil), one.Reasons...), s.Reasons...)
			one = fwk.NewStatus(max(one.Code, s.Code), generalPredicates, reasons...)
		}
	}
	return one
}
