package api

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"ksim/sim/api/crd"
)

// PrepareForCreate is what the resource's strategy does before a create (pkg/registry/*/strategy.go, v1.36): the status
// is cleared, generation is 1 where it is counted. The object has its name and UID already.
func PrepareForCreate(obj Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		preparePod(o)
	case *appsv1.Deployment:
		o.Status, o.Generation = appsv1.DeploymentStatus{}, 1
	case *appsv1.ReplicaSet:
		o.Status, o.Generation = appsv1.ReplicaSetStatus{}, 1
	case *appsv1.StatefulSet:
		o.Status, o.Generation = appsv1.StatefulSetStatus{}, 1
	case *appsv1.DaemonSet:
		o.Status, o.Generation = appsv1.DaemonSetStatus{}, 1
		if templateGeneration(o) < 1 {
			setTemplateGeneration(o, 1)
		}
	case *batchv1.Job:
		o.Status, o.Generation = batchv1.JobStatus{}, 1
		generateSelector(o)
	case *policyv1.PodDisruptionBudget:
		o.Status, o.Generation = policyv1.PodDisruptionBudgetStatus{}, 1
	case *corev1.Namespace:
		o.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
		for _, f := range o.Spec.Finalizers {
			if f == corev1.FinalizerKubernetes {
				return
			}
		}
		o.Spec.Finalizers = append(o.Spec.Finalizers, corev1.FinalizerKubernetes)
	case *corev1.Service:
		o.Status = corev1.ServiceStatus{}
		normalizeClusterIPs(o)
		setIPFamilies(o)
	case *discoveryv1.EndpointSlice:
		o.Generation = 1
	case *schedulingv1.PriorityClass:
		o.Generation = 1
	default:
		prepareStored(obj)
	}
}

// prepareStored is PrepareForCreate for kinds that are only stored.
func prepareStored(obj Object) {
	switch o := obj.(type) {
	case *batchv1.CronJob:
		o.Status, o.Generation = batchv1.CronJobStatus{}, 1
	case *corev1.ReplicationController:
		o.Status, o.Generation = corev1.ReplicationControllerStatus{}, 1
	case *autoscalingv2.HorizontalPodAutoscaler:
		o.Status, o.Generation = autoscalingv2.HorizontalPodAutoscalerStatus{}, 1
	case *networkingv1.Ingress:
		o.Status, o.Generation = networkingv1.IngressStatus{}, 1
	case *networkingv1.NetworkPolicy:
		o.Generation = 1
	case *networkingv1.IngressClass:
		o.Generation = 1
	case *corev1.PersistentVolume:
		o.Status = corev1.PersistentVolumeStatus{Phase: corev1.VolumePending}
	case *corev1.PersistentVolumeClaim:
		o.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
	case *corev1.ResourceQuota:
		o.Status = corev1.ResourceQuotaStatus{}
	case *storagev1.VolumeAttachment:
		o.Status = storagev1.VolumeAttachmentStatus{}
	case *certificatesv1.CertificateSigningRequest:
		o.Status = certificatesv1.CertificateSigningRequestStatus{}
	case *flowcontrolv1.FlowSchema:
		o.Status, o.Generation = flowcontrolv1.FlowSchemaStatus{}, 1
	case *flowcontrolv1.PriorityLevelConfiguration:
		o.Status, o.Generation = flowcontrolv1.PriorityLevelConfigurationStatus{}, 1
	case *unstructured.Unstructured:
		if crd.Is(o) {
			o.SetGeneration(1)
			delete(o.Object, "status")
			noteStored(o)
		}
	}
}

// preparePod: pkg/registry/core/pod/strategy.go.
func preparePod(p *corev1.Pod) {
	p.Generation = 1
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: qosOf(p)}
	if len(p.Spec.SchedulingGates) > 0 {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
			Reason:  corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates"}}
	}
	if a := p.Spec.Affinity; a != nil && a.PodAffinity != nil {
		mergeLabelKeys(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution,
			a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
	}
	if a := p.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		mergeLabelKeys(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution,
			a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution, p.Labels)
	}
	for i := range p.Spec.TopologySpreadConstraints {
		c := &p.Spec.TopologySpreadConstraints[i]
		addLabelKeys(c.LabelSelector, c.MatchLabelKeys, metav1.LabelSelectorOpIn, p.Labels)
	}
}

// mergeLabelKeys writes matchLabelKeys and mismatchLabelKeys of affinity terms into their selectors.
func mergeLabelKeys(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm,
	labels map[string]string) {
	merge := func(t *corev1.PodAffinityTerm) {
		addLabelKeys(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, labels)
		addLabelKeys(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, labels)
	}
	for i := range required {
		merge(&required[i])
	}
	for i := range preferred {
		merge(&preferred[i].PodAffinityTerm)
	}
}

func addLabelKeys(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, labels map[string]string) {
	if s == nil {
		return
	}
	for _, key := range keys {
		if value, has := labels[key]; has {
			s.MatchExpressions = append(s.MatchExpressions,
				metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: []string{value}})
		}
	}
}

// generateSelector gives a Job's pods labels that are theirs alone, and selects those
// (pkg/registry/batch/job/strategy.go).
func generateSelector(j *batchv1.Job) {
	if j.Spec.ManualSelector != nil && *j.Spec.ManualSelector {
		return
	}
	labels := j.Spec.Template.Labels
	if labels == nil {
		labels = make(map[string]string, 4)
		j.Spec.Template.Labels = labels
	}
	for _, l := range [...][2]string{{"job-name", j.Name}, {batchv1.JobNameLabel, j.Name},
		{"controller-uid", string(j.UID)}, {batchv1.ControllerUidLabel, string(j.UID)}} {
		if _, set := labels[l[0]]; !set {
			labels[l[0]] = l[1]
		}
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	if _, set := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !set {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = string(j.UID)
	}
}

// templateGeneration counts the templates of a DaemonSet, in an annotation (pkg/apis/apps/v1/conversion.go).
func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func setTemplateGeneration(d *appsv1.DaemonSet, n int64) {
	text := strconv.FormatInt(n, 10)
	if d.Annotations[appsv1.DeprecatedTemplateGeneration] == text {
		return
	}
	annotations := make(map[string]string, len(d.Annotations)+1)
	for k, v := range d.Annotations { // any order: into a map
		annotations[k] = v
	}
	annotations[appsv1.DeprecatedTemplateGeneration] = text
	d.Annotations = annotations
}

// PrepareForUpdate is what the resource's strategy does before an update of obj, which replaces old, or of a
// subresource of it (pkg/registry/*/strategy.go, v1.36): status and specification leave each other alone, a changed
// specification is a new generation. obj has old's generation already.
func PrepareForUpdate(obj, old Object, subresource string) {
	if subresource == "status" {
		prepareStatusUpdate(obj, old)
		return
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		was := old.(*corev1.Pod)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *appsv1.Deployment:
		was := old.(*appsv1.Deployment)
		o.Status = was.Status
		if !equality.Semantic.DeepEqual(o.Annotations, was.Annotations) {
			// Annotations are copied to the ReplicaSets, so the controller must see that they changed.
			o.Generation++
			return
		}
		bump(o, o.Spec, was.Spec)
	case *appsv1.ReplicaSet:
		was := old.(*appsv1.ReplicaSet)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *appsv1.StatefulSet:
		was := old.(*appsv1.StatefulSet)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *appsv1.DaemonSet:
		was := old.(*appsv1.DaemonSet)
		o.Status = was.Status
		generation := templateGeneration(was)
		if !equality.Semantic.DeepEqual(o.Spec.Template, was.Spec.Template) {
			generation++
		}
		setTemplateGeneration(o, generation)
		bump(o, o.Spec, was.Spec)
	case *batchv1.Job:
		was := old.(*batchv1.Job)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *policyv1.PodDisruptionBudget:
		was := old.(*policyv1.PodDisruptionBudget)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *corev1.Node:
		o.Status = old.(*corev1.Node).Status
	case *corev1.Namespace:
		was := old.(*corev1.Namespace)
		o.Status = was.Status
		if subresource != "finalize" {
			o.Spec.Finalizers = was.Spec.Finalizers
		}
	case *corev1.Service:
		prepareServiceUpdate(o, old.(*corev1.Service))
	case *corev1.Secret:
		if o.Type == "" {
			o.Type = old.(*corev1.Secret).Type
		}
	case *discoveryv1.EndpointSlice:
		was := old.(*discoveryv1.EndpointSlice)
		same := o.AddressType == was.AddressType && equality.Semantic.DeepEqual(o.Endpoints, was.Endpoints) &&
			equality.Semantic.DeepEqual(o.Ports, was.Ports) && equality.Semantic.DeepEqual(o.Labels, was.Labels)
		if !same {
			o.Generation++
		}
	default:
		prepareStoredUpdate(obj, old)
	}
}

// bump counts a new generation when a specification has changed, of what counts them: pods of old releases do not.
func bump[T any](obj Object, spec, was T) {
	if obj.GetGeneration() > 0 && !equality.Semantic.DeepEqual(spec, was) {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
}
