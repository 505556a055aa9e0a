package plugins

import (
	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// TaintToleration keeps pods off nodes with taints of effect NoSchedule or NoExecute that they do not tolerate, and
// prefers nodes with fewer intolerable taints of effect PreferNoSchedule.
//
// Models kube-scheduler's TaintToleration plugin (pkg/scheduler/framework/plugins/tainttoleration, v1.36).
type TaintToleration struct {
	features *fwk.Features
	reason   func(*corev1.Taint) string
	known    map[string]*fwk.Status // by reason; there are few, and nodes are many
}

func newTaintToleration(f *fwk.Features) *TaintToleration {
	pl := &TaintToleration{features: f, known: map[string]*fwk.Status{}}
	switch { // the texts of 1.17.0, 1.18.0, 1.24.0 and 1.35.0
	case f.Minor >= 35:
		pl.reason = func(*corev1.Taint) string { return "node(s) had untolerated taint(s)" }
	case f.Minor >= 24:
		pl.reason = func(t *corev1.Taint) string { return "node(s) had untolerated taint {" + t.Key + ": " + t.Value + "}" }
	case f.Minor < 18:
		pl.reason = func(*corev1.Taint) string { return "node(s) had taints that the pod didn't tolerate" }
	default:
		pl.reason = func(t *corev1.Taint) string {
			return "node(s) had taint {" + t.Key + ": " + t.Value + "}, that the pod didn't tolerate"
		}
	}
	return pl
}

// Name implements fwk.Plugin.
func (pl *TaintToleration) Name() string { return taintToleration }

// Filter implements fwk.FilterPlugin.
func (pl *TaintToleration) Filter(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	taint, repelled := node.Repels(pod.Pod.Spec.Tolerations)
	if !repelled {
		return nil
	}
	reason := pl.reason(taint)
	s := pl.known[reason]
	if s == nil {
		s = fwk.NewStatus(fwk.UnschedulableAndUnresolvable, taintToleration, reason)
		pl.known[reason] = s
	}
	return s
}

// Score counts the PreferNoSchedule taints that the pod does not tolerate.
func (pl *TaintToleration) Score(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	if !node.HasSoftTaints() {
		return 0
	}
	count := int64(0)
	for i := range node.Node().Spec.Taints {
		taint := &node.Node().Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule && !fwk.Tolerates(pod.Pod.Spec.Tolerations, taint) {
			count++
		}
	}
	return count
}

// ScoreAll implements fwk.ScoreAllPlugin.
func (pl *TaintToleration) ScoreAll(state *fwk.CycleState, pod *fwk.PodInfo, nodes []*fwk.NodeInfo, scores []int64) {
	for j, node := range nodes {
		scores[j] = pl.Score(state, pod, node)
	}
}

// NormalizeScore implements fwk.ScoreExtensions: fewer is better.
func (pl *TaintToleration) NormalizeScore(_ *fwk.CycleState, _ []*fwk.NodeInfo, scores []int64) {
	fwk.DefaultNormalizeScore(pl.features.MaxNodeScore, true, scores)
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (pl *TaintToleration) EventsToRegister() []fwk.ClusterEventWithHint {
	untolerated := func(node *corev1.Node, pod *corev1.Pod) bool {
		_, repelled := fwk.FindUntoleratedTaint(node.Spec.Taints, pod.Spec.Tolerations)
		return repelled
	}
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add | fwk.UpdateNodeTaint},
			Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool {
				was := c.OldNode == nil || untolerated(c.OldNode, pod.Pod)
				return was && !untolerated(c.NewNode, pod.Pod)
			}},
		{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.UpdatePodToleration},
			Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool { return c.NewPod.UID == pod.Pod.UID }},
	}
}
