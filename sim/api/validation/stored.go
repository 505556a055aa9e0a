package validation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ksim/sim/api/crd"
)

// Models the checks of kinds that are only stored (pkg/apis/*/validation/validation.go, v1.36): what they must have,
// and what may not change. Leaves out: metrics and behaviour of autoscalers, TLS of Ingresses, rules of webhooks,
// sources of PersistentVolumes, and kinds that few people write, of which the metadata is checked alone.

// stored checks an object of a kind that is only stored, but for its metadata.
func (f *found) stored(obj runtime.Object) {
	switch o := obj.(type) {
	case *rbacv1.Role:
		f.rules(o.Rules, true)
	case *rbacv1.ClusterRole:
		f.rules(o.Rules, false)
	case *rbacv1.RoleBinding:
		f.roleRef(o.RoleRef, "Role", "ClusterRole")
		f.subjects(o.Subjects, true)
	case *rbacv1.ClusterRoleBinding:
		f.roleRef(o.RoleRef, "ClusterRole")
		f.subjects(o.Subjects, false)
	case *networkingv1.Ingress:
		f.ingress(&o.Spec, specPath())
	case *networkingv1.IngressClass:
		f.add(validation.IsDomainPrefixedPath(specPath().Child("controller").path(), o.Spec.Controller)...)
	case *networkingv1.NetworkPolicy:
		f.networkPolicy(&o.Spec, specPath())
	case *corev1.PersistentVolumeClaim:
		f.claim(&o.Spec, specPath())
	case *corev1.PersistentVolume:
		f.volume(&o.Spec, specPath())
	case *storagev1.StorageClass:
		f.storageClass(o)
	case *autoscalingv2.HorizontalPodAutoscaler:
		f.autoscaler(&o.Spec, specPath())
	case *corev1.ReplicationController:
		f.replicationController(&o.Spec, specPath())
	case *corev1.PodTemplate:
		f.podTemplate(&o.Template, root("template"))
	case *batchv1.CronJob:
		f.cronJob(o)
	default:
		f.storedRest(obj)
	}
}

func (f *found) storedRest(obj runtime.Object) {
	switch o := obj.(type) {
	case *unstructured.Unstructured:
		if crd.Is(o) {
			f.add(crd.Validate(o)...)
		}
	case *nodev1.RuntimeClass:
		if o.Handler == "" {
			f.required(root("handler"), "")
		} else {
			f.label(root("handler"), o.Handler)
		}
	case *certificatesv1.CertificateSigningRequest:
		if len(o.Spec.Request) == 0 {
			f.invalid(specPath().Child("request"), o.Spec.Request, "PEM block type must be CERTIFICATE REQUEST")
		}
		if len(o.Spec.Usages) == 0 {
			f.required(specPath().Child("usages"), "")
		}
		if !strings.Contains(o.Spec.SignerName, "/") {
			f.invalid(specPath().Child("signerName"), o.Spec.SignerName,
				"must be a fully qualified domain and path of the form 'example.com/signer-name'")
		}
	case *admissionv1.ValidatingWebhookConfiguration:
		for i := range o.Webhooks {
			w := &o.Webhooks[i]
			f.webhook(w.Name, w.SideEffects, &w.ClientConfig, root("webhooks").Index(i))
		}
	case *admissionv1.MutatingWebhookConfiguration:
		for i := range o.Webhooks {
			w := &o.Webhooks[i]
			f.webhook(w.Name, w.SideEffects, &w.ClientConfig, root("webhooks").Index(i))
		}
	case *corev1.LimitRange:
		for i := range o.Spec.Limits {
			if o.Spec.Limits[i].Type == "" {
				f.required(specPath().Child("limits").Index(i).Child("type"), "")
			}
		}
	}
}

// rules: pkg/apis/rbac/validation ValidatePolicyRule.
func (f *found) rules(rules []rbacv1.PolicyRule, namespaced bool) {
	for i := range rules {
		r, at := &rules[i], root("rules").Index(i)
		if len(r.Verbs) == 0 {
			f.required(at.Child("verbs"), "verbs must contain at least one value")
		}
		if len(r.NonResourceURLs) > 0 {
			if namespaced {
				f.invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs")
			}
			if len(r.APIGroups) > 0 || len(r.Resources) > 0 || len(r.ResourceNames) > 0 {
				f.invalid(at.Child("nonResourceURLs"), r.NonResourceURLs,
					"rules cannot apply to both regular resources and non-resource URLs")
			}
			continue
		}
		if len(r.APIGroups) == 0 {
			f.required(at.Child("apiGroups"), "resource rules must supply at least one api group")
		}
		if len(r.Resources) == 0 {
			f.required(at.Child("resources"), "resource rules must supply at least one resource")
		}
	}
}

func (f *found) roleRef(ref rbacv1.RoleRef, kinds ...string) {
	at := root("roleRef")
	if ref.APIGroup != rbacv1.GroupName {
		f.add(field.NotSupported(at.Child("apiGroup").path(), ref.APIGroup, []string{rbacv1.GroupName}))
	}
	if !slices.Contains(kinds, ref.Kind) {
		f.add(field.NotSupported(at.Child("kind").path(), ref.Kind, kinds))
	}
	if ref.Name == "" {
		f.required(at.Child("name"), "")
	}
}

func (f *found) subjects(subjects []rbacv1.Subject, namespaced bool) {
	for i, s := range subjects {
		at := root("subjects").Index(i)
		if s.Name == "" {
			f.required(at.Child("name"), "")
		}
		switch s.Kind {
		case rbacv1.ServiceAccountKind:
			if s.Name != "" {
				f.subdomain(at.Child("name"), s.Name)
			}
			if s.APIGroup != "" {
				f.add(field.NotSupported(at.Child("apiGroup").path(), s.APIGroup, []string{""}))
			}
			if !namespaced && s.Namespace == "" {
				f.required(at.Child("namespace"), "")
			}
		case rbacv1.UserKind, rbacv1.GroupKind:
			if s.APIGroup != rbacv1.GroupName {
				f.add(field.NotSupported(at.Child("apiGroup").path(), s.APIGroup, []string{rbacv1.GroupName}))
			}
		default:
			f.add(field.NotSupported(at.Child("kind").path(), s.Kind,
				[]string{rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind}))
		}
	}
}

// ingress: pkg/apis/networking/validation ValidateIngressSpec.
func (f *found) ingress(s *networkingv1.IngressSpec, at *place) {
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		f.invalid(at, s.Rules, "either `defaultBackend` or `rules` must be specified")
	}
	if s.DefaultBackend != nil {
		f.ingressBackend(s.DefaultBackend, at.Child("defaultBackend"))
	}
	for i := range s.Rules {
		r, here := &s.Rules[i], at.Child("rules").Index(i)
		switch _, err := netip.ParseAddr(r.Host); {
		case r.Host == "":
		case err == nil:
			f.invalid(here.Child("host"), r.Host, "must be a DNS name, not an IP address")
		case strings.Contains(r.Host, "*"):
			f.invalid(here.Child("host"), r.Host, validation.IsWildcardDNS1123Subdomain(r.Host)...)
		default:
			f.subdomain(here.Child("host"), r.Host)
		}
		if r.HTTP == nil {
			continue
		}
		paths := here.Child("http").Child("paths")
		if len(r.HTTP.Paths) == 0 {
			f.required(paths, "")
		}
		for j := range r.HTTP.Paths {
			f.ingressPath(&r.HTTP.Paths[j], paths.Index(j))
		}
	}
	if c := s.IngressClassName; c != nil {
		f.subdomain(at.Child("ingressClassName"), *c)
	}
}

func (f *found) ingressPath(p *networkingv1.HTTPIngressPath, at *place) {
	if p.PathType == nil {
		f.required(at.Child("pathType"), "pathType must be specified")
		return
	}
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if !strings.HasPrefix(p.Path, "/") {
			f.invalid(at.Child("path"), p.Path, "must be an absolute path")
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" && !strings.HasPrefix(p.Path, "/") {
			f.invalid(at.Child("path"), p.Path, "must be an absolute path")
		}
	default:
		f.add(field.NotSupported(at.Child("pathType").path(), *p.PathType, []networkingv1.PathType{
			networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix}))
	}
	f.ingressBackend(&p.Backend, at.Child("backend"))
}

func (f *found) ingressBackend(b *networkingv1.IngressBackend, at *place) {
	switch {
	case b.Resource != nil && b.Service != nil:
		f.invalid(at, "", "cannot set both resource and service backends")
	case b.Resource != nil:
	case b.Service == nil:
		f.invalid(at, "", "resource or service backend is required")
	default:
		port := b.Service.Port
		if b.Service.Name == "" {
			f.required(at.Child("service").Child("name"), "")
		} else {
			f.label(at.Child("service").Child("name"), b.Service.Name)
		}
		switch here := at.Child("service").Child("port"); {
		case port.Name != "" && port.Number != 0:
			f.invalid(at, "", "cannot set both port name & port number")
		case port.Name != "":
			f.invalid(here.Child("name"), port.Name, validation.IsValidPortName(port.Name)...)
		case port.Number != 0:
			f.invalid(here.Child("number"), port.Number, validation.IsValidPortNum(int(port.Number))...)
		default:
			f.required(at, "port name or number is required")
		}
	}
}

// networkPolicy: pkg/apis/networking/validation ValidateNetworkPolicySpec.
func (f *found) networkPolicy(s *networkingv1.NetworkPolicySpec, at *place) {
	f.selector(&s.PodSelector, at.Child("podSelector"))
	for i := range s.Ingress {
		for j := range s.Ingress[i].From {
			f.peer(&s.Ingress[i].From[j], at.Child("ingress").Index(i).Child("from").Index(j))
		}
	}
	for i := range s.Egress {
		for j := range s.Egress[i].To {
			f.peer(&s.Egress[i].To[j], at.Child("egress").Index(i).Child("to").Index(j))
		}
	}
	for i, t := range s.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			f.add(field.NotSupported(at.Child("policyTypes").Index(i).path(), t,
				[]networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}))
		}
	}
}

func (f *found) peer(p *networkingv1.NetworkPolicyPeer, at *place) {
	f.selector(p.PodSelector, at.Child("podSelector"))
	f.selector(p.NamespaceSelector, at.Child("namespaceSelector"))
	switch {
	case p.PodSelector == nil && p.NamespaceSelector == nil && p.IPBlock == nil:
		f.required(at, "must specify a peer")
	case p.IPBlock != nil && (p.PodSelector != nil || p.NamespaceSelector != nil):
		f.forbidden(at, "may not specify both ipBlock and another peer")
	case p.IPBlock != nil && p.IPBlock.CIDR == "":
		f.required(at.Child("ipBlock").Child("cidr"), "")
	case p.IPBlock != nil:
		if _, err := netip.ParsePrefix(p.IPBlock.CIDR); err != nil {
			f.invalid(at.Child("ipBlock").Child("cidr"), p.IPBlock.CIDR,
				"must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
		}
	}
}

// accessModes are those that a volume can have.
func accessModes() []corev1.PersistentVolumeAccessMode {
	return []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany, corev1.ReadWriteMany, corev1.ReadWriteOnce,
		corev1.ReadWriteOncePod}
}

func (f *found) accessModes(modes []corev1.PersistentVolumeAccessMode, detail string, at *place) {
	if len(modes) == 0 {
		f.required(at, detail)
	}
	for _, mode := range modes {
		if !slices.Contains(accessModes(), mode) {
			f.add(field.NotSupported(at.path(), mode, accessModes()))
		}
	}
	if len(modes) > 1 && slices.Contains(modes, corev1.ReadWriteOncePod) {
		f.forbidden(at, "may not use ReadWriteOncePod with other access modes")
	}
}

// claim: pkg/apis/core/validation ValidatePersistentVolumeClaimSpec.
func (f *found) claim(s *corev1.PersistentVolumeClaimSpec, at *place) {
	f.accessModes(s.AccessModes, "at least 1 access mode is required", at.Child("accessModes"))
	f.selector(s.Selector, at.Child("selector"))
	size := at.Child("resources").Key(string(corev1.ResourceStorage))
	if storage, ok := s.Resources.Requests[corev1.ResourceStorage]; !ok {
		f.required(size, "")
	} else if storage.Sign() <= 0 {
		f.invalid(size, storage.String(), "must be greater than zero")
	}
	if c := s.StorageClassName; c != nil && *c != "" {
		f.subdomain(at.Child("storageClassName"), *c)
	}
	optional(f, at.Child("volumeMode"), s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}

// volume: pkg/apis/core/validation ValidatePersistentVolumeSpec.
func (f *found) volume(s *corev1.PersistentVolumeSpec, at *place) {
	f.accessModes(s.AccessModes, "", at.Child("accessModes"))
	if len(s.Capacity) == 0 {
		f.required(at.Child("capacity"), "")
	}
	if _, ok := s.Capacity[corev1.ResourceStorage]; !ok || len(s.Capacity) > 1 {
		f.add(field.NotSupported(at.Child("capacity").path(), s.Capacity, []corev1.ResourceName{corev1.ResourceStorage}))
	}
	optional(f, at.Child("persistentVolumeReclaimPolicy"), &s.PersistentVolumeReclaimPolicy,
		corev1.PersistentVolumeReclaimDelete, corev1.PersistentVolumeReclaimRecycle, corev1.PersistentVolumeReclaimRetain)
	if s.PersistentVolumeSource == (corev1.PersistentVolumeSource{}) {
		f.required(at, "must specify a volume type")
	}
	optional(f, at.Child("volumeMode"), s.VolumeMode, corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem)
}

func (f *found) storageClass(c *storagev1.StorageClass) {
	if c.Provisioner == "" {
		f.required(root("provisioner"), "")
	} else {
		f.qualifiedName(root("provisioner"), strings.ToLower(c.Provisioner))
	}
	optional(f, root("reclaimPolicy"), c.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete,
		corev1.PersistentVolumeReclaimRetain)
	optional(f, root("volumeBindingMode"), c.VolumeBindingMode, storagev1.VolumeBindingImmediate,
		storagev1.VolumeBindingWaitForFirstConsumer)
}

// autoscaler: pkg/apis/autoscaling/validation validateHorizontalPodAutoscalerSpec.
func (f *found) autoscaler(s *autoscalingv2.HorizontalPodAutoscalerSpec, at *place) {
	if s.MinReplicas != nil && *s.MinReplicas < 1 {
		f.invalid(at.Child("minReplicas"), *s.MinReplicas, "must be greater than or equal to 1")
	}
	switch most := at.Child("maxReplicas"); {
	case s.MaxReplicas == 0:
		f.required(most, "must be set and greater than 0")
	case s.MaxReplicas < 0:
		f.invalid(most, s.MaxReplicas, "must be greater than or equal to 1")
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		f.invalid(at.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`")
	}
	target := at.Child("scaleTargetRef")
	if s.ScaleTargetRef.Kind == "" {
		f.required(target.Child("kind"), "")
	}
	if s.ScaleTargetRef.Name == "" {
		f.required(target.Child("name"), "")
	}
}

// replicationController: pkg/apis/core/validation ValidateReplicationControllerSpec.
func (f *found) replicationController(s *corev1.ReplicationControllerSpec, at *place) {
	f.nonNegative(at.Child("minReadySeconds"), int64(s.MinReadySeconds))
	if len(s.Selector) == 0 {
		f.required(at.Child("selector"), "")
	}
	f.nonNegative32(at.Child("replicas"), s.Replicas)
	template := at.Child("template")
	if s.Template == nil {
		f.required(template, "")
		return
	}
	for _, key := range sortedKeys(s.Selector) {
		if s.Template.Labels[key] != s.Selector[key] {
			f.invalid(template.Child("metadata").Child("labels"), s.Template.Labels,
				"`selector` does not match template `labels`")
			break
		}
	}
	f.podTemplate(s.Template, template)
	if p := s.Template.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		f.add(field.NotSupported(template.Child("spec").Child("restartPolicy").path(), p,
			[]corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
}

// webhook: pkg/apis/admissionregistration/validation validateMutatingWebhook.
func (f *found) webhook(name string, effects *admissionv1.SideEffectClass, config *admissionv1.WebhookClientConfig,
	at *place) {
	f.add(validation.IsFullyQualifiedName(at.Child("name").path(), name)...)
	none := []admissionv1.SideEffectClass{admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun}
	if effects == nil {
		f.required(at.Child("sideEffects"), fmt.Sprintf("must specify one of %s, %s", none[0], none[1]))
	}
	if (config.URL == nil) == (config.Service == nil) {
		f.required(at.Child("clientConfig"), "exactly one of url or service is required")
	}
}

// updatedStored: what may not change in a kind that is only stored.
func (f *found) updatedStored(obj, old runtime.Object) {
	f.stored(obj)
	switch o := obj.(type) {
	case *rbacv1.RoleBinding:
		if was := old.(*rbacv1.RoleBinding); o.RoleRef != was.RoleRef {
			f.invalid(root("roleRef"), o.RoleRef, "cannot change roleRef")
		}
	case *rbacv1.ClusterRoleBinding:
		if was := old.(*rbacv1.ClusterRoleBinding); o.RoleRef != was.RoleRef {
			f.invalid(root("roleRef"), o.RoleRef, "cannot change roleRef")
		}
	case *storagev1.StorageClass:
		was := old.(*storagev1.StorageClass)
		f.immutable(root("parameters"), o.Parameters, was.Parameters)
		f.immutable(root("provisioner"), o.Provisioner, was.Provisioner)
		f.immutable(root("reclaimPolicy"), o.ReclaimPolicy, was.ReclaimPolicy)
		f.immutable(root("volumeBindingMode"), o.VolumeBindingMode, was.VolumeBindingMode)
	case *nodev1.RuntimeClass:
		f.immutable(root("handler"), o.Handler, old.(*nodev1.RuntimeClass).Handler)
	case *networkingv1.IngressClass:
		f.immutable(specPath().Child("controller"), o.Spec.Controller, old.(*networkingv1.IngressClass).Spec.Controller)
	case *corev1.PersistentVolume:
		if !equality.Semantic.DeepEqual(o.Spec.PersistentVolumeSource,
			old.(*corev1.PersistentVolume).Spec.PersistentVolumeSource) {
			f.forbidden(specPath().Child("persistentvolumesource"),
				"spec.persistentvolumesource is immutable after creation")
		}
	case *corev1.PersistentVolumeClaim:
		f.updatedClaim(o, old.(*corev1.PersistentVolumeClaim))
	}
}

func (f *found) updatedClaim(c, old *corev1.PersistentVolumeClaim) {
	was := old.Spec.DeepCopy()
	if was.VolumeName == "" { // who binds it may name the volume
		was.VolumeName = c.Spec.VolumeName
	}
	was.Resources.Requests = c.Spec.Resources.Requests
	was.VolumeAttributesClassName = c.Spec.VolumeAttributesClassName
	if !equality.Semantic.DeepEqual(c.Spec, *was) {
		f.forbidden(specPath(), "spec is immutable after creation except resources.requests and "+
			"volumeAttributesClassName for bound claims")
	}
}

// clusterWide reports whether the objects of a kind lie in no namespace.
func clusterWide(obj metav1.Object) bool {
	switch obj.(type) {
	case *corev1.PersistentVolume, *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding, *storagev1.StorageClass,
		*storagev1.CSINode, *storagev1.CSIDriver, *storagev1.VolumeAttachment, *networkingv1.IngressClass,
		*nodev1.RuntimeClass, *certificatesv1.CertificateSigningRequest, *admissionv1.MutatingWebhookConfiguration,
		*admissionv1.ValidatingWebhookConfiguration:
		return true
	}
	return false
}

// storedMeta checks the metadata of a kind that is only stored and that has a rule of its own for names. Of others the
// server checks it by the rule for all.
func (f *found) storedMeta(obj runtime.Object) {
	switch o := obj.(type) {
	case *networkingv1.Ingress, *networkingv1.IngressClass, *networkingv1.NetworkPolicy, *corev1.PersistentVolumeClaim,
		*corev1.PersistentVolume, *storagev1.StorageClass, *storagev1.CSINode, *storagev1.CSIDriver,
		*storagev1.VolumeAttachment, *autoscalingv2.HorizontalPodAutoscaler, *corev1.ReplicationController,
		*corev1.PodTemplate, *corev1.LimitRange, *corev1.ResourceQuota, *nodev1.RuntimeClass,
		*certificatesv1.CertificateSigningRequest, *admissionv1.ValidatingWebhookConfiguration,
		*admissionv1.MutatingWebhookConfiguration:
		f.meta(o.(metav1.Object), subdomainName)
	}
}
