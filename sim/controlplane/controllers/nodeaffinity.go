package controllers

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// Models which nodes a pod's nodeSelector and required node affinity allow (component-helpers
// scheduling/corev1/nodeaffinity, v0.36).

// matchesNode reports whether the pod may run on the node as far as selectors go.
func matchesNode(spec *corev1.PodSpec, node *corev1.Node) bool {
	if !containsAll(node.Labels, spec.NodeSelector) {
		return false
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return true
	}
	required := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return true
	}
	return slices.ContainsFunc(required.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			return false
		}
		for i := range term.MatchExpressions {
			value, has := node.Labels[term.MatchExpressions[i].Key]
			if !matchesRequirement(&term.MatchExpressions[i], value, has) {
				return false
			}
		}
		for i := range term.MatchFields {
			if !matchesRequirement(&term.MatchFields[i], node.Name, true) {
				return false
			}
		}
		return true
	})
}

func matchesRequirement(r *corev1.NodeSelectorRequirement, value string, has bool) bool {
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return has && slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpNotIn:
		return !has || !slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpExists:
		return has
	case corev1.NodeSelectorOpDoesNotExist:
		return !has
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if !has || len(r.Values) != 1 {
			return false
		}
		is, err := strconv.ParseInt(value, 10, 64)
		bound, err2 := strconv.ParseInt(r.Values[0], 10, 64)
		if err != nil || err2 != nil {
			return false
		}
		return r.Operator == corev1.NodeSelectorOpGt && is > bound || r.Operator == corev1.NodeSelectorOpLt && is < bound
	}
	return false
}
