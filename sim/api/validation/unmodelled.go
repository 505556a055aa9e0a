package validation

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Unmodelled lists the paths of what a sound object asks for and nothing in a simulated cluster does, where a real one
// would behave differently for it. Fields that change nothing there either way (images, security contexts, limits of
// containers that execute nothing) are not named. "kind" stands for a whole object that is only stored.
func Unmodelled(obj runtime.Object) []string {
	u := &unmodelled{}
	switch o := obj.(type) {
	case *corev1.Pod:
		u.pod(&o.Spec, field.NewPath("spec"))
	case *appsv1.Deployment:
		u.pod(&o.Spec.Template.Spec, templatePath())
	case *appsv1.ReplicaSet:
		u.pod(&o.Spec.Template.Spec, templatePath())
	case *appsv1.StatefulSet:
		u.statefulSet(&o.Spec)
	case *appsv1.DaemonSet:
		u.pod(&o.Spec.Template.Spec, templatePath())
		r := o.Spec.UpdateStrategy.RollingUpdate
		u.when(r != nil && countOf(r.MaxSurge) != 0, field.NewPath("spec", "updateStrategy", "rollingUpdate", "maxSurge"))
	case *batchv1.Job:
		u.job(&o.Spec)
	case *corev1.Service:
		u.service(&o.Spec)
	}
	return u.paths
}

func templatePath() *field.Path { return field.NewPath("spec").Child("template", "spec") }

type unmodelled struct{ paths []string }

func (u *unmodelled) when(asked bool, at *field.Path) {
	if asked {
		u.paths = append(u.paths, at.String())
	}
}

func (u *unmodelled) pod(s *corev1.PodSpec, at *field.Path) {
	for i := range s.Volumes {
		name, known := sourceOf(&s.Volumes[i].VolumeSource)
		u.when(!known, at.Child("volumes").Index(i).Child(name))
	}
	for i := range s.InitContainers {
		u.container(&s.InitContainers[i], at.Child("initContainers").Index(i))
	}
	for i := range s.Containers {
		here := at.Child("containers").Index(i)
		u.container(&s.Containers[i], here)
		u.when(s.Containers[i].RestartPolicy != nil, here.Child("restartPolicy"))
	}
	u.when(len(s.EphemeralContainers) > 0, at.Child("ephemeralContainers"))
	u.when(len(s.ResourceClaims) > 0, at.Child("resourceClaims"))
	u.when(s.RuntimeClassName != nil, at.Child("runtimeClassName"))
	u.when(s.SchedulingGroup != nil, at.Child("schedulingGroup"))
}

// sourceOf names a volume's source; known are those that hold nothing but what the cluster makes of them.
func sourceOf(s *corev1.VolumeSource) (name string, known bool) {
	switch {
	case s.EmptyDir != nil, s.HostPath != nil, s.ConfigMap != nil, s.Secret != nil, s.DownwardAPI != nil,
		s.Projected != nil, s.Image != nil, *s == (corev1.VolumeSource{}):
		return "", true
	case s.PersistentVolumeClaim != nil:
		return "persistentVolumeClaim", false
	case s.Ephemeral != nil:
		return "ephemeral", false
	case s.CSI != nil:
		return "csi", false
	case s.NFS != nil:
		return "nfs", false
	case s.ISCSI != nil:
		return "iscsi", false
	}
	return "source", false
}

func (u *unmodelled) container(c *corev1.Container, at *field.Path) {
	u.when(len(c.RestartPolicyRules) > 0, at.Child("restartPolicyRules"))
	u.when(len(c.Resources.Claims) > 0, at.Child("resources", "claims"))
	if c.Lifecycle == nil {
		return
	}
	u.hook(c.Lifecycle.PostStart, at.Child("lifecycle", "postStart"))
	u.hook(c.Lifecycle.PreStop, at.Child("lifecycle", "preStop"))
	u.when(c.Lifecycle.StopSignal != nil, at.Child("lifecycle", "stopSignal"))
}

func (u *unmodelled) hook(h *corev1.LifecycleHandler, at *field.Path) {
	if h != nil {
		u.when(h.HTTPGet != nil, at.Child("httpGet"))
		u.when(h.TCPSocket != nil, at.Child("tcpSocket"))
	}
}

func (u *unmodelled) statefulSet(s *appsv1.StatefulSetSpec) {
	u.pod(&s.Template.Spec, templatePath())
	u.when(len(s.VolumeClaimTemplates) > 0, field.NewPath("spec").Child("volumeClaimTemplates"))
	u.when(s.Ordinals != nil && s.Ordinals.Start != 0, field.NewPath("spec").Child("ordinals"))
	r := s.UpdateStrategy.RollingUpdate
	u.when(r != nil && r.MaxUnavailable != nil && r.MaxUnavailable.String() != "1",
		field.NewPath("spec").Child("updateStrategy", "rollingUpdate", "maxUnavailable"))
}

func (u *unmodelled) job(s *batchv1.JobSpec) {
	u.pod(&s.Template.Spec, templatePath())
	at := field.NewPath("spec")
	u.when(s.CompletionMode != nil && *s.CompletionMode != batchv1.NonIndexedCompletion, at.Child("completionMode"))
	u.when(s.BackoffLimitPerIndex != nil, at.Child("backoffLimitPerIndex"))
	u.when(s.PodFailurePolicy != nil, at.Child("podFailurePolicy"))
	u.when(s.SuccessPolicy != nil, at.Child("successPolicy"))
	u.when(s.Suspend != nil && *s.Suspend, at.Child("suspend"))
	u.when(s.ManagedBy != nil, at.Child("managedBy"))
	u.when(s.TTLSecondsAfterFinished != nil, at.Child("ttlSecondsAfterFinished"))
}

func (u *unmodelled) service(s *corev1.ServiceSpec) {
	at := field.NewPath("spec")
	u.when(s.Type == corev1.ServiceTypeLoadBalancer || s.Type == corev1.ServiceTypeExternalName, at.Child("type"))
	u.when(len(s.Selector) == 0 && s.Type != corev1.ServiceTypeExternalName, at.Child("selector"))
	u.when(s.SessionAffinity == corev1.ServiceAffinityClientIP, at.Child("sessionAffinity"))
	u.when(s.InternalTrafficPolicy != nil && *s.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		at.Child("internalTrafficPolicy"))
	u.when(s.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal, at.Child("externalTrafficPolicy"))
	u.when(s.TrafficDistribution != nil, at.Child("trafficDistribution"))
}
