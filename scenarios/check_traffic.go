package scenarios

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"ksim/scenarios/source"
	"ksim/sim/cluster/spec"
)

// Defaults of probes: the time-out is contract.md's, the period chosen.
const (
	trafficTimeout = 10 * time.Second
	trafficEvery   = time.Second
)

// target is what a probe of a Service asks for.
type target struct{ namespace, name, port string }

func (t *target) String() string { return t.namespace + "/" + t.name }

// parseTarget reads "name", "namespace/name", either with ":port" behind it; the port is a number or a name.
func parseTarget(text string) (target, error) {
	t := target{namespace: metav1.NamespaceDefault}
	rest, port, hasPort := strings.Cut(text, ":")
	if namespace, name, ok := strings.Cut(rest, "/"); ok {
		t.namespace, rest = namespace, name
	}
	t.name, t.port = rest, port
	const want = "want name or namespace/name, with :port behind it for another than the first port"
	if problems := validation.ValidateNamespaceName(t.namespace, false); problems != nil {
		return t, fmt.Errorf("%q: the namespace %q is none; %s", text, t.namespace, want)
	}
	if problems := validation.NameIsDNS1035Label(t.name, false); problems != nil {
		return t, fmt.Errorf("%q: %q is no name of a Service; %s", text, t.name, want)
	}
	number, err := strconv.Atoi(port)
	named := err != nil && utilvalidation.IsDNS1123Label(port) == nil
	if hasPort && !named && utilvalidation.IsValidPortNum(number) != nil {
		return t, fmt.Errorf("%q: %q is no port; %s", text, port, want)
	}
	return t, nil
}

// portOf returns the port of a Service that the target names, the first one if it names none.
func (t *target) portOf(service *corev1.Service) (*corev1.ServicePort, error) {
	var ports []string
	for i := range service.Spec.Ports {
		p := &service.Spec.Ports[i]
		number := strconv.Itoa(int(p.Port))
		if t.port != "" && t.port != number && (t.port != p.Name || p.Name == "") {
			ports = append(ports, strings.Trim(number+" "+p.Name, " "))
			continue
		}
		if p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
			return nil, fmt.Errorf("port %s of %s is %s; probes speak TCP", number, t, p.Protocol)
		}
		return p, nil
	}
	return nil, fmt.Errorf("%s has no port %q; it has: %s", t, t.port, listed(ports))
}

// reachable reports what keeps probes from a Service that is defined like that, whatever happens to its pods.
func (t *target) reachable(service *corev1.Service) error {
	switch {
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		return fmt.Errorf("%s is an ExternalName: a name of something outside the cluster, where there is nothing", t)
	case service.Spec.ClusterIP == corev1.ClusterIPNone:
		return fmt.Errorf("%s is headless: it has no address of its own that kube-proxy would lead to its pods", t)
	}
	_, err := t.portOf(service)
	return err
}

func (c *checker) checkTraffic() {
	seen := map[string]bool{}
	for i := range c.Traffic {
		t := &c.Traffic[i]
		c.unique(seen, &t.Name, "traffic")
		c.machine(&t.From, "from")
		switch {
		case t.Service != "" && t.API != "":
			c.wrong(&t.API, "service and api: a probe asks one of them")
		case c.Place(&t.Service) != nil:
			c.checkService(t)
		case c.Place(&t.API) == nil:
			c.wrong(t, "service or api is missing: what the probe asks, a Service by name, or the API: write or read")
		}
		if t.Every != nil && *t.Every < time.Millisecond {
			c.wrong(t.Every, "every: %s, want 1ms or more", duration(*t.Every))
		}
		if t.Timeout != nil && *t.Timeout == 0 {
			c.wrong(t.Timeout, "timeout: 0, want more than 0")
		}
	}
}

// checkService checks a probe of a Service. One that no manifest defines may still be made by a step.
func (c *checker) checkService(t *Traffic) {
	c.checkFrom(t)
	target, err := parseTarget(t.Service)
	if err != nil {
		c.wrong(&t.Service, "service: %v", err)
		return
	}
	names := []string{"kubernetes"}
	for i, service := range append(slices.Clone(c.services), c.later...) {
		namespace := service.Namespace
		if namespace == "" {
			namespace = metav1.NamespaceDefault
		}
		if namespace == target.namespace && service.Name == target.name {
			if err := target.reachable(service); err != nil && i < len(c.services) {
				c.wrong(&t.Service, "service: %v", err)
			}
			return
		}
		if namespace == metav1.NamespaceDefault {
			names = append(names, service.Name)
		} else {
			names = append(names, namespace+"/"+service.Name)
		}
	}
	if at := c.Place(&t.Service); target.String() != "default/kubernetes" {
		c.Warnings = append(c.Warnings, source.Problem{File: c.from.Name, Line: at.Line, Column: at.Column,
			Message: fmt.Sprintf("service: no manifest defines %q%s: requests fail until somebody makes it", t.Service,
				source.Suggest(t.Service, names))})
	}
}

// checkFrom checks that requests can go through a kube-proxy where they come from.
func (c *checker) checkFrom(t *Traffic) {
	var nodes []string
	for _, m := range c.machines {
		if c.isNode(m) {
			nodes = append(nodes, m.Name)
		}
	}
	switch {
	case len(nodes) == 0:
		c.wrong(&t.Service, "service: no machine of this cluster runs kube-proxy, which leads to Services; it needs a worker")
	case t.From != "" && c.hasMachine(t.From) && !slices.Contains(nodes, t.From):
		c.wrong(&t.From, "from: %s runs no kube-proxy, which leads to Services; these do: %s", t.From, shortList(nodes))
	}
}

// from returns the machine that a probe runs on. chosen: requests to Services come from the first worker.
func (s *Scenario) from(t *Traffic) string {
	if t.From != "" {
		return t.From
	}
	if t.Service == "" {
		return spec.Admin
	}
	first := ""
	for _, m := range s.Spec.Machines() {
		if m.Role == spec.RoleWorker {
			return m.Name
		}
		if first == "" && s.isNode(m) {
			first = m.Name
		}
	}
	return first
}
