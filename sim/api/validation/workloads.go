package validation

import (
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// deploymentSpec: pkg/apis/apps/validation/validation.go, v1.36, as all of the following.
func (f *found) deploymentSpec(s *appsv1.DeploymentSpec) {
	at := specPath()
	f.nonNegative32(at.Child("replicas"), s.Replicas)
	f.workloadSelector(s.Selector, "deployment")
	f.templateFor(&s.Template, s.Selector, "ReplicaSet")
	f.deploymentStrategy(&s.Strategy, at.Child("strategy"))
	f.nonNegative(at.Child("minReadySeconds"), int64(s.MinReadySeconds))
	f.nonNegative32(at.Child("revisionHistoryLimit"), s.RevisionHistoryLimit)
	if d := s.ProgressDeadlineSeconds; d != nil {
		f.nonNegative32(at.Child("progressDeadlineSeconds"), d)
		if *d <= s.MinReadySeconds {
			f.invalid(at.Child("progressDeadlineSeconds"), d, "must be greater than minReadySeconds")
		}
	}
}

// workloadSelector: a workload must select something.
func (f *found) workloadSelector(s *metav1.LabelSelector, kind string) {
	at := specPath().Child("selector")
	if s == nil {
		f.required(at, "")
		return
	}
	f.selector(s, at)
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		f.invalid(at, s, "empty selector is invalid for "+kind)
	}
}

// templateFor checks a template whose pods must match the selector, run for ever and have no deadline.
func (f *found) templateFor(t *corev1.PodTemplateSpec, s *metav1.LabelSelector, kind string) {
	at := specPath().Child("template")
	if f.matches(t, s) {
		f.podTemplate(t, at)
	}
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		f.add(field.NotSupported(at.Child("spec").Child("restartPolicy").path(), t.Spec.RestartPolicy,
			[]corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		f.forbidden(at.Child("spec").Child("activeDeadlineSeconds"), "activeDeadlineSeconds in "+kind+" is not Supported")
	}
}

// matches checks that a selector selects the template's labels; it reports whether it could be read at all.
func (f *found) matches(t *corev1.PodTemplateSpec, s *metav1.LabelSelector) bool {
	if surelySelects(s, t.Labels) {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		f.invalid(specPath().Child("selector"), s, "invalid label selector")
		return false
	}
	if !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		f.invalid(specPath().Child("template").Child("metadata").Child("labels"), t.Labels,
			"`selector` does not match template `labels`")
	}
	return true
}

func (f *found) deploymentStrategy(s *appsv1.DeploymentStrategy, at *place) {
	rolling := at.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			f.forbidden(rolling, "may not be specified when strategy `type` is 'Recreate'")
		}
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			f.required(rolling, "this should be defaulted and never be nil")
			return
		}
		unavailable, surge := s.RollingUpdate.MaxUnavailable, s.RollingUpdate.MaxSurge
		f.countOrPercent(unavailable, rolling.Child("maxUnavailable"))
		f.countOrPercent(surge, rolling.Child("maxSurge"))
		if countOf(unavailable) == 0 && countOf(surge) == 0 {
			f.invalid(rolling.Child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0")
		}
		f.atMost100Percent(unavailable, rolling.Child("maxUnavailable"))
	default:
		f.add(field.NotSupported(at.path(), s.Type,
			[]appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType}))
	}
}

func (f *found) countOrPercent(v *intstr.IntOrString, at *place) {
	switch {
	case v == nil:
	case v.Type == intstr.String:
		f.invalid(at, v, validation.IsValidPercent(v.StrVal)...)
	default:
		f.nonNegative(at, int64(v.IntVal))
	}
}

// percentOf returns the number before a %.
func percentOf(v *intstr.IntOrString) (percent int, ok bool) {
	if v == nil || v.Type != intstr.String || len(validation.IsValidPercent(v.StrVal)) > 0 {
		return 0, false
	}
	percent, _ = strconv.Atoi(v.StrVal[:len(v.StrVal)-1])
	return percent, true
}

func countOf(v *intstr.IntOrString) int {
	if percent, ok := percentOf(v); ok {
		return percent
	}
	if v == nil {
		return 0
	}
	return v.IntValue()
}

func (f *found) atMost100Percent(v *intstr.IntOrString, at *place) {
	if percent, ok := percentOf(v); ok && percent > 100 {
		f.invalid(at, v, "must not be greater than 100%")
	}
}

func (f *found) replicaSetSpec(s *appsv1.ReplicaSetSpec) {
	f.nonNegative32(specPath().Child("replicas"), s.Replicas)
	f.nonNegative(specPath().Child("minReadySeconds"), int64(s.MinReadySeconds))
	f.workloadSelector(s.Selector, "deployment") // sic
	f.templateFor(&s.Template, s.Selector, "ReplicaSet")
}

func (f *found) daemonSetSpec(s *appsv1.DaemonSetSpec) {
	at := specPath()
	f.selector(s.Selector, at.Child("selector"))
	if selector, err := metav1.LabelSelectorAsSelector(s.Selector); err == nil &&
		!selector.Matches(labels.Set(s.Template.Labels)) {
		f.invalid(at.Child("template").Child("metadata").Child("labels"), s.Template.Labels,
			"`selector` does not match template `labels`")
	}
	if s.Selector != nil && len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0 {
		f.invalid(at.Child("selector"), s.Selector, "empty selector is invalid for daemonset")
	}
	f.podTemplate(&s.Template, at.Child("template"))
	if s.Template.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		policy := at.Child("template").Child("spec").Child("restartPolicy")
		f.add(field.NotSupported(policy.path(), s.Template.Spec.RestartPolicy,
			[]corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if s.Template.Spec.ActiveDeadlineSeconds != nil {
		f.forbidden(at.Child("template").Child("spec").Child("activeDeadlineSeconds"),
			"activeDeadlineSeconds in DaemonSet is not Supported")
	}
	f.nonNegative(at.Child("minReadySeconds"), int64(s.MinReadySeconds))
	f.daemonSetStrategy(&s.UpdateStrategy, at.Child("updateStrategy"))
	f.nonNegative32(at.Child("revisionHistoryLimit"), s.RevisionHistoryLimit)
}

func (f *found) daemonSetStrategy(s *appsv1.DaemonSetUpdateStrategy, at *place) {
	rolling := at.Child("rollingUpdate")
	switch s.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
	case appsv1.RollingUpdateDaemonSetStrategyType:
		if s.RollingUpdate == nil {
			f.required(rolling, "")
			return
		}
		unavailable, surge := s.RollingUpdate.MaxUnavailable, s.RollingUpdate.MaxSurge
		f.countOrPercent(unavailable, rolling.Child("maxUnavailable"))
		f.countOrPercent(surge, rolling.Child("maxSurge"))
		f.atMost100Percent(unavailable, rolling.Child("maxUnavailable"))
		f.atMost100Percent(surge, rolling.Child("maxSurge"))
		switch {
		case countOf(unavailable) != 0 && countOf(surge) != 0:
			f.invalid(rolling.Child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero")
		case countOf(unavailable) == 0 && countOf(surge) == 0:
			f.required(rolling.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0")
		}
	default:
		f.add(field.NotSupported(at.path(), s.Type, []appsv1.DaemonSetUpdateStrategyType{
			appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType}))
	}
}

func (f *found) statefulSetSpec(s *appsv1.StatefulSetSpec) {
	at := specPath()
	switch s.PodManagementPolicy {
	case "":
		f.required(at.Child("podManagementPolicy"), "")
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
	default:
		f.invalid(at.Child("podManagementPolicy"), s.PodManagementPolicy, "must be 'OrderedReady' or 'Parallel'")
	}
	f.statefulSetStrategy(&s.UpdateStrategy, at.Child("updateStrategy"))
	if r := s.PersistentVolumeClaimRetentionPolicy; r != nil {
		retain, del := appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
			appsv1.DeletePersistentVolumeClaimRetentionPolicyType
		optional(f, at.Child("persistentVolumeClaimRetentionPolicy").Child("whenDeleted"), &r.WhenDeleted, retain, del)
		optional(f, at.Child("persistentVolumeClaimRetentionPolicy").Child("whenScaled"), &r.WhenScaled, retain, del)
	}
	f.nonNegative32(at.Child("replicas"), s.Replicas)
	f.nonNegative(at.Child("minReadySeconds"), int64(s.MinReadySeconds))
	if s.Ordinals != nil {
		f.nonNegative(at.Child("ordinals.start"), int64(s.Ordinals.Start))
	}
	f.workloadSelector(s.Selector, "statefulset")
	template := &s.Template
	if len(s.VolumeClaimTemplates) > 0 || template.Spec.Hostname != "" || template.Spec.Subdomain != "" {
		template = template.DeepCopy() // the controller sets these itself
		template.Spec.Hostname, template.Spec.Subdomain = "", ""
		for _, claim := range s.VolumeClaimTemplates {
			template.Spec.Volumes = append(template.Spec.Volumes, corev1.Volume{Name: claim.Name,
				VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
					ClaimName: claim.Name}}})
		}
	}
	f.templateFor(template, s.Selector, "StatefulSet")
}

func (f *found) statefulSetStrategy(s *appsv1.StatefulSetUpdateStrategy, at *place) {
	rolling := at.Child("rollingUpdate")
	switch s.Type {
	case "":
		f.required(at, "")
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate != nil {
			f.invalid(rolling, s.RollingUpdate, "only allowed for updateStrategy 'RollingUpdate'")
		}
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return
		}
		f.nonNegative32(rolling.Child("partition"), s.RollingUpdate.Partition)
		if m := s.RollingUpdate.MaxUnavailable; m != nil {
			f.countOrPercent(m, rolling.Child("maxUnavailable"))
			if countOf(m) == 0 {
				f.invalid(rolling.Child("maxUnavailable"), m, "cannot be 0")
			}
			f.atMost100Percent(m, rolling.Child("maxUnavailable"))
		}
	default:
		f.invalid(at, s, "must be 'RollingUpdate' or 'OnDelete'")
	}
}

func (f *found) updatedStatefulSet(s, old *appsv1.StatefulSet) {
	f.statefulSetSpec(&s.Spec)
	fixed := s.Spec
	fixed.Replicas, fixed.Template, fixed.UpdateStrategy = old.Spec.Replicas, old.Spec.Template, old.Spec.UpdateStrategy
	fixed.MinReadySeconds, fixed.Ordinals = old.Spec.MinReadySeconds, old.Spec.Ordinals
	fixed.RevisionHistoryLimit = old.Spec.RevisionHistoryLimit
	fixed.PersistentVolumeClaimRetentionPolicy = old.Spec.PersistentVolumeClaimRetentionPolicy
	if !equality.Semantic.DeepEqual(fixed, old.Spec) {
		f.forbidden(specPath(), "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "+
			"'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "+
			"are forbidden")
	}
}

// job: pkg/apis/batch/validation/validation.go, v1.36.
func (f *found) job(j *batchv1.Job) {
	f.meta(j, subdomainName)
	f.generatedSelector(j)
	f.jobSpec(&j.Spec, specPath())
	if j.Spec.Selector == nil {
		f.required(specPath().Child("selector"), "")
	} else {
		f.selector(j.Spec.Selector, specPath().Child("selector"))
	}
	if s, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil &&
		!s.Matches(labels.Set(j.Spec.Template.Labels)) {
		f.invalid(specPath().Child("template").Child("metadata").Child("labels"), j.Spec.Template.Labels,
			"`selector` does not match template `labels`")
	}
}

// generatedSelector: who writes the Job's own labels or selector must say manualSelector.
func (f *found) generatedSelector(j *batchv1.Job) {
	if j.Spec.ManualSelector != nil && *j.Spec.ManualSelector || j.Spec.Selector == nil {
		return
	}
	at := specPath().Child("template").Child("metadata")
	for _, l := range [...][2]string{{"controller-uid", string(j.UID)}, {"job-name", j.Name},
		{batchv1.ControllerUidLabel, string(j.UID)}, {batchv1.JobNameLabel, j.Name}} {
		value, has := j.Spec.Template.Labels[l[0]]
		if !has {
			f.required(at.Child("labels").Key(l[0]), fmt.Sprintf("must be '%s'", l[1]))
		} else if value != l[1] {
			f.invalid(at.Child("labels").Key(l[0]), j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", l[1]))
		}
	}
	expected := labels.Set{batchv1.ControllerUidLabel: string(j.UID), batchv1.JobNameLabel: j.Name,
		"controller-uid": string(j.UID), "job-name": j.Name}
	if s, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !s.Matches(expected) {
		f.invalid(specPath().Child("selector"), j.Spec.Selector, "`selector` not auto-generated")
	}
}

func (f *found) jobSpec(s *batchv1.JobSpec, at *place) {
	f.nonNegative32(at.Child("parallelism"), s.Parallelism)
	f.nonNegative32(at.Child("completions"), s.Completions)
	if s.ActiveDeadlineSeconds != nil {
		f.nonNegative(at.Child("activeDeadlineSeconds"), *s.ActiveDeadlineSeconds)
	}
	f.nonNegative32(at.Child("backoffLimit"), s.BackoffLimit)
	f.nonNegative32(at.Child("ttlSecondsAfterFinished"), s.TTLSecondsAfterFinished)
	f.nonNegative32(at.Child("backoffLimitPerIndex"), s.BackoffLimitPerIndex)
	f.nonNegative32(at.Child("maxFailedIndexes"), s.MaxFailedIndexes)
	optional(f, at.Child("completionMode"), s.CompletionMode, batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)
	indexed := s.CompletionMode != nil && *s.CompletionMode == batchv1.IndexedCompletion
	if indexed && s.Completions == nil {
		f.required(at.Child("completions"), "when completion mode is Indexed")
	}
	if !indexed && s.BackoffLimitPerIndex != nil {
		f.invalid(at.Child("backoffLimitPerIndex"), *s.BackoffLimitPerIndex, "requires indexed completion mode")
	}
	optional(f, at.Child("podReplacementPolicy"), s.PodReplacementPolicy, batchv1.Failed, batchv1.TerminatingOrFailed)
	if s.PodFailurePolicy != nil && s.PodReplacementPolicy != nil && *s.PodReplacementPolicy != batchv1.Failed {
		f.add(field.NotSupported(at.Child("podReplacementPolicy").path(), *s.PodReplacementPolicy,
			[]batchv1.PodReplacementPolicy{batchv1.Failed}))
	}
	f.podTemplate(&s.Template, at.Child("template"))
	policy := at.Child("template").Child("spec").Child("restartPolicy")
	switch s.Template.Spec.RestartPolicy {
	case corev1.RestartPolicyAlways, "":
		f.required(policy, `valid values: "OnFailure", "Never"`)
	case corev1.RestartPolicyNever:
	case corev1.RestartPolicyOnFailure:
		if s.PodFailurePolicy != nil {
			f.invalid(policy, s.Template.Spec.RestartPolicy, `only "Never" is supported when podFailurePolicy is specified`)
		}
	default:
		f.add(field.NotSupported(policy.path(), s.Template.Spec.RestartPolicy,
			[]corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	}
}

func (f *found) updatedJob(j, old *batchv1.Job) {
	at := specPath()
	f.job(j)
	indexed := j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion
	if !indexed {
		f.immutable(at.Child("completions"), j.Spec.Completions, old.Spec.Completions)
	} else if !equality.Semantic.DeepEqual(j.Spec.Completions, old.Spec.Completions) && j.Spec.Completions != nil &&
		(j.Spec.Parallelism == nil || *j.Spec.Completions != *j.Spec.Parallelism) {
		f.invalid(at.Child("completions"), j.Spec.Completions, "can only be modified in tandem with spec.parallelism")
	}
	f.immutable(at.Child("selector"), j.Spec.Selector, old.Spec.Selector)
	template := &old.Spec.Template
	if old.Spec.Suspend != nil && *old.Spec.Suspend && old.Status.StartTime == nil {
		template = template.DeepCopy() // a Job that never started may be sent elsewhere
		template.Spec.NodeSelector = j.Spec.Template.Spec.NodeSelector
		template.Spec.Tolerations = j.Spec.Template.Spec.Tolerations
		template.Spec.SchedulingGates = j.Spec.Template.Spec.SchedulingGates
		template.Spec.Affinity = j.Spec.Template.Spec.Affinity
		template.Annotations, template.Labels = j.Spec.Template.Annotations, j.Spec.Template.Labels
	}
	f.immutable(at.Child("template"), &j.Spec.Template, template)
	f.immutable(at.Child("completionMode"), j.Spec.CompletionMode, old.Spec.CompletionMode)
	f.immutable(at.Child("podFailurePolicy"), j.Spec.PodFailurePolicy, old.Spec.PodFailurePolicy)
	f.immutable(at.Child("backoffLimitPerIndex"), j.Spec.BackoffLimitPerIndex, old.Spec.BackoffLimitPerIndex)
	f.immutable(at.Child("managedBy"), j.Spec.ManagedBy, old.Spec.ManagedBy)
	f.immutable(at.Child("successPolicy"), j.Spec.SuccessPolicy, old.Spec.SuccessPolicy)
}

// cronJob checks one that is only stored: its name leaves room for the Jobs' suffix, and its template would do.
func (f *found) cronJob(c *batchv1.CronJob) {
	f.meta(c, subdomainName)
	if len(c.Name) > 52 { // 63 less an 11 character suffix
		f.invalid(root("metadata").Child("name"), c.Name, "must be no more than 52 characters")
	}
	if c.Spec.Schedule == "" {
		f.required(specPath().Child("schedule"), "")
	} else if wrong := schedule(c.Spec.Schedule); wrong != "" {
		f.invalid(specPath().Child("schedule"), c.Spec.Schedule, wrong)
	}
	optional(f, specPath().Child("concurrencyPolicy"), &c.Spec.ConcurrencyPolicy, batchv1.AllowConcurrent,
		batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)
	f.jobSpec(&c.Spec.JobTemplate.Spec, specPath().Child("jobTemplate").Child("spec"))
}
