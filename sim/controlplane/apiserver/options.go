package apiserver

import (
	"fmt"
	"time"

	"ksim/sim/controlplane"
)

// options are the flags that ksim models, with the defaults of kube-apiserver v1.36 (cmd/kube-apiserver/app/options,
// pkg/kubeapiserver/options, apiserver pkg/server/options).
type options struct {
	etcdServers         []string
	advertiseAddress    string
	securePort          int
	authorizationMode   []string
	requestTimeout      time.Duration
	minRequestTimeout   int
	etcdHealthTimeout   time.Duration
	etcdReadyTimeout    time.Duration
	compactionInterval  time.Duration
	eventTTL            time.Duration
	leaseReuse          int64 // --lease-reuse-duration-seconds
	watchCache          bool
	shutdownDelay       time.Duration
	watchTermination    time.Duration
	livezGrace          time.Duration
	notReadySeconds     int64
	unreachableSeconds  int64
	serviceCIDR         string
	nodePortRange       string
	endpointReconciler  string
	enabledPlugins      []string
	disabledPlugins     []string
	enableGC            bool
	serviceNodePort     int
	storageInitTimeout  time.Duration
	defaultWatchCacheSz int
}

// newFlags declares kube-apiserver's flags. o is filled when they are parsed.
func newFlags(o *options, minor int) *controlplane.Flags {
	f := controlplane.NewFlags("kube-apiserver")
	f.StringSliceVar(&o.etcdServers, "etcd-servers", nil, "")
	f.StringVar(&o.advertiseAddress, "advertise-address", "", "")
	f.IntVar(&o.securePort, "secure-port", 6443, "")
	f.StringSliceVar(&o.authorizationMode, "authorization-mode", []string{"AlwaysAllow"}, "")
	f.DurationVar(&o.requestTimeout, "request-timeout", time.Minute, "")
	f.IntVar(&o.minRequestTimeout, "min-request-timeout", 1800, "")
	f.DurationVar(&o.etcdHealthTimeout, "etcd-healthcheck-timeout", 2*time.Second, "")
	f.DurationVar(&o.etcdReadyTimeout, "etcd-readycheck-timeout", 2*time.Second, "")
	f.DurationVar(&o.compactionInterval, "etcd-compaction-interval", 5*time.Minute, "")
	f.DurationVar(&o.eventTTL, "event-ttl", time.Hour, "")
	f.Int64Var(&o.leaseReuse, "lease-reuse-duration-seconds", 60, "")
	f.BoolVar(&o.watchCache, "watch-cache", true, "")
	f.IntVar(&o.defaultWatchCacheSz, "default-watch-cache-size", 100, "")
	f.DurationVar(&o.shutdownDelay, "shutdown-delay-duration", 0, "")
	f.DurationVar(&o.watchTermination, "shutdown-watch-termination-grace-period", 0, "")
	f.DurationVar(&o.livezGrace, "livez-grace-period", 0, "")
	f.Int64Var(&o.notReadySeconds, "default-not-ready-toleration-seconds", 300, "")
	f.Int64Var(&o.unreachableSeconds, "default-unreachable-toleration-seconds", 300, "")
	f.StringVar(&o.serviceCIDR, "service-cluster-ip-range", "10.0.0.0/24", "")
	f.StringVar(&o.nodePortRange, "service-node-port-range", "30000-32767", "")
	f.StringVar(&o.endpointReconciler, "endpoint-reconciler-type", "lease", "")
	f.IntVar(&o.serviceNodePort, "kubernetes-service-node-port", 0, "")
	f.StringSliceVar(&o.enabledPlugins, "enable-admission-plugins", nil, "")
	f.StringSliceVar(&o.disabledPlugins, "disable-admission-plugins", nil, "")
	f.BoolVar(&o.enableGC, "enable-garbage-collector", true, "")
	if minor >= 27 { // apiserver pkg/server/options/server_run_options.go: from v1.28 settable
		f.DurationVar(&o.storageInitTimeout, "storage-initialization-timeout", time.Minute, "")
	}
	f.Accept(acceptedFlags...)
	f.AcceptSwitches(acceptedSwitches...)
	if minor < 25 {
		f.Accept("insecure-port", "insecure-bind-address", "master-service-namespace", "cloud-provider", "cloud-config",
			"target-ram-mb", "service-account-api-audiences", "kubelet-https", "audit-dynamic-configuration", "apiserver-count")
	}
	return f
}

// check says what is wrong with the flags' values, in the real program's words.
func (o *options) check() error {
	switch {
	case len(o.etcdServers) == 0:
		return fmt.Errorf("--etcd-servers must be specified")
	case o.requestTimeout <= 0:
		return fmt.Errorf("--request-timeout can not be negative value")
	case o.minRequestTimeout < 0:
		return fmt.Errorf("--min-request-timeout can not be negative value")
	case o.eventTTL <= 0:
		return fmt.Errorf("--event-ttl must be greater than 0")
	case o.shutdownDelay < 0:
		return fmt.Errorf("--shutdown-delay-duration can not be negative value")
	case o.securePort < 1 || o.securePort > 65535:
		return fmt.Errorf("--secure-port %d must be between 1 and 65535, inclusive. It cannot be turned off with 0",
			o.securePort)
	}
	return nil
}

// Flags returns kube-apiserver's flags in a minor release (36 for v1.36): those that ksim models and those that it only
// accepts.
func Flags(minor int) (modelled, accepted []string) { return newFlags(&options{}, minor).Names() }

// acceptedFlags are real flags with a value that change nothing here: certificates, audit, tracing, tuning of the
// process.
var acceptedFlags = []string{
	"admission-control", "admission-control-config-file", "api-audiences",
	"audit-log-batch-buffer-size", "audit-log-batch-max-size", "audit-log-batch-max-wait", "audit-log-format",
	"audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize", "audit-log-mode", "audit-log-path",
	"audit-log-version", "audit-policy-file", "audit-webhook-batch-initial-backoff", "audit-webhook-config-file",
	"audit-webhook-initial-backoff", "audit-webhook-mode", "audit-webhook-version", "authentication-config",
	"authentication-token-webhook-cache-ttl", "authentication-token-webhook-config-file",
	"authentication-token-webhook-version", "authorization-config", "authorization-policy-file",
	"authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl",
	"authorization-webhook-config-file", "authorization-webhook-version", "bind-address", "cert-dir", "client-ca-file",
	"coordinated-leadership-lease-duration", "coordinated-leadership-renew-deadline",
	"coordinated-leadership-retry-period", "cors-allowed-origins", "debug-socket-path", "delete-collection-workers",
	"egress-selector-config-file", "emulated-version", "encryption-provider-config", "etcd-cafile", "etcd-certfile",
	"etcd-count-metric-poll-period", "etcd-db-metric-poll-interval", "etcd-keyfile", "etcd-prefix",
	"etcd-servers-overrides", "external-hostname", "feature-gates", "goaway-chance", "http2-max-streams-per-connection",
	"kubelet-certificate-authority", "kubelet-client-certificate", "kubelet-client-key", "kubelet-port",
	"kubelet-preferred-address-types", "kubelet-read-only-port", "kubelet-timeout", "log-flush-frequency",
	"log-json-info-buffer-size", "log-text-info-buffer-size", "logging-format", "max-connection-bytes-per-sec",
	"max-mutating-requests-inflight", "max-requests-inflight", "min-compatibility-version", "oidc-ca-file",
	"oidc-client-id", "oidc-groups-claim", "oidc-groups-prefix", "oidc-issuer-url", "oidc-required-claim",
	"oidc-signing-algs", "oidc-username-claim", "oidc-username-prefix", "peer-advertise-ip", "peer-advertise-port",
	"peer-ca-file", "proxy-client-cert-file", "proxy-client-key-file", "requestheader-allowed-names",
	"requestheader-client-ca-file", "requestheader-extra-headers-prefix", "requestheader-group-headers",
	"requestheader-uid-headers", "requestheader-username-headers", "runtime-config", "service-account-issuer",
	"service-account-jwks-uri", "service-account-key-file", "service-account-max-token-expiration",
	"service-account-signing-endpoint", "service-account-signing-key-file", "show-hidden-metrics-for-version",
	"storage-backend", "storage-media-type", "strict-transport-security-directives", "tls-cert-file",
	"tls-cipher-suites", "tls-curve-preferences", "tls-min-version", "tls-private-key-file", "tls-sni-cert-key",
	"token-auth-file", "tracing-config-file", "v", "vmodule", "watch-cache-sizes",
}

// acceptedSwitches are real flags without a value that change nothing here.
var acceptedSwitches = []string{
	"aggregator-reject-forwarding-redirect", "allow-metric-labels-manifest", "allow-privileged", "anonymous-auth",
	"audit-log-batch-throttle-enable", "audit-log-compress", "audit-log-truncate-enabled",
	"audit-webhook-batch-throttle-enable", "audit-webhook-truncate-enabled", "contention-profiling",
	"disable-http2-serving", "emulation-forward-compatible", "enable-aggregator-routing", "enable-bootstrap-token-auth",
	"enable-logs-handler", "enable-priority-and-fairness", "encryption-provider-config-automatic-reload",
	"permit-address-sharing", "permit-port-sharing", "profiling", "runtime-config-emulation-forward-compatible",
	"service-account-extend-token-expiration", "service-account-lookup", "shutdown-send-retry-after",
}

// FlagSet returns the flags of kube-apiserver in a minor release, for whoever checks values before a run.
func FlagSet(minor int) *controlplane.Flags { return newFlags(&options{}, minor) }
