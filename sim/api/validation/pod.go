package validation

import (
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// createdPod: pkg/apis/core/validation/validation.go ValidatePodCreate, v1.36.
func (f *found) createdPod(p *corev1.Pod) {
	f.podMetadataAndSpec(p)
	if len(p.Spec.EphemeralContainers) > 0 {
		f.forbidden(specPath().Child("ephemeralContainers"), "cannot be set on create")
	}
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) > 0 {
		f.forbidden(specPath().Child("nodeName"), "cannot be set until all schedulingGates have been cleared")
	}
}

func (f *found) podMetadataAndSpec(p *corev1.Pod) {
	f.meta(p, subdomainName)
	f.podSpec(&p.Spec, specPath(), true)
	if p.Spec.ServiceAccountName != "" {
		return
	}
	for i, v := range p.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for j, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				f.forbidden(specPath().Child("volumes").Index(i).Child("projected").Child("sources").Index(j).
					Child("serviceAccountToken"), "must not be specified when serviceAccountName is not set")
			}
		}
	}
}

// podTemplate checks a template (ValidatePodTemplateSpec).
func (f *found) podTemplate(t *corev1.PodTemplateSpec, at *place) {
	f.labels(at.Child("labels"), t.Labels)
	f.annotations(at.Child("annotations"), t.Annotations)
	f.podSpec(&t.Spec, at.Child("spec"), false)
	if len(t.Spec.EphemeralContainers) > 0 {
		f.forbidden(at.Child("spec").Child("ephemeralContainers"), "ephemeral containers not allowed in pod template")
	}
}

// podSpec checks the specification of a pod, or of a template.
func (f *found) podSpec(s *corev1.PodSpec, at *place, isPod bool) {
	if s.TerminationGracePeriodSeconds == nil {
		f.required(at.Child("terminationGracePeriodSeconds"), "")
	}
	volumes := f.volumes(s.Volumes, at.Child("volumes"))
	f.containers(s, volumes, at.Child("containers"))
	f.initContainers(s, volumes, at.Child("initContainers"))
	if s.HostNetwork {
		f.hostNetworkPorts(s, at.Child("containers"), isPod)
	}
	oneOf(f, at.Child("restartPolicy"), s.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	oneOf(f, at.Child("dnsPolicy"), s.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	f.labels(at.Child("nodeSelector"), s.NodeSelector)
	f.affinity(s.Affinity, at.Child("affinity"))
	for i, g := range s.ReadinessGates {
		f.qualifiedName(at.Child("readinessGates").Index(i).Child("conditionType"), string(g.ConditionType))
	}
	gates := map[string]bool{}
	for i, g := range s.SchedulingGates {
		f.qualifiedName(at.Child("schedulingGates").Index(i), g.Name)
		f.unique(at.Child("schedulingGates").Index(i), gates, g.Name)
	}
	f.topologySpread(s.TopologySpreadConstraints, at.Child("topologySpreadConstraints"))
	f.podNames(s, at)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		f.invalid(at.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32))
	}
	f.tolerations(s.Tolerations, at.Child("tolerations"))
	if s.PriorityClassName != "" {
		f.subdomain(at.Child("priorityClassName"), s.PriorityClassName)
	}
	optional(f, at.Child("preemptionPolicy"), s.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)
}

// podNames checks the names that a pod's specification holds.
func (f *found) podNames(s *corev1.PodSpec, at *place) {
	if s.ServiceAccountName != "" {
		f.subdomain(at.Child("serviceAccountName"), s.ServiceAccountName)
	}
	if s.NodeName != "" {
		f.subdomain(at.Child("nodeName"), s.NodeName)
	}
	if s.Hostname != "" {
		f.label(at.Child("hostname"), s.Hostname)
	}
	if s.Subdomain != "" {
		f.label(at.Child("subdomain"), s.Subdomain)
	}
}

// hostNetworkPorts: in a template the host's port may be left out, it is defaulted in the pod.
func (f *found) hostNetworkPorts(s *corev1.PodSpec, at *place, isPod bool) {
	for i := range s.Containers {
		for j, p := range s.Containers[i].Ports {
			if (isPod || p.HostPort != 0) && p.HostPort != p.ContainerPort {
				f.invalid(at.Index(i).Child("ports").Index(j).Child("hostPort"), p.HostPort,
					"must match `containerPort` when `hostNetwork` is true")
			}
		}
	}
}

// volumes checks names and, of the types that people use, the sources; it returns the names of the sound ones.
func (f *found) volumes(volumes []corev1.Volume, at *place) map[string]bool {
	if len(volumes) == 0 {
		return nil
	}
	names := make(map[string]bool, len(volumes))
	for i := range volumes {
		v, here := &volumes[i], at.Index(i)
		before := len(f.list)
		f.volumeSource(&v.VolumeSource, here)
		if v.Name == "" {
			f.required(here.Child("name"), "")
		} else {
			f.label(here.Child("name"), v.Name)
		}
		if names[v.Name] {
			f.add(field.Duplicate(here.Child("name").path(), v.Name))
		}
		if len(f.list) == before {
			names[v.Name] = true
		}
	}
	return names
}

func (f *found) volumeSource(s *corev1.VolumeSource, at *place) {
	if s.EmptyDir != nil && s.EmptyDir.SizeLimit != nil && s.EmptyDir.SizeLimit.Sign() < 0 {
		f.forbidden(at.Child("emptyDir").Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")
	}
	if s.HostPath != nil && s.HostPath.Path == "" {
		f.required(at.Child("hostPath").Child("path"), "")
	}
	if s.Secret != nil && s.Secret.SecretName == "" {
		f.required(at.Child("secret").Child("secretName"), "")
	}
	if s.ConfigMap != nil && s.ConfigMap.Name == "" {
		f.required(at.Child("configMap").Child("name"), "")
	}
	if s.PersistentVolumeClaim != nil && s.PersistentVolumeClaim.ClaimName == "" {
		f.required(at.Child("persistentVolumeClaim").Child("claimName"), "")
	}
	if s.NFS != nil {
		if s.NFS.Server == "" {
			f.required(at.Child("nfs").Child("server"), "")
		}
		if s.NFS.Path == "" {
			f.required(at.Child("nfs").Child("path"), "")
		}
	}
	if s.CSI != nil && s.CSI.Driver == "" {
		f.required(at.Child("csi").Child("driver"), "")
	}
}

// updatedPod: of a pod's specification very little may change (ValidatePodUpdate).
func (f *found) updatedPod(p, old *corev1.Pod) {
	f.podMetadataAndSpec(p)
	if !f.sameContainers(p.Spec.Containers, old.Spec.Containers, specPath().Child("containers")) ||
		!f.sameContainers(p.Spec.InitContainers, old.Spec.InitContainers, specPath().Child("initContainers")) ||
		!f.shorterDeadline(p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds) {
		return
	}
	f.addedTolerations(p.Spec.Tolerations, old.Spec.Tolerations)
	f.deletedGates(p.Spec.SchedulingGates, old.Spec.SchedulingGates)
	if equality.Semantic.DeepEqual(p.Spec, old.Spec) {
		return
	}
	munged := p.Spec.DeepCopy()
	for i := range munged.Containers {
		munged.Containers[i].Image = old.Spec.Containers[i].Image
	}
	for i := range munged.InitContainers {
		munged.InitContainers[i].Image = old.Spec.InitContainers[i].Image
	}
	munged.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
	munged.SchedulingGates = old.Spec.SchedulingGates
	munged.Tolerations = old.Spec.Tolerations
	if was := old.Spec.TerminationGracePeriodSeconds; was != nil && *was < 0 &&
		munged.TerminationGracePeriodSeconds != nil && *munged.TerminationGracePeriodSeconds == 1 {
		munged.TerminationGracePeriodSeconds = was
	}
	if len(old.Spec.SchedulingGates) > 0 {
		f.gatedPod(munged, &old.Spec)
	}
	if !equality.Semantic.DeepEqual(*munged, old.Spec) {
		f.forbidden(specPath(), fmt.Sprintf("pod updates may not change fields other than %s\n%v", updatable,
			diff.Diff(old.Spec, *munged)))
	}
}

const updatable = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`," +
	"`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// sameContainers reports whether the containers can be compared one by one.
func (f *found) sameContainers(list, old []corev1.Container, at *place) bool {
	if len(list) != len(old) {
		f.forbidden(at, "pod updates may not add or remove containers")
		return false
	}
	for i := range list {
		if list[i].Image == "" {
			f.required(at.Index(i).Child("image"), "")
		}
		if strings.TrimSpace(list[i].Image) != list[i].Image {
			f.invalid(at.Index(i).Child("image"), list[i].Image, "must not have leading or trailing whitespace")
		}
	}
	return true
}

func (f *found) shorterDeadline(d, old *int64) bool {
	at := specPath().Child("activeDeadlineSeconds")
	switch {
	case d == nil && old != nil:
		f.invalid(at, d, "must not update from a positive integer to nil value")
	case d != nil && (*d < 0 || *d > math.MaxInt32):
		f.invalid(at, *d, validation.InclusiveRangeError(0, math.MaxInt32))
		return false
	case d != nil && old != nil && *old < *d:
		f.invalid(at, *d, "must be less than or equal to previous value")
		return false
	}
	return true
}

// addedTolerations: tolerations may be added, and their seconds changed.
func (f *found) addedTolerations(list, old []corev1.Toleration) {
	for _, was := range old {
		kept := false
		for _, t := range list {
			t.TolerationSeconds = was.TolerationSeconds
			kept = kept || t == was
		}
		if !kept {
			f.forbidden(specPath().Child("tolerations"),
				"existing toleration can not be modified except its tolerationSeconds")
			return
		}
	}
}

func (f *found) deletedGates(list, old []corev1.PodSchedulingGate) {
	had := make(map[string]bool, len(old))
	for _, g := range old {
		had[g.Name] = true
	}
	for i, g := range list {
		if !had[g.Name] {
			f.forbidden(specPath().Child("schedulingGates").Index(i).Child("name"),
				fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name))
		}
	}
}

// gatedPod: what narrows the choice of nodes may be added while a gate keeps the pod from being scheduled. munged gets
// what may have changed put back.
func (f *found) gatedPod(munged, old *corev1.PodSpec) {
	for _, key := range sortedKeys(old.NodeSelector) {
		if value, kept := munged.NodeSelector[key]; !kept || value != old.NodeSelector[key] {
			f.invalid(specPath().Child("nodeSelector"), munged.NodeSelector,
				"only additions are allowed to nodeSelector (no mutations or deletions)")
			break
		}
	}
	munged.NodeSelector = old.NodeSelector
	switch {
	case munged.Affinity == nil && old.Affinity != nil:
		munged.Affinity = &corev1.Affinity{NodeAffinity: old.Affinity.NodeAffinity}
	case munged.Affinity != nil && old.Affinity != nil:
		munged.Affinity.NodeAffinity = old.Affinity.NodeAffinity
	case munged.Affinity != nil && munged.Affinity.PodAffinity == nil && munged.Affinity.PodAntiAffinity == nil:
		munged.Affinity = nil
	}
}
