package framework

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Models component-helpers scheduling/corev1 (helpers.go, nodeaffinity/nodeaffinity.go, v0.36). Leaves out: comparison
// operators of tolerations (alpha).

// Tolerates reports whether one of the tolerations matches the taint.
func Tolerates(tolerations []corev1.Toleration, taint *corev1.Taint) bool {
	for i := range tolerations {
		t := &tolerations[i]
		if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
			continue
		}
		switch t.Operator {
		case "", corev1.TolerationOpEqual:
			if t.Value == taint.Value {
				return true
			}
		case corev1.TolerationOpExists:
			return true
		}
	}
	return false
}

// FindUntoleratedTaint returns the first taint that keeps the pod off: of effect NoSchedule or NoExecute, not
// tolerated.
func FindUntoleratedTaint(taints []corev1.Taint, tolerations []corev1.Toleration) (*corev1.Taint, bool) {
	for i := range taints {
		taint := &taints[i]
		if taint.Effect != corev1.TaintEffectNoSchedule && taint.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		if !Tolerates(tolerations, taint) {
			return taint, true
		}
	}
	return nil, false
}

// RequiredNodeAffinity is what a pod demands of a node's labels and name, parsed. nil demands nothing.
type RequiredNodeAffinity struct {
	labels map[string]string
	terms  []nodeSelectorTerm // nil with hasTerms: matches nothing
	has    bool               // there is a required node affinity
}

type nodeSelectorTerm struct {
	labels  labels.Selector
	fields  fields.Selector
	invalid bool
}

// NewRequiredNodeAffinity parses a pod's nodeSelector and required node affinity; nil when it has neither.
func NewRequiredNodeAffinity(spec *corev1.PodSpec) *RequiredNodeAffinity {
	required := requiredTerms(spec)
	if len(spec.NodeSelector) == 0 && required == nil {
		return nil
	}
	a := &RequiredNodeAffinity{labels: spec.NodeSelector}
	if required != nil {
		a.has = true
		for i := range required.NodeSelectorTerms {
			if t, ok := parseTerm(&required.NodeSelectorTerms[i]); ok {
				a.terms = append(a.terms, t)
			}
		}
	}
	return a
}

func requiredTerms(spec *corev1.PodSpec) *corev1.NodeSelector {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// Match reports whether the node satisfies the demands. Terms are alternatives; what cannot be parsed matches nothing.
func (a *RequiredNodeAffinity) Match(node *corev1.Node) bool {
	if a == nil {
		return true
	}
	for key, value := range a.labels { // any order: all must hold
		if got, ok := node.Labels[key]; !ok || got != value {
			return false
		}
	}
	if !a.has {
		return true
	}
	for i := range a.terms {
		if a.terms[i].match(node) {
			return true
		}
	}
	return false
}

// parseTerm parses one term; ok is false for an empty one, which matches nothing.
func parseTerm(term *corev1.NodeSelectorTerm) (t nodeSelectorTerm, ok bool) {
	if len(term.MatchExpressions) == 0 && len(term.MatchFields) == 0 {
		return t, false
	}
	if len(term.MatchExpressions) > 0 {
		t.labels = labels.NewSelector()
		for _, e := range term.MatchExpressions {
			requirement, err := labels.NewRequirement(e.Key, operators(e.Operator), e.Values)
			if err != nil {
				t.invalid = true
				return t, true
			}
			t.labels = t.labels.Add(*requirement)
		}
	}
	var selectors []fields.Selector
	for _, e := range term.MatchFields {
		switch {
		case len(e.Values) != 1:
			t.invalid = true
		case e.Operator == corev1.NodeSelectorOpIn:
			selectors = append(selectors, fields.OneTermEqualSelector(e.Key, e.Values[0]))
		case e.Operator == corev1.NodeSelectorOpNotIn:
			selectors = append(selectors, fields.OneTermNotEqualSelector(e.Key, e.Values[0]))
		default:
			t.invalid = true
		}
	}
	if len(selectors) > 0 {
		t.fields = fields.AndSelectors(selectors...)
	}
	return t, true
}

func operators(op corev1.NodeSelectorOperator) selection.Operator {
	switch op {
	case corev1.NodeSelectorOpIn:
		return selection.In
	case corev1.NodeSelectorOpNotIn:
		return selection.NotIn
	case corev1.NodeSelectorOpExists:
		return selection.Exists
	case corev1.NodeSelectorOpDoesNotExist:
		return selection.DoesNotExist
	case corev1.NodeSelectorOpGt:
		return selection.GreaterThan
	case corev1.NodeSelectorOpLt:
		return selection.LessThan
	}
	return ""
}

func (t *nodeSelectorTerm) match(node *corev1.Node) bool {
	if t.invalid || t.labels != nil && !t.labels.Matches(labels.Set(node.Labels)) {
		return false
	}
	return t.fields == nil || t.fields.Matches(fields.Set{metav1.ObjectNameField: node.Name})
}

// RequiredNodeNames returns the nodes that every term names, and whether they do: then no other node needs a look.
// An empty list with ok means that the terms contradict themselves (nodeaffinity plugin PreFilter).
func RequiredNodeNames(spec *corev1.PodSpec) (names []string, ok bool) {
	required := requiredTerms(spec)
	if required == nil || len(required.NodeSelectorTerms) == 0 {
		return nil, false
	}
	seen := map[string]bool{}
	for i := range required.NodeSelectorTerms {
		var term []string
		named := false
		for _, e := range required.NodeSelectorTerms[i].MatchFields {
			if e.Key != metav1.ObjectNameField || e.Operator != corev1.NodeSelectorOpIn {
				continue
			}
			if !named {
				term, named = e.Values, true
			} else {
				term = intersection(term, e.Values)
			}
		}
		if !named {
			return nil, false
		}
		for _, name := range term {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names, true
}

func intersection(a, b []string) []string {
	var both []string
	for _, x := range a {
		for _, y := range b {
			if x == y {
				both = append(both, x)
			}
		}
	}
	return both
}

// PreferredSchedulingTerms are a pod's preferences for nodes, parsed.
type PreferredSchedulingTerms []preferredTerm

type preferredTerm struct {
	nodeSelectorTerm
	weight int64
}

// NewPreferredSchedulingTerms parses a pod's preferred node affinity; nil when there is none.
func NewPreferredSchedulingTerms(spec *corev1.PodSpec) PreferredSchedulingTerms {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return nil
	}
	var terms PreferredSchedulingTerms
	for i := range spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		p := &spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution[i]
		if t, ok := parseTerm(&p.Preference); ok && p.Weight != 0 {
			terms = append(terms, preferredTerm{t, int64(p.Weight)})
		}
	}
	return terms
}

// Score adds the weights of the preferences that the node meets.
func (terms PreferredSchedulingTerms) Score(node *corev1.Node) int64 {
	var score int64
	for i := range terms {
		if terms[i].match(node) {
			score += terms[i].weight
		}
	}
	return score
}
