package kubeproxy

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

const (
	// syncTime is how long it takes to write the rules. chosen: iptables-restore with the few rules of a small cluster.
	syncTime = 40 * time.Millisecond
	// healthPort is --healthz-port's default.
	healthPort = 10256
	// staleAfter: /healthz fails when an update has been pending for twice the sync period of 30 s
	// (pkg/proxy/healthcheck/proxy_health.go).
	staleAfter = time.Minute
)

// Options says for which machine and release a proxy runs.
type Options struct {
	Table   *Table
	Release *api.Release
}

type proxy struct {
	options   Options
	scope     *sim.Scope
	minSync   time.Duration // between the end of a write and the beginning of the next
	services  *controlplane.Informer[*corev1.Service]
	slices    *controlplane.Informer[*discoveryv1.EndpointSlice] // nil: endpoints
	byService *controlplane.Index[*discoveryv1.EndpointSlice]
	endpoints *controlplane.Informer[*corev1.Endpoints]
	pending   sim.Timer
	asked     sim.Time // when the write that is pending was asked for
	written   sim.Time // when the last write was over
	paidTo    sim.Time // of the bucket of writes that need not wait, in releases that have one
	ever      bool     // rules were written by this process
	known     knownRules
}

// Main runs kube-proxy; argv has no program name. Exit status 1: wrong flags, no kubeconfig, its health port in use.
func Main(p *hardware.Process, argv []string, options Options) {
	// One set of flags parses the arguments of all machines: to declare them costs more than to use them.
	f := p.Kernel().Memo(flagMemo{}, func() any { return FlagSet() }).(*controlplane.Flags)
	_ = f.Lookup("kubeconfig").Value.Set("")   // cannot fail: a string
	_ = f.Lookup(minSyncFlag).Value.Set(unset) // nor this: a duration
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
		minSync: options.Release.ProxyMinSyncPeriod,
		known:   p.Kernel().Memo(ruleMemo{}, func() any { return knownRules{} }).(knownRules)}
	if given := f.Lookup(minSyncFlag).Value.String(); given != unset {
		x.minSync, _ = time.ParseDuration(given) // cannot fail: a duration's own words
	}
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

const (
	minSyncFlag = "iptables-min-sync-period"
	unset       = "-1ns" // of that flag: the release's default counts
)

// FlagSet declares kube-proxy's flags (cmd/kube-proxy/app/options.go, v1.36).
func FlagSet() *controlplane.Flags {
	f := controlplane.NewFlags("kube-proxy")
	f.String("kubeconfig", "", "")
	f.Duration(minSyncFlag, 0, "")
	f.Accept("bind-address", "cluster-cidr", "config", "config-sync-period", "conntrack-max-per-core",
		"conntrack-min", "conntrack-tcp-timeout-close-wait", "conntrack-tcp-timeout-established", "detect-local-mode",
		"feature-gates", "healthz-bind-address", "hostname-override", "iptables-sync-period",
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
	if !x.synced() {
		return
	}
	now := x.scope.Now()
	if !x.pending.Pending() {
		x.asked = now
	} else if !x.options.Release.ProxySyncBurst || x.mayWrite() > now || !x.pending.Stop() {
		return
	}
	x.pending = x.scope.After(max(0, x.mayWrite().Sub(now)), "syncProxyRules", x.write)
}

// mayWrite returns when the next write may begin: minSync after the end of the last; in releases up to v1.33 at once if
// the bucket of two, which gets one back a minSync, is not empty (pkg/util/async/bounded_frequency_runner.go).
func (x *proxy) mayWrite() sim.Time {
	switch {
	case !x.ever:
		return 0
	case x.options.Release.ProxySyncBurst && x.paidTo <= x.scope.Now().Add(x.minSync):
		return x.written
	}
	return x.written.Add(x.minSync)
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
	x.options.Table.write(rules, x.begin())
}

// begin notes that a write begins now and returns when it is over.
func (x *proxy) begin() sim.Time {
	now := x.scope.Now()
	x.paidTo = max(x.paidTo, now).Add(x.minSync)
	x.written, x.ever = now.Add(syncTime), true
	return x.written
}
