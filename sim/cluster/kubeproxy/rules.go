package kubeproxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"ksim/sim/api"
)

// Models how kube-proxy makes rules of a Service and its endpoints (pkg/proxy/topology.go, serviceport.go, v1.36):
// what is ready, else what terminates and still serves; internalTrafficPolicy and session affinity by client address.
// Leaves out: topology hints and trafficDistribution, addresses other than the cluster IP, the label
// service.kubernetes.io/service-proxy-name.

// Rule is the rule of one port of one Service.
type Rule struct {
	Service   string        // namespace/name
	ClusterIP string        // with the port: 10.96.0.1:443; of another protocol than TCP: UDP/10.96.0.10:53
	Endpoints []string      // address:port, sorted
	Revision  int64         // of what it was made of, the newest: an object's resourceVersion
	Affinity  time.Duration // how long a client stays with an endpoint after its last connection; 0: not at all
	Local     []Local       // nil: internalTrafficPolicy is Cluster
}

// Local is an endpoint with its node, for a Service whose internalTrafficPolicy is Local.
type Local struct {
	Endpoint, Node string
	leaving        bool // it terminates and still serves
}

// local returns the endpoints of a rule that a node may use.
func (r *Rule) local(node string) []string {
	var ready, leaving []string
	for _, l := range r.Local {
		switch {
		case l.Node != node:
		case l.leaving:
			leaving = append(leaving, l.Endpoint)
		default:
			ready = append(ready, l.Endpoint)
		}
	}
	if len(ready) == 0 {
		return leaving
	}
	return ready
}

// knownRules are the rules that the proxies of a simulation have made, by port: hundreds make the same ones of the same
// objects. Nobody changes a rule.
type knownRules map[portName]*madeRule

type portName struct{ namespace, service, port string }

// madeRule is a rule with what it was made of.
type madeRule struct {
	service *corev1.Service
	slices  []*discoveryv1.EndpointSlice
	rule    Rule
}

// rule returns the rule of one port of a Service.
func (x *proxy) rule(service *corev1.Service, port *corev1.ServicePort,
	endpoints []*discoveryv1.EndpointSlice) Rule {
	name := portName{service.Namespace, service.Name, port.Name}
	if made := x.known[name]; made != nil && made.service == service && x.endpoints == nil &&
		slices.Equal(made.slices, endpoints) {
		return made.rule
	}
	rule := Rule{Service: service.Namespace + "/" + service.Name, Revision: api.Revision(service),
		ClusterIP: fmt.Sprintf("%s:%d", service.Spec.ClusterIP, port.Port)}
	if port.Protocol != corev1.ProtocolTCP && port.Protocol != "" {
		rule.ClusterIP = string(port.Protocol) + "/" + rule.ClusterIP
	}
	if service.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		rule.Affinity = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second
		if c := service.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			rule.Affinity = time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
		}
	}
	if x.endpoints != nil {
		x.addOldBackends(&rule, service, port.Name)
		return rule
	}
	policy := service.Spec.InternalTrafficPolicy
	x.addBackends(&rule, endpoints, port.Name, policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal)
	x.known[name] = &madeRule{service, endpoints, rule}
	return rule
}

// addBackends adds where one port of a Service leads: to what is ready, or, if nothing is, to what is terminating but
// still serves.
func (x *proxy) addBackends(rule *Rule, endpoints []*discoveryv1.EndpointSlice, port string, local bool) {
	var leaving []string
	if local {
		rule.Local = []Local{}
	}
	for _, slice := range endpoints {
		rule.Revision = max(rule.Revision, api.Revision(slice))
		number, ok := portOf(slice.Ports, port)
		if !ok {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if len(e.Addresses) == 0 {
				continue
			}
			address := fmt.Sprintf("%s:%d", e.Addresses[0], number)
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			serving := e.Conditions.Serving != nil && *e.Conditions.Serving && e.Conditions.Terminating != nil &&
				*e.Conditions.Terminating && x.options.Release.ProxyTerminatingEndpoints
			switch {
			case ready:
				rule.Endpoints = append(rule.Endpoints, address)
			case serving:
				leaving = append(leaving, address)
			default:
				continue
			}
			if local && e.NodeName != nil {
				rule.Local = append(rule.Local, Local{address, *e.NodeName, !ready})
			}
		}
	}
	if len(rule.Endpoints) == 0 {
		rule.Endpoints = leaving
	}
	slices.Sort(rule.Endpoints)
	rule.Endpoints = slices.Compact(rule.Endpoints)
}

func portOf(ports []discoveryv1.EndpointPort, name string) (number int32, ok bool) {
	for _, p := range ports {
		if p.Port != nil && (p.Name == nil && name == "" || p.Name != nil && *p.Name == name) {
			return *p.Port, true
		}
	}
	return 0, false
}

// addOldBackends reads Endpoints, as releases before EndpointSlices do.
func (x *proxy) addOldBackends(rule *Rule, service *corev1.Service, port string) {
	endpoints, ok := x.endpoints.Named(service.Namespace, service.Name)
	if !ok {
		return
	}
	rule.Revision = max(rule.Revision, api.Revision(endpoints))
	for _, subset := range endpoints.Subsets {
		for _, p := range subset.Ports {
			if !strings.EqualFold(p.Name, port) {
				continue
			}
			for _, address := range subset.Addresses {
				rule.Endpoints = append(rule.Endpoints, fmt.Sprintf("%s:%d", address.IP, p.Port))
			}
		}
	}
	slices.Sort(rule.Endpoints)
}
