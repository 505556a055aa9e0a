package kubelet

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

// Options is what the machine that a kubelet runs on is like, and where it finds its neighbours.
type Options struct {
	Runtime *containerd.Runtime
	Release *api.Release
	// Capacity is the machine's: cpu, memory, pods, ephemeral-storage. Missing ones have defaults.
	Capacity corev1.ResourceList
	// Client replaces the client of the kubeconfig, for tests.
	Client func(p *hardware.Process) api.Client
}

// config is the kubelet's configuration: its flags and its file.
type config struct {
	kubeconfig         string
	configFile         string
	nodeName           string
	nodeIP             string
	staticPodPath      string
	labels             map[string]string
	taints             []corev1.Taint
	registerNode       bool
	statusUpdate       time.Duration
	statusReport       time.Duration
	leaseDuration      time.Duration
	syncFrequency      time.Duration
	fileCheck          time.Duration
	maxPods            int64
	shutdownGrace      time.Duration
	shutdownCritical   time.Duration
	crashLoopMax       time.Duration
	api                requestLimit
	events             requestLimit
	statusReportSet    bool
	registerTaintTexts []string
	labelText          string
}

// Defaults: pkg/kubelet/apis/config/v1beta1/defaults.go, v1.36.
func defaultConfig(release *api.Release) config {
	return config{
		registerNode:  true,
		statusUpdate:  10 * time.Second,
		statusReport:  release.NodeStatusReportFrequency,
		leaseDuration: 40 * time.Second,
		syncFrequency: time.Minute,
		fileCheck:     20 * time.Second,
		maxPods:       110,
		crashLoopMax:  5 * time.Minute, // MaxCrashLoopBackOff, pkg/kubelet/kubelet.go
		api:           defaultLimit(release.Minor),
		events:        defaultLimit(release.Minor),
	}
}

// flags declares the kubelet's flags of a release (cmd/kubelet/app/options, v1.36).
func (c *config) flags(minor int) *controlplane.Flags {
	f := controlplane.NewFlags("kubelet")
	f.StringVar(&c.kubeconfig, "kubeconfig", c.kubeconfig, "")
	f.StringVar(&c.configFile, "config", c.configFile, "")
	f.StringVar(&c.nodeName, "hostname-override", c.nodeName, "")
	f.StringVar(&c.nodeIP, "node-ip", c.nodeIP, "")
	f.StringVar(&c.staticPodPath, "pod-manifest-path", c.staticPodPath, "")
	f.StringVar(&c.labelText, "node-labels", c.labelText, "")
	f.StringSliceVar(&c.registerTaintTexts, "register-with-taints", nil, "")
	f.BoolVar(&c.registerNode, "register-node", c.registerNode, "")
	f.DurationVar(&c.statusUpdate, "node-status-update-frequency", c.statusUpdate, "")
	f.DurationVar(&c.syncFrequency, "sync-frequency", c.syncFrequency, "")
	f.DurationVar(&c.fileCheck, "file-check-frequency", c.fileCheck, "")
	f.Int64Var(&c.maxPods, "max-pods", c.maxPods, "")
	f.Int32Var(&c.api.qps, "kube-api-qps", c.api.qps, "")
	f.Int32Var(&c.api.burst, "kube-api-burst", c.api.burst, "")
	f.Int32Var(&c.events.qps, "event-qps", c.events.qps, "")
	f.Int32Var(&c.events.burst, "event-burst", c.events.burst, "")
	f.Accept("address", "anonymous-auth", "authentication-token-webhook", "authorization-mode", "bootstrap-kubeconfig",
		"cert-dir", "cgroup-driver", "cgroup-root", "cgroups-per-qos", "client-ca-file", "cloud-provider", "cluster-dns",
		"cluster-domain", "container-runtime-endpoint", "cpu-manager-policy", "enforce-node-allocatable",
		"eviction-hard", "eviction-soft", "eviction-minimum-reclaim", "fail-swap-on", "feature-gates",
		"hairpin-mode", "healthz-bind-address", "healthz-port", "http-check-frequency", "image-gc-high-threshold",
		"image-gc-low-threshold", "image-service-endpoint", "kube-reserved",
		"kubelet-cgroups", "log-file", "logging-format", "manifest-url", "minimum-image-ttl-duration", "port",
		"read-only-port",
		"reserved-cpus", "resolv-conf", "root-dir", "rotate-certificates", "rotate-server-certificates", "runtime-cgroups",
		"runtime-request-timeout", "seccomp-default", "serialize-image-pulls", "streaming-connection-idle-timeout",
		"system-cgroups", "system-reserved", "tls-cert-file", "tls-private-key-file", "topology-manager-policy", "v",
		"vmodule", "volume-plugin-dir")
	if minor < 27 { // removed with dockershim's remains (cmd/kubelet/app/options/container_runtime.go)
		f.Accept("container-runtime", "pod-infra-container-image", "network-plugin", "cni-bin-dir", "cni-conf-dir")
	} else if minor < 36 {
		f.Accept("pod-infra-container-image")
	}
	return f
}

// FlagSet returns the flags of the kubelet in a minor release, for whoever checks values before a run.
func FlagSet(minor int) *controlplane.Flags {
	c := config{}
	return c.flags(minor)
}

// Flags returns the flags of a release's kubelet: those that have an effect here, and those that are only accepted.
func Flags(minor int) (modelled, accepted []string) {
	c := config{}
	return c.flags(minor).Names()
}

// fileConfig is the part of KubeletConfiguration that has an effect.
type fileConfig struct {
	StaticPodPath                   string            `json:"staticPodPath"`
	NodeStatusUpdateFrequency       string            `json:"nodeStatusUpdateFrequency"`
	NodeStatusReportFrequency       string            `json:"nodeStatusReportFrequency"`
	NodeLeaseDurationSeconds        int64             `json:"nodeLeaseDurationSeconds"`
	SyncFrequency                   string            `json:"syncFrequency"`
	FileCheckFrequency              string            `json:"fileCheckFrequency"`
	MaxPods                         *int64            `json:"maxPods"`
	ShutdownGracePeriod             string            `json:"shutdownGracePeriod"`
	ShutdownGracePeriodCriticalPods string            `json:"shutdownGracePeriodCriticalPods"`
	RegisterWithTaints              []corev1.Taint    `json:"registerWithTaints"`
	RegisterNode                    *bool             `json:"registerNode"`
	CrashLoopBackOff                *crashLoopBackOff `json:"crashLoopBackOff"`
	KubeAPIQPS                      *int32            `json:"kubeAPIQPS"`
	KubeAPIBurst                    int32             `json:"kubeAPIBurst"`
	EventRecordQPS                  *int32            `json:"eventRecordQPS"`
	EventBurst                      int32             `json:"eventBurst"`
}

type crashLoopBackOff struct {
	MaxContainerRestartPeriod string `json:"maxContainerRestartPeriod"`
}

// configMemo is the key of the configurations by what they were read from: the kubelets of a cluster are mostly
// started alike, and a configuration is only read once it is there.
type configMemo struct{}

type readConfig struct {
	release    *api.Release
	file, text string // the configuration file
	config     config
}

// configOf is the configuration of a kubelet that is started with those arguments.
func configOf(p *hardware.Process, argv []string, release *api.Release) (config, error) {
	key := strings.Join(argv, "\x00")
	known := p.Kernel().Memo(configMemo{}, func() any { return map[string]*readConfig{} }).(map[string]*readConfig)
	if have := known[key]; have != nil && have.release == release && have.current(p) {
		return have.config.on(p), nil
	}
	c := defaultConfig(release)
	if err := c.load(p, argv, release.Minor); err != nil {
		return c, err
	}
	text, _ := p.Machine().Disk().ReadFile(c.configFile) // cannot fail: load has read it
	known[key] = &readConfig{release, c.configFile, string(text), c}
	return c.on(p), nil
}

// current reports whether the machine has the same configuration file.
func (r *readConfig) current(p *hardware.Process) bool {
	if r.file == "" {
		return true
	}
	text, err := p.Machine().Disk().ReadFile(r.file)
	return err == nil && string(text) == r.text
}

// on fills in what follows from the machine.
func (c config) on(p *hardware.Process) config {
	if c.nodeName == "" {
		c.nodeName = p.Machine().Name
	}
	return c
}

// load parses flags and the configuration file; flags win. The error is what the kubelet prints before it exits 1.
func (c *config) load(p *hardware.Process, argv []string, minor int) error {
	if err := c.flags(minor).Parse(argv); err != nil {
		return fmt.Errorf("failed to parse kubelet flag: %w", err)
	}
	if c.configFile != "" {
		if err := c.readFile(p); err != nil {
			return err
		}
		if err := c.flags(minor).Parse(argv); err != nil { // once more, over the file; a new set, since a list would grow
			return err
		}
	}
	if err := c.validate(); err != nil {
		return err
	}
	// An update frequency that was set makes the report frequency equal to it (SetDefaults_KubeletConfiguration).
	if c.statusUpdate != 10*time.Second && !c.statusReportSet {
		c.statusReport = c.statusUpdate
	}
	c.labels = map[string]string{}
	for _, pair := range strings.Split(c.labelText, ",") {
		if key, value, _ := strings.Cut(pair, "="); key != "" {
			c.labels[key] = value
		}
	}
	for _, text := range c.registerTaintTexts {
		taint, err := parseTaint(text)
		if err != nil {
			return err
		}
		c.taints = append(c.taints, taint)
	}
	return nil
}

func (c *config) readFile(p *hardware.Process) error {
	text, err := p.Machine().Disk().ReadFile(c.configFile)
	if err != nil {
		return fmt.Errorf("failed to load kubelet config file, path: %s, error: %w", c.configFile, err)
	}
	var file fileConfig
	if err := yaml.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("failed to load kubelet config file, path: %s, error: %w", c.configFile, err)
	}
	c.staticPodPath = file.StaticPodPath
	c.taints = file.RegisterWithTaints
	if file.MaxPods != nil {
		c.maxPods = *file.MaxPods
	}
	if file.RegisterNode != nil {
		c.registerNode = *file.RegisterNode
	}
	c.api.read(file.KubeAPIQPS, file.KubeAPIBurst)
	c.events.read(file.EventRecordQPS, file.EventBurst)
	if file.NodeLeaseDurationSeconds > 0 {
		c.leaseDuration = time.Duration(file.NodeLeaseDurationSeconds) * time.Second
	}
	durations := []struct {
		name, text string
		to         *time.Duration
	}{
		{"nodeStatusUpdateFrequency", file.NodeStatusUpdateFrequency, &c.statusUpdate},
		{"nodeStatusReportFrequency", file.NodeStatusReportFrequency, &c.statusReport},
		{"syncFrequency", file.SyncFrequency, &c.syncFrequency},
		{"fileCheckFrequency", file.FileCheckFrequency, &c.fileCheck},
		{"shutdownGracePeriod", file.ShutdownGracePeriod, &c.shutdownGrace},
		{"shutdownGracePeriodCriticalPods", file.ShutdownGracePeriodCriticalPods, &c.shutdownCritical},
	}
	if file.CrashLoopBackOff != nil {
		durations = append(durations, struct {
			name, text string
			to         *time.Duration
		}{"maxContainerRestartPeriod", file.CrashLoopBackOff.MaxContainerRestartPeriod, &c.crashLoopMax})
	}
	for _, d := range durations {
		if d.text == "" {
			continue
		}
		value, err := time.ParseDuration(d.text)
		if err != nil {
			return fmt.Errorf("failed to load kubelet config file, path: %s, error: %s: %w", c.configFile, d.name, err)
		}
		if value > 0 {
			*d.to = value
			c.statusReportSet = c.statusReportSet || d.to == &c.statusReport
		}
	}
	return nil
}

// parseTaint reads key=value:Effect (pkg/util/taints).
func parseTaint(text string) (corev1.Taint, error) {
	pair, effect, ok := strings.Cut(text, ":")
	if !ok {
		return corev1.Taint{}, fmt.Errorf("invalid taint spec: %s", text)
	}
	key, value, _ := strings.Cut(pair, "=")
	switch corev1.TaintEffect(effect) {
	case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		return corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)}, nil
	}
	return corev1.Taint{}, fmt.Errorf("invalid taint effect: %s", effect)
}

// capacity fills in what the options leave open. chosen: a small server.
func (o *Options) capacity(maxPods int64) corev1.ResourceList {
	list := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("4"),
		corev1.ResourceMemory:           resource.MustParse("16Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
		"hugepages-1Gi":                 resource.MustParse("0"),
		"hugepages-2Mi":                 resource.MustParse("0"),
	}
	for name, quantity := range o.Capacity { // any order: fills a map
		list[name] = quantity
	}
	return list
}
