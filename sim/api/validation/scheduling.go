package validation

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (f *found) tolerations(list []corev1.Toleration, at *place) {
	for i, t := range list {
		here := at.Index(i)
		if t.Key != "" {
			f.labelName(here.Child("key"), t.Key)
		} else if t.Operator != corev1.TolerationOpExists {
			f.invalid(here.Child("operator"), t.Operator,
				"operator must be Exists when `key` is empty, which means \"match all values and all keys\"")
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			f.invalid(here.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
		}
		switch t.Operator {
		case corev1.TolerationOpEqual, "":
			if messages := validation.IsValidLabelValue(t.Value); len(messages) > 0 {
				f.invalid(here.Child("operator"), t.Value, strings.Join(messages, ";"))
			}
		case corev1.TolerationOpExists:
			if t.Value != "" {
				f.invalid(here.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'")
			}
		default:
			f.add(field.NotSupported(here.Child("operator").path(), t.Operator,
				[]corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		if t.Effect != "" {
			f.taintEffect(t.Effect, here.Child("effect"))
		}
	}
}

func (f *found) taintEffect(effect corev1.TaintEffect, at *place) {
	oneOf(f, at, effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
}

// taints checks a Node's taints. That they are said to lie in the metadata is upstream's.
func (f *found) taints(taints []corev1.Taint) {
	seen := map[string]bool{}
	for i, t := range taints {
		here := root("metadata").Child("taints").Index(i)
		f.labelName(here.Child("key"), t.Key)
		if messages := validation.IsValidLabelValue(t.Value); len(messages) > 0 {
			f.invalid(here.Child("value"), t.Value, strings.Join(messages, ";"))
		}
		f.taintEffect(t.Effect, here.Child("effect"))
		key := string(t.Effect) + " " + t.Key
		if seen[key] {
			duplicate := field.Duplicate(here.path(), t)
			duplicate.Detail = "taints must be unique by key and effect pair"
			f.add(duplicate)
		}
		seen[key] = true
	}
}

func (f *found) affinity(a *corev1.Affinity, at *place) {
	if a == nil {
		return
	}
	if n := a.NodeAffinity; n != nil {
		here := at.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			terms := here.Child("requiredDuringSchedulingIgnoredDuringExecution").Child("nodeSelectorTerms")
			if len(r.NodeSelectorTerms) == 0 {
				f.required(terms, "must have at least one node selector term")
			}
			for i := range r.NodeSelectorTerms {
				f.nodeSelectorTerm(&r.NodeSelectorTerms[i], terms.Index(i))
			}
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			p := &n.PreferredDuringSchedulingIgnoredDuringExecution[i]
			term := here.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
			f.weight(p.Weight, term.Child("weight"))
			f.nodeSelectorTerm(&p.Preference, term.Child("preference"))
		}
	}
	if p := a.PodAffinity; p != nil {
		f.podAffinityTerms(p.RequiredDuringSchedulingIgnoredDuringExecution,
			p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
	}
	if p := a.PodAntiAffinity; p != nil {
		f.podAffinityTerms(p.RequiredDuringSchedulingIgnoredDuringExecution,
			p.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
	}
}

func (f *found) weight(weight int32, at *place) {
	if weight <= 0 || weight > 100 {
		f.invalid(at, weight, "must be in the range 1-100")
	}
}

func (f *found) nodeSelectorTerm(t *corev1.NodeSelectorTerm, at *place) {
	for i, r := range t.MatchExpressions {
		here := at.Child("matchExpressions").Index(i)
		switch r.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			if len(r.Values) == 0 {
				f.required(here.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'")
			}
		case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				f.forbidden(here.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
			}
		case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
			if len(r.Values) != 1 {
				f.required(here.Child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'")
			}
		default:
			f.invalid(here.Child("operator"), r.Operator, "not a valid selector operator")
		}
		f.labelName(here.Child("key"), r.Key)
	}
	for i, r := range t.MatchFields {
		here := at.Child("matchFields").Index(i)
		if r.Operator != corev1.NodeSelectorOpIn && r.Operator != corev1.NodeSelectorOpNotIn {
			f.invalid(here.Child("operator"), r.Operator, "not a valid selector operator")
		} else if len(r.Values) != 1 {
			f.required(here.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
		}
		if r.Key != metav1.ObjectNameField {
			f.invalid(here.Child("key"), r.Key, "not a valid field selector key")
		}
	}
}

func (f *found) podAffinityTerms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm,
	at *place) {
	for i := range required {
		f.podAffinityTerm(&required[i], at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))
	}
	for i := range preferred {
		here := at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
		f.weight(preferred[i].Weight, here.Child("weight"))
		f.podAffinityTerm(&preferred[i].PodAffinityTerm, here.Child("podAffinityTerm"))
	}
}

func (f *found) podAffinityTerm(t *corev1.PodAffinityTerm, at *place) {
	f.selector(t.LabelSelector, at.Child("labelSelector"))
	f.selector(t.NamespaceSelector, at.Child("namespaceSelector"))
	for _, name := range t.Namespaces {
		f.label(at.Child("namespace"), name)
	}
	if t.TopologyKey == "" {
		f.required(at.Child("topologyKey"), "can not be empty")
	}
	f.labelName(at.Child("topologyKey"), t.TopologyKey)
}

func (f *found) selector(s *metav1.LabelSelector, at *place) {
	if !soundSelector(s) {
		f.add(metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, at.path())...)
	}
}

func (f *found) topologySpread(list []corev1.TopologySpreadConstraint, at *place) {
	for i, c := range list {
		here := at.Index(i)
		if c.MaxSkew <= 0 {
			f.invalid(here.Child("maxSkew"), int64(c.MaxSkew), "must be greater than 0")
		}
		if c.TopologyKey == "" {
			f.required(here.Child("topologyKey"), "can not be empty")
		}
		if c.WhenUnsatisfiable != corev1.DoNotSchedule && c.WhenUnsatisfiable != corev1.ScheduleAnyway {
			f.add(field.NotSupported(here.Child("whenUnsatisfiable").path(), c.WhenUnsatisfiable,
				[]corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway}))
		}
		for _, later := range list[i+1:] {
			if later.TopologyKey == c.TopologyKey && later.WhenUnsatisfiable == c.WhenUnsatisfiable {
				f.add(field.Duplicate(here.Child("{topologyKey, whenUnsatisfiable}").path(),
					fmt.Sprintf("{%v, %v}", c.TopologyKey, c.WhenUnsatisfiable)))
				break
			}
		}
		if d := c.MinDomains; d != nil {
			if *d <= 0 {
				f.invalid(here.Child("minDomains"), int64(*d), "must be greater than 0")
			}
			if c.WhenUnsatisfiable != corev1.DoNotSchedule {
				f.invalid(here.Child("minDomains"), d, fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s",
					corev1.DoNotSchedule, c.WhenUnsatisfiable))
			}
		}
		optional(f, here.Child("nodeAffinityPolicy"), c.NodeAffinityPolicy,
			corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
		optional(f, here.Child("nodeTaintsPolicy"), c.NodeTaintsPolicy,
			corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)
		f.selector(c.LabelSelector, here.Child("labelSelector"))
	}
}

// highestUserPriority is the largest value of a class that is not the system's (pkg/apis/scheduling/types.go).
const highestUserPriority = 1_000_000_000

func (f *found) priorityClass(c *schedulingv1.PriorityClass) {
	if strings.HasPrefix(c.Name, "system-") {
		known := map[string]int32{"system-cluster-critical": 2 * highestUserPriority,
			"system-node-critical": 2*highestUserPriority + 1000}
		if value, ok := known[c.Name]; !ok || c.Value != value || c.GlobalDefault {
			f.forbidden(root("metadata").Child("name"), "priority class names with 'system-' prefix are reserved for "+
				"system use only. error: "+reservedClass(c, value, ok))
		}
	} else if c.Value > highestUserPriority {
		f.forbidden(root("value"),
			"maximum allowed value of a user defined priority is "+strconv.Itoa(highestUserPriority))
	}
	optional(f, root("preemptionPolicy"), c.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)
}

func reservedClass(c *schedulingv1.PriorityClass, value int32, known bool) string {
	switch {
	case !known:
		return fmt.Sprintf("%v is not a known system priority class", c.Name)
	case c.Value != value:
		return fmt.Sprintf("value of %v PriorityClass must be %v", c.Name, value)
	}
	return fmt.Sprintf("globalDefault of %v PriorityClass must be %v", c.Name, false)
}

func (f *found) updatedPriorityClass(c, old *schedulingv1.PriorityClass) {
	if c.Value != old.Value {
		f.forbidden(root("value"), "may not be changed in an update.")
	}
	f.immutable(root("preemptionPolicy"), c.PreemptionPolicy, old.PreemptionPolicy)
}
