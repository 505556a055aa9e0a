package kubeproxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

const (
	// minSyncPeriod is the least time between two writes of the rules (pkg/proxy/apis/config/v1alpha1/defaults.go,
	// v1.36).
	minSyncPeriod = time.Second
	// healthPort is --healthz-port's default.
	healthPort = 10256
	// staleAfter: /healthz fails when an update has been pending for twice the sync period of 30 s
	// (pkg/proxy/healthcheck/proxy_health.go).
	staleAfter = time.Minute
)

// Table is what a machine's kernel has been told: where packets for the ports of Services go. Make one per machine; a
// boot empties it.
type Table struct {
	rules map[string]Rule
	since sim.Time
}

// Rule is the rule of one port of one Service.
type Rule struct {
	Service   string   // namespace/name
	ClusterIP string   // with the port: 10.96.0.1:443
	Endpoints []string // address:port, sorted
}

// NewTable makes the empty table of a machine that is cleared at every boot.
func NewTable(m *hardware.Machine) *Table {
	t := &Table{rules: map[string]Rule{}}
	m.OnBoot(func() { t.rules = map[string]Rule{} })
	return t
}

// Lookup returns the rule for "clusterIP:port".
func (t *Table) Lookup(address string) (Rule, bool) {
	rule, ok := t.rules[address]
	return rule, ok
}

// Len returns how many rules there are, Written when they were last written.
func (t *Table) Len() int { return len(t.rules) }

// Written returns when the rules were last written.
func (t *Table) Written() sim.Time { return t.since }

// Options says for which machine and release a proxy runs.
type Options struct {
	Table   *Table
	Release *api.Release
}

type proxy struct {
	options   Options
	scope     *sim.Scope
	services  *controlplane.Informer[*corev1.Service]
	slices    *controlplane.Informer[*discoveryv1.EndpointSlice] // nil: endpoints
	byService *controlplane.Index[*discoveryv1.EndpointSlice]
	endpoints *controlplane.Informer[*corev1.Endpoints]
	pending   sim.Timer
	asked     sim.Time // when the write that is pending was asked for
	written   sim.Time
	ever      bool // rules were written by this process
	known     knownRules
}

// knownRules are the rules that the proxies of a simulation have made, by port: hundreds make the same ones of the same
// objects. Nobody changes a rule.
type knownRules map[portName]*madeRule

type portName struct{ namespace, service, port string }

// madeRule is a rule with what it was made of.
type madeRule struct {
	service *corev1.Service
	slices  []*discoveryv1.EndpointSlice
	old     bool // of a release without ProxyTerminatingEndpoints
	rule    Rule
}

// Main runs kube-proxy; argv has no program name. Exit status 1: wrong flags, no kubeconfig, its health port in use.
func Main(p *hardware.Process, argv []string, options Options) {
	// One set of flags parses the arguments of all machines: to declare them costs more than to use them.
	f := p.Kernel().Memo(flagMemo{}, func() any { return FlagSet() }).(*controlplane.Flags)
	_ = f.Lookup("kubeconfig").Value.Set("") // cannot fail: a string
	if !f.ParseOrExit(p, argv) {
		return
	}
	config, err := controlplane.ReadKubeconfig(p, f.Lookup("kubeconfig").Value.String())
	if err != nil {
		p.Exit(1, err.Error())
		return
	}
	config.UserAgent = "kube-proxy/" + options.Release.Version()
	x := &proxy{options: options, scope: p.Scope(),
		known: p.Kernel().Memo(ruleMemo{}, func() any { return knownRules{} }).(knownRules)}
	health := controlplane.ListenHealth(p, healthPort, x.health)
	if !p.Alive() {
		return
	}
	health.Serve()
	client := controlplane.NewClient(p, config)
	x.services = controlplane.NewInformer[*corev1.Service](client, controlplane.InformerConfig{Resource: api.Services})
	watch(x, x.services)
	if options.Release.EndpointSliceProxying {
		x.slices = controlplane.NewInformer[*discoveryv1.EndpointSlice](client,
			controlplane.InformerConfig{Resource: api.EndpointSlices})
		x.byService = x.slices.Index(func(s *discoveryv1.EndpointSlice) string {
			return s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
		})
		watch(x, x.slices)
		return
	}
	x.endpoints = controlplane.NewInformer[*corev1.Endpoints](client, controlplane.InformerConfig{Resource: api.Endpoints})
	watch(x, x.endpoints)
}

type (
	flagMemo struct{}
	ruleMemo struct{}
)

// FlagSet declares kube-proxy's flags (cmd/kube-proxy/app/options.go, v1.36).
func FlagSet() *controlplane.Flags {
	f := controlplane.NewFlags("kube-proxy")
	f.String("kubeconfig", "", "")
	f.Accept("bind-address", "cluster-cidr", "config", "config-sync-period", "conntrack-max-per-core",
		"conntrack-min", "conntrack-tcp-timeout-close-wait", "conntrack-tcp-timeout-established", "detect-local-mode",
		"feature-gates", "healthz-bind-address", "hostname-override", "iptables-min-sync-period", "iptables-sync-period",
		"ipvs-min-sync-period", "ipvs-scheduler", "ipvs-sync-period", "kube-api-burst", "kube-api-qps", "log-dir",
		"masquerade-all", "master", "metrics-bind-address", "nodeport-addresses", "oom-score-adj", "proxy-mode",
		"v", "vmodule")
	return f
}

// watch starts an informer whose every change asks for a write.
func watch[T api.Object](x *proxy, informer *controlplane.Informer[T]) {
	informer.Handle(controlplane.Handler[T]{
		OnAdd:    func(T) { x.ask() },
		OnUpdate: func(_, _ T) { x.ask() },
		OnDelete: func(T, bool) { x.ask() },
	})
	informer.OnSync(x.ask)
	informer.Start()
}

func (x *proxy) synced() bool {
	return x.services.HasSynced() && (x.slices == nil || x.slices.HasSynced()) &&
		(x.endpoints == nil || x.endpoints.HasSynced())
}

// ask has the rules written as soon as they may be.
func (x *proxy) ask() {
	if x.pending.Pending() || !x.synced() {
		return
	}
	x.asked = x.scope.Now()
	wait := time.Duration(0)
	if x.ever {
		wait = max(0, x.written.Add(minSyncPeriod).Sub(x.asked))
	}
	x.pending = x.scope.After(wait, "syncProxyRules", x.write)
}

func (x *proxy) health() error {
	if x.pending.Pending() && x.scope.Now().Sub(x.asked) > staleAfter {
		return errors.New("the rules are not up to date")
	}
	return nil
}

// write is syncProxyRules: the kernel's rules become those of the caches.
func (x *proxy) write() {
	rules := map[string]Rule{}
	for _, service := range x.services.List() {
		if service.Spec.ClusterIP == "" || service.Spec.ClusterIP == corev1.ClusterIPNone {
			continue
		}
		var endpoints []*discoveryv1.EndpointSlice
		if x.byService != nil {
			endpoints = x.byService.Get(service.Namespace + "/" + service.Name)
		}
		for i := range service.Spec.Ports {
			rule := x.rule(service, &service.Spec.Ports[i], endpoints)
			rules[rule.ClusterIP] = rule
		}
	}
	x.options.Table.rules, x.options.Table.since = rules, x.scope.Now()
	x.written, x.ever = x.scope.Now(), true
}

// terminating reports whether the release falls back to endpoints that terminate but still serve
// (ProxyTerminatingEndpoints, pkg/proxy/topology.go, v1.28).
func (x *proxy) terminating() bool { return x.options.Release.Minor >= 26 }

// rule returns the rule of one port of a Service.
func (x *proxy) rule(service *corev1.Service, port *corev1.ServicePort,
	endpoints []*discoveryv1.EndpointSlice) Rule {
	name := portName{service.Namespace, service.Name, port.Name}
	if made := x.known[name]; made != nil && made.service == service && x.endpoints == nil &&
		made.old != x.terminating() && slices.Equal(made.slices, endpoints) {
		return made.rule
	}
	rule := Rule{Service: service.Namespace + "/" + service.Name,
		ClusterIP: fmt.Sprintf("%s:%d", service.Spec.ClusterIP, port.Port)}
	if x.endpoints != nil {
		rule.Endpoints = x.oldBackends(service, port.Name)
		return rule
	}
	rule.Endpoints = x.backends(endpoints, port.Name)
	x.known[name] = &madeRule{service, endpoints, !x.terminating(), rule}
	return rule
}

// backends returns where one port of a Service leads: to what is ready, or, if nothing is, to what is terminating but
// still serves.
func (x *proxy) backends(endpoints []*discoveryv1.EndpointSlice, port string) []string {
	var ready, leaving []string
	for _, slice := range endpoints {
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
			switch {
			case e.Conditions.Ready == nil || *e.Conditions.Ready:
				ready = append(ready, address)
			case e.Conditions.Serving != nil && *e.Conditions.Serving && e.Conditions.Terminating != nil &&
				*e.Conditions.Terminating:
				leaving = append(leaving, address)
			}
		}
	}
	if len(ready) == 0 && x.terminating() {
		ready = leaving
	}
	slices.Sort(ready)
	return ready
}

func portOf(ports []discoveryv1.EndpointPort, name string) (number int32, ok bool) {
	for _, p := range ports {
		if p.Port != nil && (p.Name == nil && name == "" || p.Name != nil && *p.Name == name) {
			return *p.Port, true
		}
	}
	return 0, false
}

// oldBackends reads Endpoints, as releases before EndpointSlices do.
func (x *proxy) oldBackends(service *corev1.Service, port string) []string {
	var ready []string
	endpoints, ok := x.endpoints.Named(service.Namespace, service.Name)
	if !ok {
		return nil
	}
	for _, subset := range endpoints.Subsets {
		for _, p := range subset.Ports {
			if !strings.EqualFold(p.Name, port) {
				continue
			}
			for _, address := range subset.Addresses {
				ready = append(ready, fmt.Sprintf("%s:%d", address.IP, p.Port))
			}
		}
	}
	slices.Sort(ready)
	return ready
}
