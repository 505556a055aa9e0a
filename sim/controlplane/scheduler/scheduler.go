package scheduler

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	"ksim/sim/controlplane/scheduler/cache"
	fwk "ksim/sim/controlplane/scheduler/framework"
	"ksim/sim/controlplane/scheduler/plugins"
	"ksim/sim/controlplane/scheduler/queue"
)

// defaultSchedulerName is whose pods these are (corev1.DefaultSchedulerName).
const defaultSchedulerName = corev1.DefaultSchedulerName

// Options are what flags and the configuration file say, and where the scheduler runs.
type Options struct {
	Host                     string
	PercentageOfNodesToScore int // 0: adaptive
	PodInitialBackoff        time.Duration
	PodMaxBackoff            time.Duration
	// PodMaxInUnschedulablePods is how long a pod waits for an event before it is tried anyway.
	PodMaxInUnschedulablePods time.Duration
	RateLimit                 controlplane.RateLimit // of requests; events have as much again
}

func defaultOptions(f *fwk.Features) Options {
	return Options{
		PodInitialBackoff: queue.DefaultPodInitialBackoff, PodMaxBackoff: queue.DefaultPodMaxBackoff,
		PodMaxInUnschedulablePods: f.PodMaxInUnschedulablePods,
		// apis/config/v1/defaults.go: 50, 100
		RateLimit: controlplane.RateLimit{QPS: 50_000, Burst: 100},
	}
}

// Scheduler watches for pods without a node and gives them one.
//
// Models kube-scheduler's Scheduler (pkg/scheduler/scheduler.go, schedule_one.go, v1.36).
type Scheduler struct {
	client   api.Client
	scope    *sim.Scope
	kernel   *sim.Kernel
	features *fwk.Features
	options  Options
	random   *sim.Stream
	recorder *eventRecorder
	now      func() time.Time // of the machine's clock

	cache     *cache.Cache
	queue     *queue.PriorityQueue
	framework *fwk.Framework
	informers informers

	nextStartNodeIndex int
	lastNodeIndex      int
	statuses           fwk.NodeToStatus // of the last cycle
	feasible           []*fwk.NodeInfo

	preempting   map[types.UID]*preemption
	told         map[types.UID]string // the last FailedScheduling message in the story
	leadingSince sim.Time
	leadingCause sim.EventID
}

type informers struct {
	pods        *controlplane.Informer[*corev1.Pod]
	nodes       *controlplane.Informer[*corev1.Node]
	namespaces  *controlplane.Informer[*corev1.Namespace]
	services    *controlplane.Informer[*corev1.Service]
	controllers *controlplane.Informer[*corev1.ReplicationController]
	replicaSets *controlplane.Informer[*appsv1.ReplicaSet]
	statefuls   *controlplane.Informer[*appsv1.StatefulSet]
	budgets     *controlplane.Informer[*policyv1.PodDisruptionBudget]
	claims      *controlplane.Informer[*corev1.PersistentVolumeClaim]
	classes     *controlplane.Informer[*storagev1.StorageClass]

	servicesIn *controlplane.Index[*corev1.Service]
}

// New makes a scheduler for a release; Start starts its informers, Run schedules. Bindings, statuses and preemptions go
// through one rate limit, in a large cluster the pace of scheduling; events have a client of their own
// (cmd/kube-scheduler/app/options/options.go createClients, v1.36).
func New(client api.Client, release *api.Release, options Options, now func() time.Time) *Scheduler {
	scope := client.Scope()
	s := &Scheduler{client: controlplane.Throttled(client, options.RateLimit), scope: scope, kernel: scope.Kernel(),
		features: fwk.FeaturesOf(release), options: options, random: scope.Rand(scope.Path() + "/scheduling"), now: now,
		preempting: map[types.UID]*preemption{}, told: map[types.UID]string{}}
	s.recorder = newEventRecorder(s, controlplane.Throttled(client, options.RateLimit))
	s.cache = cache.New(s.features)
	s.newInformers(client)
	s.framework = fwk.New(s.cache, s.listers())
	s.framework.Use(plugins.Default(s.framework, s.features)...)
	s.queue = queue.New(queue.Config{Scope: scope, Features: s.features, PodInitialBackoff: options.PodInitialBackoff,
		PodMaxBackoff: options.PodMaxBackoff, PodMaxInUnschedulablePods: options.PodMaxInUnschedulablePods,
		PreEnqueue: s.framework.PreEnqueuePlugins(), EnqueueExtensions: s.framework.EnqueueExtensions()})
	s.addEventHandlers()
	return s
}

func (s *Scheduler) newInformers(client api.Client) {
	if s.features.Minor < 35 { // lists are watches since (client-go features/known_features.go WatchListClient)
		client = s.client
	}
	inf := &s.informers
	inf.pods = controlplane.NewInformer[*corev1.Pod](client, controlplane.InformerConfig{Resource: api.Pods,
		// Pods that have ended take no room (pkg/scheduler/scheduler.go newPodInformer).
		Fields: fields.AndSelectors(fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
			fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)))})
	inf.nodes = newInformer[*corev1.Node](client, api.Nodes)
	inf.namespaces = newInformer[*corev1.Namespace](client, api.Namespaces)
	inf.services = newInformer[*corev1.Service](client, api.Services)
	inf.servicesIn = inf.services.Index(func(service *corev1.Service) string { return service.Namespace })
	inf.controllers = newInformer[*corev1.ReplicationController](client, api.ReplicationControllers)
	inf.replicaSets = newInformer[*appsv1.ReplicaSet](client, api.ReplicaSets)
	inf.statefuls = newInformer[*appsv1.StatefulSet](client, api.StatefulSets)
	inf.budgets = newInformer[*policyv1.PodDisruptionBudget](client, api.PodDisruptionBudgets)
	inf.claims = newInformer[*corev1.PersistentVolumeClaim](client, api.PersistentVolumeClaims)
	inf.classes = newInformer[*storagev1.StorageClass](client, api.StorageClasses)
}

func newInformer[T api.Object](client api.Client, r *api.Resource) *controlplane.Informer[T] {
	return controlplane.NewInformer[T](client, controlplane.InformerConfig{Resource: r})
}

// Start starts the informers and waits, however long, until all have synced.
func (s *Scheduler) Start(p *sim.Proc) {
	inf := &s.informers
	inf.nodes.Start() // nodes first: pods come to a picture that has their nodes
	inf.pods.Start()
	inf.namespaces.Start()
	inf.services.Start()
	inf.controllers.Start()
	inf.replicaSets.Start()
	inf.statefuls.Start()
	inf.budgets.Start()
	inf.claims.Start()
	inf.classes.Start()
	controlplane.WaitForSync(p, inf.nodes, inf.pods, inf.namespaces, inf.services, inf.controllers, inf.replicaSets,
		inf.statefuls, inf.budgets, inf.claims, inf.classes)
}

// Run schedules one pod after the other, for ever. Pods that were there before wait for this, not for themselves.
func (s *Scheduler) Run(p *sim.Proc) {
	s.leadingSince, s.leadingCause = p.Now(), s.kernel.Cause()
	s.queue.Run()
	for {
		s.scheduleOne(p, s.queue.Pop(p))
		p.Sleep(cycleTime)
	}
}

// cycleTime is how long one scheduling cycle takes. chosen: a few hundred pods a second, as a real scheduler manages.
const cycleTime = time.Millisecond

// listers gives plugins what they ask of informers, queue and clock.
func (s *Scheduler) listers() *fwk.Listers {
	inf := &s.informers
	return &fwk.Listers{
		Services:              inf.servicesIn.Get,
		ReplicationController: named(inf.controllers),
		ReplicaSet:            named(inf.replicaSets),
		StatefulSet:           named(inf.statefuls),
		Namespaces:            inf.namespaces.List,
		Namespace: func(name string) *corev1.Namespace {
			namespace, _ := inf.namespaces.Named("", name)
			return namespace
		},
		PodDisruptionBudgets:  inf.budgets.List,
		PersistentVolumeClaim: named(inf.claims),
		StorageClass: func(name string) *storagev1.StorageClass {
			class, _ := inf.classes.Named("", name)
			return class
		},
		NominatedPodsOnNode: func(node string) []*fwk.PodInfo { return s.queue.NominatedPodsForNode(node) },
		Preempting:          s.isRunningPreemption,
		RandomBelow:         s.random.IntN,
		Now:                 func() int64 { return s.now().UnixNano() },
	}
}

func named[T api.Object](inf *controlplane.Informer[T]) func(namespace, name string) T {
	return func(namespace, name string) T {
		object, _ := inf.Named(namespace, name)
		return object
	}
}
