package kubelet

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

// Models the kubelet (pkg/kubelet, v1.36): Kubelet.Run, syncLoop, the pod sources. Leaves out: what doc.go says.

const (
	relistPeriod       = time.Second      // genericPlegRelistPeriod (pkg/kubelet/kubelet.go)
	syncTickerPeriod   = time.Second      // syncLoop (pkg/kubelet/kubelet.go)
	housekeepingPeriod = 2 * time.Second  // pkg/kubelet/kubelet.go
	backOffPeriod      = 10 * time.Second // pkg/kubelet/kubelet.go
	statusSyncPeriod   = 10 * time.Second // pkg/kubelet/status/status_manager.go
	sourceWaitPeriod   = time.Second      // WaitForAPIServerSyncPeriod (pkg/kubelet/config/apiserver.go)
	minimumGracePeriod = 2                // seconds (kuberuntime_manager.go minimumGracePeriodInSeconds)
)

// Kubelet is one run of the kubelet.
type Kubelet struct {
	process *hardware.Process
	machine *hardware.Machine
	kernel  *sim.Kernel
	scope   *sim.Scope
	random  *sim.Stream
	config  config
	options Options
	client  api.Client
	runtime *containerd.Runtime
	events  *controlplane.Recorder
	// The client without a rate limit.
	heartbeat api.Client

	nodes *controlplane.Informer[*corev1.Node]
	pods  *controlplane.Informer[*corev1.Pod]

	began     sim.Time // main
	loop      sim.Time // phase of the sync loop's tickers and of PLEG
	running   bool     // the sync loop runs
	known     podManager
	workers   podWorkers
	resyncs   resyncs
	status    statusManager
	draft     *draft
	probes    proberManager
	node      nodeStatus
	lease     leaseController
	static    fileSource
	apiReady  bool // the API source has reported
	fileReady bool
	clean     sim.Timer
	crashes   backoff // of containers
	pulls     backoff // of images
	sources   map[sourceKey]api.Object
	relists   relists
	shutdown  nodeShutdown
	hostIPs   []corev1.HostIP // of every pod here
}

// Main is the kubelet's main function. It exits 1 when flags or files are wrong.
func Main(p *hardware.Process, argv []string, options Options) {
	config, err := configOf(p, argv, options.Release)
	if err != nil {
		p.Exit(1, err.Error())
		return
	}
	kl := &Kubelet{process: p, machine: p.Machine(), kernel: p.Kernel(), scope: p.Scope(), options: options,
		runtime: options.Runtime, random: p.Kernel().Rand("kubelet/" + p.Machine().Name), config: config,
		sources: map[sourceKey]api.Object{}}
	if err := kl.connect(); err != nil {
		p.Exit(1, "failed to run Kubelet: "+err.Error())
		return
	}
	kl.began = kl.kernel.Now()
	kl.crashes = newBackoff(backOffPeriod, kl.config.crashLoopMax, kl.crashResetAfter())
	kl.pulls = newBackoff(backOffPeriod, 5*time.Minute, 10*time.Minute)
	kl.draft = draftOf(kl)
	kl.hostIPs = []corev1.HostIP{{IP: kl.hostIP()}}
	kl.known.init()
	kl.workers.init(kl)
	kl.status.init(kl)
	kl.probes.init(kl)
	kl.node.init(kl)
	kl.lease.init(kl)
	kl.static.init(kl)
	kl.resyncs.kl = kl
	kl.scope.OnKill(func() { kl.rand() }) // the next kubelet goes on with the stream
	p.OnTerm(func() { p.Exit(0, "terminated") })
	p.Publish(kl)
	// Measured: what a kubelet does before it runs takes a third of a second (truth/kubelet 05a, 06b).
	kl.scope.After(kl.random.Between(310*time.Millisecond, 370*time.Millisecond), "kubelet run", kl.run)
}

func (kl *Kubelet) connect() error {
	if kl.options.Client != nil {
		return kl.useClient(kl.options.Client(kl.process))
	}
	config, err := controlplane.ReadKubeconfig(kl.process, kl.config.kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "kubelet/" + kl.options.Release.Version()
	return kl.useClient(controlplane.NewClient(kl.process, config))
}

// crashResetAfter: a container that ran that long begins anew (client-go flowcontrol hasExpired: 2 x max; fixed 10
// min from v1.32, pkg/kubelet/kubelet.go).
func (kl *Kubelet) crashResetAfter() time.Duration {
	if kl.options.Release.Minor >= 32 {
		return 10 * time.Minute
	}
	return 2 * kl.config.crashLoopMax
}

// run is Kubelet.Run: it starts everything that goes on by itself.
func (kl *Kubelet) run() {
	selector := fields.OneTermEqualSelector("metadata.name", kl.config.nodeName)
	kl.nodes = controlplane.NewInformer[*corev1.Node](kl.client, controlplane.InformerConfig{Resource: api.Nodes,
		Fields: selector})
	kl.node.watch(kl.nodes)
	kl.nodes.Start()
	controlplane.NewInformer[*corev1.Service](kl.client, controlplane.InformerConfig{Resource: api.Services}).Start()
	kl.scope.After(sourceWaitPeriod, "api source", kl.waitForNode)
	kl.recordNode(corev1.EventTypeNormal, "Starting", "Starting kubelet.", sim.Event{Level: sim.Detail})
	kl.loop = kl.kernel.Now()
	kl.running = true
	kl.runtime.Subscribe(kl.scope, kl.runtimeChanged)
	kl.static.start()
	if kl.options.Release.NodeLeases {
		kl.lease.start()
	}
	kl.node.start()
	kl.status.start()
	kl.shutdown.init(kl)
}

// waitForNode begins to watch pods once the Node is known, asked each second (pkg/kubelet/config/apiserver.go);
// without a Node in the API the empty answer counts as well.
func (kl *Kubelet) waitForNode() {
	if !kl.nodes.HasSynced() {
		// The next of the once-a-second looks after the list has come.
		kl.nodes.OnSync(func() {
			kl.scope.At(nextTick(kl.loop, kl.kernel.Now(), sourceWaitPeriod), "api source", kl.watchPods)
		})
		return
	}
	kl.watchPods()
}

func (kl *Kubelet) watchPods() {
	kl.pods = controlplane.NewInformer[*corev1.Pod](kl.client, controlplane.InformerConfig{Resource: api.Pods,
		Fields: fields.OneTermEqualSelector("spec.nodeName", kl.config.nodeName)})
	kl.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd:    kl.podAdded,
		OnUpdate: kl.podUpdated,
		OnDelete: func(pod *corev1.Pod, _ bool) { kl.podRemoved(pod) },
	})
	kl.pods.OnSync(func() {
		kl.apiReady = true
		kl.housekeepingSoon()
	})
	kl.pods.Start()
}

// sourcesReady reports whether all sources of pods have reported, before which nothing is cleaned up.
func (kl *Kubelet) sourcesReady() bool { return kl.apiReady && kl.fileReady }

// nextTick returns the first tick of a period with that phase that is not before t.
func nextTick(phase, t sim.Time, period time.Duration) sim.Time {
	if t <= phase {
		return phase
	}
	n := (t.Sub(phase) + period - 1) / period
	return phase.Add(n * period)
}

// lastTick returns the last tick that is not after t; phase - 1 period if there was none.
func lastTick(phase, t sim.Time, period time.Duration) sim.Time {
	if t < phase {
		return phase.Add(-period)
	}
	return phase.Add(t.Sub(phase) / period * period)
}

func (kl *Kubelet) now() metav1.Time {
	return metav1.NewTime(kl.machine.Clock().Now().Truncate(time.Second))
}

// record writes an event about a pod.
func (kl *Kubelet) record(pod *corev1.Pod, kind, reason, message string, trace sim.Event) sim.EventID {
	return kl.events.Record(controlplane.Event{Resource: api.Pods, Object: pod, Type: kind, Reason: reason,
		Message: message,
		Trace:   trace})
}

func (kl *Kubelet) recordNode(kind, reason, message string, trace sim.Event) sim.EventID {
	node := kl.node.cached()
	if node == nil {
		node = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: kl.config.nodeName, UID: types.UID(kl.config.nodeName)}}
	}
	return kl.events.Record(controlplane.Event{Resource: api.Nodes, Object: node, Type: kind, Reason: reason,
		Message: message,
		Trace:   trace})
}

// storyFor is the level of what happens to a pod: the control plane's own pods and add-ons are detail.
func storyFor(pod *corev1.Pod) sim.Level {
	if pod.Namespace == metav1.NamespaceSystem {
		return sim.Detail
	}
	return sim.Story
}

func podEventName(pod *corev1.Pod) string {
	return "pod/" + pod.Namespace + "/" + pod.Name
}

func fullName(namespace, name string) string { return name + "_" + namespace }

func isStatic(pod *corev1.Pod) bool {
	source := pod.Annotations[configSourceAnnotation]
	return source != "" && source != apiSource
}

func isMirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

func terminalPhase(phase corev1.PodPhase) bool {
	return phase == corev1.PodFailed || phase == corev1.PodSucceeded
}

func formatPod(pod *corev1.Pod) string {
	var b strings.Builder
	b.WriteString(pod.Name)
	b.WriteByte('_')
	b.WriteString(pod.Namespace)
	b.WriteByte('(')
	b.WriteString(string(pod.UID))
	b.WriteByte(')')
	return b.String()
}
