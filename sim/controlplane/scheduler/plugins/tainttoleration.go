package plugins

import (
	corev1 "k8s.io/api/core/v1"

	"ksim/sim/controlplane/scheduler/framework"
)

// TaintToleration keeps pods off nodes with taints of effect NoSchedule or NoExecute that they do not tolerate, and
// prefers nodes with fewer intolerable taints of effect PreferNoSchedule.
//
// Models kube-scheduler's TaintToleration plugin (pkg/scheduler/framework/plugins/tainttoleration, v1.36).
type TaintToleration struct {
	reason func(*corev1.Taint) string
	known  map[string]*framework.Status // by reason; there are few, and nodes are many
}

func newTaintToleration(f *framework.Features) *TaintToleration {
	pl := &TaintToleration{known: map[string]*framework.Status{}}
	switch { // the texts of 1.20.0, 1.24.0 to 1.34.1, and 1.35.0
	case f.Minor >= 35:
		pl.reason = func(*corev1.Taint) string { return "node(s) had untolerated taint(s)" }
	case f.Minor >= 24:
		pl.reason = func(t *corev1.Taint) string { return "node(s) had untolerated taint {" + t.Key + ": " + t.Value + "}" }
	default:
		pl.reason = func(t *corev1.Taint) string {
			return "node(s) had taint {" + t.Key + ": " + t.Value + "}, that the pod didn't tolerate"
		}
	}
	return pl
}

// Name implements framework.Plugin.
func (pl *TaintToleration) Name() string { return taintToleration }

// Filter implements framework.FilterPlugin.
func (pl *TaintToleration) Filter(_ *framework.CycleState, pod *framework.PodInfo, node *framework.NodeInfo) *framework.Status {
	taint, repelled := node.Repels(pod.Pod.Spec.Tolerations)
	if !repelled {
		return nil
	}
	reason := pl.reason(taint)
	s := pl.known[reason]
	if s == nil {
		s = framework.NewStatus(framework.UnschedulableAndUnresolvable, taintToleration, reason)
		pl.known[reason] = s
	}
	return s
}

// Score counts the PreferNoSchedule taints that the pod does not tolerate.
func (pl *TaintToleration) Score(_ *framework.CycleState, pod *framework.PodInfo, node *framework.NodeInfo) int64 {
	if !node.HasSoftTaints() {
		return 0
	}
	count := int64(0)
	for i := range node.Node().Spec.Taints {
		taint := &node.Node().Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule && !framework.Tolerates(pod.Pod.Spec.Tolerations, taint) {
			count++
		}
	}
	return count
}

// NormalizeScore implements framework.ScoreExtensions: fewer is better.
func (pl *TaintToleration) NormalizeScore(_ *framework.CycleState, _ []*framework.NodeInfo, scores []int64) {
	framework.DefaultNormalizeScore(true, scores)
}

// EventsToRegister implements framework.EnqueueExtensions.
func (pl *TaintToleration) EventsToRegister() []framework.ClusterEventWithHint {
	untolerated := func(node *corev1.Node, pod *corev1.Pod) bool {
		_, repelled := framework.FindUntoleratedTaint(node.Spec.Taints, pod.Spec.Tolerations)
		return repelled
	}
	return []framework.ClusterEventWithHint{
		{Event: framework.ClusterEvent{Resource: framework.Node, Action: framework.Add | framework.UpdateNodeTaint},
			Hint: func(pod *framework.PodInfo, c *framework.Change) bool {
				was := c.OldNode == nil || untolerated(c.OldNode, pod.Pod)
				return was && !untolerated(c.NewNode, pod.Pod)
			}},
		{Event: framework.ClusterEvent{Resource: framework.Pod, Action: framework.UpdatePodToleration},
			Hint: func(pod *framework.PodInfo, c *framework.Change) bool { return c.NewPod.UID == pod.Pod.UID }},
	}
}
