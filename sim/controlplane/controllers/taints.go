package controllers

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models how controllers change a node's taints (pkg/controller/controller_utils.go AddOrUpdateTaintOnNode and
// RemoveTaintOffNode, pkg/controller/util/node SwapNodeControllerTaint, v1.36).

const (
	// pkg/controller/controller_utils.go UpdateTaintBackoff: 5 steps of 100 ms, jitter 1.0.
	taintTries   = 5
	taintBackoff = 100 * time.Millisecond
)

func hasTaint(node *corev1.Node, key string, effect corev1.TaintEffect) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == key && t.Effect == effect })
}

// swapTaints puts taints on a node and takes others off, by their keys, all with one effect; two writes, as upstream's.
// It reports whether both worked. A taint that is there already gets a new time.
func (m *manager) swapTaints(p *sim.Proc, node *corev1.Node, effect corev1.TaintEffect, add, remove []string) bool {
	stamp := m.now()
	if len(add) > 0 && !m.changeTaints(p, node.Name, func(taints []corev1.Taint) ([]corev1.Taint, bool) {
		next, changed := slices.Clone(taints), false
		for _, key := range add {
			taint := corev1.Taint{Key: key, Effect: effect, TimeAdded: &stamp}
			i := slices.IndexFunc(next, func(t corev1.Taint) bool { return t.Key == key && t.Effect == effect })
			switch {
			case i < 0:
				next, changed = append(next, taint), true
			case !stamp.Equal(next[i].TimeAdded):
				next[i], changed = taint, true
			}
		}
		return next, changed
	}) {
		return false
	}
	return m.removeTaints(p, node, effect, remove)
}

// removeTaints takes taints off a node. It asks the API only when the node, as it was seen, has one of them.
func (m *manager) removeTaints(p *sim.Proc, node *corev1.Node, effect corev1.TaintEffect, keys []string) bool {
	listed := func(t corev1.Taint) bool { return t.Effect == effect && slices.Contains(keys, t.Key) }
	if !slices.ContainsFunc(node.Spec.Taints, listed) {
		return true
	}
	return m.changeTaints(p, node.Name, func(taints []corev1.Taint) ([]corev1.Taint, bool) {
		next := slices.DeleteFunc(slices.Clone(taints), listed)
		return next, len(next) != len(taints)
	})
}

// changeTaints reads a node, the first time from the API server's cache, changes its taints and writes it back, again
// when it lost against another write.
func (m *manager) changeTaints(p *sim.Proc, name string, change func([]corev1.Taint) ([]corev1.Taint, bool)) bool {
	cause := m.kernel.Cause()
	for try := range taintTries {
		version := "0"
		if try > 0 {
			p.Sleep(m.scope.Rand(m.scope.Path()+"/taints").Jitter(taintBackoff, 1000))
			version = ""
		}
		m.kernel.Because(cause)
		node, err := api.GetVersion[*corev1.Node](p, m.client, api.Key{Name: name}, version)
		if err != nil {
			return false
		}
		m.kernel.Because(cause)
		taints, changed := change(node.Spec.Taints)
		if !changed {
			return true
		}
		copied := *node // its taints are all that changes
		copied.Spec.Taints = taints
		if _, err = api.UpdateObject(p, m.client, &copied); err == nil {
			return true
		}
		if !api.IsConflict(err) {
			return false
		}
	}
	return false
}

// toleratesTaint reports whether a toleration tolerates a taint (k8s.io/api/core/v1 toleration.go).
func toleratesTaint(t *corev1.Toleration, taint *corev1.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		return t.Value == taint.Value
	case corev1.TolerationOpExists:
		return true
	}
	return false
}

// matchingTolerations returns the tolerations that tolerate the taints, and whether all taints are tolerated.
func matchingTolerations(taints []corev1.Taint, tolerations []corev1.Toleration) (used []*corev1.Toleration, all bool) {
	for i := range taints {
		found := false
		for j := range tolerations {
			if toleratesTaint(&tolerations[j], &taints[i]) {
				used, found = append(used, &tolerations[j]), true
				break
			}
		}
		if !found {
			return nil, false
		}
	}
	return used, true
}

// nodeCondition returns a condition of the node, nil if it has none of that type.
func nodeCondition(node *corev1.Node, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == kind {
			return &node.Status.Conditions[i]
		}
	}
	return nil
}

func isNodeReady(node *corev1.Node) bool {
	c := nodeCondition(node, corev1.NodeReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// nodeReference names a node that may be gone, for events.
func nodeReference(name string, node *corev1.Node) *corev1.Node {
	ref := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if node != nil {
		ref.UID = node.UID
	}
	return ref
}

func nodeObject(name string) string { return fmt.Sprintf("node/%s", name) }
