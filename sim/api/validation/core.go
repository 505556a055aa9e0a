package validation

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// service: pkg/apis/core/validation/validation.go validateService, v1.36.
func (f *found) service(s *corev1.Service) {
	at := specPath()
	headless := s.Spec.ClusterIP == corev1.ClusterIPNone
	if len(s.Spec.Ports) == 0 && !headless && s.Spec.Type != corev1.ServiceTypeExternalName {
		f.required(at.Child("ports"), "")
	}
	switch s.Spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		if headless {
			f.invalid(at.Child("clusterIPs").Index(0), s.Spec.ClusterIP,
				"may not be set to 'None' for "+string(s.Spec.Type)+" services")
		}
	case corev1.ServiceTypeExternalName:
		if len(s.Spec.ClusterIPs) > 0 {
			f.forbidden(at.Child("clusterIPs"), "may not be set for ExternalName services")
		}
		if name := strings.TrimSuffix(s.Spec.ExternalName, "."); name == "" {
			f.required(at.Child("externalName"), "")
		} else {
			f.subdomain(at.Child("externalName"), name)
		}
	}
	names := map[string]bool{}
	for i := range s.Spec.Ports {
		f.servicePort(&s.Spec.Ports[i], len(s.Spec.Ports) > 1, names, at.Child("ports").Index(i))
	}
	f.labels(at.Child("selector"), s.Spec.Selector)
	oneOf(f, at.Child("sessionAffinity"), s.Spec.SessionAffinity,
		corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	f.clusterIPs(s)
	for i, ip := range s.Spec.ExternalIPs {
		f.address(at.Child("externalIPs").Index(i), ip)
	}
	oneOf(f, at.Child("type"), s.Spec.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)
	f.servicePortsApart(s)
	f.trafficPolicies(s)
}

func (f *found) servicePort(p *corev1.ServicePort, named bool, names map[string]bool, at *place) {
	if p.Name != "" {
		f.label(at.Child("name"), p.Name)
		f.unique(at.Child("name"), names, p.Name)
	} else if named {
		f.required(at.Child("name"), "")
	}
	f.invalid(at.Child("port"), p.Port, validation.IsValidPortNum(int(p.Port))...)
	f.protocol(at.Child("protocol"), p.Protocol)
	f.port(p.TargetPort, at.Child("targetPort"))
	if p.AppProtocol != nil {
		f.qualifiedName(at.Child("appProtocol"), *p.AppProtocol)
	}
}

// servicePortsApart: no port or node port twice, and node ports only where the type has them.
func (f *found) servicePortsApart(s *corev1.Service) {
	type key struct {
		protocol corev1.Protocol
		number   int32
	}
	ports, nodePorts := map[key]bool{}, map[key]bool{}
	at := specPath().Child("ports")
	for i, p := range s.Spec.Ports {
		if p.NodePort == 0 {
			continue
		}
		if s.Spec.Type == corev1.ServiceTypeClusterIP {
			f.forbidden(at.Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'")
		}
		k := key{p.Protocol, p.NodePort}
		if nodePorts[k] {
			f.add(field.Duplicate(at.Index(i).Child("nodePort").path(), p.NodePort))
		}
		nodePorts[k] = true
	}
	for i, p := range s.Spec.Ports {
		k := key{p.Protocol, p.Port}
		if ports[k] {
			f.add(field.Duplicate(at.Index(i).path(), corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}))
		}
		ports[k] = true
	}
}

func (f *found) clusterIPs(s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	at := specPath().Child("clusterIPs")
	if s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) > 0 && s.Spec.ClusterIPs[0] != s.Spec.ClusterIP {
		f.invalid(at, s.Spec.ClusterIPs, "first value must match `clusterIP`")
	}
	for i, ip := range s.Spec.ClusterIPs {
		if ip == corev1.ClusterIPNone && i == 0 {
			if len(s.Spec.ClusterIPs) > 1 {
				f.invalid(at.Index(i), ip, "'None' must be the first and only value")
			}
			continue
		}
		f.address(at.Index(i), ip)
	}
}

// address checks an IP address as the API takes it.
func (f *found) address(at *place, ip string) {
	if _, err := netip.ParseAddr(ip); err != nil {
		f.invalid(at, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
	}
}

func (f *found) trafficPolicies(s *corev1.Service) {
	nodePorts := s.Spec.Type == corev1.ServiceTypeLoadBalancer || s.Spec.Type == corev1.ServiceTypeNodePort
	at := specPath().Child("externalTrafficPolicy")
	if !nodePorts && !(s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0) {
		if s.Spec.ExternalTrafficPolicy != "" {
			f.invalid(at, s.Spec.ExternalTrafficPolicy, "may only be set for externally-accessible services")
		}
	} else {
		oneOf(f, at, s.Spec.ExternalTrafficPolicy,
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
	}
	optional(f, specPath().Child("internalTrafficPolicy"), s.Spec.InternalTrafficPolicy,
		corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)
}

func (f *found) updatedService(s, old *corev1.Service) {
	external := corev1.ServiceTypeExternalName
	if old.Spec.Type != external && s.Spec.Type != external && old.Spec.ClusterIP != "" {
		at := specPath().Child("clusterIPs").Index(0)
		switch {
		case s.Spec.ClusterIP == "":
			f.invalid(at, s.Spec.ClusterIPs, "primary clusterIP can not be unset")
		case s.Spec.ClusterIP != old.Spec.ClusterIP:
			f.invalid(at, s.Spec.ClusterIPs, "may not change once set")
		}
	}
	f.service(s)
}

// budget: pkg/apis/policy/validation/validation.go, v1.36. The name is checked as every object's is.
func (f *found) budget(b *policyv1.PodDisruptionBudget) {
	at := specPath()
	if b.Spec.MinAvailable != nil && b.Spec.MaxUnavailable != nil {
		f.invalid(at, b.Spec, "minAvailable and maxUnavailable cannot be both set")
	}
	f.countOrPercent(b.Spec.MinAvailable, at.Child("minAvailable"))
	f.atMost100Percent(b.Spec.MinAvailable, at.Child("minAvailable"))
	f.countOrPercent(b.Spec.MaxUnavailable, at.Child("maxUnavailable"))
	f.atMost100Percent(b.Spec.MaxUnavailable, at.Child("maxUnavailable"))
	f.selector(b.Spec.Selector, at.Child("selector"))
	optional(f, at.Child("unhealthyPodEvictionPolicy"), b.Spec.UnhealthyPodEvictionPolicy,
		policyv1.AlwaysAllow, policyv1.IfHealthyBudget)
}

func (f *found) lease(s *coordinationv1.LeaseSpec) {
	if d := s.LeaseDurationSeconds; d != nil && *d <= 0 {
		f.invalid(specPath().Child("leaseDurationSeconds"), d, "must be greater than 0")
	}
	if n := s.LeaseTransitions; n != nil && *n < 0 {
		f.invalid(specPath().Child("leaseTransitions"), n, "must be greater than or equal to 0")
	}
}

func (f *found) endpointSlice(s *discoveryv1.EndpointSlice) {
	oneOf(f, root("addressType"), s.AddressType,
		discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	names := map[string]bool{}
	for i, p := range s.Ports {
		at := root("ports").Index(i)
		if p.Name != nil {
			if *p.Name != "" {
				f.label(at.Child("name"), *p.Name)
			}
			f.unique(at.Child("name"), names, *p.Name)
		}
		if p.Protocol == nil {
			f.required(at.Child("protocol"), "")
		} else {
			f.protocol(at.Child("protocol"), *p.Protocol)
		}
	}
	if len(s.Endpoints) > 1000 {
		f.add(field.TooMany(root("endpoints").path(), len(s.Endpoints), 1000))
		return
	}
	for i := range s.Endpoints {
		if len(s.Endpoints[i].Addresses) == 0 {
			f.required(root("endpoints").Index(i).Child("addresses"), "must contain at least 1 address")
		}
	}
}

// maxSecretSize bounds the data of a Secret or ConfigMap: 1 MiB (pkg/apis/core/types.go).
const maxSecretSize = 1 << 20

func (f *found) configMap(c *corev1.ConfigMap) {
	total := 0
	for _, key := range sortedKeys(c.Data) {
		at := root("data").Key(key)
		f.invalid(at, key, validation.IsConfigMapKey(key)...)
		if _, twice := c.BinaryData[key]; twice {
			f.invalid(at, key, "duplicate of key present in binaryData")
		}
		total += len(c.Data[key])
	}
	for _, key := range sortedKeys(c.BinaryData) {
		f.invalid(root("binaryData").Key(key), key, validation.IsConfigMapKey(key)...)
		total += len(c.BinaryData[key])
	}
	if total > maxSecretSize {
		f.add(field.TooLong(root("").path(), "", maxSecretSize))
	}
}

const immutableOnce = "field is immutable when `immutable` is set"

func (f *found) updatedConfigMap(c, old *corev1.ConfigMap) {
	if old.Immutable != nil && *old.Immutable {
		if c.Immutable == nil || !*c.Immutable {
			f.forbidden(root("immutable"), immutableOnce)
		}
		if !maps.Equal(c.Data, old.Data) {
			f.forbidden(root("data"), immutableOnce)
		}
		if !maps.EqualFunc(c.BinaryData, old.BinaryData, bytes.Equal) {
			f.forbidden(root("binaryData"), immutableOnce)
		}
	}
	f.configMap(c)
}

func (f *found) secret(s *corev1.Secret) {
	at := root("data")
	total := 0
	for _, key := range sortedKeys(s.Data) {
		f.invalid(at.Key(key), key, validation.IsConfigMapKey(key)...)
		total += len(s.Data[key])
	}
	if total > maxSecretSize {
		f.add(field.TooLong(at.path(), "", maxSecretSize))
	}
	var needed []string
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			f.required(root("metadata").Child("annotations").Key(corev1.ServiceAccountNameKey), "")
		}
	case corev1.SecretTypeDockercfg:
		needed = []string{corev1.DockerConfigKey}
	case corev1.SecretTypeDockerConfigJson:
		needed = []string{corev1.DockerConfigJsonKey}
	case corev1.SecretTypeSSHAuth:
		needed = []string{corev1.SSHAuthPrivateKey}
	case corev1.SecretTypeTLS:
		needed = []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey}
	}
	for _, key := range needed {
		if _, has := s.Data[key]; !has {
			f.required(at.Key(key), "")
		}
	}
}

func (f *found) updatedSecret(s, old *corev1.Secret) {
	f.immutable(root("type"), s.Type, old.Type)
	if old.Immutable != nil && *old.Immutable {
		if s.Immutable == nil || !*s.Immutable {
			f.forbidden(root("immutable"), immutableOnce)
		}
		if !maps.EqualFunc(s.Data, old.Data, bytes.Equal) {
			f.forbidden(root("data"), immutableOnce)
		}
	}
	f.secret(s)
}

// event: an Event lies in the namespace of what it is about, in default if that has none
// (pkg/apis/core/validation/events.go).
func (f *found) event(e *corev1.Event) {
	f.meta(e, subdomainName)
	about := e.InvolvedObject.Namespace
	if about == "" {
		about = corev1.NamespaceDefault
	}
	if e.Namespace != about && e.Namespace != "kube-system" {
		f.invalid(root("involvedObject").Child("namespace"), e.InvolvedObject.Namespace,
			"does not match event.namespace")
	}
}

func (f *found) updatedNode(n, old *corev1.Node) {
	f.taints(n.Spec.Taints)
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		f.forbidden(specPath().Child("podCIDRs"), `node updates may not change podCIDR except from "" to valid`)
	}
	if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		f.forbidden(specPath().Child("providerID"), `node updates may not change providerID except from "" to valid`)
	}
}

func (f *found) binding(b *corev1.Binding) {
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		f.add(field.NotSupported(root("target").Child("kind").path(), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		f.required(root("target").Child("name"), "")
	}
}
