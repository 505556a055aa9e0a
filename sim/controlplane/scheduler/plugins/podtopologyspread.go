package plugins

import (
	"maps"
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// PodTopologySpread keeps the numbers of matching pods in topology domains close to each other: hard constraints as a
// filter, soft ones and the system's defaults as a score (podtopologyspread_score.go).
//
// Models kube-scheduler's PodTopologySpread plugin (pkg/scheduler/framework/plugins/podtopologyspread, v1.36). Leaves
// out: default constraints set by an administrator.
type PodTopologySpread struct {
	fwk.Handle
	listers  *fwk.Listers
	features *fwk.Features

	unbalanced, unlabelled *fwk.Status

	defaults map[types.UID]defaults // by controller, of pods without a Service
}

// spreadConstraint is a constraint, parsed.
type spreadConstraint struct {
	maxSkew       int64
	topologyKey   string
	selector      fwk.Selector
	minDomains    int
	honorAffinity bool
	honorTaints   bool
	place         int // of its counts: that of the first of its key where these are counted together
}

func newPodTopologySpread(fw *fwk.Framework, f *fwk.Features) *PodTopologySpread {
	const reason = "node(s) didn't match pod topology spread constraints"
	pl := &PodTopologySpread{Handle: fw.Handle, listers: fw.Listers, features: f, defaults: map[types.UID]defaults{},
		unbalanced: fwk.NewStatus(fwk.Unschedulable, podTopologySpread, reason),
		unlabelled: fwk.NewStatus(fwk.UnschedulableAndUnresolvable, podTopologySpread,
			reason+" (missing required label)")}
	if f.Minor < 19 { // 1.18.0
		pl.unlabelled = pl.unbalanced
	}
	return pl
}

// Name implements fwk.Plugin.
func (pl *PodTopologySpread) Name() string { return podTopologySpread }

// constraints parses the pod's own constraints of one kind.
func (pl *PodTopologySpread) constraints(
	pod *corev1.Pod, kind corev1.UnsatisfiableConstraintAction,
) []spreadConstraint {
	var parsed []spreadConstraint
	for i := range pod.Spec.TopologySpreadConstraints {
		c := &pod.Spec.TopologySpreadConstraints[i]
		if c.WhenUnsatisfiable != kind {
			continue
		}
		selector := fwk.SelectorOf(c.LabelSelector)
		if pl.features.Minor >= 27 { // MatchLabelKeysInPodTopologySpread, beta on 1.27
			selector = withLabelKeys(selector, c.MatchLabelKeys, pod.Labels)
		}
		s := spreadConstraint{maxSkew: int64(c.MaxSkew), topologyKey: c.TopologyKey, selector: selectorOf(selector),
			minDomains: 1, honorAffinity: true, place: len(parsed)}
		if !pl.features.SpreadPerConstraint {
			s.place = placeOf(c.TopologyKey, parsed)
		}
		if c.MinDomains != nil {
			s.minDomains = int(*c.MinDomains)
		}
		if pl.features.NodeInclusionPolicy {
			s.honorAffinity = c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor
			s.honorTaints = c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
		}
		parsed = append(parsed, s)
	}
	return parsed
}

// placeOf is where a further constraint of a topology key is counted together with the first one of it.
func placeOf(key string, constraints []spreadConstraint) int {
	for i := range constraints {
		if constraints[i].topologyKey == key {
			return i
		}
	}
	return len(constraints)
}

// withLabelKeys narrows a selector to the pod's own values of some labels.
func withLabelKeys(selector labels.Selector, keys []string, of map[string]string) labels.Selector {
	own := labels.Set{}
	for _, key := range keys {
		if value, ok := of[key]; ok {
			own[key] = value
		}
	}
	requirements, selectable := selector.Requirements()
	if len(own) == 0 || !selectable {
		return selector
	}
	return labels.SelectorFromSet(own).Add(requirements...)
}

// selectorOf wraps a selector.
func selectorOf(s labels.Selector) fwk.Selector {
	text := s.String()
	if _, selectable := s.Requirements(); !selectable {
		text = "<nothing>" // labels.Nothing has the same text as labels.Everything
	}
	return fwk.Selector{Text: text, Empty: s.Empty(),
		Match: func(set map[string]string) bool { return s.Matches(labels.Set(set)) }}
}

// includes reports whether a node counts for a constraint of the pod.
func (c *spreadConstraint) includes(pod *fwk.PodInfo, node *fwk.NodeInfo) bool {
	if c.honorAffinity && !pod.RequiredNode.Match(node.Node()) {
		return false
	}
	if c.honorTaints {
		_, repelled := node.Repels(pod.Pod.Spec.Tolerations)
		return !repelled
	}
	return true
}

func hasTopologies(node *fwk.NodeInfo, constraints []spreadConstraint) bool {
	for i := range constraints {
		if _, has := node.Label(constraints[i].topologyKey); !has {
			return false
		}
	}
	return true
}

// spreadFilterState is how many matching pods each domain has, by the place of a constraint.
type spreadFilterState struct {
	constraints []spreadConstraint
	counts      []map[string]int64
	fewest      []criticalPaths
}

// Clone implements fwk.StateData.
func (s *spreadFilterState) Clone() fwk.StateData {
	c := &spreadFilterState{constraints: s.constraints, counts: make([]map[string]int64, len(s.counts)),
		fewest: append([]criticalPaths(nil), s.fewest...)}
	for i := range s.counts {
		c.counts[i] = maps.Clone(s.counts[i])
	}
	return c
}

// criticalPaths are the domain with the fewest matching pods and the one after it. The second is only a bound: it is
// what the first may become when a pod is added to it or taken away.
type criticalPaths [2]struct {
	value string
	count int64
}

func newCriticalPaths() criticalPaths {
	var p criticalPaths
	p[0].count, p[1].count = math.MaxInt32, math.MaxInt32
	return p
}

func (p *criticalPaths) update(value string, count int64) {
	switch {
	case value == p[0].value || value == p[1].value:
		i := 0
		if value != p[0].value {
			i = 1
		}
		p[i].count = count
		if p[0].count > p[1].count {
			p[0], p[1] = p[1], p[0]
		}
	case count < p[0].count:
		p[1] = p[0]
		p[0].value, p[0].count = value, count
	case count < p[1].count:
		p[1].value, p[1].count = value, count
	}
}

// PreFilter counts the matching pods of each domain.
func (pl *PodTopologySpread) PreFilter(state *fwk.CycleState, pod *fwk.PodInfo) ([]string, *fwk.Status) {
	if len(pod.Pod.Spec.TopologySpreadConstraints) == 0 {
		return nil, skipSpread
	}
	constraints := pl.constraints(pod.Pod, corev1.DoNotSchedule)
	if len(constraints) == 0 {
		return nil, skipSpread
	}
	s := &spreadFilterState{constraints: constraints, counts: make([]map[string]int64, len(constraints)),
		fewest: make([]criticalPaths, len(constraints))}
	for i := range constraints {
		s.counts[i] = map[string]int64{}
	}
	pl.count(s, pod)
	for i := range constraints {
		s.fewest[i] = newCriticalPaths()
		for _, node := range pl.Nodes() { // in the order of nodes, each domain at its first
			value, has := node.Label(constraints[i].topologyKey)
			if count, counted := s.counts[i][value]; has && counted {
				s.fewest[i].update(value, count)
			}
		}
	}
	state.Write(fwk.PodTopologySpreadFilter, s)
	return nil, nil
}

// count fills in the counts.
func (pl *PodTopologySpread) count(s *spreadFilterState, pod *fwk.PodInfo) {
	constraints := s.constraints
	tables := pl.tables(pod.Pod.Namespace, constraints)
	for _, node := range pl.Nodes() {
		if !hasTopologies(node, constraints) {
			continue
		}
		for i := range constraints {
			c := &constraints[i]
			if !c.includes(pod, node) {
				continue
			}
			value, _ := node.Label(c.topologyKey)
			n := int64(tables[i][node.Slot])
			if pl.features.SpreadWholeDomains || pl.features.SpreadLastOfKey && counted(constraints[i+1:], c, pod, node) {
				n = 0
			}
			s.counts[c.place][value] += n
		}
	}
	if !pl.features.SpreadWholeDomains {
		return
	}
	for _, node := range pl.Nodes() {
		for i := range constraints {
			c := &constraints[i]
			value, has := node.Label(c.topologyKey)
			if _, counted := s.counts[c.place][value]; has && counted {
				s.counts[c.place][value] += int64(tables[i][node.Slot])
			}
		}
	}
}

// counted reports whether one of the later constraints counts a node in the place of c.
func counted(later []spreadConstraint, c *spreadConstraint, pod *fwk.PodInfo, node *fwk.NodeInfo) bool {
	for i := range later {
		if later[i].place == c.place && later[i].includes(pod, node) {
			return true
		}
	}
	return false
}

var skipSpread = fwk.NewStatus(fwk.Skip, podTopologySpread)

func (pl *PodTopologySpread) tables(namespace string, constraints []spreadConstraint) [][]int32 {
	tables := make([][]int32, len(constraints))
	for i := range constraints {
		tables[i] = pl.CountPods(namespace, constraints[i].selector)
	}
	return tables
}

// AddPod implements fwk.PreFilterExtensions.
func (pl *PodTopologySpread) AddPod(state *fwk.CycleState, pod, added *fwk.PodInfo, node *fwk.NodeInfo) {
	updateSpread(state, pod, added, node, 1)
}

// RemovePod implements fwk.PreFilterExtensions.
func (pl *PodTopologySpread) RemovePod(state *fwk.CycleState, pod, removed *fwk.PodInfo, node *fwk.NodeInfo) {
	updateSpread(state, pod, removed, node, -1)
}

func updateSpread(state *fwk.CycleState, pod, changed *fwk.PodInfo, node *fwk.NodeInfo, delta int64) {
	s := state.Read(fwk.PodTopologySpreadFilter).(*spreadFilterState)
	if changed.Pod.Namespace != pod.Pod.Namespace || !hasTopologies(node, s.constraints) {
		return
	}
	for i := range s.constraints {
		c := &s.constraints[i]
		if !c.selector.Match(changed.Pod.Labels) || !c.includes(pod, node) {
			continue
		}
		value, _ := node.Label(c.topologyKey)
		s.counts[c.place][value] += delta
		s.fewest[c.place].update(value, s.counts[c.place][value])
	}
}

// Filter refuses nodes in whose domain the pod would be one too many.
func (pl *PodTopologySpread) Filter(state *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	s := state.Read(fwk.PodTopologySpreadFilter).(*spreadFilterState)
	for i := range s.constraints {
		c := &s.constraints[i]
		value, has := node.Label(c.topologyKey)
		if !has {
			return pl.unlabelled
		}
		counts, fewest := s.counts[c.place], s.fewest[c.place][0].count
		if len(counts) < c.minDomains {
			fewest = 0
		}
		self := int64(0)
		if c.selector.Match(pod.Pod.Labels) {
			self = 1
		}
		if counts[value]+self-fewest > c.maxSkew {
			return pl.unbalanced
		}
	}
	return nil
}
