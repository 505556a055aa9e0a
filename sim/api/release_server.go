package api

import (
	"slices"
	"time"
)

// ServerFacts are about kube-apiserver.
type ServerFacts struct {
	ConsistentListFromCache           bool // lists without a resourceVersion from the watch cache, after asking etcd
	ResilientWatchCacheInitialization bool // lists on a cache that is not ready: 429 instead of going to etcd
	ListFromCacheSnapshot             bool // exact revisions from the cache
	RetryGenerateName                 bool // a generated name that exists is drawn again
	LivezReadyz                       bool // /livez and /readyz beside /healthz
	PodGeneration                     bool // pods have metadata.generation
}

func serverFacts(minor int) ServerFacts {
	return ServerFacts{
		// apiserver pkg/features/kube_features.go: beta on 1.31, GA 1.34
		ConsistentListFromCache: minor >= 31,
		// apiserver pkg/features/kube_features.go: beta on 1.31, GA 1.34
		ResilientWatchCacheInitialization: minor >= 31,
		// apiserver pkg/features/kube_features.go: beta on 1.34
		ListFromCacheSnapshot: minor >= 34,
		// apiserver pkg/features/kube_features.go: beta on 1.31, GA 1.32
		RetryGenerateName: minor >= 31,
		// K@1.15, K@1.16:pkg/kubeapiserver, CHANGELOG-1.16: /livez and /readyz
		LivezReadyz: minor >= 16,
		// K@1.31, K@1.34:pkg/registry/core/pod/strategy.go; KEP-5067: from 1.33
		PodGeneration: minor >= 33,
	}
}

// ElectionFacts are about who leads among kube-controller-managers and among kube-schedulers: the library that they
// elect a leader with (client-go tools/leaderelection) and what they do with the outcome.
type ElectionFacts struct {
	LeaderElectLock  Lock          // default of --leader-elect-resource-lock
	ElectionTimeouts RequestLimits // of the lock's client

	LeaseLocks      bool // leases can be a lock
	AnnotationLocks bool // endpoints and configmaps can
	MultiLocks      bool // endpointsleases and configmapsleases can
	OnlyLeaseLocks  bool // and nothing else is taken for a valid flag

	FreeLocks         bool // a record without a holder can be taken at once
	LockTellsDuration bool // a lock is honoured as long as its record says; else as long as one's own flag does
	RenewFastPath     bool // a leader updates its lock without reading it first
	ReleaseReadsLock  bool // before it writes
	ReleaseTriesAgain bool // after a conflict
	ElectionCheck     bool // kube-controller-manager's health depends on its renewals
	ManagerLostExit   Exit // of kube-controller-manager when it could not renew its lock
	SchedulerLostExit Exit // of kube-scheduler
	// ManagerReleasesLock has kube-controller-manager handle SIGTERM, release its lock, and always exit with 0
	// (ControllerManagerReleaseLeaderElectionLockOnExit, alpha in v1.36).
	ManagerReleasesLock bool
	SchedulerTermExits  bool // kube-scheduler handles SIGTERM: it releases its lock and exits with 0
}

// RequestLimits says how long a request for a lock may take.
type RequestLimits int

// The limits of requests for a lock.
const (
	Unlimited RequestLimits = iota // nothing ends it but the server, and a leader waits for it beyond its deadline
	Deadline                       // the renew deadline
	HalfDeadline
)

// Exit is how a program ends by itself.
type Exit struct {
	Code int
	Why  string // its last words
}

// Lock is the kind of object that a leader holds: --leader-elect-resource-lock.
type Lock string

// The kinds of locks.
const (
	EndpointsLock       Lock = "endpoints"
	EndpointsLeasesLock Lock = "endpointsleases" // both
	LeasesLock          Lock = "leases"
)

func electionFacts(minor int) ElectionFacts {
	return ElectionFacts{
		// K@1.16, 1.17, 1.20:pkg/controller/apis/config/v1alpha1/defaults.go, pkg/scheduler/apis/config/v1alpha1,
		// v1beta1/defaults.go
		LeaderElectLock: since(minor, EndpointsLock, at(17, EndpointsLeasesLock), at(20, LeasesLock)),
		// K@1.11, 1.12:cmd/kube-controller-manager/app/options/options.go; client-go v8, v9:leaderelection.go (no
		// time-out; then that of each round); K@1.20, 1.21: NewFromKubeconfig
		ElectionTimeouts: since(minor, Unlimited, at(12, Deadline), at(21, HalfDeadline)),
		// client-go v10 (1.13), v11 (1.14), v0.17, v0.23, v0.24:tools/leaderelection/resourcelock/interface.go
		LeaseLocks: minor >= 14, AnnotationLocks: minor <= 23, MultiLocks: minor >= 17 && minor <= 26,
		// K@1.26, 1.27:pkg/scheduler/apis/config/validation; controller-manager v0.26, v0.28:options/generic.go
		OnlyLeaseLocks: minor >= 27,
		// client-go v10 (1.13), v11 (1.14), v0.26, 0.27, 0.29, 0.30, 0.33, 0.34, 0.36, 0.37:
		// tools/leaderelection/leaderelection.go
		FreeLocks: minor >= 14, LockTellsDuration: minor >= 27, RenewFastPath: minor >= 30, ReleaseReadsLock: minor >= 34,
		ReleaseTriesAgain: minor >= 37,
		// K@1.12, 1.13:cmd/kube-controller-manager/app/controllermanager.go
		ElectionCheck: minor >= 13,
		// K@1.23, 1.24, 1.35, 1.36:cmd/kube-controller-manager/app/controllermanager.go (Fatalf exits with 255)
		ManagerLostExit: since(minor, Exit{255, "leaderelection lost"}, at(24, Exit{1, "leaderelection lost"}),
			at(36, Exit{1, "leaderelection lost/stopped"})),
		// K@1.15, 1.16, 1.21, 1.22, 1.23:cmd/kube-scheduler/app/server.go
		SchedulerLostExit: since(minor, Exit{1, "lost lease"}, at(16, Exit{255, "leaderelection lost"}),
			at(22, Exit{1, "leaderelection lost"}), at(23, Exit{1, "Leaderelection lost"})),
		// K@1.21, K@1.22:cmd/kube-scheduler/app/server.go
		SchedulerTermExits: minor >= 22,
	}
}

// KubeadmFacts are about what kubeadm installs, and the skew that it and the project allow.
type KubeadmFacts struct {
	Probes                   StaticPodProbes
	LocalAPIServer           bool     // the managers' and schedulers' kubeconfigs name their own machine's server
	KubeletLocalAPIServer    bool     // that of a control-plane kubelet, too
	KubeletSkew              int      // how many minors a kubelet may be older than the API server
	KubeadmKubeletSkew       int      // how many kubeadm's preflight lets it be
	ControlPlaneLabels       []string // of control-plane Nodes
	ControlPlaneTaints       []string // keys, all NoSchedule
	EtcdLearnerJoin          bool     // a joining member is a learner first
	AddonsAfterControlPlane  bool     // CoreDNS and kube-proxy are upgraded with the last control-plane node
	InsecureManagerPorts     bool     // the managers' and schedulers' probes go to 10252 and 10251, over http
	UpgradeNodeConfigCommand bool     // `kubeadm upgrade node config --kubelet-version`
}

// StaticPodProbes are the probes in the manifests that kubeadm writes.
type StaticPodProbes struct {
	APIServer, ControllerManager, Scheduler, Etcd ProbeSet
}

// ProbeSet is the paths of a container's probes; "" is no such probe. Liveness and startup probes have period 10 s,
// time-out 15 s and 8 and 24 failures; readiness has period 1 s, time-out 15 s, 3 failures
// (cmd/kubeadm/app/util/staticpod/utils.go, v1.19 to v1.37).
type ProbeSet struct {
	Liveness, Readiness, Startup string
	InitialDelaySeconds          int32 // of liveness
}

// EtcdctlGet stands for the probe that runs `etcdctl get foo`: a linearizable read (K@1.14 and older).
const EtcdctlGet = "etcdctl get foo"

// The labels and taints of control-plane nodes.
const (
	LabelMaster       = "node-role.kubernetes.io/master"
	LabelControlPlane = "node-role.kubernetes.io/control-plane"
)

func kubeadmFacts(minor int) KubeadmFacts {
	return KubeadmFacts{
		Probes: staticPodProbes(minor),
		// K@1.19, K@1.20:cmd/kubeadm/app/phases/kubeconfig/kubeconfig.go
		LocalAPIServer: minor >= 20,
		// K:cmd/kubeadm/app/features ControlPlaneKubeletLocalMode: beta on 1.33, GA 1.35
		KubeletLocalAPIServer: minor >= 33,
		// KEP-3935; website#42218
		KubeletSkew: since(minor, 2, at(28, 3)),
		// K@1.28, K@1.29:cmd/kubeadm/app/constants/constants.go
		KubeadmKubeletSkew: since(minor, 1, at(29, 3)),
		// K@1.19, 1.20, 1.24:cmd/kubeadm/app/phases/markcontrolplane/markcontrolplane.go
		ControlPlaneLabels: slices.Clone(since(minor, []string{LabelMaster},
			at(20, []string{LabelMaster, LabelControlPlane}), at(24, []string{LabelControlPlane}))),
		// K@1.20, 1.24, 1.25:cmd/kubeadm/app/util/config/initconfiguration.go
		ControlPlaneTaints: slices.Clone(since(minor, []string{LabelMaster},
			at(24, []string{LabelMaster, LabelControlPlane}), at(25, []string{LabelControlPlane}))),
		// K:cmd/kubeadm/app/features EtcdLearnerMode: beta on 1.29, GA 1.32
		EtcdLearnerJoin: minor >= 29,
		// K@1.27, K@1.28:cmd/kubeadm/app/phases/upgrade/postupgrade.go
		AddonsAfterControlPlane: minor >= 28,
		// K@1.16, K@1.17:cmd/kubeadm/app/phases/controlplane/manifests.go
		InsecureManagerPorts: minor <= 16,
		// K@1.17, K@1.18:cmd/kubeadm/app/cmd/upgrade/node.go; deprecated from 1.15
		UpgradeNodeConfigCommand: minor <= 17,
	}
}

// staticPodProbes: K@1.11, 1.12, 1.14, 1.16-1.20, 1.24, 1.28, 1.31-1.34, 1.36, 1.37:
// cmd/kubeadm/app/phases/controlplane/manifests.go and phases/etcd/local.go.
func staticPodProbes(minor int) StaticPodProbes {
	old := ProbeSet{Liveness: "/healthz", InitialDelaySeconds: 15}
	health := ProbeSet{Liveness: "/healthz", Startup: "/healthz", InitialDelaySeconds: 10}
	server := ProbeSet{Liveness: "/livez", Readiness: "/readyz", Startup: "/livez", InitialDelaySeconds: 10}
	return StaticPodProbes{
		APIServer:         since(minor, old, at(19, server)),
		ControllerManager: since(minor, old, at(19, health)),
		Scheduler:         since(minor, old, at(19, health), at(32, server)),
		Etcd: since(minor,
			ProbeSet{Liveness: EtcdctlGet, InitialDelaySeconds: 15},
			at(15, ProbeSet{Liveness: "/health", InitialDelaySeconds: 15}),
			at(19, ProbeSet{Liveness: "/health", Startup: "/health", InitialDelaySeconds: 10}),
			at(25, ProbeSet{Liveness: "/health?exclude=NOSPACE&serializable=true", Startup: "/health?serializable=false",
				InitialDelaySeconds: 10}),
			at(31, ProbeSet{Liveness: "/livez", Readiness: "/readyz", Startup: "/readyz", InitialDelaySeconds: 10})),
	}
}

// WorkloadFacts are about the controllers of workloads and Services.
type WorkloadFacts struct {
	LogarithmicScaleDown       bool // ages of pods to be removed are compared in powers of two
	PodDeletionCost            bool
	TerminatingReplicas        bool // status.terminatingReplicas of Deployments and ReplicaSets
	JobReplacementPolicy       bool // podReplacementPolicy is defaulted and honoured
	JobFinalizers              bool // pods are counted by finalizers; else those that there are count
	JobReadyPods               bool // status.ready
	JobFailurePolicy           bool // podFailurePolicy
	JobEndsLast                bool // a Job is finished only when its last pod has ended
	JobSuspendResetsStart      bool // suspending takes startTime off
	JobTTL                     bool // ttlSecondsAfterFinished
	StatefulSetMaxUnavailable  bool
	DaemonSetMaxSurge          bool
	DaemonSetForgetsEnded      bool // a pod that has ended and is being deleted does not keep its node's place
	DaemonSetNodeQueue         bool // what a changed node means is asked of its pods, not of its state before
	StatefulSetPVCPolicy       bool // persistentVolumeClaimRetentionPolicy is defaulted
	StatefulSetStartOrdinal    bool // spec.ordinals
	StatefulSetPodIndexLabel   bool // pods are labelled with their ordinal
	StatefulSetParallelBatches bool // under Parallel pods are made in batches that double, not one after the other
	// StatefulSetReplacesSucceeded: pods that ended well are made anew, too, and the new pod of one that ended is made
	// when the old one is gone.
	StatefulSetReplacesSucceeded bool
	UnhealthyPodEvictionPolicy   bool
	EvictionIgnoresEnded         bool // a pod that has ended is evicted without asking its budget
	EvictionIgnoresUnready       bool // so is one that is pending or terminating, and an unready one that costs nothing
	NamespaceConditions          bool // a namespace that is being deleted says what is left
	OrderedNamespaceDeletion     bool // its pods go before anything else
	BudgetsAllowUnmanaged        bool // a budget in per cent over pods without a controller has a status
	EndpointSlices               bool // the controller writes them
	EndpointSliceTerminating     bool // with pods that terminate, and the conditions serving and terminating
	EndpointSliceProxying        bool // kube-proxy reads them
	ProxyTerminatingEndpoints    bool // and falls back to those that terminate
	ProxyMinSyncPeriod           time.Duration
	ProxySyncBurst               bool // the first two writes of rules are not held to that period
}

func workloadFacts(minor int) WorkloadFacts {
	return WorkloadFacts{
		// K:pkg/features/kube_features.go, each
		DaemonSetMaxSurge: minor >= 22, // DaemonSetUpdateSurge: beta 1.22, GA 1.25
		// K@1.24, K@1.28:pkg/controller/daemon/daemon_controller.go; between them not looked at
		DaemonSetForgetsEnded: minor >= 28,
		// K@1.31, K@1.34:pkg/controller/daemon/daemon_controller.go; 1.32 and 1.33 were not looked at
		DaemonSetNodeQueue:        minor >= 34,
		LogarithmicScaleDown:      minor >= 22, // beta 1.22, GA 1.31
		PodDeletionCost:           minor >= 22, // beta 1.22
		TerminatingReplicas:       minor >= 35, // DeploymentReplicaSetTerminatingReplicas: beta on 1.35
		JobReplacementPolicy:      minor >= 29, // JobPodReplacementPolicy: beta 1.29, GA 1.34
		JobFinalizers:             minor >= 25, // JobTrackingWithFinalizers: off in 1.24, beta on 1.25, GA 1.26
		JobReadyPods:              minor >= 24, // JobReadyPods: beta 1.24, GA 1.29
		JobFailurePolicy:          minor >= 26, // JobPodFailurePolicy: beta 1.26, GA 1.31
		JobEndsLast:               minor >= 31, // K@1.28, K@1.31:pkg/controller/job; between them not looked at
		JobSuspendResetsStart:     minor >= 36, // MutableSchedulingDirectivesForSuspendedJobs: beta 1.36
		JobTTL:                    minor >= 21, // TTLAfterFinished: beta 1.21, GA 1.23
		StatefulSetMaxUnavailable: minor >= 37, // MaxUnavailableStatefulSet: beta off 1.35, on 1.37
		StatefulSetPVCPolicy:      minor >= 27, // StatefulSetAutoDeletePVC: beta 1.27, GA 1.32
		StatefulSetStartOrdinal:   minor >= 27, // StatefulSetStartOrdinal: beta 1.27, GA 1.31
		StatefulSetPodIndexLabel:  minor >= 28, // PodIndexLabel: beta 1.28, GA 1.32
		// K@1.24, K@1.28:pkg/controller/statefulset/stateful_set_control.go; between them not looked at
		StatefulSetParallelBatches: minor >= 28,
		// K@1.28, K@1.31:pkg/controller/statefulset/stateful_set_control.go; between them not looked at
		StatefulSetReplacesSucceeded: minor >= 31,
		// K@1.12, K@1.16:pkg/registry/core/pod/storage/eviction.go; between them not looked at
		EvictionIgnoresEnded: minor >= 16,
		// K@1.19, K@1.20:pkg/registry/core/pod/storage/eviction.go
		EvictionIgnoresUnready: minor >= 20,
		// K@1.12, K@1.16:pkg/controller/namespace/deletion; between them not looked at
		NamespaceConditions: minor >= 16,
		// K:pkg/features/kube_features.go OrderedNamespaceDeletion: on by default in 1.33, GA 1.34
		OrderedNamespaceDeletion: minor >= 33,
		// K@1.20, K@1.24:pkg/controller/disruption/disruption.go; CHANGELOG-1.22
		BudgetsAllowUnmanaged:      minor >= 22,
		UnhealthyPodEvictionPolicy: minor >= 27, // PDBUnhealthyPodEvictionPolicy: beta 1.27, GA 1.31
		EndpointSlices:             minor >= 18, // EndpointSlice: beta off 1.17, on 1.18, GA 1.21
		EndpointSliceTerminating:   minor >= 22, // EndpointSliceTerminatingCondition: beta on 1.22, GA 1.26
		EndpointSliceProxying:      minor >= 19, // beta on 1.19, GA 1.22
		ProxyTerminatingEndpoints:  minor >= 26, // beta 1.26, GA 1.28
		// K:pkg/proxy/apis/config/v1alpha1/defaults.go; pkg/util/async up to 1.33, pkg/proxy/runner from 1.34
		ProxyMinSyncPeriod: since(minor, 0, at(19, time.Second)),
		ProxySyncBurst:     minor <= 33,
	}
}

// KubectlFacts are about kubectl, drain above all.
type KubectlFacts struct {
	DeleteEmptyDirData  bool // --delete-emptydir-data
	DeleteLocalData     bool // --delete-local-data
	DisableEviction     bool // --disable-eviction and --skip-wait-for-delete-timeout
	DrainGoesOn         bool // with the next node after one has failed
	DeletedFromText     bool // pod "x" deleted from default namespace
	RunMakesDeployments bool // `kubectl run` without --restart makes a Deployment
}

func kubectlFacts(minor int) KubectlFacts {
	return KubectlFacts{
		// kubectl v0.19.0, 0.20.0, 0.30.0, 0.31.0:pkg/cmd/drain/drain.go
		DeleteEmptyDirData: minor >= 20,
		DeleteLocalData:    minor <= 30,
		// kubectl v0.17.0, 0.18.0:pkg/cmd/drain/drain.go
		DisableEviction: minor >= 18,
		// kubectl v0.20.0, 0.21.0:pkg/cmd/drain/drain.go
		DrainGoesOn: minor >= 21,
		// kubectl v0.33.0, v0.34.0:pkg/cmd/delete/delete.go
		DeletedFromText: minor >= 34,
		// CHANGELOG-1.18: kubectl run creates pods only
		RunMakesDeployments: minor <= 17,
	}
}

// Flag is a flag that not all releases have.
type Flag struct {
	Component, Name string
	First, Last     int // minors; 0 is no bound
}

// flags lists flags that came or went between 1.11 and 1.37 and that people use; others are taken to be there always.
var flags = [...]Flag{
	{"kube-controller-manager", "pod-eviction-timeout", 0, 26},          // K@1.26, K@1.27
	{"kube-controller-manager", "enable-taint-manager", 0, 26},          // K@1.26, K@1.27
	{"kube-controller-manager", "port", 0, 23},                          // CHANGELOG-1.24
	{"kube-controller-manager", "address", 0, 23},                       // CHANGELOG-1.24
	{"kube-scheduler", "port", 0, 23},                                   // CHANGELOG-1.24
	{"kube-scheduler", "address", 0, 23},                                // CHANGELOG-1.24
	{"kube-controller-manager", "leader-elect-resource-name", 16, 0},    // K@1.15, K@1.16: and -namespace
	{"kube-scheduler", "leader-elect-resource-name", 16, 0},             // K@1.15, K@1.16: and -namespace
	{"kube-scheduler", "lock-object-name", 0, 27},                       // K@1.27, K@1.28: and -namespace
	{"kube-scheduler", "pod-max-in-unschedulable-pods-duration", 24, 0}, // K@1.24
	{"kube-apiserver", "insecure-port", 0, 23},                          // CHANGELOG-1.24
	{"kube-apiserver", "insecure-bind-address", 0, 23},                  // CHANGELOG-1.24
	{"kube-apiserver", "shutdown-delay-duration", 15, 0},                // CHANGELOG-1.15
	{"kube-apiserver", "livez-grace-period", 16, 0},                     // CHANGELOG-1.16
	{"kubelet", "network-plugin", 0, 23},                                // CHANGELOG-1.24: dockershim
	{"kubelet", "container-runtime", 0, 26},                             // CHANGELOG-1.27
	{"kubectl drain", "delete-local-data", 0, 30},                       // kubectl v0.30.0, v0.31.0
	{"kubectl drain", "delete-emptydir-data", 20, 0},                    // kubectl v0.19.0, v0.20.0
	{"kubectl drain", "disable-eviction", 18, 0},                        // kubectl v0.17.0, v0.18.0
	{"kubectl drain", "skip-wait-for-delete-timeout", 18, 0},            // kubectl v0.17.0, v0.18.0
	{"kubectl drain", "chunk-size", 23, 0},                              // kubectl v0.23.0
}

// HasFlag reports whether the release's component has a flag, as far as releases differ: true for a flag that the table
// does not know.
func (r *Release) HasFlag(component, name string) bool {
	for _, f := range flags {
		if f.Component == component && f.Name == name {
			return r.Minor >= f.First && (f.Last == 0 || r.Minor <= f.Last)
		}
	}
	return true
}
