package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	fwk "ksim/sim/controlplane/scheduler/framework"
	"ksim/sim/controlplane/scheduler/queue"
)

const (
	// From so many nodes on, not all are looked at (schedule_one.go minFeasibleNodesToFind).
	minFeasibleNodesToFind = 100
	// At least so many per cent are (minFeasibleNodesPercentageToFind).
	minFeasibleNodesPercentageToFind = 5
)

// errNoNodesAvailable is what a pod meets in a cluster without nodes (scheduler.go ErrNoNodesAvailable).
var errNoNodesAvailable = errors.New("no nodes available to schedule pods")

// scheduleOne tries to give one pod a node. It returns when that is decided; the binding goes on beside it.
func (s *Scheduler) scheduleOne(p *sim.Proc, info *queue.QueuedPodInfo) {
	s.explain(p, info)
	pod := info.Pod
	if pod.DeletionTimestamp != nil {
		s.recorder.Record(record{pod: pod, kind: corev1.EventTypeWarning, reason: "FailedScheduling", action: "Scheduling",
			note: fmt.Sprintf("skip schedule deleting pod: %s/%s", pod.Namespace, pod.Name)})
		s.queue.Done(pod.UID)
		return
	}
	if s.cache.IsAssumed(pod.UID) {
		s.queue.Done(pod.UID)
		return
	}
	state := &fwk.CycleState{}
	var d fwk.Diagnosis
	node, err := s.schedulePod(state, info, &d)
	switch {
	case errors.Is(err, errNoNodesAvailable):
		s.handleSchedulingFailure(p, info, failure{reason: corev1.PodReasonUnschedulable, message: err.Error(),
			nominate: new(string)})
	case err != nil:
		s.handleSchedulingFailure(p, info, failure{reason: corev1.PodReasonSchedulerError, message: err.Error(),
			nominate: new(string)})
	case node == nil:
		s.postFilter(p, state, info, &d)
	default:
		s.assume(info, node)
		s.queue.Done(pod.UID)
		s.bind(info, node.Name())
	}
}

// explain makes what led to this attempt the current cause. A pod that was there before this scheduler led waited for
// that, not for itself.
func (s *Scheduler) explain(p *sim.Proc, info *queue.QueuedPodInfo) {
	if info.Attempts == 1 && info.Timestamp < s.leadingSince && s.leadingCause != 0 {
		since := info.Timestamp
		if info.Cause != 0 {
			since = s.kernel.Trace().Event(info.Cause).T
		}
		info.Since, info.Wait = info.Cause, p.Now().Sub(since)
		info.Cause = s.leadingCause
	}
	p.Because(info.Cause)
}

// postFilter tries to make room for a pod that fits nowhere.
func (s *Scheduler) postFilter(p *sim.Proc, state *fwk.CycleState, info *queue.QueuedPodInfo, d *fwk.Diagnosis) {
	nodes := len(s.cache.Nodes())
	result, status := s.framework.RunPostFilterPlugins(state, info.PodInfo, d.NodeToStatus)
	f := failure{reason: corev1.PodReasonUnschedulable, plugins: d.UnschedulablePlugins}
	if status != nil {
		d.PostFilterMsg = joinReasons(status.Reasons)
	}
	f.message = d.FitMessage(nodes, s.features)
	if result != nil {
		f.nominate = &result.NominatedNodeName
		if result.NominatedNodeName != "" {
			if err := s.preempt(p, info.PodInfo, result); err != nil {
				f.nominate, d.PostFilterMsg = nil, err.Error()
				f.message = d.FitMessage(nodes, s.features)
			}
		}
	}
	s.handleSchedulingFailure(p, info, f)
}

func joinReasons(reasons []string) string {
	text := ""
	for i, reason := range reasons {
		if i > 0 {
			text += ", "
		}
		text += reason
	}
	return text
}

// schedulePod returns the best node for a pod; nil and a diagnosis when there is none.
func (s *Scheduler) schedulePod(state *fwk.CycleState, info *queue.QueuedPodInfo, d *fwk.Diagnosis) (
	*fwk.NodeInfo, error) {
	if len(s.cache.Nodes()) == 0 {
		return nil, errNoNodesAvailable
	}
	feasible, err := s.findNodesThatFitPod(state, info.PodInfo, d)
	switch {
	case err != nil || len(feasible) == 0:
		return nil, err
	case len(feasible) == 1:
		return feasible[0], nil
	}
	return s.selectHost(feasible, s.framework.RunScorePlugins(state, info.PodInfo, feasible)), nil
}

// findNodesThatFitPod returns enough nodes that all filters accept, looking on where the last cycle stopped.
func (s *Scheduler) findNodesThatFitPod(state *fwk.CycleState, pod *fwk.PodInfo, d *fwk.Diagnosis) (
	[]*fwk.NodeInfo, error) {
	all := s.cache.Nodes()
	s.statuses.Reset(all)
	d.NodeToStatus = &s.statuses
	names, by, status := s.framework.RunPreFilterPlugins(state, pod)
	if status != nil {
		if !status.Rejected() {
			return nil, status.Err
		}
		s.statuses.SetAbsent(status)
		d.PreFilterMsg = joinReasons(status.Reasons)
		d.AddPluginStatus(status)
		return nil, nil
	}
	// What a pod was nominated to is most likely the only node that has room for it.
	if nominated := s.cache.Node(pod.Pod.Status.NominatedNodeName); nominated != nil && s.features.NominatedFirst {
		if s.framework.RunFilterPluginsWithNominatedPods(state, pod, nominated) == nil {
			return []*fwk.NodeInfo{nominated}, nil
		}
	}
	nodes := all
	if names != nil {
		nodes = nil
		for _, name := range names {
			if node := s.cache.Node(name); node != nil {
				nodes = append(nodes, node)
			}
		}
		d.UnschedulablePlugins = append(d.UnschedulablePlugins, by...)
		if s.features.PreFilterNamesSaid {
			s.statuses.SetAbsent(fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "",
				fmt.Sprintf("node(s) didn't satisfy plugin(s) %v", by)))
		} else {
			s.statuses.SetAbsent(unsaid)
		}
	}
	feasible := s.findNodesThatPassFilters(state, pod, d, nodes)
	s.nextStartNodeIndex = (s.nextStartNodeIndex + len(feasible) + s.statuses.Len()) % len(all)
	return feasible, nil
}

// unsaid is why the nodes were refused that were not looked at, in releases that did not say; preemption tries them.
var unsaid = fwk.NewStatus(fwk.Unschedulable, "")

// findNodesThatPassFilters filters until it has found enough. Upstream does so with 16 workers, which changes the
// order of what is found, not what.
func (s *Scheduler) findNodesThatPassFilters(state *fwk.CycleState, pod *fwk.PodInfo, d *fwk.Diagnosis,
	nodes []*fwk.NodeInfo) []*fwk.NodeInfo {
	enough := s.numFeasibleNodesToFind(len(nodes))
	s.feasible = s.feasible[:0]
	for i := range nodes {
		node := nodes[(s.nextStartNodeIndex+i)%len(nodes)]
		if status := s.framework.RunFilterPluginsWithNominatedPods(state, pod, node); status != nil {
			s.statuses.Set(node.Order, status)
			d.AddPluginStatus(status)
			continue
		}
		s.feasible = append(s.feasible, node)
		if len(s.feasible) == enough {
			break
		}
	}
	return s.feasible
}

// numFeasibleNodesToFind returns how many nodes are enough: all of fewer than 100, else 50 per cent less 1 for each 125
// nodes (up to v1.13 not less), at least 5 per cent and 100.
func (s *Scheduler) numFeasibleNodesToFind(nodes int) int {
	if nodes < minFeasibleNodesToFind {
		return nodes
	}
	percentage := s.options.PercentageOfNodesToScore
	if percentage == 0 {
		percentage = s.features.NodesPercentage
	}
	if percentage == 0 {
		percentage = max(50-nodes/125, minFeasibleNodesPercentageToFind)
	}
	return max(nodes*percentage/100, minFeasibleNodesToFind)
}

// selectHost returns a node with the highest score, each such with the same probability.
func (s *Scheduler) selectHost(nodes []*fwk.NodeInfo, scores []int64) *fwk.NodeInfo {
	if s.features.RoundRobin {
		return s.selectNextHost(nodes, scores)
	}
	best, ties := 0, 1
	for i := 1; i < len(nodes); i++ {
		switch {
		case scores[i] > scores[best]:
			best, ties = i, 1
		case scores[i] == scores[best]:
			if ties++; s.random.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return nodes[best]
}

// selectNextHost is selectHost of releases that let nodes take turns.
func (s *Scheduler) selectNextHost(nodes []*fwk.NodeInfo, scores []int64) *fwk.NodeInfo {
	best := slices.Max(scores)
	var ties []*fwk.NodeInfo
	for i, score := range scores {
		if score == best {
			ties = append(ties, nodes[i])
		}
	}
	if s.features.Minor < 12 { // sorted, the last name first
		slices.SortFunc(ties, func(a, b *fwk.NodeInfo) int { return strings.Compare(b.Name(), a.Name()) })
	}
	s.lastNodeIndex++
	return ties[(s.lastNodeIndex-1)%len(ties)]
}

// assume counts the pod on its node from now on, so that the next pod is scheduled without waiting for the binding.
func (s *Scheduler) assume(info *queue.QueuedPodInfo, node *fwk.NodeInfo) {
	s.cache.AssumePod(info.PodInfo, node.Name())
	s.queue.DeleteNominatedPodIfExists(info.Pod.UID)
}
