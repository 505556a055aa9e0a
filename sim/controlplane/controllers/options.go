package controllers

import (
	"fmt"
	"math/big"
	"time"

	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Options are the flags of kube-controller-manager that are modelled (cmd/kube-controller-manager/app/options, v1.36).
type Options struct {
	Kubeconfig               string
	Master                   string
	AuthenticationKubeconfig string
	SecurePort               int
	InsecurePort             int // of releases that have it; 0: none
	LeaderElection           controlplane.LeaderElectionConfig
	RateLimit                controlplane.RateLimit // of each controller's client

	NodeMonitorPeriod         time.Duration
	NodeMonitorGracePeriod    time.Duration
	NodeStartupGracePeriod    time.Duration
	NodeEvictionRate          perMillion // nodes per 1,000,000 s
	SecondaryNodeEvictionRate perMillion
	LargeClusterSizeThreshold int32
	UnhealthyZoneThreshold    perMillion
	PodEvictionTimeout        time.Duration
	EnableTaintManager        bool

	TerminatedPodGCThreshold        int32
	ConcurrentDeploymentSyncs       int32
	ConcurrentReplicaSetSyncs       int32
	ConcurrentDaemonSetSyncs        int32
	ConcurrentStatefulSetSyncs      int32
	ConcurrentJobSyncs              int32
	ConcurrentGCSyncs               int32
	ConcurrentNamespaceSyncs        int32
	ConcurrentServiceEndpointSyncs  int32
	EndpointSliceUpdatesBatchPeriod time.Duration
	MaxEndpointsPerSlice            int32
}

// perMillion is a decimal number with six digits: --node-eviction-rate=0.1 is 100,000.
type perMillion int64

func (v *perMillion) String() string { return big.NewRat(int64(*v), 1_000_000).FloatString(6) }
func (v *perMillion) Type() string   { return "float32" }

// Set parses a decimal number.
func (v *perMillion) Set(text string) error {
	number, ok := new(big.Rat).SetString(text)
	if !ok {
		return fmt.Errorf("strconv.ParseFloat: parsing %q: invalid syntax", text)
	}
	number.Mul(number, big.NewRat(1_000_000, 1))
	*v = perMillion(new(big.Int).Quo(number.Num(), number.Denom()).Int64())
	return nil
}

// newOptions returns the defaults of a release.
func newOptions(release *api.Release) *Options {
	return &Options{
		SecurePort:     10257, // pkg/cluster/ports KubeControllerManagerPort
		LeaderElection: controlplane.DefaultLeaderElection("kube-controller-manager", release),
		// pkg/controller/apis/config/v1alpha1/defaults.go: 20, 30, the same in every release
		RateLimit: controlplane.RateLimit{QPS: 20_000, Burst: 30},
		// cloud-provider config/v1alpha1/defaults.go: 5s
		NodeMonitorPeriod:      5 * time.Second,
		NodeMonitorGracePeriod: release.NodeMonitorGracePeriod,
		// pkg/controller/nodelifecycle/config/v1alpha1/defaults.go: 60s
		NodeStartupGracePeriod: time.Minute,
		// cmd/kube-controller-manager/app/options/nodelifecyclecontroller.go: 0.1, 0.01, 50, 0.55
		NodeEvictionRate: 100_000, SecondaryNodeEvictionRate: 10_000, LargeClusterSizeThreshold: 50,
		UnhealthyZoneThreshold: 550_000,
		// pkg/controller/nodelifecycle/config/v1alpha1/defaults.go, up to v1.26: 5m
		PodEvictionTimeout: 5 * time.Minute, EnableTaintManager: true,
		// pkg/controller/*/config/v1alpha1/defaults.go, v1.36, each
		TerminatedPodGCThreshold: 12500, ConcurrentDeploymentSyncs: 5, ConcurrentReplicaSetSyncs: 5,
		ConcurrentDaemonSetSyncs: 2, ConcurrentStatefulSetSyncs: 5, ConcurrentJobSyncs: 5, ConcurrentGCSyncs: 20,
		ConcurrentNamespaceSyncs: 10, ConcurrentServiceEndpointSyncs: 5, MaxEndpointsPerSlice: 100,
	}
}

// flags binds the options to the release's flags. Feature gates change the release itself.
func (o *Options) flags(release *api.Release) *controlplane.Flags {
	f := controlplane.NewFlags("kube-controller-manager")
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "")
	f.StringVar(&o.Master, "master", "", "")
	f.StringVar(&o.AuthenticationKubeconfig, "authentication-kubeconfig", "", "")
	f.IntVar(&o.SecurePort, "secure-port", o.SecurePort, "")
	if release.HasFlag("kube-controller-manager", "port") {
		f.IntVar(&o.InsecurePort, "port", 10252, "") // K@1.16:pkg/master/ports InsecureKubeControllerManagerPort
	}
	controlplane.AddLeaderElectionFlags(f, release, "kube-controller-manager", &o.LeaderElection)
	f.Var(&o.RateLimit.QPS, "kube-api-qps", "")
	f.IntVar(&o.RateLimit.Burst, "kube-api-burst", o.RateLimit.Burst, "")
	f.DurationVar(&o.NodeMonitorPeriod, "node-monitor-period", o.NodeMonitorPeriod, "")
	f.DurationVar(&o.NodeMonitorGracePeriod, "node-monitor-grace-period", o.NodeMonitorGracePeriod, "")
	f.DurationVar(&o.NodeStartupGracePeriod, "node-startup-grace-period", o.NodeStartupGracePeriod, "")
	f.Var(&o.NodeEvictionRate, "node-eviction-rate", "")
	f.Var(&o.SecondaryNodeEvictionRate, "secondary-node-eviction-rate", "")
	f.Int32Var(&o.LargeClusterSizeThreshold, "large-cluster-size-threshold", o.LargeClusterSizeThreshold, "")
	f.Var(&o.UnhealthyZoneThreshold, "unhealthy-zone-threshold", "")
	if release.PodEvictionTimeoutFlag {
		f.DurationVar(&o.PodEvictionTimeout, "pod-eviction-timeout", o.PodEvictionTimeout, "")
		f.BoolVar(&o.EnableTaintManager, "enable-taint-manager", o.EnableTaintManager, "")
	}
	for name, v := range map[string]*int32{ // any order: flags are kept sorted
		"terminated-pod-gc-threshold": &o.TerminatedPodGCThreshold,
		"concurrent-deployment-syncs": &o.ConcurrentDeploymentSyncs,
		"concurrent-replicaset-syncs": &o.ConcurrentReplicaSetSyncs, "concurrent-gc-syncs": &o.ConcurrentGCSyncs,
		"concurrent-namespace-syncs":        &o.ConcurrentNamespaceSyncs,
		"concurrent-statefulset-syncs":      &o.ConcurrentStatefulSetSyncs,
		"concurrent-daemonset-syncs":        &o.ConcurrentDaemonSetSyncs,
		"concurrent-job-syncs":              &o.ConcurrentJobSyncs,
		"concurrent-service-endpoint-syncs": &o.ConcurrentServiceEndpointSyncs,
		"max-endpoints-per-slice":           &o.MaxEndpointsPerSlice,
	} {
		f.Int32Var(v, name, *v, "")
	}
	f.DurationVar(&o.EndpointSliceUpdatesBatchPeriod, "endpointslice-updates-batch-period", 0, "")
	f.Var(newFeatureGates(release), "feature-gates", "")
	acceptOtherFlags(f, release)
	return f
}

// acceptOtherFlags declares the other flags of kube-controller-manager (--help, v1.36, and those that older releases
// had).
func acceptOtherFlags(f *controlplane.Flags, release *api.Release) {
	f.AcceptSwitches("allocate-node-cidrs", "configure-cloud-routes", "contention-profiling", "profiling",
		"disable-attach-detach-reconcile-sync", "disable-force-detach-on-timeout", "enable-dynamic-provisioning",
		"enable-garbage-collector", "enable-hostpath-provisioner", "enable-leader-migration", "logtostderr",
		"permit-address-sharing", "permit-port-sharing", "use-service-account-credentials",
		"authentication-skip-lookup", "authentication-tolerate-lookup-failure", "allow-untagged-cloud")
	f.Accept("allow-metric-labels", "attach-detach-reconcile-sync-period", "authentication-token-webhook-cache-ttl",
		"authorization-always-allow-paths", "authorization-kubeconfig", "authorization-webhook-cache-authorized-ttl",
		"authorization-webhook-cache-unauthorized-ttl", "bind-address", "cert-dir", "cidr-allocator-type",
		"client-ca-file", "cloud-config", "cloud-provider", "cluster-cidr", "cluster-name", "cluster-signing-cert-file",
		"cluster-signing-duration", "cluster-signing-key-file", "cluster-signing-kube-apiserver-client-cert-file",
		"cluster-signing-kube-apiserver-client-key-file", "cluster-signing-kubelet-client-cert-file",
		"cluster-signing-kubelet-client-key-file", "cluster-signing-kubelet-serving-cert-file",
		"cluster-signing-kubelet-serving-key-file", "cluster-signing-legacy-unknown-cert-file",
		"cluster-signing-legacy-unknown-key-file", "concurrent-cron-job-syncs", "concurrent-endpoint-syncs",
		"concurrent-ephemeralvolume-syncs", "concurrent-horizontal-pod-autoscaler-syncs", "concurrent-rc-syncs",
		"concurrent-resource-quota-syncs", "concurrent-serviceaccount-token-syncs", "concurrent-ttl-after-finished-syncs",
		"concurrent-validating-admission-policy-status-syncs", "concurrent-device-taint-eviction-syncs",
		"concurrent-resourceclaim-syncs", "controller-start-interval", "controllers", "disabled-metrics",
		"emulated-version", "endpoint-updates-batch-period", "external-cloud-volume-plugin",
		"flex-volume-plugin-dir", "horizontal-pod-autoscaler-cpu-initialization-period",
		"horizontal-pod-autoscaler-downscale-stabilization", "horizontal-pod-autoscaler-initial-readiness-delay",
		"horizontal-pod-autoscaler-sync-period", "horizontal-pod-autoscaler-tolerance", "http2-max-streams-per-connection",
		"kube-api-content-type", "leader-migration-config",
		"legacy-service-account-token-clean-up-period", "log-flush-frequency", "logging-format", "min-resync-period",
		"mirroring-concurrent-service-endpoint-syncs", "mirroring-endpointslice-updates-batch-period",
		"mirroring-max-endpoints-per-subset", "namespace-sync-period", "node-cidr-mask-size", "node-cidr-mask-size-ipv4",
		"node-cidr-mask-size-ipv6", "pv-recycler-increment-timeout-nfs", "pv-recycler-minimum-timeout-hostpath",
		"pv-recycler-minimum-timeout-nfs", "pv-recycler-pod-template-filepath-hostpath",
		"pv-recycler-pod-template-filepath-nfs", "pv-recycler-timeout-increment-hostpath", "pvclaimbinder-sync-period",
		"requestheader-allowed-names", "requestheader-client-ca-file", "requestheader-extra-headers-prefix",
		"requestheader-group-headers", "requestheader-uid-headers", "requestheader-username-headers",
		"resource-quota-sync-period",
		"root-ca-file", "route-reconciliation-period", "service-account-private-key-file", "service-cluster-ip-range",
		"show-hidden-metrics-for-version", "tls-cert-file", "tls-cipher-suites", "tls-min-version", "tls-private-key-file",
		"unsupported-kube-api-over-localhost", "version", "vmodule", "controller-shutdown-timeout")
	f.CountP("v", "v", "")
	if release.HasFlag("kube-controller-manager", "address") {
		f.Accept("address")
	}
}

// Flags returns the names of the flags that a release's kube-controller-manager has: those that are modelled, and those
// that are accepted without effect. Both are sorted.
func Flags(release *api.Release) (modelled, accepted []string) {
	return FlagSet(release).Names()
}
