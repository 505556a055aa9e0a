package apiserver

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"ksim/sim"
	"ksim/sim/api"
)

// Models admission as far as failures show it (plugin/pkg/admission, v1.36): NamespaceLifecycle, ServiceAccount,
// TaintNodesByCondition, Priority, DefaultTolerationSeconds, PodTopologyLabels. Leaves out: everything else,
// NodeRestriction, ResourceQuota, LimitRanger and webhooks among them; ServiceAccount does not look whether the account
// exists.

// admitCreate completes and checks a new object.
func (q *request) admitCreate(p *sim.Proc, obj api.Object) error {
	if err := q.admitNamespace(p); err != nil {
		return err
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		q.serviceAccount(o)
		if err := q.priority(o); err != nil {
			return err
		}
		if q.plugin("DefaultTolerationSeconds") {
			q.server.addTolerations(o)
		}
		if o.Spec.NodeName != "" {
			o.Labels = q.withTopology(o.Labels, o.Spec.NodeName)
		}
	case *corev1.Node:
		if q.server.release.TaintNodesByCondition && q.plugin("TaintNodesByCondition") {
			taintNotReady(o)
		}
	case *schedulingv1.PriorityClass:
		return q.onlyDefault(o)
	case *corev1.Namespace:
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		o.Labels[corev1.LabelMetadataName] = o.Name // pkg/apis/core/v1/defaults.go SetDefaults_Namespace
	}
	return nil
}

// admitUpdate completes an object that replaces another.
func (q *request) admitUpdate(obj, old api.Object) error {
	switch o := obj.(type) {
	case *corev1.Service:
		return q.keepAllocated(o, old.(*corev1.Service))
	case *schedulingv1.PriorityClass:
		return q.onlyDefault(o)
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	was := old.(*corev1.Pod)
	if pod.Spec.Priority == nil {
		pod.Spec.Priority = was.Spec.Priority
	}
	if pod.Spec.PreemptionPolicy == nil {
		pod.Spec.PreemptionPolicy = was.Spec.PreemptionPolicy
	}
	if q.plugin("DefaultTolerationSeconds") {
		q.server.addTolerations(pod)
	}
	return nil
}

func (q *request) plugin(name string) bool {
	return !slices.Contains(q.server.options.disabledPlugins, name)
}

// admitDelete refuses to delete what must not go (namespace/lifecycle/admission.go).
func (q *request) admitDelete() error {
	if q.Resource == api.Namespaces && slices.Contains(immortalNamespaces, q.Name) {
		return apierrors.NewForbidden(q.Resource.GroupResource(), q.Name, fmt.Errorf("this namespace may not be deleted"))
	}
	return nil
}

var immortalNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic}

// admitNamespace refuses to create in a namespace that is not there or is going (namespace/lifecycle/admission.go).
func (q *request) admitNamespace(p *sim.Proc) error {
	if !q.Resource.Namespaced || q.Namespace == metav1.NamespaceDefault {
		return nil
	}
	ns, err := q.namespace(p)
	if err != nil {
		return err
	}
	if ns.Status.Phase != corev1.NamespaceTerminating && ns.DeletionTimestamp == nil {
		return nil
	}
	name := q.Object.GetName()
	forbidden := apierrors.NewForbidden(q.Resource.GroupResource(), name,
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", q.Namespace))
	forbidden.ErrStatus.Details.Causes = append(forbidden.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: corev1.NamespaceTerminatingCause, Message: fmt.Sprintf("namespace %s is being terminated", q.Namespace),
		Field: "metadata.namespace"})
	return forbidden
}

// namespace looks the request's namespace up: in the cache, else in etcd.
func (q *request) namespace(p *sim.Proc) (*corev1.Namespace, error) {
	g := q.server.registryOf(api.Namespaces)
	if g.cache != nil {
		if v := g.cache.find("", q.Namespace); v != nil {
			return g.cache.object(v).(*corev1.Namespace), nil
		}
	}
	live := *q
	live.client = g.client
	kv, err := live.read(p, api.Namespaces.AppendKey(nil, "", q.Namespace))
	if err != nil {
		return nil, err
	}
	if kv == nil {
		return nil, apierrors.NewNotFound(api.Namespaces.GroupResource(), q.Namespace)
	}
	return q.server.decode(api.Namespaces, kv).(*corev1.Namespace), nil
}

// serviceAccount names the account that a pod runs as and mounts its token (serviceaccount/admission.go).
func (q *request) serviceAccount(pod *corev1.Pod) {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror || !q.plugin("ServiceAccount") {
		return
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = "default"
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	if pod.Spec.AutomountServiceAccountToken != nil && !*pod.Spec.AutomountServiceAccountToken {
		return
	}
	const path = "/var/run/secrets/kubernetes.io/serviceaccount"
	name, needed := "kube-api-access-"+api.RandomString(5, q.server.random), false
	for _, containers := range [...][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			mounted := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == path })
			if !mounted {
				needed = true
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: path})
			}
		}
	}
	if needed {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name,
			VolumeSource: corev1.VolumeSource{Projected: q.server.tokenSource()}})
	}
}

// tokenSource is the source of a projected volume with token, CA and namespace (serviceaccount/admission.go
// TokenVolumeSource). All pods share it: it has its defaults, and nobody changes what lies below a pod's first level.
func (s *Server) tokenSource() *corev1.ProjectedVolumeSource {
	if s.tokens == nil {
		s.tokens = &corev1.ProjectedVolumeSource{
			DefaultMode: ptr.To(corev1.ProjectedVolumeSourceDefaultMode),
			Sources: []corev1.VolumeProjection{
				{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
					ExpirationSeconds: ptr.To[int64](3607), Path: "token"}},
				{ConfigMap: &corev1.ConfigMapProjection{
					LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
					Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace",
					FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}},
			}}
	}
	return s.tokens
}

const (
	// Up to so early a release, the system's classes are for kube-system (priority/admission.go, K@1.11, K@1.12, K@1.16,
	// K@1.17).
	systemClassesSince, systemClassesUntil = 12, 16
	// preemptionPolicySince: NonPreemptingPriority, beta on 1.19.
	preemptionPolicySince = 19
)

// priority turns the name of a PriorityClass into a number (priority/admission.go).
func (q *request) priority(pod *corev1.Pod) error {
	value, policy := int32(0), corev1.PreemptLowerPriority
	name, minor := pod.Spec.PriorityClassName, q.server.release.Minor
	if systemClassesSince <= minor && minor <= systemClassesUntil && q.Namespace != metav1.NamespaceSystem &&
		(name == systemNodeCritical || name == systemClusterCritical) {
		return q.forbidden(pod, "pods with %v priorityClass is not permitted in %v namespace", name, q.Namespace)
	}
	class, err := q.priorityClass(pod.Spec.PriorityClassName)
	if err != nil {
		return err
	}
	if class != nil {
		pod.Spec.PriorityClassName, value = class.Name, class.Value
		if class.PreemptionPolicy != nil {
			policy = *class.PreemptionPolicy
		}
	}
	if pod.Spec.Priority != nil && *pod.Spec.Priority != value {
		return q.forbidden(pod, "the integer value of priority (%d) must not be provided in pod spec; priority admission "+
			"controller computed %d from the given PriorityClass name", *pod.Spec.Priority, value)
	}
	pod.Spec.Priority = &value
	if minor < preemptionPolicySince {
		return nil
	}
	if own := pod.Spec.PreemptionPolicy; own != nil && *own != policy {
		return q.forbidden(pod, "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority "+
			"admission controller computed %s from the given PriorityClass name", *own, policy)
	}
	pod.Spec.PreemptionPolicy = &policy
	return nil
}

func (q *request) forbidden(pod *corev1.Pod, why string, args ...any) error {
	return apierrors.NewForbidden(q.Resource.GroupResource(), pod.Name, fmt.Errorf(why, args...))
}

// onlyDefault refuses a second global default (priority/admission.go validatePriorityClass).
func (q *request) onlyDefault(class *schedulingv1.PriorityClass) error {
	if !class.GlobalDefault {
		return nil
	}
	if other, _ := q.priorityClass(""); other != nil && (q.Verb == api.Create || other.Name != class.Name) {
		return apierrors.NewForbidden(q.Resource.GroupResource(), class.Name, fmt.Errorf(
			"PriorityClass %v is already marked as default. Only one default can exist", other.Name))
	}
	return nil
}

// priorityClass finds a class by name, or for "" the global default, the lowest if caches let several in; nil: there is
// none.
func (q *request) priorityClass(name string) (*schedulingv1.PriorityClass, error) {
	var found *schedulingv1.PriorityClass
	if c := q.server.registryOf(api.PriorityClasses).cache; c != nil {
		c.inOrder().Scan(func(key string) bool {
			class := c.object(c.get(key)).(*schedulingv1.PriorityClass)
			if name != "" && class.Name == name ||
				name == "" && class.GlobalDefault && (found == nil || class.Value < found.Value) {
				found = class
			}
			return found == nil || name == ""
		})
	}
	if found == nil && name != "" {
		for _, class := range systemPriorityClasses() { // known before the hook that creates them has run
			if class.Name == name {
				return class, nil
			}
		}
		return nil, apierrors.NewForbidden(q.Resource.GroupResource(), q.Object.GetName(),
			fmt.Errorf("no PriorityClass with name %s was found", name))
	}
	return found, nil
}

// addTolerations has a pod tolerate, for a while, that its node is lost (defaulttolerationseconds/admission.go).
func (s *Server) addTolerations(pod *corev1.Pod) {
	seconds := map[string]int64{corev1.TaintNodeNotReady: s.options.notReadySeconds,
		corev1.TaintNodeUnreachable: s.options.unreachableSeconds}
	for _, key := range [...]string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		tolerated := slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
			return (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
		})
		if !tolerated {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists,
				Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To(seconds[key])})
		}
	}
}

// taintNotReady keeps pods off a new node until it has been seen ready (nodetaint/admission.go).
func taintNotReady(node *corev1.Node) {
	tainted := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key == corev1.TaintNodeNotReady && t.Effect == corev1.TaintEffectNoSchedule
	})
	if !tainted {
		node.Spec.Taints = append(node.Spec.Taints,
			corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
	}
}

// podTopologyLabels is the first minor with PodTopologyLabelsAdmission on (pkg/features: alpha 1.33, beta 1.35).
const podTopologyLabels = 35

// withTopology returns labels, which it does not change, with the zone and region of a pod's node
// (podtopologylabels/admission.go).
func (q *request) withTopology(labels map[string]string, node string) map[string]string {
	c := q.server.registryOf(api.Nodes).cache
	if q.server.release.Minor < podTopologyLabels || c == nil {
		return labels
	}
	v := c.find("", node)
	if v == nil {
		return labels
	}
	with, own := labels, false
	for _, key := range [...]string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion} {
		value, ok := c.object(v).GetLabels()[key]
		if is, has := with[key]; !ok || has && is == value {
			continue
		}
		if !own {
			with, own = make(map[string]string, len(labels)+2), true
			maps.Copy(with, labels)
		}
		with[key] = value
	}
	return with
}
