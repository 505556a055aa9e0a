package framework

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Models the running of plugins (pkg/scheduler/framework/runtime/framework.go, v1.36). Leaves out: profiles, extenders,
// permit, pre-bind, opportunistic batching (system default spreading keeps it off), metrics.

// WeightedPlugin is a plugin with the weight of its scores; 0: it does not score.
type WeightedPlugin struct {
	Plugin
	Weight int64
	// NoFilter leaves its filter out: another plugin calls it.
	NoFilter bool
}

// Framework runs plugins, in the order that they were given in.
type Framework struct {
	Handle
	Listers *Listers

	preEnqueue  []PreEnqueuePlugin
	preFilter   []PreFilterPlugin
	extensions  []extension
	filter      []filter
	filterBits  uint32 // of all of them
	postFilter  []PostFilterPlugin
	preScore    []PreScorePlugin
	score       []score
	enqueue     []EnqueueExtensions
	scores      []int64 // of one plugin, reused
	totalScores []int64
}

type filter struct {
	FilterPlugin
	bit uint32
}

type extension struct {
	PreFilterExtensions
	bit uint32
}

type score struct {
	ScorePlugin
	weight int64
	bit    uint32
}

// New makes a framework without plugins; Use adds them.
func New(handle Handle, listers *Listers) *Framework {
	return &Framework{Handle: handle, Listers: listers}
}

// Use adds plugins to all extension points that they implement.
func (f *Framework) Use(plugins ...WeightedPlugin) {
	for _, p := range plugins {
		if pl, ok := p.Plugin.(PreEnqueuePlugin); ok {
			f.preEnqueue = append(f.preEnqueue, pl)
		}
		if pl, ok := p.Plugin.(PreFilterPlugin); ok {
			f.preFilter = append(f.preFilter, pl)
		}
		if pl, ok := p.Plugin.(FilterPlugin); ok && !p.NoFilter {
			f.filterBits |= 1 << len(f.filter)
			f.filter = append(f.filter, filter{pl, 1 << len(f.filter)})
			if ext, ok := p.Plugin.(PreFilterExtensions); ok {
				f.extensions = append(f.extensions, extension{ext, f.filter[len(f.filter)-1].bit})
			}
		}
		if pl, ok := p.Plugin.(PostFilterPlugin); ok {
			f.postFilter = append(f.postFilter, pl)
		}
		if pl, ok := p.Plugin.(PreScorePlugin); ok && p.Weight > 0 {
			f.preScore = append(f.preScore, pl)
		}
		if pl, ok := p.Plugin.(ScorePlugin); ok && p.Weight > 0 {
			f.score = append(f.score, score{pl, p.Weight, 1 << len(f.score)})
		}
		if pl, ok := p.Plugin.(EnqueueExtensions); ok {
			f.enqueue = append(f.enqueue, pl)
		}
	}
}

// PreEnqueuePlugins returns the plugins that can keep a pod out of the active queue.
func (f *Framework) PreEnqueuePlugins() []PreEnqueuePlugin { return f.preEnqueue }

// EnqueueExtensions returns the plugins that say which events help.
func (f *Framework) EnqueueExtensions() []EnqueueExtensions { return f.enqueue }

// RunPreFilterPlugins prepares filtering. names are the only nodes to look at, unless nil; plugins are those that named
// them. A status that is not nil refuses the pod everywhere.
func (f *Framework) RunPreFilterPlugins(state *CycleState, pod *PodInfo) (names, plugins []string, status *Status) {
	for _, pl := range f.preFilter {
		only, s := pl.PreFilter(state, pod)
		switch CodeOf(s) {
		case Skip:
			state.skipFilter |= f.filterBit(pl.Name())
			continue
		case Unschedulable: // preemption comes later and needs all of them
			status = s
			continue
		case UnschedulableAndUnresolvable:
			return nil, nil, s
		case Error:
			err := fmt.Errorf("running PreFilter plugin %q: %w", pl.Name(), s.Err)
			return nil, nil, ErrorStatus(pl.Name(), err)
		}
		if only != nil {
			plugins = append(plugins, pl.Name())
			names = only
		}
		if only != nil && len(only) == 0 {
			return names, plugins, NewStatus(UnschedulableAndUnresolvable, pl.Name(),
				"node(s) didn't satisfy plugin "+pl.Name())
		}
	}
	return names, plugins, status
}

func (f *Framework) filterBit(name string) uint32 {
	for i := range f.filter {
		if f.filter[i].Name() == name {
			return f.filter[i].bit
		}
	}
	return 0
}

// RunFilterPlugins returns why the pod cannot run on the node: what the first plugin says that refuses it. nil: it can.
func (f *Framework) RunFilterPlugins(state *CycleState, pod *PodInfo, node *NodeInfo) *Status {
	for left := f.filterBits &^ state.skipFilter; left != 0; left &= left - 1 {
		if s := f.filter[bits.TrailingZeros32(left)].Filter(state, pod, node); s != nil {
			return s
		}
	}
	return nil
}

// RunFilterPluginsWithNominatedPods is RunFilterPlugins with the pods of the same or higher priority that are nominated
// to the node taken as there, and, if that works, without them too: a nominated pod may also go elsewhere.
func (f *Framework) RunFilterPluginsWithNominatedPods(state *CycleState, pod *PodInfo, node *NodeInfo) *Status {
	nominated := f.Listers.NominatedPodsOnNode(node.Name())
	with, withState := node, state
	for _, other := range nominated {
		if Priority(other.Pod) < Priority(pod.Pod) || other.Pod.UID == pod.Pod.UID {
			continue
		}
		if with == node {
			with, withState = node.Snapshot(), state.Clone()
		}
		with.AddPod(other)
		f.RunPreFilterExtensionAddPod(withState, pod, other, with)
	}
	s := f.RunFilterPlugins(withState, pod, with)
	if s != nil || with == node {
		return s
	}
	return f.RunFilterPlugins(state, pod, node)
}

// RunPreFilterExtensionAddPod tells plugins that a pod was added to a node in thought.
func (f *Framework) RunPreFilterExtensionAddPod(state *CycleState, pod, added *PodInfo, node *NodeInfo) {
	for _, ext := range f.extensions {
		if state.skipFilter&ext.bit == 0 {
			ext.AddPod(state, pod, added, node)
		}
	}
}

// RunPreFilterExtensionRemovePod tells plugins that a pod was taken away from a node in thought.
func (f *Framework) RunPreFilterExtensionRemovePod(state *CycleState, pod, removed *PodInfo, node *NodeInfo) {
	for _, ext := range f.extensions {
		if state.skipFilter&ext.bit == 0 {
			ext.RemovePod(state, pod, removed, node)
		}
	}
}

// RunPostFilterPlugins tries to make room. It returns the first success, else all reasons together.
func (f *Framework) RunPostFilterPlugins(state *CycleState, pod *PodInfo, m *NodeToStatus) (
	*PostFilterResult, *Status) {
	var result *PostFilterResult
	var reasons []string
	for _, pl := range f.postFilter {
		r, s := pl.PostFilter(state, pod, m)
		switch CodeOf(s) {
		case Success, UnschedulableAndUnresolvable, Error:
			return r, s
		}
		if r != nil {
			result = r
		}
		reasons = append(reasons, s.Reasons...)
	}
	return result, NewStatus(Unschedulable, "", reasons...)
}

// RunScorePlugins returns the weighted sum of all plugins' scores for each node. The slice is good until the next call.
func (f *Framework) RunScorePlugins(state *CycleState, pod *PodInfo, nodes []*NodeInfo) []int64 {
	for _, pl := range f.preScore {
		if CodeOf(pl.PreScore(state, pod, nodes)) == Skip {
			state.skipScore |= f.scoreBit(pl.Name())
		}
	}
	f.totalScores = append(f.totalScores[:0], make([]int64, len(nodes))...)
	for i := range f.score {
		pl := &f.score[i]
		if state.skipScore&pl.bit == 0 {
			for j, s := range f.scoresOf(pl.ScorePlugin, state, pod, nodes) {
				f.totalScores[j] += s * pl.weight
			}
		}
	}
	return f.totalScores
}

func (f *Framework) scoresOf(pl ScorePlugin, state *CycleState, pod *PodInfo, nodes []*NodeInfo) []int64 {
	f.scores = slices.Grow(f.scores[:0], len(nodes))[:len(nodes)]
	if all, ok := pl.(ScoreAllPlugin); ok {
		all.ScoreAll(state, pod, nodes, f.scores)
	} else {
		for j, node := range nodes {
			f.scores[j] = pl.Score(state, pod, node)
		}
	}
	if ext, ok := pl.(ScoreExtensions); ok {
		ext.NormalizeScore(state, nodes, f.scores)
	}
	return f.scores
}

func (f *Framework) scoreBit(name string) uint32 {
	for i := range f.score {
		if f.score[i].Name() == name {
			return f.score[i].bit
		}
	}
	return 0
}

// DefaultNormalizeScore brings scores from 0..highest to 0..most, turned round if reverse.
func DefaultNormalizeScore(most int64, reverse bool, scores []int64) {
	highest := int64(0)
	for _, s := range scores {
		highest = max(highest, s)
	}
	for i, s := range scores {
		if highest > 0 {
			s = most * s / highest
		}
		if reverse {
			s = most - s
		}
		scores[i] = s
	}
}

// Diagnosis is why a pod fits nowhere.
type Diagnosis struct {
	NodeToStatus         *NodeToStatus
	UnschedulablePlugins []string
	PreFilterMsg         string
	PostFilterMsg        string
}

// AddPluginStatus notes which plugin refused.
func (d *Diagnosis) AddPluginStatus(s *Status) {
	if s.Rejected() && s.Plugin != "" && !slices.Contains(d.UnschedulablePlugins, s.Plugin) {
		d.UnschedulablePlugins = append(d.UnschedulablePlugins, s.Plugin)
	}
}

// FitMessage is the message of a pod that fits on none of so many nodes: how many refused it for each reason
// (framework.FitError.Error, K@1.25, K@1.26, K@1.28, K@1.29, v1.36).
func (d *Diagnosis) FitMessage(nodes int, f *Features) string {
	var b strings.Builder
	fmt.Fprintf(&b, "0/%d nodes are available:", nodes)
	if f.Minor >= 26 && d.PreFilterMsg != "" {
		b.WriteString(" " + d.PreFilterMsg + ".")
	}
	if f.Minor < 29 || d.PreFilterMsg == "" {
		if reasons := d.reasons(nodes); len(reasons) > 0 || f.Minor < 26 {
			b.WriteString(" " + strings.Join(reasons, ", ") + ".")
		}
	}
	if d.PostFilterMsg != "" && f.PreemptionSaid {
		b.WriteString(" " + d.PostFilterMsg)
		if 26 <= f.Minor && f.Minor < 29 { // a full stop after each part, also after one that ends with it
			b.WriteString(".")
		}
	}
	return b.String()
}

func (d *Diagnosis) reasons(nodes int) []string {
	counts := map[string]int{}
	for i := range d.NodeToStatus.statuses {
		if s := d.NodeToStatus.statuses[i]; s != nil {
			for _, reason := range s.Reasons {
				counts[reason]++
			}
		}
	}
	if rest := nodes - d.NodeToStatus.mentions; rest > 0 {
		for _, reason := range d.NodeToStatus.absent.Reasons {
			counts[reason] += rest
		}
	}
	reasons := make([]string, 0, len(counts))
	for reason, n := range counts { // any order: sorted below
		reasons = append(reasons, strconv.Itoa(n)+" "+reason)
	}
	slices.Sort(reasons)
	return reasons
}

// IsTerminating reports whether a pod is being deleted.
func IsTerminating(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil }
