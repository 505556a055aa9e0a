package plugins

import (
	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// Fit keeps pods off nodes without room for their requests, and prefers the node that would be least allocated.
//
// Models kube-scheduler's NodeResourcesFit plugin with its default strategy LeastAllocated over CPU and memory,
// weight 1 each (pkg/scheduler/framework/plugins/noderesources/fit.go, least_allocated.go, v1.36). Leaves out: other
// strategies, ignored resources, in-place resizing, extended resources that devices back.
type Fit struct {
	features *fwk.Features
	known    map[lack]*fwk.Status
}

// lack is a set of the resources that a node has too little of.
type lack uint8

const (
	lackPods lack = 1 << iota
	lackCPU
	lackMemory
	lackStorage
	tooSmall // even when empty
)

func newFit(f *fwk.Features) *Fit {
	return &Fit{features: f, known: map[lack]*fwk.Status{}}
}

// Name implements fwk.Plugin.
func (pl *Fit) Name() string { return nodeResourcesFit }

// Filter implements fwk.FilterPlugin.
func (pl *Fit) Filter(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	missing, scalars := lacks(pod, node)
	if missing == 0 && scalars == nil {
		return nil
	}
	if !pl.features.UnresolvableFit {
		missing &^= tooSmall
	}
	if scalars != nil {
		return pl.status(missing, scalars)
	}
	s := pl.known[missing]
	if s == nil {
		s = pl.status(missing, nil)
		pl.known[missing] = s
	}
	return s
}

func (pl *Fit) status(missing lack, scalars []string) *fwk.Status {
	var reasons []string
	for _, r := range [...]struct {
		bit    lack
		reason string
	}{{lackPods, "Too many pods"}, {lackCPU, "Insufficient cpu"}, {lackMemory, "Insufficient memory"},
		{lackStorage, "Insufficient ephemeral-storage"}} {
		if missing&r.bit != 0 {
			reasons = append(reasons, r.reason)
		}
	}
	for _, name := range scalars {
		reasons = append(reasons, "Insufficient "+name)
	}
	code := fwk.Unschedulable
	if missing&tooSmall != 0 {
		code = fwk.UnschedulableAndUnresolvable
	}
	return fwk.NewStatus(code, nodeResourcesFit, reasons...)
}

// lacks returns what the node has too little of for the pod, extended resources by name.
func lacks(pod *fwk.PodInfo, node *fwk.NodeInfo) (missing lack, scalars []string) {
	request, has, used := &pod.Requests, &node.Allocatable, &node.Requested
	if int64(len(node.Pods))+1 > has.AllowedPodNumber {
		missing |= lackPods
	}
	if request.IsZero() {
		return missing, nil
	}
	check := func(bit lack, request, has, used int64) {
		if request > 0 && request > has-used {
			missing |= bit
			if request > has {
				missing |= tooSmall
			}
		}
	}
	check(lackCPU, request.MilliCPU, has.MilliCPU, used.MilliCPU)
	check(lackMemory, request.Memory, has.Memory, used.Memory)
	check(lackStorage, request.EphemeralStorage, has.EphemeralStorage, used.EphemeralStorage)
	for _, s := range request.Scalar {
		if s.Quantity > 0 && s.Quantity > has.Of(s.Name)-used.Of(s.Name) {
			scalars = append(scalars, string(s.Name))
			check(0, s.Quantity, has.Of(s.Name), used.Of(s.Name))
		}
	}
	return missing, scalars
}

// Score is the mean share of CPU and memory that would stay free.
func (pl *Fit) Score(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	has, used, request := &node.Allocatable, &node.NonZeroRequested, &pod.NonZero
	score, weights := int64(0), int64(0)
	if has.MilliCPU > 0 {
		score, weights = score+pl.freeShare(used.MilliCPU+request.MilliCPU, has.MilliCPU), weights+1
	}
	if has.Memory > 0 {
		score, weights = score+pl.freeShare(used.Memory+request.Memory, has.Memory), weights+1
	}
	if weights == 0 {
		return 0
	}
	return score / weights
}

// ScoreAll implements fwk.ScoreAllPlugin.
func (pl *Fit) ScoreAll(state *fwk.CycleState, pod *fwk.PodInfo, nodes []*fwk.NodeInfo, scores []int64) {
	for j, node := range nodes {
		scores[j] = pl.Score(state, pod, node)
	}
}

func (pl *Fit) freeShare(requested, capacity int64) int64 {
	if requested > capacity {
		return 0
	}
	return (capacity - requested) * pl.features.MaxNodeScore / capacity
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (pl *Fit) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.Delete},
			Hint: func(_ *fwk.PodInfo, c *fwk.Change) bool { return wasPlaced(c.OldPod) }},
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add | fwk.UpdateNodeAllocatable},
			Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool { return nodeNowFits(pod, c.OldNode, c.NewNode) }},
	}
}

// nodeNowFits reports whether the pod fits on the node when empty, and one of the resources that it wants has grown.
func nodeNowFits(pod *fwk.PodInfo, old, node *corev1.Node) bool {
	info := fwk.NewNodeInfo()
	info.SetNode(node)
	if missing, scalars := lacks(pod, info); missing != 0 || scalars != nil {
		return false
	}
	if old == nil {
		return true
	}
	before := fwk.NewResource(old.Status.Allocatable)
	now, request := &info.Allocatable, &pod.Requests
	if now.AllowedPodNumber > before.AllowedPodNumber ||
		request.MilliCPU > 0 && now.MilliCPU > before.MilliCPU ||
		request.Memory > 0 && now.Memory > before.Memory ||
		request.EphemeralStorage > 0 && now.EphemeralStorage > before.EphemeralStorage {
		return true
	}
	for _, s := range request.Scalar {
		if s.Quantity > 0 && now.Of(s.Name) > before.Of(s.Name) {
			return true
		}
	}
	return false
}
