package controllers

import (
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

// Models kube-controller-manager's main (cmd/kube-controller-manager/app/controllermanager.go, v1.36): flags, health
// port, leader election, start of the controllers, a client of its own with its own rate limit for each (NewClient in
// app/*.go), and how it ended in older releases. Leaves out: leader migration, per-controller credentials.

// manager is what the controllers of one process share, with the client of one of them (see withClient).
type manager struct {
	process *hardware.Process
	kernel  *sim.Kernel
	scope   *sim.Scope
	client  api.Client
	release *api.Release
	options *Options

	shared *sharedInformers

	pods        *controlplane.Informer[*corev1.Pod]
	podsByNode  *controlplane.Index[*corev1.Pod]
	podsByOwner *controlplane.Index[*corev1.Pod] // by the controller's UID; orphans by orphansOf(namespace)
	nodes       *controlplane.Informer[*corev1.Node]
	leases      *controlplane.Informer[*coordinationv1.Lease]
	replicaSets *controlplane.Informer[*appsv1.ReplicaSet]
	daemonSets  *controlplane.Informer[*appsv1.DaemonSet]
	rsByOwner   *controlplane.Index[*appsv1.ReplicaSet]
}

// sharedInformers are the process's informers, which have a client of their own.
type sharedInformers struct {
	client  api.Client
	byType  map[*api.Resource]any
	inOrder []starter
}

type starter interface {
	controlplane.Syncer
	Start()
}

// View is what a kube-controller-manager shows to observers (hardware.Process.View).
type View struct {
	Elector *controlplane.LeaderElector // nil: it does not compete, or not yet
	Alone   bool                        // its controllers run without leader election
}

// IsLeader reports whether the process's controllers run: it believes that it leads, or does not care.
func (v *View) IsLeader() bool { return v.Alone || v.Elector != nil && v.Elector.Leading() }

// health is what /healthz depends on.
func (v *View) health() error {
	if v.Elector == nil {
		return nil
	}
	return v.Elector.Check()
}

// Main is the program kube-controller-manager of a release (v1.36); argv has no program name.
func Main(p *hardware.Process, argv []string, version string) {
	release, err := api.ParseRelease(version)
	if err != nil {
		p.Exit(1, err.Error())
		return
	}
	options := newOptions(release)
	if !options.flags(release).ParseOrExit(p, argv) {
		return
	}
	config, err := clientConfig(p, options)
	if err == nil {
		err = options.RateLimit.Check()
	}
	if err == nil && release.OnlyLeaseLocks {
		err = options.LeaderElection.CheckLock()
	}
	if err != nil {
		p.Exit(1, err.Error())
		return
	}
	config.UserAgent = "kube-controller-manager/" + release.Version()
	run := &View{}
	check := func() error { return nil }
	if release.ElectionCheck {
		check = run.health
	}
	health := controlplane.ListenHealth(p, options.SecurePort, check)
	health.Listen(p, options.InsecurePort)
	if !p.Alive() {
		return
	}
	p.Publish(run)
	p.Go("kube-controller-manager", func(proc *sim.Proc) {
		client := controlplane.NewClient(p, config)
		if options.AuthenticationKubeconfig != "" {
			if err := controlplane.LookUpAuthentication(proc, client); err != nil {
				p.Exit(1, err.Error())
				return
			}
		}
		health.Serve()
		manager := newManager(p, client, release, options)
		if !release.ManagerReleasesLock {
			start(proc, manager, run)
			return
		}
		manager.handleSIGTERM(run)
		manager.scope.Go("kube-controller-manager", func(proc *sim.Proc) { start(proc, manager, run) })
	})
}

// handleSIGTERM makes the controllers' lifetime shorter than the process's, so that a signal can stop them first.
func (m *manager) handleSIGTERM(view *View) {
	m.scope = m.process.Scope().Child("controllers")
	m.options.LeaderElection.ReleaseOnCancel = true
	exit := func() { m.process.Exit(0, m.release.ManagerLostExit.Why) }
	m.process.OnTerm(func() {
		m.process.OnTerm(func() { m.process.Exit(1, "second signal") }) // apiserver pkg/server/signal.go
		m.scope.Kill("SIGTERM")
		if view.Elector == nil {
			exit()
		} else {
			view.Elector.Stop(exit)
		}
	})
}

func clientConfig(p *hardware.Process, o *Options) (controlplane.ClientConfig, error) {
	config := controlplane.ClientConfig{User: "system:kube-controller-manager"}
	if o.Kubeconfig == "" && o.Master == "" {
		return config, errors.New("invalid configuration: no configuration has been provided, " +
			"try setting KUBERNETES_MASTER environment variable")
	}
	if o.Kubeconfig != "" {
		var err error
		if config, err = controlplane.ReadKubeconfig(p, o.Kubeconfig); err != nil {
			return config, err
		}
	}
	if o.Master != "" {
		config.Server = o.Master
	}
	return config, nil
}

// start competes for the lock and runs the controllers while it is held; losing it ends the process.
func start(p *sim.Proc, m *manager, view *View) {
	election := &m.options.LeaderElection
	if !election.Enabled {
		view.Alone = true
		m.process.Changed()
		m.runControllers(p)
		return
	}
	if err := election.CheckLock(); err != nil {
		m.process.Exit(255, "error creating lock: "+err.Error()) // klog.Fatalf
		return
	}
	// The lock's client shares the connection of the others, but not their rate limit, which it never comes near.
	elector, err := controlplane.NewLeaderElector(m.process, m.client, *election)
	if err != nil {
		m.process.Exit(2, "panic: "+err.Error()) // leaderelection.RunOrDie
		return
	}
	view.Elector = elector
	elector.Run(p, m.runControllers)
	lost := m.release.ManagerLostExit
	if m.release.ManagerReleasesLock {
		lost.Code = 0 // Run just returns
	}
	m.process.Exit(lost.Code, lost.Why)
}

func newManager(p *hardware.Process, client api.Client, release *api.Release, options *Options) *manager {
	m := &manager{process: p, kernel: p.Kernel(), scope: client.Scope(), client: client, release: release,
		options: options, shared: &sharedInformers{client: client, byType: map[*api.Resource]any{}}}
	if release.Minor < 35 { // lists are watches since (client-go features/known_features.go WatchListClient)
		m.shared.client = controlplane.Throttled(client, options.RateLimit)
	}
	m.pods = informerFor[*corev1.Pod](m, api.Pods)
	m.podsByNode = m.pods.Index(func(pod *corev1.Pod) string { return pod.Spec.NodeName })
	m.podsByOwner = m.pods.Index(ownerOrOrphan[*corev1.Pod])
	m.nodes = informerFor[*corev1.Node](m, api.Nodes)
	m.leases = informerFor[*coordinationv1.Lease](m, api.Leases)
	m.replicaSets = informerFor[*appsv1.ReplicaSet](m, api.ReplicaSets)
	m.rsByOwner = m.replicaSets.Index(ownerOrOrphan[*appsv1.ReplicaSet])
	m.daemonSets = informerFor[*appsv1.DaemonSet](m, api.DaemonSets)
	return m
}

// informerFor returns the process's informer of a resource, making it when it is first asked for.
func informerFor[T api.Object](m *manager, resource *api.Resource) *controlplane.Informer[T] {
	if inf, ok := m.shared.byType[resource].(*controlplane.Informer[T]); ok {
		return inf
	}
	inf := controlplane.NewInformer[T](m.shared.client, controlplane.InformerConfig{Resource: resource})
	m.shared.byType[resource] = inf
	m.shared.inOrder = append(m.shared.inOrder, inf)
	return inf
}

// withClient returns the manager as a controller sees it that has a client, and so a token bucket, of its own: all that
// it asks for and writes, events included, shares it (ControllerContext.NewClient; each controller's Run has
// StartRecordingToSink with its own client).
func (m *manager) withClient(limit controlplane.RateLimit) *manager {
	own := *m
	own.client = controlplane.Throttled(m.client, limit)
	return &own
}

// runControllers makes all controllers, fills their caches and starts them.
func (m *manager) runControllers(p *sim.Proc) {
	// If the API server is not running we should wait for some time and fail only then.
	if err := controlplane.WaitForAPIServer(p, m.shared.client, 10*time.Second); err != nil {
		m.process.Exit(1, err.Error())
		return
	}
	for _, c := range m.controllers() {
		c.run()
	}
}

type controller interface{ run() }

// controllers makes all controllers and starts the informers that they want.
func (m *manager) controllers() []controller {
	limit := m.options.RateLimit
	own := func() *manager { return m.withClient(limit) }
	nodes := own()
	taints := nodes // up to v1.28 a part of the node lifecycle controller
	if m.release.SeparateTaintEviction {
		taints = own()
	}
	all := []controller{newNodeLifecycle(nodes), newTaintEviction(taints), newReplicaSetController(own()),
		newDeploymentController(own()), newDaemonSetController(own()), newStatefulSetController(own()),
		newJobController(own()), newPodGC(own()),
		// Each deletion takes two requests (app/core.go newGarbageCollectorController).
		newGarbageCollector(m.withClient(limit.Times(2, 1))),
		// It asks for much (app/core.go newNamespaceController).
		newNamespaceController(m.withClient(limit.Times(20, 100))),
		newEndpointSliceController(own()), newDisruptionController(own())}
	if m.release.JobTTL {
		all = append(all, newTTLAfterFinished(own()))
	}
	for _, inf := range m.shared.inOrder {
		inf.Start()
	}
	return all
}

// whenSynced runs fn in a process when the informers have synced, as every controller's Run does.
func (m *manager) whenSynced(name string, fn func(p *sim.Proc), informers ...controlplane.Syncer) {
	m.scope.Go(name, func(p *sim.Proc) {
		controlplane.WaitForSync(p, informers...)
		fn(p)
	})
}

// recorder returns an event recorder that reports as that component of the manager.
func (m *manager) recorder(component string) *controlplane.Recorder {
	return controlplane.NewRecorder(m.client, component).On("", m.process.Machine().Clock().Now)
}

// now is what the machine's clock shows, as objects' timestamps have it.
func (m *manager) now() metav1.Time {
	return metav1.NewTime(m.process.Machine().Clock().Now().Truncate(time.Second))
}

// because makes the write that an object came from the current cause.
func (m *manager) because(obj api.Object) { m.kernel.Because(api.CauseOf(m.kernel, obj)) }

// emit writes a trace event and makes it the cause of what follows.
func (m *manager) emit(e sim.Event) sim.EventID {
	id := m.scope.Emit(e)
	m.kernel.Because(id)
	return id
}

// seconds writes a duration as 53.1 s, or 50 s when it is whole.
func seconds(d time.Duration) string {
	tenths := int64(d.Round(100*time.Millisecond) / (100 * time.Millisecond))
	if tenths%10 == 0 {
		return fmt.Sprintf("%d s", tenths/10)
	}
	return fmt.Sprintf("%d.%d s", tenths/10, tenths%10)
}

// plural writes 1 pod, 2 pods.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, strings.TrimSuffix(noun, "s")+"s")
}
