package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	fwk "ksim/sim/controlplane/scheduler/framework"
	"ksim/sim/hardware"
)

// Models kube-scheduler's main (cmd/kube-scheduler/app/server.go, options, v1.36): flags, health port, caches before
// leader election, exits. Leaves out: --config beyond the fields of configuration, --write-config-to, metrics.

// securePort is where health is served (pkg/scheduler/apis/config DefaultKubeSchedulerPort).
const securePort = 10259

// insecurePort is where older releases serve it too, by default (K@1.16:pkg/master/ports InsecureSchedulerPort).
const insecurePort = 10251

type flags struct {
	Options
	kubeconfig, master, authentication, config string
	port                                       int
	insecurePort                               int // of releases that have it; 0: none
	leaderElection                             controlplane.LeaderElectionConfig
}

// View is what a kube-scheduler shows to observers (hardware.Process.View).
type View struct {
	Elector   *controlplane.LeaderElector
	Scheduler *Scheduler
}

// IsLeader reports whether the process schedules: it believes that it leads, or does not care.
func (v *View) IsLeader() bool { return v.Elector == nil || v.Elector.Leading() }

// Pending returns how many pods wait: to be tried, for a back-off to end, for something to change.
func (v *View) Pending() (active, backoff, unschedulable int) { return v.Scheduler.queue.Len() }

// Flags returns the flags of kube-scheduler in a release: those that are modelled and those that are only accepted.
func Flags(release *api.Release) (modelled, accepted []string) {
	return newFlags(release).set(release).Names()
}

func newFlags(release *api.Release) *flags {
	f := &flags{Options: defaultOptions(fwk.FeaturesOf(release)), port: securePort,
		leaderElection: controlplane.DefaultLeaderElection("kube-scheduler", release)}
	f.leaderElection.ReleaseOnCancel = release.SchedulerTermExits
	f.leaderElection.Reporter = defaultSchedulerName
	return f
}

// set binds the flags of a release (cmd/kube-scheduler/app/options, v1.36).
func (f *flags) set(release *api.Release) *controlplane.Flags {
	set := controlplane.NewFlags("kube-scheduler")
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "")
	set.StringVar(&f.master, "master", "", "")
	set.StringVar(&f.authentication, "authentication-kubeconfig", "", "")
	set.StringVar(&f.config, "config", "", "")
	set.IntVar(&f.port, "secure-port", f.port, "")
	if release.HasFlag("kube-scheduler", "port") {
		set.IntVar(&f.insecurePort, "port", insecurePort, "")
	}
	set.Var(&f.RateLimit.QPS, "kube-api-qps", "")
	set.IntVar(&f.RateLimit.Burst, "kube-api-burst", f.RateLimit.Burst, "")
	if release.Minor >= 24 {
		set.DurationVar(&f.PodMaxInUnschedulablePods, "pod-max-in-unschedulable-pods-duration",
			f.PodMaxInUnschedulablePods, "")
	}
	controlplane.AddLeaderElectionFlags(set, release, "kube-scheduler", &f.leaderElection)
	if release.HasFlag("kube-scheduler", "lock-object-name") {
		set.StringVar(&f.leaderElection.Name, "lock-object-name", f.leaderElection.Name, "")
		set.StringVar(&f.leaderElection.Namespace, "lock-object-namespace", f.leaderElection.Namespace, "")
	}
	set.AcceptSwitches("authentication-skip-lookup", "authentication-tolerate-lookup-failure", "contention-profiling",
		"profiling", "permit-address-sharing", "permit-port-sharing", "disable-http2-serving")
	set.Accept("allow-metric-labels", "allow-metric-labels-manifest", "authentication-token-webhook-cache-ttl",
		"authorization-always-allow-paths", "authorization-kubeconfig", "authorization-webhook-cache-authorized-ttl",
		"authorization-webhook-cache-unauthorized-ttl", "bind-address", "cert-dir", "client-ca-file", "disabled-metrics",
		"emulated-version", "feature-gates", "http2-max-streams-per-connection", "kube-api-content-type",
		"log-flush-frequency", "log-json-info-buffer-size", "log-json-split-stream", "log-text-info-buffer-size",
		"log-text-split-stream", "logging-format", "requestheader-allowed-names", "requestheader-client-ca-file",
		"requestheader-extra-headers-prefix", "requestheader-group-headers", "requestheader-username-headers",
		"requestheader-uid-headers", "show-hidden-metrics-for-version", "tls-cert-file", "tls-cipher-suites",
		"tls-curve-preferences", "tls-min-version", "tls-private-key-file", "tls-sni-cert-key", "v", "vmodule",
		"write-config-to")
	if release.HasFlag("kube-scheduler", "address") {
		set.Accept("address")
	}
	if release.Minor < 26 { // klog's own, and those of the insecure port and of policies
		set.AcceptSwitches("logtostderr", "alsologtostderr", "add-dir-header", "skip-headers", "skip-log-headers",
			"one-output", "use-legacy-policy-config")
		set.Accept("algorithm-provider", "policy-config-file", "policy-configmap",
			"policy-configmap-namespace", "scheduler-name", "hard-pod-affinity-symmetric-weight", "log-backtrace-at",
			"log-dir", "log-file", "log-file-max-size", "stderrthreshold", "experimental-logging-sanitization")
	}
	return set
}

// Main is the program kube-scheduler of a release (v1.36); argv has no program name.
func Main(p *hardware.Process, argv []string, version string) {
	release, err := api.ParseRelease(version)
	if err != nil {
		p.Exit(1, err.Error())
		return
	}
	f := newFlags(release)
	if !f.set(release).ParseOrExit(p, argv) {
		return
	}
	config, err := f.complete(p)
	if err == nil {
		err = f.RateLimit.Check()
	}
	if err == nil {
		err = f.checkElection()
	}
	if err != nil {
		p.Exit(1, err.Error())
		return
	}
	config.UserAgent = "kube-scheduler/" + release.Version()
	health := controlplane.ListenHealth(p, f.port, func() error { return nil })
	health.Listen(p, f.insecurePort)
	if !p.Alive() {
		return
	}
	client := controlplane.NewClient(p, config)
	f.Host = p.Machine().Name
	view := &View{Scheduler: New(client, release, f.Options, p.Machine().Clock().Now)}
	if f.leaderElection.Enabled {
		if view.Elector, err = controlplane.NewLeaderElector(p, client, f.leaderElection); err != nil {
			p.Exit(1, "couldn't create leader elector: "+err.Error())
			return
		}
	}
	p.Publish(view)
	run := p.Scope().Child("run")
	if release.SchedulerTermExits {
		p.OnTerm(func() {
			p.OnTerm(func() { p.Exit(1, "second signal") }) // apiserver pkg/server/signal.go
			terminate(p, run, view)
		})
	}
	run.Go("kube-scheduler", func(proc *sim.Proc) {
		if f.authentication != "" {
			_ = controlplane.LookUpAuthentication(proc, client) // tolerated: callers are anonymous then
		}
		health.Serve()
		view.Scheduler.Start(proc) // caches are filled before the lock is competed for
		if view.Elector == nil {
			view.Scheduler.Run(proc)
		}
		view.Elector.Run(proc, view.Scheduler.Run)
		p.Exit(release.SchedulerLostExit.Code, release.SchedulerLostExit.Why)
	})
}

// checkElection looks at what leader election needs before anything is started.
func (f *flags) checkElection() error {
	c := &f.leaderElection
	path := field.NewPath("leaderElection")
	var all field.ErrorList
	if c.Enabled && c.LeaseDuration <= c.RenewDeadline { // component-base/config/validation
		all = append(all, field.Invalid(path.Child("leaseDuration"), metav1.Duration{Duration: c.RenewDeadline},
			"must be greater than `RenewDeadline`"))
	}
	err := c.CheckLock()
	if err != nil && c.OnlyLeaseLocks {
		all = append(all, field.Invalid(path.Child("resourceLock"), c.ResourceLock, err.Error()))
	}
	if len(all) == 0 && err != nil {
		return fmt.Errorf("couldn't create resource lock: %w", err)
	}
	if len(all) > 0 {
		return all.ToAggregate()
	}
	return nil
}

// terminate ends the program on SIGTERM. A leader stops scheduling and gives its lock back first, so that nobody has to
// wait for it.
func terminate(p *hardware.Process, run *sim.Scope, view *View) {
	run.Kill("SIGTERM")
	if view.Elector == nil {
		p.Exit(1, "finished without leader elect")
		return
	}
	view.Elector.Stop(func() { p.Exit(0, "Requested to terminate, exiting") })
}

// configuration is what ksim reads of a KubeSchedulerConfiguration file (kubescheduler.config.k8s.io/v1).
type configuration struct {
	Kind             string `json:"kind"`
	APIVersion       string `json:"apiVersion"`
	ClientConnection struct {
		Kubeconfig string `json:"kubeconfig"`
	} `json:"clientConnection"`
	LeaderElection struct {
		LeaderElect   *bool  `json:"leaderElect"`
		LeaseDuration string `json:"leaseDuration"`
		RenewDeadline string `json:"renewDeadline"`
		RetryPeriod   string `json:"retryPeriod"`
	} `json:"leaderElection"`
	PercentageOfNodesToScore *int   `json:"percentageOfNodesToScore"`
	PodInitialBackoffSeconds *int64 `json:"podInitialBackoffSeconds"`
	PodMaxBackoffSeconds     *int64 `json:"podMaxBackoffSeconds"`
}

// complete reads the files that the flags name and returns which server to talk to, and as whom.
func (f *flags) complete(p *hardware.Process) (controlplane.ClientConfig, error) {
	config := controlplane.ClientConfig{User: "system:kube-scheduler"}
	if f.config != "" {
		if err := f.readConfiguration(p); err != nil {
			return config, err
		}
	}
	if f.kubeconfig == "" && f.master == "" {
		return config, errors.New("invalid configuration: no configuration has been provided, " +
			"try setting KUBERNETES_MASTER environment variable")
	}
	if f.kubeconfig != "" {
		var err error
		if config, err = controlplane.ReadKubeconfig(p, f.kubeconfig); err != nil {
			return config, err
		}
	}
	if f.master != "" {
		config.Server = f.master
	}
	return config, nil
}

func (f *flags) readConfiguration(p *hardware.Process) error {
	text, err := p.Machine().Disk().ReadFile(f.config)
	if err != nil {
		return fmt.Errorf("open %s: %w", f.config, err)
	}
	var c configuration
	// Unknown fields are an error in the real program; here, also those that it knows and ksim does not.
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return fmt.Errorf("%s: %w", f.config, err)
	}
	if c.Kind != "KubeSchedulerConfiguration" || !strings.HasPrefix(c.APIVersion, "kubescheduler.config.k8s.io/") {
		return fmt.Errorf("couldn't decode as KubeSchedulerConfiguration, got %s: %s", c.APIVersion, c.Kind)
	}
	if c.ClientConnection.Kubeconfig != "" {
		f.kubeconfig = c.ClientConnection.Kubeconfig
	}
	if c.LeaderElection.LeaderElect != nil {
		f.leaderElection.Enabled = *c.LeaderElection.LeaderElect
	}
	if c.PercentageOfNodesToScore != nil {
		f.PercentageOfNodesToScore = *c.PercentageOfNodesToScore
	}
	if c.PodInitialBackoffSeconds != nil {
		f.PodInitialBackoff = time.Duration(*c.PodInitialBackoffSeconds) * time.Second
	}
	if c.PodMaxBackoffSeconds != nil {
		f.PodMaxBackoff = time.Duration(*c.PodMaxBackoffSeconds) * time.Second
	}
	for _, d := range [...]struct {
		text string
		to   *time.Duration
	}{{c.LeaderElection.LeaseDuration, &f.leaderElection.LeaseDuration},
		{c.LeaderElection.RenewDeadline, &f.leaderElection.RenewDeadline},
		{c.LeaderElection.RetryPeriod, &f.leaderElection.RetryPeriod}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = time.ParseDuration(d.text); err != nil {
			return fmt.Errorf("%s: %w", f.config, err)
		}
	}
	return nil
}
