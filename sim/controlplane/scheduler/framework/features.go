package framework

import (
	"time"

	"ksim/sim/api"
)

// Features are the facts of one release that scheduling depends on. "K@1.N" is a file of k8s.io/kubernetes v1.N.0, here
// below pkg/scheduler.
type Features struct {
	Minor int // of v1.Minor

	QueueFeatures
	FilterFeatures
	ScoreFeatures
	PreemptionFeatures
}

// QueueFeatures are about when a pod that was refused is tried again.
type QueueFeatures struct {
	// Backoff makes a pod that was refused wait, and flushes the pool now and then (K@1.13, K@1.14:internal/queue).
	// Before, a pod is tried again whenever a node posts its status.
	Backoff bool
	// BackoffForgets starts the back-off of a pod over that has not been tried for the longest back-off
	// (K@1.17:internal/queue/pod_backoff.go CleanupPodsCompletesBackingoff).
	BackoffForgets bool
	// BackoffByAttempts lets errors and refusals count alike (K@1.33, K@1.34:backend/queue/backoff_queue.go).
	BackoffByAttempts bool
	// UpdateEndsBackoff tries a pod at once that is updated during its back-off (K@1.20, K@1.21:internal/queue Update).
	UpdateEndsBackoff bool
	// QueueingHints asks each plugin that refused a pod whether an event helps it (SchedulerQueueingHints, on from 1.32;
	// also in the first patch releases of 1.28).
	QueueingHints bool
	// EventsPerPlugin wakes a pod only for events that a plugin which refused it has registered (1.22); before, any
	// event wakes every pod.
	EventsPerPlugin bool
	// NodeDeletionWakes makes the loss of a node an event (K@1.31, K@1.32:eventhandlers.go).
	NodeDeletionWakes bool
	// PlacedPodsWakeSpread wakes pods that spread constraints refused when another pod of their namespace is placed
	// (K@1.30, K@1.31:internal/queue getUnschedulablePodsWithCrossTopologyTerm).
	PlacedPodsWakeSpread bool
	// NominationsWake wakes others when a pod that waits for a place goes or loses it (K@1.32,
	// K@1.33:eventhandlers.go getLEPriorityPreCheck).
	NominationsWake bool
	// AssumedDeletionFrees gives the place of a pod free that is deleted while its binding is under way (K@1.34,
	// K@1.35:eventhandlers.go handleAssumedPodDeletion); before, when the binding fails.
	AssumedDeletionFrees bool
	// ErrorsRetried tries a pod again by itself that met an error; before, it waits for an event (K@1.27,
	// K@1.28:internal/queue AddUnschedulableIfNotPresent).
	ErrorsRetried bool
	// AsksServerFirst puts a pod back only when the API server has been asked for it (K@1.18, K@1.19:factory.go).
	AsksServerFirst bool
	// PopFromBackoffQ lets an idle scheduler take pods out of their back-off (SchedulerPopFromBackoffQ, beta on 1.33).
	PopFromBackoffQ bool
	// PodMaxInUnschedulablePods is how long a pod waits for an event before it is tried anyway: 5 min from 1.24,
	// 60 s before, never up to 1.13.
	PodMaxInUnschedulablePods time.Duration
}

// FilterFeatures are about which nodes are refused, and in which words.
type FilterFeatures struct {
	// NodeConditions keeps pods off nodes by their conditions; later by the taints that follow from these
	// (TaintNodesByCondition, beta on 1.12).
	NodeConditions bool
	// GeneralPredicates lists all of a node's reasons among resources, name, ports and labels, not only the first
	// (K@1.16:algorithm/predicates/predicates.go; plugins from 1.17).
	GeneralPredicates bool
	// ResourcesFirst filters by resources before names, labels and taints (K@1.19, K@1.20:algorithmprovider).
	ResourcesFirst bool
	// SpreadLast filters by spread constraints after affinity (K@1.18:algorithmprovider applyFeatureGates).
	SpreadLast bool
	// PreFilterNames looks at no other nodes when a pod names its nodes by affinity (K@1.23,
	// K@1.24:framework/plugins/nodeaffinity), and PreFilterNamesSaid says so of the others (K@1.31,
	// K@1.32:schedule_one.go).
	PreFilterNames, PreFilterNamesSaid bool
	// PodLevelResources honours spec.resources of a pod (beta on 1.34).
	PodLevelResources bool
	// NodeInclusionPolicy honours nodeAffinityPolicy and nodeTaintsPolicy of spread constraints (beta on 1.26).
	NodeInclusionPolicy bool
	// SpreadPerConstraint counts for each spread constraint by itself (K@1.32,
	// K@1.33:framework/plugins/podtopologyspread); before, those of one topology key are counted together, the filter's
	// on a node by the last of them only from 1.24 on (SpreadLastOfKey), and up to 1.23 on all nodes of a domain where
	// some node counts (SpreadWholeDomains; K@1.18, K@1.19, K@1.23, K@1.24: same package, filtering.go).
	SpreadPerConstraint, SpreadLastOfKey, SpreadWholeDomains bool
	// DynamicResources has a PostFilter of its own, which shows in messages (DynamicResourceAllocation, on from 1.34).
	DynamicResources bool
	// UnresolvableFit keeps preemption away from nodes that are too small when empty (K@1.33,
	// K@1.34:framework/plugins/noderesources/fit.go).
	UnresolvableFit bool
	// NodesPercentage is how many nodes of a large cluster are looked at; 0: fewer, the more there are (K@1.11, K@1.12,
	// K@1.13, K@1.14:core/generic_scheduler.go).
	NodesPercentage int
}

// ScoreFeatures are about which of the nodes left is taken.
type ScoreFeatures struct {
	// MaxNodeScore is what the best node gets from a plugin: 10 up to 1.16, 100 since (K@1.16:api/types.go MaxPriority,
	// K@1.17:framework/v1alpha1/interface.go).
	MaxNodeScore int64
	// RoundRobin takes nodes of equal scores in turn, not by lot (K@1.15, K@1.16:core/generic_scheduler.go selectHost).
	RoundRobin bool
	// Weights are those of the score plugins.
	Weights api.ScoreWeights
	// SystemDefaultSpreading spreads pods that say nothing by hostname and zone (DefaultPodTopologySpread, beta on
	// 1.20); before, SelectorSpread does.
	SystemDefaultSpreading bool
	// SelectorSpreadAny counts pods that any Service or controller of a pod selects, not those that all of them do
	// (K@1.13, K@1.14:algorithm/priorities/selector_spreading.go).
	SelectorSpreadAny bool
	// DefaultsNeedAllTopologies lets the system's constraints ignore nodes without a zone (K@1.22,
	// K@1.23:framework/plugins/podtopologyspread/scoring.go requireAllTopologies).
	DefaultsNeedAllTopologies bool
	// SpreadRounds rounds the score of spreading; before, it was cut (K@1.23, K@1.24: same file).
	SpreadRounds bool
	// SpreadByShare scores a node by its share of all pods that match (K@1.18: same file).
	SpreadByShare bool
	// AffinityFromZero scales the scores of pod affinity from 0, not from the lowest (K@1.20,
	// K@1.21:framework/plugins/interpodaffinity/scoring.go).
	AffinityFromZero bool
	// ImagesOfAnySpread counts images by their size, however few nodes have them (K@1.11,
	// K@1.12:algorithm/priorities/image_locality.go).
	ImagesOfAnySpread bool
	// ImagesPerContainer lets more count, the more containers a pod has (K@1.18,
	// K@1.19:framework/plugins/imagelocality), and InitImages counts init containers (K@1.29, K@1.30: same package).
	ImagesPerContainer, InitImages bool
	// BalancedDistance scores balance by the distance of two shares, none for full nodes (K@1.21:
	// framework/plugins/noderesources/balanced_allocation.go), later by their standard deviation.
	BalancedDistance bool
	// BalancedDefaults counts defaults for requests that are not made in it (K@1.22, K@1.23: same file).
	BalancedDefaults bool
	// BalancedChange scores how a pod changes a node's balance, not the balance itself (K@1.35, K@1.36: same file).
	BalancedChange bool
	// BalancedSkipsBestEffort does not score pods without requests (K@1.32, K@1.33: same file).
	BalancedSkipsBestEffort bool
}

// PreemptionFeatures are about whom a pod may push aside.
type PreemptionFeatures struct {
	// AsyncPreemption deletes victims beside the scheduling cycle (SchedulerAsyncPreemption, beta on 1.33).
	AsyncPreemption bool
	// PreemptionSaid adds to the message of a refusal why preemption did not help (K@1.23, K@1.24:framework/types.go).
	PreemptionSaid bool
	// CandidatesLimited tries 10 per cent of the nodes, at least 100; all before (K@1.19,
	// K@1.20:framework/plugins/defaultpreemption).
	CandidatesLimited bool
	// VictimsByAge spares, and chooses, among victims of one priority by their age (K@1.14,
	// K@1.15:core/generic_scheduler.go).
	VictimsByAge bool
	// VictimsSorted puts the most important victim first, whether its budget is broken or not (K@1.31,
	// K@1.32:framework/plugins/defaultpreemption SelectVictimsOnNode); before, those of broken budgets.
	VictimsSorted bool
	// LostNominationsEnd lets a pod preempt elsewhere when no deletion can help on the node that it waits for (K@1.18,
	// K@1.19:core/generic_scheduler.go podEligibleToPreemptOthers).
	LostNominationsEnd bool
	// OwnVictimsOnly waits only for pods that go because of preemption (K@1.26, K@1.27:framework/plugins/
	// defaultpreemption podTerminatingByPreemption).
	OwnVictimsOnly bool
	// NominatedFirst looks at the node that a pod waits for before all others (PreferNominatedNode, beta on 1.22).
	NominatedFirst bool
	// DisruptionTarget is a condition of victims (PodDisruptionConditions, beta on 1.26).
	DisruptionTarget bool
}

// FeaturesOf returns the facts of a release.
func FeaturesOf(release *api.Release) *Features {
	minor := release.Minor
	return &Features{Minor: minor, QueueFeatures: queueFeatures(release), FilterFeatures: filterFeatures(minor),
		ScoreFeatures: scoreFeatures(release), PreemptionFeatures: preemptionFeatures(release)}
}

func queueFeatures(release *api.Release) QueueFeatures {
	minor := release.Minor
	return QueueFeatures{
		Backoff:                   minor >= 14,
		BackoffForgets:            minor <= 17,
		BackoffByAttempts:         minor <= 33,
		UpdateEndsBackoff:         minor <= 20,
		QueueingHints:             release.QueueingHints,
		EventsPerPlugin:           minor >= 22,
		NodeDeletionWakes:         minor >= 32,
		PlacedPodsWakeSpread:      minor >= 31,
		NominationsWake:           minor >= 33,
		AssumedDeletionFrees:      minor >= 35,
		ErrorsRetried:             minor >= 28,
		AsksServerFirst:           minor <= 18,
		PopFromBackoffQ:           release.PopFromBackoffQ,
		PodMaxInUnschedulablePods: release.UnschedulableFlush,
	}
}

func filterFeatures(minor int) FilterFeatures {
	f := FilterFeatures{
		NodeConditions:      minor <= 11,
		GeneralPredicates:   minor <= 16,
		ResourcesFirst:      minor <= 19,
		SpreadLast:          minor <= 18,
		PreFilterNames:      minor >= 24,
		PreFilterNamesSaid:  minor >= 32,
		PodLevelResources:   minor >= 34,
		NodeInclusionPolicy: minor >= 26,
		SpreadPerConstraint: minor >= 33,
		SpreadLastOfKey:     minor >= 24 && minor <= 32,
		SpreadWholeDomains:  minor >= 19 && minor <= 23,
		DynamicResources:    minor >= 34,
		UnresolvableFit:     minor >= 34,
	}
	switch {
	case minor <= 11:
		f.NodesPercentage = 100
	case minor <= 13:
		f.NodesPercentage = 50
	}
	return f
}

func scoreFeatures(release *api.Release) ScoreFeatures {
	minor := release.Minor
	f := ScoreFeatures{
		MaxNodeScore:              100,
		RoundRobin:                minor <= 15,
		Weights:                   release.Scores,
		SystemDefaultSpreading:    release.DefaultSpreading,
		SelectorSpreadAny:         minor <= 13,
		DefaultsNeedAllTopologies: minor <= 22,
		SpreadRounds:              minor >= 24,
		SpreadByShare:             minor <= 18,
		AffinityFromZero:          minor <= 20,
		ImagesOfAnySpread:         minor <= 11,
		ImagesPerContainer:        minor >= 19,
		InitImages:                minor >= 30,
		BalancedDistance:          minor <= 21,
		BalancedDefaults:          minor <= 22,
		BalancedChange:            minor >= 36,
		BalancedSkipsBestEffort:   minor >= 33,
	}
	if minor <= 16 {
		f.MaxNodeScore = 10
	}
	return f
}

func preemptionFeatures(release *api.Release) PreemptionFeatures {
	minor := release.Minor
	return PreemptionFeatures{
		AsyncPreemption:    release.AsyncPreemption,
		PreemptionSaid:     minor >= 24,
		CandidatesLimited:  minor >= 20,
		VictimsByAge:       minor >= 15,
		VictimsSorted:      minor >= 32,
		LostNominationsEnd: minor >= 19,
		OwnVictimsOnly:     minor >= 27,
		NominatedFirst:     minor >= 22,
		DisruptionTarget:   minor >= 26,
	}
}
