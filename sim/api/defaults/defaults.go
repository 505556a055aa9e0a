package defaults

import (
	"math"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/sim/api/crd"
)

// Set fills in the defaults of an object, which it changes. Kinds without defaults are left as they are.
func Set(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		pod(o)
	case *corev1.PodTemplate:
		podSpec(&o.Template.Spec)
	case *appsv1.Deployment:
		deployment(o)
	case *appsv1.ReplicaSet:
		setIfNil(&o.Spec.Replicas, 1)
		podSpec(&o.Spec.Template.Spec)
	case *appsv1.StatefulSet:
		statefulSet(o)
	case *appsv1.DaemonSet:
		daemonSet(o)
	case *batchv1.Job:
		job(o)
	case *batchv1.CronJob:
		cronJob(o)
	case *corev1.ReplicationController:
		replicationController(o)
	case *policyv1.PodDisruptionBudget:
		// policy/v1 has none.
	case *schedulingv1.PriorityClass:
		setIfNil(&o.PreemptionPolicy, corev1.PreemptLowerPriority)
	case *discoveryv1.EndpointSlice:
		endpointSlice(o)
	default:
		setCore(obj)
	}
}

// setCore fills in the defaults of the rest of the core group and of what is only stored.
func setCore(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Service:
		service(o)
	case *corev1.Endpoints:
		endpoints(o)
	case *corev1.Namespace:
		namespace(o)
	case *corev1.Node:
		node(o)
	case *corev1.Secret:
		secret(o)
	case *corev1.PersistentVolume:
		setIfZero(&o.Status.Phase, corev1.VolumePending)
		setIfZero(&o.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
		setIfNil(&o.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	case *corev1.PersistentVolumeClaim:
		setIfZero(&o.Status.Phase, corev1.ClaimPending)
		setIfNil(&o.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	case *corev1.LimitRange:
		limitRange(o)
	case *networkingv1.NetworkPolicy:
		networkPolicy(o)
	case *unstructured.Unstructured:
		if crd.Is(o) {
			crd.Complete(o)
		}
	case *autoscalingv2.HorizontalPodAutoscaler:
		autoscaler(o)
	case *admissionv1.ValidatingWebhookConfiguration:
		for i := range o.Webhooks {
			w := &o.Webhooks[i]
			webhook(&w.FailurePolicy, &w.MatchPolicy, &w.TimeoutSeconds)
		}
	case *admissionv1.MutatingWebhookConfiguration:
		for i := range o.Webhooks {
			w := &o.Webhooks[i]
			webhook(&w.FailurePolicy, &w.MatchPolicy, &w.TimeoutSeconds)
			setIfNil(&w.ReinvocationPolicy, admissionv1.NeverReinvocationPolicy)
		}
	case *storagev1.StorageClass:
		setIfNil(&o.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete)
		setIfNil(&o.VolumeBindingMode, storagev1.VolumeBindingImmediate)
	case *rbacv1.RoleBinding:
		setIfZero(&o.RoleRef.APIGroup, rbacv1.GroupName)
		subjects(o.Subjects)
	case *rbacv1.ClusterRoleBinding:
		setIfZero(&o.RoleRef.APIGroup, rbacv1.GroupName)
		subjects(o.Subjects)
	}
}

// setIfZero gives field a value unless it has one.
func setIfZero[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// setIfNil gives a pointer field a value unless it has one.
func setIfNil[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func deployment(d *appsv1.Deployment) {
	setIfNil(&d.Spec.Replicas, 1)
	strategy := &d.Spec.Strategy
	setIfZero(&strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		setIfNil(&strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		setIfNil(&strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		setIfNil(&strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	setIfNil(&d.Spec.RevisionHistoryLimit, 10)
	setIfNil(&d.Spec.ProgressDeadlineSeconds, 600)
	podSpec(&d.Spec.Template.Spec)
}

func daemonSet(d *appsv1.DaemonSet) {
	strategy := &d.Spec.UpdateStrategy
	setIfZero(&strategy.Type, appsv1.RollingUpdateDaemonSetStrategyType)
	if strategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		setIfNil(&strategy.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		setIfNil(&strategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		setIfNil(&strategy.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	setIfNil(&d.Spec.RevisionHistoryLimit, 10)
	podSpec(&d.Spec.Template.Spec)
}

func statefulSet(s *appsv1.StatefulSet) {
	setIfZero(&s.Spec.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	strategy := &s.Spec.UpdateStrategy
	if strategy.Type == "" {
		strategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
		setIfNil(&strategy.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if strategy.Type == appsv1.RollingUpdateStatefulSetStrategyType && strategy.RollingUpdate != nil {
		setIfNil(&strategy.RollingUpdate.Partition, 0)
	}
	setIfNil(&s.Spec.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	retention := s.Spec.PersistentVolumeClaimRetentionPolicy
	setIfZero(&retention.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	setIfZero(&retention.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	setIfNil(&s.Spec.Replicas, 1)
	setIfNil(&s.Spec.RevisionHistoryLimit, 10)
	podSpec(&s.Spec.Template.Spec)
	for i := range s.Spec.VolumeClaimTemplates {
		claim := &s.Spec.VolumeClaimTemplates[i]
		setIfZero(&claim.APIVersion, "v1")
		setIfZero(&claim.Kind, "PersistentVolumeClaim")
		setIfZero(&claim.Status.Phase, corev1.ClaimPending)
		setIfNil(&claim.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	}
}

func job(j *batchv1.Job) {
	if j.Spec.Completions == nil && j.Spec.Parallelism == nil {
		setIfNil(&j.Spec.Completions, 1)
	}
	setIfNil(&j.Spec.Parallelism, 1)
	if j.Spec.BackoffLimitPerIndex != nil {
		setIfNil(&j.Spec.BackoffLimit, math.MaxInt32)
	}
	setIfNil(&j.Spec.BackoffLimit, 6)
	if len(j.Labels) == 0 && j.Spec.Template.Labels != nil {
		j.Labels = copyLabels(j.Spec.Template.Labels)
	}
	jobSpec(&j.Spec)
}

func jobSpec(s *batchv1.JobSpec) {
	setIfNil(&s.CompletionMode, batchv1.NonIndexedCompletion)
	setIfNil(&s.Suspend, false)
	if s.PodFailurePolicy != nil {
		for i := range s.PodFailurePolicy.Rules {
			for c := range s.PodFailurePolicy.Rules[i].OnPodConditions {
				setIfZero(&s.PodFailurePolicy.Rules[i].OnPodConditions[c].Status, corev1.ConditionTrue)
			}
		}
		setIfNil(&s.PodReplacementPolicy, batchv1.Failed)
	}
	setIfNil(&s.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	setIfNil(&s.ManualSelector, false)
	podSpec(&s.Template.Spec)
}

func cronJob(c *batchv1.CronJob) {
	setIfZero(&c.Spec.ConcurrencyPolicy, batchv1.AllowConcurrent)
	setIfNil(&c.Spec.Suspend, false)
	setIfNil(&c.Spec.SuccessfulJobsHistoryLimit, 3)
	setIfNil(&c.Spec.FailedJobsHistoryLimit, 1)
	podSpec(&c.Spec.JobTemplate.Spec.Template.Spec)
}

func replicationController(rc *corev1.ReplicationController) {
	if rc.Spec.Template != nil && rc.Spec.Template.Labels != nil {
		if len(rc.Spec.Selector) == 0 {
			rc.Spec.Selector = copyLabels(rc.Spec.Template.Labels)
		}
		if len(rc.Labels) == 0 {
			rc.Labels = copyLabels(rc.Spec.Template.Labels)
		}
	}
	setIfNil(&rc.Spec.Replicas, 1)
	if rc.Spec.Template != nil {
		podSpec(&rc.Spec.Template.Spec)
	}
}

func copyLabels(labels map[string]string) map[string]string {
	c := make(map[string]string, len(labels))
	for k, v := range labels { // any order: into a map
		c[k] = v
	}
	return c
}
