package defaults

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func service(s *corev1.Service) {
	setIfZero(&s.Spec.SessionAffinity, corev1.ServiceAffinityNone)
	switch s.Spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		s.Spec.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		if c := s.Spec.SessionAffinityConfig; c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
			timeout := corev1.DefaultClientIPServiceAffinitySeconds
			s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
				ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &timeout}}
		}
	}
	setIfZero(&s.Spec.Type, corev1.ServiceTypeClusterIP)
	for i := range s.Spec.Ports {
		port := &s.Spec.Ports[i]
		setIfZero(&port.Protocol, corev1.ProtocolTCP)
		if port.TargetPort == intstr.FromInt32(0) || port.TargetPort == intstr.FromString("") {
			port.TargetPort = intstr.FromInt32(port.Port)
		}
	}
	nodePorts := s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
	external := nodePorts || s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0
	if external {
		setIfZero(&s.Spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	}
	if nodePorts || s.Spec.Type == corev1.ServiceTypeClusterIP {
		setIfNil(&s.Spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		setIfNil(&s.Spec.AllocateLoadBalancerNodePorts, true)
		for i := range s.Status.LoadBalancer.Ingress {
			if s.Status.LoadBalancer.Ingress[i].IP != "" {
				setIfNil(&s.Status.LoadBalancer.Ingress[i].IPMode, corev1.LoadBalancerIPModeVIP)
			}
		}
	}
}

func endpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for p := range e.Subsets[i].Ports {
			setIfZero(&e.Subsets[i].Ports[p].Protocol, corev1.ProtocolTCP)
		}
	}
}

func endpointSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		setIfNil(&s.Ports[i].Name, "")
		setIfNil(&s.Ports[i].Protocol, corev1.ProtocolTCP)
	}
}

// namespace: the label carries the name; one with a generated name gets it when the name is known.
func namespace(n *corev1.Namespace) {
	if n.Name != "" && n.Labels[corev1.LabelMetadataName] != n.Name {
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[corev1.LabelMetadataName] = n.Name
	}
	setIfZero(&n.Status.Phase, corev1.NamespaceActive)
}

func node(n *corev1.Node) {
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	}
	roundUp(n.Status.Capacity)
	roundUp(n.Status.Allocatable)
}

func secret(s *corev1.Secret) {
	setIfZero(&s.Type, corev1.SecretTypeOpaque)
	// stringData is write-only: it wins over data (pkg/apis/core/v1/conversion.go).
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = make(map[string][]byte, len(s.StringData))
	}
	for k, v := range s.StringData { // any order: into a map
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

func limitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		item.Default = completed(item.Default, item.Max)
		item.DefaultRequest = completed(item.DefaultRequest, item.Default)
		item.DefaultRequest = completed(item.DefaultRequest, item.Min)
	}
}

// completed returns list with what it lacks of more.
func completed(list, more corev1.ResourceList) corev1.ResourceList {
	if list == nil {
		list = make(corev1.ResourceList, len(more))
	}
	for name, quantity := range more { // any order: into a map
		if _, set := list[name]; !set {
			list[name] = quantity.DeepCopy()
		}
	}
	return list
}

func networkPolicy(p *networkingv1.NetworkPolicy) {
	for i := range p.Spec.Ingress {
		for port := range p.Spec.Ingress[i].Ports {
			setIfNil(&p.Spec.Ingress[i].Ports[port].Protocol, corev1.ProtocolTCP)
		}
	}
	for i := range p.Spec.Egress {
		for port := range p.Spec.Egress[i].Ports {
			setIfNil(&p.Spec.Egress[i].Ports[port].Protocol, corev1.ProtocolTCP)
		}
	}
	if len(p.Spec.PolicyTypes) == 0 {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
}

func subjects(list []rbacv1.Subject) {
	for i := range list {
		if list[i].Kind == rbacv1.UserKind || list[i].Kind == rbacv1.GroupKind {
			setIfZero(&list[i].APIGroup, rbacv1.GroupName)
		}
	}
}

// autoscaler: without metrics it is the CPU, of which 80 % shall be used (pkg/apis/autoscaling/v2/defaults.go).
func autoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	setIfNil(&h.Spec.MinReplicas, 1)
	if len(h.Spec.Metrics) == 0 {
		percent := int32(80)
		h.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{
				Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}}}}
	}
}

func webhook(failure **admissionv1.FailurePolicyType, match **admissionv1.MatchPolicyType, timeout **int32) {
	setIfNil(failure, admissionv1.Fail)
	setIfNil(match, admissionv1.Equivalent)
	setIfNil(timeout, 10)
}
