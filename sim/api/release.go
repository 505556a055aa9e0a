package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The minor releases that ksim knows, and the one that a scenario has unless it says otherwise.
const (
	OldestMinor  = 11
	NewestMinor  = 37
	DefaultMinor = 36
)

// Release is a release of Kubernetes and what it does differently from others. Numbers that a flag can set are the
// defaults of that flag. Facts are those of the .0 patch release of a minor; a boundary "from 1.N" means absent or
// different in 1.(N-1).0. "K@1.N" is a file of k8s.io/kubernetes v1.N.0.
type Release struct {
	Minor, Patch int

	Bundled
	NodeLifecycleFacts
	KubeletFacts
	SchedulerFacts
	ServerFacts
	ElectionFacts
	KubeadmFacts
	WorkloadFacts
	KubectlFacts
}

// ParseRelease reads a version as users write it: v1.36, 1.36, v1.36.2. An error lists what is allowed.
func ParseRelease(text string) (*Release, error) {
	parts := strings.Split(strings.TrimPrefix(text, "v"), ".")
	if len(parts) == 2 || len(parts) == 3 {
		minor, err := strconv.Atoi(parts[1])
		patch := 0
		if err == nil && len(parts) == 3 {
			patch, err = strconv.Atoi(parts[2])
		}
		if err == nil && parts[0] == "1" && OldestMinor <= minor && minor <= NewestMinor && patch >= 0 {
			r := ReleaseOf(minor)
			r.Patch = patch
			return r, nil
		}
	}
	return nil, fmt.Errorf("unknown Kubernetes release %q (known: v1.%d to v1.%d, with or without a patch, "+
		"as v1.%d or v1.%d.0)", text, OldestMinor, NewestMinor, DefaultMinor, DefaultMinor)
}

// ReleaseOf returns the .0 release of a minor that is known.
func ReleaseOf(minor int) *Release {
	return &Release{
		Minor:              minor,
		Bundled:            bundled[minor-OldestMinor],
		NodeLifecycleFacts: nodeLifecycleFacts(minor),
		KubeletFacts:       kubeletFacts(minor),
		SchedulerFacts:     schedulerFacts(minor),
		ServerFacts:        serverFacts(minor),
		ElectionFacts:      electionFacts(minor),
		KubeadmFacts:       kubeadmFacts(minor),
		WorkloadFacts:      workloadFacts(minor),
		KubectlFacts:       kubectlFacts(minor),
	}
}

// Version is the full version: v1.36.0.
func (r *Release) Version() string { return fmt.Sprintf("v1.%d.%d", r.Minor, r.Patch) }

// MinorVersion is the version without the patch: v1.36.
func (r *Release) MinorVersion() string { return fmt.Sprintf("v1.%d", r.Minor) }

// EtcdVersion is the version of the bundled etcd without its image's revision: 3.5.6 of 3.5.6-0.
func (r *Release) EtcdVersion() string {
	version, _, _ := strings.Cut(r.Etcd, "-")
	return version
}

// Bundled are the tags of the images that kubeadm installs.
type Bundled struct{ Etcd, CoreDNS, Pause string }

// bundled has a row for each minor from 1.11: K@each:cmd/kubeadm/app/constants/constants.go.
var bundled = [...]Bundled{
	{"3.2.18", "1.1.3", "3.1"}, // 1.11
	{"3.2.24", "1.2.2", "3.1"},
	{"3.2.24", "1.2.6", "3.1"},
	{"3.3.10", "1.3.1", "3.1"},
	{"3.3.10", "1.3.1", "3.1"}, // 1.15
	{"3.3.15-0", "1.6.2", "3.1"},
	{"3.4.3-0", "1.6.5", "3.1"},
	{"3.4.3-0", "1.6.7", "3.2"},
	{"3.4.9-1", "1.7.0", "3.2"},
	{"3.4.13-0", "1.7.0", "3.2"}, // 1.20
	{"3.4.13-0", "v1.8.0", "3.4.1"},
	{"3.5.0-0", "v1.8.4", "3.5"},
	{"3.5.1-0", "v1.8.6", "3.6"},
	{"3.5.3-0", "v1.8.6", "3.7"},
	{"3.5.4-0", "v1.9.3", "3.8"}, // 1.25
	{"3.5.6-0", "v1.9.3", "3.9"},
	{"3.5.7-0", "v1.10.1", "3.9"},
	{"3.5.9-0", "v1.10.1", "3.9"},
	{"3.5.10-0", "v1.11.1", "3.9"},
	{"3.5.12-0", "v1.11.1", "3.9"}, // 1.30
	{"3.5.15-0", "v1.11.1", "3.10"},
	{"3.5.16-0", "v1.11.3", "3.10"},
	{"3.5.21-0", "v1.12.0", "3.10"},
	{"3.6.4-0", "v1.12.1", "3.10.1"},
	{"3.6.6-0", "v1.13.1", "3.10.1"}, // 1.35
	{"3.6.8-0", "v1.14.2", "3.10.2"},
	{"3.7.0-0", "v1.14.6", "3.10.2"},
}

// NodeLifecycleFacts are about who notices a lost node, and what happens to its pods.
type NodeLifecycleFacts struct {
	NodeMonitorGracePeriod   time.Duration
	TaintOneTickLate         bool // the NoExecute taint follows the status that the tick before wrote
	TaintNodesByCondition    bool // NoSchedule taints follow conditions
	TaintBasedEvictions      bool // else: pods are deleted by --pod-eviction-timeout, without taints
	PodEvictionTimeoutFlag   bool // --pod-eviction-timeout and --enable-taint-manager exist
	SeparateTaintEviction    bool // taint-eviction-controller on its own
	DisruptionTargetPodState bool // the condition DisruptionTarget on what is evicted
	OutOfServiceTaint        bool // PodGC honours node.kubernetes.io/out-of-service
	PodGCQuarantine          bool // PodGC waits for a missing node; else it asks the API for all nodes each time
	PodGCMarksFailed         bool // before PodGC deletes a pod it sets its phase to Failed
	LateNodePods             bool // pods that come to a lost node late are seen to; marking them is tried again
	NodeNotReadyPodEvents    bool // the event NodeNotReady also about the pods of a lost node
	DisruptionExclusionLabel bool // node.kubernetes.io/exclude-disruption counts
	MasterNamesExcluded      bool // nodes that are named master are not counted in their zone
	DeletesTaintedPodsOnce   bool // taint eviction forgets a pod that it deleted only when that is gone
	TaintRestored            bool // a NoExecute taint that somebody took off a lost node is put on again
}

func nodeLifecycleFacts(minor int) NodeLifecycleFacts {
	return NodeLifecycleFacts{
		// K@1.31, K@1.32:pkg/controller/nodelifecycle/config/v1alpha1/defaults.go
		NodeMonitorGracePeriod: since(minor, 40*time.Second, at(32, 50*time.Second)),
		// K@1.33, K@1.34:pkg/controller/nodelifecycle/node_lifecycle_controller.go
		TaintOneTickLate: minor <= 33,
		// K@1.11, K@1.12:pkg/features/kube_features.go: beta 1.12, GA 1.17
		TaintNodesByCondition: minor >= 12,
		// K@1.12, K@1.14:pkg/features/kube_features.go: beta 1.13, GA 1.18
		TaintBasedEvictions: minor >= 13,
		// K@1.26, K@1.27:cmd/kube-controller-manager/app/options/nodelifecyclecontroller.go
		PodEvictionTimeoutFlag: minor <= 26,
		// K:pkg/features/kube_features.go SeparateTaintEvictionController: beta 1.29, GA 1.34
		SeparateTaintEviction: minor >= 29,
		// K:pkg/features/kube_features.go PodDisruptionConditions: beta 1.26, GA 1.31
		DisruptionTargetPodState: minor >= 26,
		// K:pkg/features/kube_features.go NodeOutOfServiceVolumeDetach: beta 1.26, GA 1.28
		OutOfServiceTaint: minor >= 26,
		// K@1.16, K@1.17:pkg/controller/podgc/gc_controller.go
		PodGCQuarantine: minor >= 17,
		// K@1.24, K@1.28:pkg/controller/podgc/gc_controller.go; the gate of DisruptionTargetPodState
		PodGCMarksFailed: minor >= 26,
		// K@1.16, K@1.17:pkg/controller/nodelifecycle/node_lifecycle_controller.go podUpdateQueue, nodesToRetry
		LateNodePods: minor >= 17,
		// K@1.18, K@1.19:pkg/controller/util/node/controller_utils.go
		NodeNotReadyPodEvents: minor >= 19,
		// K@1.18, K@1.19:pkg/features/kube_features.go NodeDisruptionExclusion: beta on 1.19, GA 1.21
		DisruptionExclusionLabel: minor >= 19,
		// K@1.12, K@1.20:pkg/controller/nodelifecycle; LegacyNodeRoleBehavior: beta 1.19, off 1.21
		MasterNamesExcluded: minor <= 20,
		// K@1.31, K@1.34:pkg/controller/tainteviction/timed_workers.go; 1.32 and 1.33 were not looked at
		DeletesTaintedPodsOnce: minor <= 33,
		// K@1.18, K@1.19:pkg/controller/nodelifecycle/node_lifecycle_controller.go markNodeForTainting
		TaintRestored: minor >= 19,
	}
}

// KubeletFacts are about kubelets and their heartbeats.
type KubeletFacts struct {
	NodeLeases                bool          // heartbeats by Lease; else by node status alone
	NodeStatusReportFrequency time.Duration // how often an unchanged status is posted
	HTTP2HealthCheck          bool          // clients notice a dead connection after 30 s + 15 s
	StartupProbes             bool
	SidecarContainers         bool // init containers with restartPolicy Always
	PodReadyToStartContainers bool // the condition of that name
	GracefulNodeShutdown      bool // when configured
	RestartAtExpiry           bool // a worker wakes when the back-off ends, not at its next resync
}

func kubeletFacts(minor int) KubeletFacts {
	return KubeletFacts{
		// K@1.12, K@1.14:pkg/features/kube_features.go NodeLease: beta 1.14, GA 1.17
		NodeLeases: minor >= 14,
		// K@1.14, 1.16, 1.17:pkg/kubelet/apis/config/v1beta1/defaults.go; without Leases every status is posted:
		// nodeStatusUpdateFrequency 10s
		NodeStatusReportFrequency: since(minor, 10*time.Second, at(14, time.Minute), at(17, 5*time.Minute)),
		// apimachinery v0.19.0, v0.20.0:pkg/util/net/http.go
		HTTP2HealthCheck: minor >= 20,
		// K@1.17, K@1.18:pkg/features/kube_features.go StartupProbe: beta 1.18, GA 1.20
		StartupProbes: minor >= 18,
		// K:pkg/features/kube_features.go SidecarContainers: beta 1.29, GA 1.33
		SidecarContainers: minor >= 29,
		// K:pkg/features/kube_features.go PodReadyToStartContainersCondition: beta 1.29
		PodReadyToStartContainers: minor >= 29,
		// K:pkg/features/kube_features.go GracefulNodeShutdown: beta 1.21
		GracefulNodeShutdown: minor >= 21,
		// K@1.34, K@1.35:pkg/kubelet/pod_workers.go
		RestartAtExpiry: minor >= 35,
	}
}

// SchedulerFacts are about kube-scheduler.
type SchedulerFacts struct {
	UnschedulableFlush     time.Duration // how long a pod may lie in the unschedulable pool without an event; 0: for ever
	QueueingHints          bool
	PopFromBackoffQ        bool // an idle scheduler takes pods out of their back-off
	AsyncPreemption        bool
	DefaultSpreading       bool // system default constraints: hostname 3, zone 5
	Scores                 ScoreWeights
	SchedulesDaemonSetPods bool // else the DaemonSet controller sets nodeName itself
}

// ScoreWeights are the weights of the default score plugins; 0: there is none of that name.
type ScoreWeights struct {
	TaintToleration, NodeAffinity, PodTopologySpread, InterPodAffinity int64
	NodeResourcesFit, NodeResourcesBalancedAllocation, ImageLocality   int64
	SelectorSpread, NodePreferAvoidPods                                int64
}

// scoreWeights: K@1.11 to K@1.17:pkg/scheduler/algorithmprovider/defaults, K@1.18 to K@1.21:algorithmprovider/
// registry.go, then apis/config/v1*/default_plugins.go.
func scoreWeights(minor int) ScoreWeights {
	return ScoreWeights{
		TaintToleration:                 since[int64](minor, 1, at[int64](23, 3)),
		NodeAffinity:                    since[int64](minor, 1, at[int64](23, 2)),
		PodTopologySpread:               since[int64](minor, 0, at[int64](18, 1), at[int64](19, 2)),
		InterPodAffinity:                since[int64](minor, 1, at[int64](23, 2)),
		NodeResourcesFit:                1,
		NodeResourcesBalancedAllocation: 1,
		ImageLocality:                   1,
		SelectorSpread:                  since[int64](minor, 1, at[int64](20, 0)),
		NodePreferAvoidPods:             since[int64](minor, 10000, at[int64](23, 0)),
	}
}

func schedulerFacts(minor int) SchedulerFacts {
	return SchedulerFacts{
		// K@1.13, K@1.14, K@1.23, K@1.24:pkg/scheduler/internal/queue/scheduling_queue.go
		UnschedulableFlush: since(minor, 0, at(14, time.Minute), at(24, 5*time.Minute)),
		// K:pkg/features/kube_features.go SchedulerQueueingHints: beta on 1.32, GA 1.34
		QueueingHints: minor >= 32,
		// K:pkg/features/kube_features.go SchedulerPopFromBackoffQ, SchedulerAsyncPreemption: beta on 1.33
		PopFromBackoffQ: minor >= 33,
		AsyncPreemption: minor >= 33,
		// K:pkg/features/kube_features.go DefaultPodTopologySpread: beta on 1.20, GA 1.24
		DefaultSpreading: minor >= 20,
		Scores:           scoreWeights(minor),
		// K@1.11, K@1.12:pkg/features/kube_features.go ScheduleDaemonSetPods: beta 1.12, GA 1.17
		SchedulesDaemonSetPods: minor >= 12,
	}
}

// change is a value from a minor on.
type change[T any] struct {
	minor int
	value T
}

func at[T any](minor int, value T) change[T] { return change[T]{minor, value} }

// since returns the value of a fact in a release: the last change that it has seen, first if none.
func since[T any](minor int, first T, changes ...change[T]) T {
	for _, c := range changes {
		if minor >= c.minor {
			first = c.value
		}
	}
	return first
}
