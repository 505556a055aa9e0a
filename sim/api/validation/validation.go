package validation

import (
	"cmp"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Meta checks the metadata that every object has, when nothing more exact has been said of it
// (apiserver pkg/registry/rest/create.go, v0.36).
func Meta(obj metav1.Object, namespaced bool) field.ErrorList {
	if soundMeta(obj, namespaced, segmentName) {
		return nil
	}
	return apivalidation.ValidateObjectMetaAccessor(obj, namespaced, segmentName.check, field.NewPath("metadata"))
}

// MetaUpdate checks the metadata of an object that is to replace old: that it is sound, and that the object's identity
// is left alone.
func MetaUpdate(obj, old metav1.Object, namespaced bool) field.ErrorList {
	if sameMeta(obj, old) {
		return nil // old's metadata was checked when it was stored: most updates are of a status or a Lease
	}
	return append(Meta(obj, namespaced),
		apivalidation.ValidateObjectMetaAccessorUpdate(obj, old, field.NewPath("metadata"))...)
}

// sameMeta reports whether two versions of an object have all in common that is checked.
func sameMeta(obj, old metav1.Object) bool {
	return obj.GetName() == old.GetName() && obj.GetNamespace() == old.GetNamespace() && obj.GetUID() == old.GetUID() &&
		obj.GetGenerateName() == old.GetGenerateName() && obj.GetResourceVersion() != "" &&
		obj.GetGeneration() >= old.GetGeneration() && obj.GetCreationTimestamp() == old.GetCreationTimestamp() &&
		obj.GetDeletionTimestamp().Equal(old.GetDeletionTimestamp()) &&
		equalPointers(obj.GetDeletionGracePeriodSeconds(), old.GetDeletionGracePeriodSeconds()) &&
		maps.Equal(obj.GetLabels(), old.GetLabels()) && maps.Equal(obj.GetAnnotations(), old.GetAnnotations()) &&
		slices.Equal(obj.GetFinalizers(), old.GetFinalizers()) && len(obj.GetManagedFields()) == 0 &&
		slices.EqualFunc(obj.GetOwnerReferences(), old.GetOwnerReferences(), sameOwner)
}

func sameOwner(a, b metav1.OwnerReference) bool {
	return a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Name == b.Name && a.UID == b.UID &&
		equalPointers(a.Controller, b.Controller) && equalPointers(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}

func equalPointers[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// Create checks an object that is to be created, defaulted and with its name.
func Create(obj runtime.Object) field.ErrorList {
	f := &found{}
	switch o := obj.(type) {
	case *corev1.Pod:
		f.createdPod(o)
	case *appsv1.Deployment:
		f.meta(o, subdomainName)
		f.deploymentSpec(&o.Spec)
	case *appsv1.ReplicaSet:
		f.meta(o, subdomainName)
		f.replicaSetSpec(&o.Spec)
	case *appsv1.StatefulSet:
		f.meta(o, labelName)
		f.statefulSetSpec(&o.Spec)
	case *appsv1.DaemonSet:
		f.meta(o, subdomainName)
		f.daemonSetSpec(&o.Spec)
	case *batchv1.Job:
		f.job(o)
	case *policyv1.PodDisruptionBudget:
		f.budget(o)
	case *corev1.Service:
		f.meta(o, labelName) // RelaxedServiceNameValidation: beta on 1.36; before: NameIsDNS1035Label
		f.service(o)
	case *corev1.Node:
		f.meta(o, subdomainName)
		f.taints(o.Spec.Taints)
	case *coordinationv1.Lease:
		f.meta(o, subdomainName)
		f.lease(&o.Spec)
	case *discoveryv1.EndpointSlice:
		f.meta(o, subdomainName)
		f.endpointSlice(o)
	case *schedulingv1.PriorityClass:
		f.meta(o, subdomainName)
		f.priorityClass(o)
	default:
		f.createdRest(obj)
	}
	return f.list
}

// createdRest checks kinds of which little more than the name is checked.
func (f *found) createdRest(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Namespace:
		f.meta(o, labelName)
	case *corev1.ConfigMap:
		f.meta(o, subdomainName)
		f.configMap(o)
	case *corev1.Secret:
		f.meta(o, subdomainName)
		f.secret(o)
	case *corev1.ServiceAccount:
		f.meta(o, subdomainName)
	case *corev1.Endpoints:
		f.meta(o, subdomainName)
	case *corev1.Event:
		f.event(o)
	case *appsv1.ControllerRevision:
		f.meta(o, subdomainName)
		f.nonNegative(root("revision"), o.Revision)
	case *corev1.Binding:
		f.binding(o)
	default:
		f.storedMeta(obj)
		f.stored(obj)
	}
}

// Update checks an object that is to replace old, or a subresource of it. The metadata is checked by Meta and
// MetaUpdate.
func Update(obj, old runtime.Object, subresource string) field.ErrorList {
	f := &found{}
	if subresource == "status" {
		f.status(obj, old)
		return f.list
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		f.updatedPod(o, old.(*corev1.Pod))
	case *appsv1.Deployment:
		f.deploymentSpec(&o.Spec)
		f.immutable(specPath().Child("selector"), o.Spec.Selector, old.(*appsv1.Deployment).Spec.Selector)
	case *appsv1.ReplicaSet:
		f.replicaSetSpec(&o.Spec)
		f.immutable(specPath().Child("selector"), o.Spec.Selector, old.(*appsv1.ReplicaSet).Spec.Selector)
	case *appsv1.StatefulSet:
		f.updatedStatefulSet(o, old.(*appsv1.StatefulSet))
	case *appsv1.DaemonSet:
		f.daemonSetSpec(&o.Spec)
		f.immutable(specPath().Child("selector"), o.Spec.Selector, old.(*appsv1.DaemonSet).Spec.Selector)
	case *batchv1.Job:
		f.updatedJob(o, old.(*batchv1.Job))
	case *policyv1.PodDisruptionBudget:
		f.budget(o)
	case *corev1.Service:
		f.updatedService(o, old.(*corev1.Service))
	case *corev1.Node:
		f.updatedNode(o, old.(*corev1.Node))
	case *coordinationv1.Lease:
		f.lease(&o.Spec)
	case *discoveryv1.EndpointSlice:
		f.endpointSlice(o)
		f.immutable(root("addressType"), o.AddressType, old.(*discoveryv1.EndpointSlice).AddressType)
	case *schedulingv1.PriorityClass:
		f.updatedPriorityClass(o, old.(*schedulingv1.PriorityClass))
	case *corev1.ConfigMap:
		f.updatedConfigMap(o, old.(*corev1.ConfigMap))
	case *corev1.Secret:
		f.updatedSecret(o, old.(*corev1.Secret))
	case *appsv1.ControllerRevision:
		f.immutable(root("data"), o.Data.Raw, old.(*appsv1.ControllerRevision).Data.Raw)
	default:
		f.updatedStored(obj, old)
	}
	return f.list
}

// found collects what is wrong.
type found struct{ list field.ErrorList }

func specPath() *place { return root("spec") }

func (f *found) add(list ...*field.Error) { f.list = append(f.list, list...) }

func (f *found) meta(obj metav1.Object, name nameRule) {
	var wide bool
	switch obj.(type) {
	case *corev1.Node, *corev1.Namespace, *schedulingv1.PriorityClass:
		wide = true
	default:
		wide = clusterWide(obj)
	}
	if !soundMeta(obj, !wide, name) {
		f.add(apivalidation.ValidateObjectMetaAccessor(obj, !wide, name.check, field.NewPath("metadata"))...)
	}
}

// invalid adds an error for each message.
func (f *found) invalid(at *place, value any, messages ...string) {
	for _, message := range messages {
		f.add(field.Invalid(at.path(), value, message))
	}
}

func (f *found) required(at *place, detail string)  { f.add(field.Required(at.path(), detail)) }
func (f *found) forbidden(at *place, detail string) { f.add(field.Forbidden(at.path(), detail)) }

func (f *found) nonNegative(at *place, value int64) {
	if value < 0 {
		f.add(apivalidation.ValidateNonnegativeField(value, at.path())...)
	}
}

// nonNegative32 checks a number that may be absent.
func (f *found) nonNegative32(at *place, value *int32) {
	if value != nil {
		f.nonNegative(at, int64(*value))
	}
}

func (f *found) immutable(at *place, value, old any) {
	if !equality.Semantic.DeepEqual(old, value) {
		f.invalid(at, value, apivalidation.FieldImmutableErrorMsg)
	}
}

func (f *found) label(at *place, value string) {
	if !isLabel(value) {
		f.invalid(at, value, validation.IsDNS1123Label(value)...)
	}
}

func (f *found) subdomain(at *place, value string) {
	if !isLabel(value) { // the most simple one
		f.invalid(at, value, validation.IsDNS1123Subdomain(value)...)
	}
}

func (f *found) qualifiedName(at *place, value string) {
	if !isQualified(value) {
		f.invalid(at, value, validation.IsQualifiedName(value)...)
	}
}

// oneOf checks a value that must be one of those allowed: absent is Required, another NotSupported.
func oneOf[T ~string](f *found, at *place, value T, allowed ...T) {
	switch {
	case value == "":
		f.required(at, "")
	case !slices.Contains(allowed, value):
		f.add(field.NotSupported(at.path(), value, allowed))
	}
}

// optional is oneOf for a value that may be absent.
func optional[T ~string](f *found, at *place, value *T, allowed ...T) {
	if value != nil && !slices.Contains(allowed, *value) {
		f.add(field.NotSupported(at.path(), *value, allowed))
	}
}

// unique adds a Duplicate error for a name that was seen before.
func (f *found) unique(at *place, seen map[string]bool, name string) {
	if seen[name] {
		f.add(field.Duplicate(at.path(), name))
	}
	seen[name] = true
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m { // any order: sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
