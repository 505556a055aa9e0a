package framework

import (
	"time"

	"ksim/sim/api"
)

// Features are the facts of one release that scheduling depends on.
type Features struct {
	Minor int // of v1.Minor

	// QueueingHints asks each plugin that refused a pod whether an event helps it (SchedulerQueueingHints, beta on
	// 1.32).
	QueueingHints bool
	// EventsPerPlugin wakes a pod only for events that a plugin which refused it has registered (1.22); before, any
	// event wakes every pod.
	EventsPerPlugin bool
	// PopFromBackoffQ lets an idle scheduler take pods out of their back-off (SchedulerPopFromBackoffQ, beta on 1.33).
	PopFromBackoffQ bool
	// AsyncPreemption deletes victims beside the scheduling cycle (SchedulerAsyncPreemption, beta on 1.33).
	AsyncPreemption bool
	// PodLevelResources honours spec.resources of a pod (beta on 1.34).
	PodLevelResources bool
	// NodeInclusionPolicy honours nodeAffinityPolicy and nodeTaintsPolicy of spread constraints (beta on 1.26).
	NodeInclusionPolicy bool
	// SystemDefaultSpreading spreads pods that say nothing by hostname and zone (DefaultPodTopologySpread, beta on
	// 1.20).
	SystemDefaultSpreading bool
	// DynamicResources has a PostFilter of its own, which shows in messages (DynamicResourceAllocation, on from 1.34).
	DynamicResources bool
	// BalancedChange scores how a pod changes a node's balance, not the balance itself (1.36; still the old in 1.35.0).
	BalancedChange bool
	// BalancedSkipsBestEffort does not score pods without requests (in 1.34.1, not in 1.31.0).
	BalancedSkipsBestEffort bool
	// UnresolvableFit keeps preemption away from nodes that are too small when empty (in 1.34.1, not in 1.31.0).
	UnresolvableFit bool
	// PodMaxInUnschedulablePods is how long a pod waits for an event before it is tried anyway: 5 min from 1.24,
	// 60 s before.
	PodMaxInUnschedulablePods time.Duration
	// ReleaseOnCancel releases the lease on SIGTERM (1.22).
	ReleaseOnCancel bool
	// Weights are those of the score plugins.
	Weights api.ScoreWeights
}

// FeaturesOf returns the facts of a release.
func FeaturesOf(release *api.Release) *Features {
	minor := release.Minor
	return &Features{
		Minor:                     minor,
		QueueingHints:             release.QueueingHints,
		EventsPerPlugin:           minor >= 22,
		PopFromBackoffQ:           release.PopFromBackoffQ,
		AsyncPreemption:           release.AsyncPreemption,
		PodLevelResources:         minor >= 34,
		NodeInclusionPolicy:       minor >= 26,
		SystemDefaultSpreading:    release.DefaultSpreading,
		DynamicResources:          minor >= 34,
		BalancedChange:            minor >= 36,
		BalancedSkipsBestEffort:   minor >= 34,
		UnresolvableFit:           minor >= 34,
		PodMaxInUnschedulablePods: release.UnschedulableFlush,
		ReleaseOnCancel:           release.SchedulerReleasesLock,
		Weights:                   release.Scores,
	}
}
