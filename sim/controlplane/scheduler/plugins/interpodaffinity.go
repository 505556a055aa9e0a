package plugins

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// InterPodAffinity keeps pods near the pods that they ask for, away from those they refuse and from those that refuse
// them, and scores preferences on both sides.
//
// Models kube-scheduler's InterPodAffinity plugin (pkg/scheduler/framework/plugins/interpodaffinity, v1.36). Leaves
// out: arguments (hardPodAffinityWeight is 1).
type InterPodAffinity struct {
	fwk.Handle
	listers  *fwk.Listers
	features *fwk.Features

	notNear, tooNear, refused *fwk.Status
}

// hardPodAffinityWeight is what an existing pod's required affinity counts for in scores (apis/config/v1/defaults.go).
const hardPodAffinityWeight = 1

func newInterPodAffinity(fw *fwk.Framework, f *fwk.Features) *InterPodAffinity {
	status := func(code fwk.Code, reason string) *fwk.Status {
		switch { // up to 1.21.0 two reasons, and the first may have changed
		case f.Minor < 21:
			return fwk.NewStatus(code, interPodAffinity, "node(s) didn't match pod affinity/anti-affinity", reason)
		case f.Minor < 22:
			return fwk.NewStatus(code, interPodAffinity, "node(s) didn't match pod affinity/anti-affinity rules", reason)
		}
		return fwk.NewStatus(code, interPodAffinity, reason)
	}
	unresolvable := fwk.UnschedulableAndUnresolvable
	if f.Minor < 12 { // K@1.11, K@1.12:pkg/scheduler/core/generic_scheduler.go nodesWherePreemptionMightHelp
		unresolvable = fwk.Unschedulable
	}
	return &InterPodAffinity{Handle: fw.Handle, listers: fw.Listers, features: f,
		notNear: status(unresolvable, "node(s) didn't match pod affinity rules"),
		tooNear: status(fwk.Unschedulable, "node(s) didn't match pod anti-affinity rules"),
		refused: status(fwk.Unschedulable, "node(s) didn't satisfy existing pods anti-affinity rules")}
}

// Name implements fwk.Plugin.
func (pl *InterPodAffinity) Name() string { return interPodAffinity }

type topologyPair struct{ key, value string }

// termCounts counts, by domain, the pods that terms speak of. Domains without any are left out.
type termCounts map[topologyPair]int64

func (m termCounts) add(node *fwk.NodeInfo, key string, n int64) {
	value, has := node.Label(key)
	if !has {
		return
	}
	pair := topologyPair{key, value}
	if m[pair] += n; m[pair] == 0 {
		delete(m, pair)
	}
}

func (m termCounts) clone() termCounts {
	c := make(termCounts, len(m))
	for pair, n := range m { // any order: a copy
		c[pair] = n
	}
	return c
}

// affinityFilterState is what PreFilter found.
type affinityFilterState struct {
	affinity, anti   []fwk.AffinityTerm // the pod's, with the namespaces that their selectors match now
	namespaceLabels  map[string]string  // of the pod's namespace
	refusing         termCounts         // existing pods that refuse the pod
	wanted, unwanted termCounts         // existing pods that the pod asks for and refuses
}

// Clone implements fwk.StateData.
func (s *affinityFilterState) Clone() fwk.StateData {
	c := *s
	c.refusing, c.wanted, c.unwanted = s.refusing.clone(), s.wanted.clone(), s.unwanted.clone()
	return &c
}

// count counts a pod on a node in (1) or out (-1).
func (s *affinityFilterState) count(pod, existing *fwk.PodInfo, node *fwk.NodeInfo, n int64) {
	s.countRefusing(pod, existing, node, n)
	if fwk.MatchesAll(s.affinity, existing.Pod, nil) {
		for i := range s.affinity {
			s.wanted.add(node, s.affinity[i].TopologyKey, n)
		}
	}
	for i := range s.anti {
		if s.anti[i].Matches(existing.Pod, nil) {
			s.unwanted.add(node, s.anti[i].TopologyKey, n)
		}
	}
}

func (s *affinityFilterState) countRefusing(pod, existing *fwk.PodInfo, node *fwk.NodeInfo, n int64) {
	for i := range existing.RequiredAntiAffinity {
		term := &existing.RequiredAntiAffinity[i]
		if term.Matches(pod.Pod, s.namespaceLabels) {
			s.refusing.add(node, term.TopologyKey, n)
		}
	}
}

// PreFilter counts the pods that matter in each domain.
func (pl *InterPodAffinity) PreFilter(state *fwk.CycleState, pod *fwk.PodInfo) ([]string, *fwk.Status) {
	refusers := pl.NodesWithRequiredAntiAffinity()
	own := len(pod.RequiredAffinity)+len(pod.RequiredAntiAffinity) > 0
	if len(refusers) == 0 && !own {
		return nil, skipAffinity
	}
	s := &affinityFilterState{affinity: pl.resolve(pod.RequiredAffinity), anti: pl.resolve(pod.RequiredAntiAffinity),
		namespaceLabels: pl.namespaceLabels(pod.Pod.Namespace), refusing: termCounts{}, wanted: termCounts{},
		unwanted: termCounts{}}
	for _, node := range refusers {
		for _, existing := range node.PodsWithRequiredAntiAffinity {
			s.countRefusing(pod, existing, node, 1)
		}
	}
	if !own && len(s.refusing) == 0 {
		return nil, skipAffinity
	}
	if own {
		refusing := s.refusing
		s.refusing = termCounts{} // counted already
		for _, node := range pl.Nodes() {
			for _, existing := range node.Pods {
				s.count(pod, existing, node, 1)
			}
		}
		s.refusing = refusing
	}
	state.Write(fwk.InterPodAffinityFilter, s)
	return nil, nil
}

var skipAffinity = fwk.NewStatus(fwk.Skip, interPodAffinity)

func (pl *InterPodAffinity) namespaceLabels(name string) map[string]string {
	if namespace := pl.listers.Namespace(name); namespace != nil {
		return namespace.Labels
	}
	return nil
}

// resolve replaces namespace selectors by the namespaces that they match now.
func (pl *InterPodAffinity) resolve(terms []fwk.AffinityTerm) []fwk.AffinityTerm {
	var resolved []fwk.AffinityTerm
	for i := range terms {
		resolved = append(resolved, pl.resolveTerm(terms[i]))
	}
	return resolved
}

func (pl *InterPodAffinity) resolveTerm(term fwk.AffinityTerm) fwk.AffinityTerm {
	if _, selects := term.NamespaceSelector.Requirements(); !selects || term.NamespaceSelector.Empty() {
		return term // none, or all
	}
	names := append([]string(nil), term.Namespaces...)
	for _, namespace := range pl.listers.Namespaces() {
		if term.NamespaceSelector.Matches(labels.Set(namespace.Labels)) {
			names = append(names, namespace.Name)
		}
	}
	term.Namespaces, term.NamespaceSelector = names, labels.Nothing()
	return term
}

// AddPod implements fwk.PreFilterExtensions.
func (pl *InterPodAffinity) AddPod(state *fwk.CycleState, pod, added *fwk.PodInfo, node *fwk.NodeInfo) {
	state.Read(fwk.InterPodAffinityFilter).(*affinityFilterState).count(pod, added, node, 1)
}

// RemovePod implements fwk.PreFilterExtensions.
func (pl *InterPodAffinity) RemovePod(state *fwk.CycleState, pod, removed *fwk.PodInfo, node *fwk.NodeInfo) {
	state.Read(fwk.InterPodAffinityFilter).(*affinityFilterState).count(pod, removed, node, -1)
}

// Filter implements fwk.FilterPlugin.
func (pl *InterPodAffinity) Filter(state *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) *fwk.Status {
	s := state.Read(fwk.InterPodAffinityFilter).(*affinityFilterState)
	switch {
	case pl.features.Minor < 19 && s.isRefused(node): // 1.18.0 looked at this first
		return pl.refused
	case !s.near(pod, node):
		return pl.notNear
	case s.any(s.unwanted, s.anti, node):
		return pl.tooNear
	case s.isRefused(node):
		return pl.refused
	}
	return nil
}

// near reports whether the node's domains have the pods that the pod asks for. The first of a group that asks for its
// own kind is let in anywhere: nobody else could be there before it.
func (s *affinityFilterState) near(pod *fwk.PodInfo, node *fwk.NodeInfo) bool {
	exist := true
	for i := range s.affinity {
		value, has := node.Label(s.affinity[i].TopologyKey)
		if !has {
			return false
		}
		exist = exist && s.wanted[topologyPair{s.affinity[i].TopologyKey, value}] > 0
	}
	return exist || len(s.wanted) == 0 && fwk.MatchesAll(s.affinity, pod.Pod, nil)
}

func (s *affinityFilterState) any(counts termCounts, terms []fwk.AffinityTerm, node *fwk.NodeInfo) bool {
	for i := range terms {
		value, has := node.Label(terms[i].TopologyKey)
		if has && counts[topologyPair{terms[i].TopologyKey, value}] > 0 {
			return true
		}
	}
	return false
}

func (s *affinityFilterState) isRefused(node *fwk.NodeInfo) bool {
	for pair, n := range s.refusing { // any order: one is enough
		if value, has := node.Label(pair.key); has && value == pair.value && n > 0 {
			return true
		}
	}
	return false
}

// affinityScoreState is what preferences add up to by domain.
type affinityScoreState struct {
	keys   []string // topology keys, in the order of their first use
	scores termCounts
}

// Clone implements fwk.StateData.
func (s *affinityScoreState) Clone() fwk.StateData { return s }

func (s *affinityScoreState) prefer(term *fwk.AffinityTerm, pod *corev1.Pod, nsLabels map[string]string,
	node *fwk.NodeInfo, weight int64) {
	value, has := node.Label(term.TopologyKey)
	if !has || !term.Matches(pod, nsLabels) {
		return
	}
	pair := topologyPair{term.TopologyKey, value}
	if _, known := s.scores[pair]; !known {
		s.learn(term.TopologyKey)
	}
	s.scores[pair] += weight
}

func (s *affinityScoreState) learn(key string) {
	for _, known := range s.keys {
		if known == key {
			return
		}
	}
	s.keys = append(s.keys, key)
}

// PreScore adds the preferences up: the pod's for existing pods, and theirs for the pod.
func (pl *InterPodAffinity) PreScore(state *fwk.CycleState, pod *fwk.PodInfo, _ []*fwk.NodeInfo) *fwk.Status {
	own := len(pod.PreferredAffinity)+len(pod.PreferredAntiAffinity) > 0
	nodes := pl.NodesWithAffinity()
	if own {
		nodes = pl.Nodes()
	}
	if len(nodes) == 0 {
		return skipAffinity
	}
	s := &affinityScoreState{scores: termCounts{}}
	preferred, avoided := pl.resolveWeighted(pod.PreferredAffinity), pl.resolveWeighted(pod.PreferredAntiAffinity)
	nsLabels := pl.namespaceLabels(pod.Pod.Namespace)
	for _, node := range nodes {
		pods := node.PodsWithAffinity
		if own {
			pods = node.Pods
		}
		for _, existing := range pods {
			for i := range preferred {
				s.prefer(&preferred[i].AffinityTerm, existing.Pod, nil, node, preferred[i].Weight)
			}
			for i := range avoided {
				s.prefer(&avoided[i].AffinityTerm, existing.Pod, nil, node, -avoided[i].Weight)
			}
			for i := range existing.RequiredAffinity {
				s.prefer(&existing.RequiredAffinity[i], pod.Pod, nsLabels, node, hardPodAffinityWeight)
			}
			for i := range existing.PreferredAffinity {
				term := &existing.PreferredAffinity[i]
				s.prefer(&term.AffinityTerm, pod.Pod, nsLabels, node, term.Weight)
			}
			for i := range existing.PreferredAntiAffinity {
				term := &existing.PreferredAntiAffinity[i]
				s.prefer(&term.AffinityTerm, pod.Pod, nsLabels, node, -term.Weight)
			}
		}
	}
	if len(s.scores) == 0 {
		return skipAffinity
	}
	state.Write(fwk.InterPodAffinityScore, s)
	return nil
}

func (pl *InterPodAffinity) resolveWeighted(terms []fwk.WeightedAffinityTerm) []fwk.WeightedAffinityTerm {
	var resolved []fwk.WeightedAffinityTerm
	for i := range terms {
		resolved = append(resolved, fwk.WeightedAffinityTerm{AffinityTerm: pl.resolveTerm(terms[i].AffinityTerm),
			Weight: terms[i].Weight})
	}
	return resolved
}

// Score adds up the node's domains.
func (pl *InterPodAffinity) Score(state *fwk.CycleState, _ *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	s := state.Read(fwk.InterPodAffinityScore).(*affinityScoreState)
	score := int64(0)
	for _, key := range s.keys {
		if value, has := node.Label(key); has {
			score += s.scores[topologyPair{key, value}]
		}
	}
	return score
}

// NormalizeScore spreads the scores from nothing to the most.
func (pl *InterPodAffinity) NormalizeScore(_ *fwk.CycleState, _ []*fwk.NodeInfo, scores []int64) {
	lowest, highest := int64(math.MaxInt64), int64(math.MinInt64)
	if pl.features.AffinityFromZero {
		lowest, highest = 0, 0
	}
	for _, s := range scores {
		lowest, highest = min(lowest, s), max(highest, s)
	}
	for i, s := range scores {
		scores[i] = 0
		if highest > lowest {
			scores[i] = pl.features.MaxNodeScore * (s - lowest) / (highest - lowest)
		}
	}
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (pl *InterPodAffinity) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.Add | fwk.UpdatePodLabel |
			fwk.Delete}, Hint: pl.afterPodChange},
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add | fwk.UpdateNodeLabel},
			Hint: afterAffinityNodeChange},
	}
}

func (pl *InterPodAffinity) afterPodChange(pod *fwk.PodInfo, c *fwk.Change) bool {
	if c.OldPod != nil && c.NewPod != nil && c.NewPod.UID == pod.Pod.UID {
		return true
	}
	if c.NewPod != nil && !wasPlaced(c.NewPod) || c.OldPod != nil && !wasPlaced(c.OldPod) {
		return false
	}
	wanted := func(other *corev1.Pod) bool { return fwk.MatchesAll(pod.RequiredAffinity, other, nil) }
	unwanted := func(other *corev1.Pod) bool { return fwk.MatchesAll(pod.RequiredAntiAffinity, other, nil) }
	switch {
	case c.OldPod == nil:
		return wanted(c.NewPod)
	case c.NewPod != nil:
		return !wanted(c.OldPod) && wanted(c.NewPod) || unwanted(c.OldPod) && !unwanted(c.NewPod)
	}
	return unwanted(c.OldPod) ||
		fwk.MatchesAll(fwk.RequiredAntiAffinityOf(c.OldPod), pod.Pod, pl.namespaceLabels(pod.Pod.Namespace))
}

func afterAffinityNodeChange(pod *fwk.PodInfo, c *fwk.Change) bool {
	moved := func(key string) (had, has, changed bool) {
		before, had := c.OldNode.Labels[key]
		after, has := c.NewNode.Labels[key]
		return had, has, had && has && before != after
	}
	for i := range pod.RequiredAffinity {
		key := pod.RequiredAffinity[i].TopologyKey
		if c.OldNode == nil {
			if _, has := c.NewNode.Labels[key]; has {
				return true
			}
			continue
		}
		if had, has, changed := moved(key); !had && has || changed {
			return true
		}
	}
	for i := range pod.RequiredAntiAffinity {
		if c.OldNode == nil {
			return true
		}
		if had, has, changed := moved(pod.RequiredAntiAffinity[i].TopologyKey); had && !has || changed {
			return true
		}
	}
	return false
}
