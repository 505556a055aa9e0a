package plugins

import (
	"math"
	"math/bits"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// systemDefaultConstraints spread pods that say nothing (podtopologyspread/plugin.go systemDefaultConstraints, v1.20
// on).
func systemDefaultConstraints(selector fwk.Selector) []spreadConstraint {
	return []spreadConstraint{
		{maxSkew: 3, topologyKey: corev1.LabelHostname, selector: selector, minDomains: 1, honorAffinity: true},
		{maxSkew: 5, topologyKey: corev1.LabelTopologyZone, selector: selector, minDomains: 1, honorAffinity: true,
			place: 1},
	}
}

// defaultConstraints returns the system's constraints for a pod that belongs to a Service or a controller.
func (pl *PodTopologySpread) defaultConstraints(pod *corev1.Pod) []spreadConstraint {
	if !pl.features.SystemDefaultSpreading {
		return nil
	}
	o := owners(pl.listers, pod)
	if known := pl.defaults[o.controller]; len(o.services) == 0 && o.set == nil && o.of != nil && known.of == o.of {
		return known.constraints
	}
	var constraints []spreadConstraint
	if selector := o.all(); !selector.Empty() {
		constraints = systemDefaultConstraints(selectorOf(selector))
	}
	if len(o.services) == 0 && o.set == nil && o.of != nil {
		if len(pl.defaults) >= defaultsMax {
			clear(pl.defaults)
		}
		pl.defaults[o.controller] = defaults{o.of, constraints}
	}
	return constraints
}

// defaults are the default constraints of the pods of one controller that belong to no Service.
type defaults struct {
	of          *metav1.LabelSelector // of the controller, in the version that was looked at
	constraints []spreadConstraint
}

// defaultsMax bounds the memory. chosen: a thousand workloads.
const defaultsMax = 1024

// spreadScoreState is how many matching pods each domain has, by constraint, as far as nodes of it passed the filters.
type spreadScoreState struct {
	constraints []spreadConstraint
	needsAll    bool                   // topology keys, or a node is ignored
	ignored     map[*fwk.NodeInfo]bool // have not all topology keys
	domains     []*fwk.Domains
	counts      [][]int64 // of domains; less than 0: none of the nodes is in it; nil for hostnames
	tables      [][]int32 // of nodes
	weights     []uint64  // of domains, in 2^-32
}

// Clone implements fwk.StateData.
func (s *spreadScoreState) Clone() fwk.StateData { return s }

// PreScore counts the matching pods of the domains that are left.
func (pl *PodTopologySpread) PreScore(state *fwk.CycleState, pod *fwk.PodInfo, nodes []*fwk.NodeInfo) *fwk.Status {
	own := len(pod.Pod.Spec.TopologySpreadConstraints) > 0
	s := &spreadScoreState{needsAll: own || pl.features.DefaultsNeedAllTopologies}
	if own {
		s.constraints = pl.constraints(pod.Pod, corev1.ScheduleAnyway)
	} else {
		s.constraints = pl.defaultConstraints(pod.Pod)
	}
	if len(s.constraints) == 0 {
		return skipSpread
	}
	s.tables = pl.tables(pod.Pod.Namespace, s.constraints)
	s.domains = make([]*fwk.Domains, len(s.constraints))
	s.counts = make([][]int64, len(s.constraints))
	s.weights = make([]uint64, len(s.constraints))
	for _, node := range nodes {
		if s.needsAll && !hasTopologies(node, s.constraints) {
			if s.ignored == nil {
				s.ignored = map[*fwk.NodeInfo]bool{}
			}
			s.ignored[node] = true
		}
	}
	for i := range s.constraints {
		pl.countDomains(s, i, pod, nodes)
	}
	state.Write(fwk.PodTopologySpreadScore, s)
	return nil
}

// countDomains fills in the counts of the i-th constraint.
func (pl *PodTopologySpread) countDomains(s *spreadScoreState, i int, pod *fwk.PodInfo, nodes []*fwk.NodeInfo) {
	c := &s.constraints[i]
	s.domains[i] = pl.Domains(c.topologyKey)
	if c.topologyKey == corev1.LabelHostname {
		s.weights[i] = naturalLogarithm(uint64(len(nodes) - len(s.ignored) + 2))
		return
	}
	if c.place != i {
		s.weights[i], s.counts[i] = naturalLogarithm(2), s.counts[c.place]
		pl.sumIncluded(s, i, pod)
		return
	}
	domains := s.domains[i]
	counts := make([]int64, domains.Count)
	for d := range counts {
		counts[d] = -1
	}
	different := 0
	for _, node := range nodes {
		if d := domains.Of[node.Slot]; counts[d] < 0 && !s.ignored[node] {
			counts[d] = 0
			different++
		}
	}
	s.weights[i] = naturalLogarithm(uint64(different + 2))
	s.counts[i] = counts
	if s.needsAll || pod.RequiredNode != nil {
		pl.sumIncluded(s, i, pod)
		return
	}
	for slot, d := range domains.Of { // all nodes count
		if d >= 0 && counts[d] >= 0 {
			counts[d] += int64(s.tables[i][slot])
		}
	}
}

// sumIncluded adds up the domains of the i-th constraint over the nodes that the pod's own wishes leave.
func (pl *PodTopologySpread) sumIncluded(s *spreadScoreState, i int, pod *fwk.PodInfo) {
	domains, counts := s.domains[i], s.counts[i]
	for _, node := range pl.Nodes() {
		n := int64(s.tables[i][node.Slot])
		if n == 0 || s.needsAll && !hasTopologies(node, s.constraints) || !s.constraints[i].includes(pod, node) {
			continue
		}
		if d := domains.Of[node.Slot]; counts[d] >= 0 {
			counts[d] += n
		}
	}
}

// Score is the weighted sum of the matching pods in the node's domains.
func (pl *PodTopologySpread) Score(state *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	var score [1]int64
	pl.ScoreAll(state, pod, []*fwk.NodeInfo{node}, score[:])
	return score[0]
}

// ScoreAll implements fwk.ScoreAllPlugin.
func (pl *PodTopologySpread) ScoreAll(state *fwk.CycleState, _ *fwk.PodInfo, nodes []*fwk.NodeInfo, scores []int64) {
	s := state.Read(fwk.PodTopologySpreadScore).(*spreadScoreState)
	clear(scores)
	half := uint64(0)
	if pl.features.SpreadRounds {
		half = 1 << 31
	}
	for i := range s.constraints {
		domains, counts, table := s.domains[i], s.counts[i], s.tables[i]
		weight, skew := s.weights[i], uint64(s.constraints[i].maxSkew-1)<<32
		if pl.features.SpreadByShare { // every pod counts for one, whatever the number of domains
			weight, skew = 1<<32, 0
		}
		for j, node := range nodes {
			slot := node.Slot
			if !domains.Labelled[slot] {
				continue
			}
			count := int64(0)
			if counts != nil {
				count = counts[domains.Of[slot]]
			} else {
				count = int64(table[slot])
			}
			scores[j] += int64(uint64(count)*weight + skew) // in 2^-32, as an unsigned number
		}
	}
	for j, node := range nodes {
		if s.ignored != nil && s.ignored[node] {
			scores[j] = 0
		} else {
			scores[j] = int64((uint64(scores[j]) + half) >> 32)
		}
	}
}

// NormalizeScore turns the scores round: the fewer, the better; ignored nodes get nothing.
func (pl *PodTopologySpread) NormalizeScore(state *fwk.CycleState, nodes []*fwk.NodeInfo, scores []int64) {
	s := state.Read(fwk.PodTopologySpreadScore).(*spreadScoreState)
	lowest, highest, total := int64(math.MaxInt64), int64(0), int64(0)
	for i, score := range scores {
		if s.ignored == nil || !s.ignored[nodes[i]] {
			lowest, highest, total = min(lowest, score), max(highest, score), total+score
		}
	}
	if pl.features.SpreadByShare {
		normalizeByShare(s, nodes, scores, lowest, total)
		return
	}
	for i, score := range scores {
		switch {
		case s.ignored != nil && s.ignored[nodes[i]]:
			scores[i] = 0
		case highest == 0:
			scores[i] = fwk.MaxNodeScore
		default:
			scores[i] = fwk.MaxNodeScore * (highest + lowest - score) / highest
		}
	}
}

// normalizeByShare is NormalizeScore of v1.18.
func normalizeByShare(s *spreadScoreState, nodes []*fwk.NodeInfo, scores []int64, lowest, total int64) {
	for i, score := range scores {
		switch {
		case total == lowest: // one node, or no pods: all alike, ignored ones included
			scores[i] = fwk.MaxNodeScore
		case s.ignored != nil && s.ignored[nodes[i]]:
			scores[i] = 0
		default:
			scores[i] = fwk.MaxNodeScore * (total - score) / (total - lowest)
		}
	}
}

// naturalLogarithm returns ln n in 2^-32, the same on every machine: the logarithm to base 2 bit by bit, times ln 2.
func naturalLogarithm(n uint64) uint64 {
	const ln2 = 2977044472 // ln 2 in 2^-32
	exponent := uint64(bits.Len64(n) - 1)
	mantissa := n << (31 - exponent) // in [1, 2), in 2^-31; n is far below 2^31
	log := exponent
	for range 32 {
		mantissa = mantissa * mantissa >> 31
		log <<= 1
		if mantissa >= 1<<32 {
			mantissa >>= 1
			log |= 1
		}
	}
	high, low := bits.Mul64(log, ln2)
	return high<<32 | low>>32
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (pl *PodTopologySpread) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.Add | fwk.UpdatePodLabel |
			fwk.UpdatePodToleration | fwk.Delete}, Hint: pl.afterPodChange},
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add | fwk.Delete |
			fwk.UpdateNodeLabel | fwk.UpdateNodeTaint}, Hint: pl.afterNodeChange},
	}
}

func (pl *PodTopologySpread) afterPodChange(pod *fwk.PodInfo, c *fwk.Change) bool {
	involved := func(other *corev1.Pod) bool {
		return other == nil || other.UID == pod.Pod.UID || wasPlaced(other) && other.Namespace == pod.Pod.Namespace
	}
	if !involved(c.OldPod) || !involved(c.NewPod) {
		return false
	}
	constraints := pl.constraints(pod.Pod, corev1.DoNotSchedule)
	matches := func(other *corev1.Pod) bool {
		for i := range constraints {
			if constraints[i].selector.Match(other.Labels) {
				return true
			}
		}
		return false
	}
	if c.OldPod == nil || c.NewPod == nil {
		other := c.NewPod
		if other == nil {
			other = c.OldPod
		}
		return matches(other)
	}
	for i := range constraints {
		if constraints[i].selector.Match(c.OldPod.Labels) != constraints[i].selector.Match(c.NewPod.Labels) ||
			constraints[i].honorTaints && c.NewPod.UID == pod.Pod.UID &&
				len(c.NewPod.Spec.Tolerations) != len(c.OldPod.Spec.Tolerations) {
			return true
		}
	}
	return false
}

func (pl *PodTopologySpread) afterNodeChange(pod *fwk.PodInfo, c *fwk.Change) bool {
	constraints := pl.constraints(pod.Pod, corev1.DoNotSchedule)
	matches := func(node *corev1.Node) bool {
		for i := range constraints {
			if _, has := node.Labels[constraints[i].topologyKey]; !has {
				return false
			}
		}
		return true
	}
	switch {
	case c.OldNode == nil:
		return matches(c.NewNode)
	case c.NewNode == nil:
		return matches(c.OldNode)
	case matches(c.OldNode) != matches(c.NewNode):
		return true
	case !matches(c.NewNode):
		return false
	}
	for i := range constraints {
		if key := constraints[i].topologyKey; c.OldNode.Labels[key] != c.NewNode.Labels[key] {
			return true
		}
	}
	return !fwk.SameTaints(c.OldNode, c.NewNode)
}
