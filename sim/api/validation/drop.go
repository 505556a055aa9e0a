package validation

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// allFieldsSince is the release from which on no field is dropped.
const allFieldsSince = 34

// DropDisabledFields takes away what the API server of v1.minor does not know, or has behind a feature gate that is off
// by default, and returns the paths (pkg/api/pod/util.go DropDisabledPodFields, v1.36). It knows the fields that
// scheduling depends on, and restartPolicy of init containers.
func DropDisabledFields(obj runtime.Object, minor int) []string {
	if minor >= allFieldsSince {
		return nil
	}
	d := &dropper{minor: minor}
	spec, template := field.NewPath("spec"), field.NewPath("spec", "template", "spec")
	switch o := obj.(type) {
	case *corev1.Pod:
		d.podSpec(&o.Spec, spec)
	case *appsv1.Deployment:
		d.podSpec(&o.Spec.Template.Spec, template)
	case *appsv1.ReplicaSet:
		d.podSpec(&o.Spec.Template.Spec, template)
	case *appsv1.StatefulSet:
		d.podSpec(&o.Spec.Template.Spec, template)
	case *appsv1.DaemonSet:
		d.podSpec(&o.Spec.Template.Spec, template)
	case *batchv1.Job:
		d.podSpec(&o.Spec.Template.Spec, template)
	case *schedulingv1.PriorityClass:
		drop(d, &o.PreemptionPolicy, 19, field.NewPath("preemptionPolicy"))
	}
	return d.paths
}

type dropper struct {
	minor int
	paths []string
}

// gone reports whether a field that is set is one of a later release.
func (d *dropper) gone(set bool, since int, at *field.Path) bool {
	if !set || d.minor >= since {
		return false
	}
	d.paths = append(d.paths, at.String())
	return true
}

func drop[T any](d *dropper, value **T, since int, at *field.Path) {
	if d.gone(*value != nil, since, at) {
		*value = nil
	}
}

func dropList[T any](d *dropper, list *[]T, since int, at *field.Path) {
	if d.gone(len(*list) > 0, since, at) {
		*list = nil
	}
}

// podSpec: K@each:pkg/features/kube_features.go.
func (d *dropper) podSpec(s *corev1.PodSpec, at *field.Path) {
	dropList(d, &s.TopologySpreadConstraints, 18, at.Child("topologySpreadConstraints")) // EvenPodsSpread
	dropList(d, &s.SchedulingGates, 27, at.Child("schedulingGates"))                     // PodSchedulingReadiness
	drop(d, &s.PreemptionPolicy, 19, at.Child("preemptionPolicy"))                       // NonPreemptingPriority
	drop(d, &s.Resources, 34, at.Child("resources"))                                     // PodLevelResources
	if d.gone(len(s.Overhead) > 0, 18, at.Child("overhead")) {                           // PodOverhead
		s.Overhead = nil
	}
	for i := range s.TopologySpreadConstraints {
		c, at := &s.TopologySpreadConstraints[i], at.Child("topologySpreadConstraints").Index(i)
		drop(d, &c.MinDomains, 27, at.Child("minDomains"))                 // MinDomainsInPodTopologySpread
		dropList(d, &c.MatchLabelKeys, 27, at.Child("matchLabelKeys"))     // MatchLabelKeysInPodTopologySpread
		drop(d, &c.NodeAffinityPolicy, 26, at.Child("nodeAffinityPolicy")) // NodeInclusionPolicyInPodTopologySpread
		drop(d, &c.NodeTaintsPolicy, 26, at.Child("nodeTaintsPolicy"))
	}
	for i := range s.InitContainers { // SidecarContainers
		drop(d, &s.InitContainers[i].RestartPolicy, 29, at.Child("initContainers").Index(i).Child("restartPolicy"))
	}
	if s.Affinity == nil {
		return
	}
	if a := s.Affinity.PodAffinity; a != nil {
		d.terms(a.RequiredDuringSchedulingIgnoredDuringExecution,
			a.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("affinity", "podAffinity"))
	}
	if a := s.Affinity.PodAntiAffinity; a != nil {
		d.terms(a.RequiredDuringSchedulingIgnoredDuringExecution,
			a.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("affinity", "podAntiAffinity"))
	}
}

func (d *dropper) terms(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm, at *field.Path) {
	term := func(t *corev1.PodAffinityTerm, at *field.Path) {
		drop(d, &t.NamespaceSelector, 22, at.Child("namespaceSelector"))     // PodAffinityNamespaceSelector
		dropList(d, &t.MatchLabelKeys, 31, at.Child("matchLabelKeys"))       // MatchLabelKeysInPodAffinity
		dropList(d, &t.MismatchLabelKeys, 31, at.Child("mismatchLabelKeys")) // the same
	}
	for i := range required {
		term(&required[i], at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i))
	}
	for i := range preferred {
		term(&preferred[i].PodAffinityTerm,
			at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i).Child("podAffinityTerm"))
	}
}
