package plugins

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// DefaultPreemption finds a node where deleting pods of lower priority makes room for a pod, and the fewest and least
// important such pods.
//
// Models kube-scheduler's DefaultPreemption plugin and the preemption package behind it
// (pkg/scheduler/framework/plugins/defaultpreemption, pkg/scheduler/framework/preemption, v1.36). The scheduler
// deletes the victims. Leaves out: extenders, pod groups.
type DefaultPreemption struct {
	*fwk.Framework
	features *fwk.Features
}

const (
	// Of the nodes where preemption may help, at least so many are tried (apis/config/v1/defaults.go
	// MinCandidateNodesPercentage, MinCandidateNodesAbsolute).
	minCandidateNodesPercentage = 10
	minCandidateNodesAbsolute   = 100
)

var (
	noVictims = fwk.NewStatus(fwk.UnschedulableAndUnresolvable, defaultPreemption,
		"No preemption victims found for incoming pod")
	notHelpful = fwk.NewStatus(fwk.UnschedulableAndUnresolvable, defaultPreemption,
		"Preemption is not helpful for scheduling")
	preempting = fwk.NewStatus(fwk.UnschedulableAndUnresolvable, defaultPreemption,
		"waiting for the preemption for this pod to be finished")
)

// NewDefaultPreemption makes the plugin for a framework.
func NewDefaultPreemption(fw *fwk.Framework, f *fwk.Features) *DefaultPreemption {
	return &DefaultPreemption{fw, f}
}

// Name implements fwk.Plugin.
func (pl *DefaultPreemption) Name() string { return defaultPreemption }

// PreEnqueue holds a pod back while its victims are being deleted.
func (pl *DefaultPreemption) PreEnqueue(pod *corev1.Pod) *fwk.Status {
	if pl.features.AsyncPreemption && pl.Listers.Preempting(pod) {
		return preempting
	}
	return nil
}

// EventsToRegister implements fwk.EnqueueExtensions: the deletion of a victim ends the holding back, and
// whether it makes room is for the plugins to say that refused the pod.
func (pl *DefaultPreemption) EventsToRegister() []fwk.ClusterEventWithHint {
	if !pl.features.AsyncPreemption {
		return nil
	}
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.Delete},
			Hint: func(*fwk.PodInfo, *fwk.Change) bool { return false }},
	}
}

// candidate is a node with the pods that would have to go.
type candidate struct {
	node          *fwk.NodeInfo
	victims       []*corev1.Pod // those of broken budgets, or the most important, first
	pdbViolations int
}

// PostFilter implements fwk.PostFilterPlugin.
func (pl *DefaultPreemption) PostFilter(state *fwk.CycleState, pod *fwk.PodInfo, m *fwk.NodeToStatus) (
	*fwk.PostFilterResult, *fwk.Status) {
	if why := pl.ineligible(pod.Pod, m); why != "" {
		return nil, pl.unschedulable(why)
	}
	nodes := pl.Nodes()
	var statuses fwk.NodeToStatus
	statuses.Reset(nodes)
	candidates := pl.findCandidates(state, pod, m, &statuses)
	if len(candidates) == 0 {
		statuses.SetAbsent(notHelpful)
		d := fwk.Diagnosis{NodeToStatus: &statuses}
		return &fwk.PostFilterResult{}, pl.unschedulable(d.FitMessage(len(nodes), pl.features))
	}
	best := pl.pickOneNodeForPreemption(candidates)
	return &fwk.PostFilterResult{NominatedNodeName: best.node.Name(), Victims: best.victims}, nil
}

func (pl *DefaultPreemption) unschedulable(why string) *fwk.Status {
	return fwk.NewStatus(fwk.Unschedulable, defaultPreemption, "preemption: "+why)
}

// ineligible returns why a pod may not preempt now, "" if it may.
func (pl *DefaultPreemption) ineligible(pod *corev1.Pod, m *fwk.NodeToStatus) string {
	if pod.Spec.PreemptionPolicy != nil && *pod.Spec.PreemptionPolicy == corev1.PreemptNever {
		return "not eligible due to preemptionPolicy=Never."
	}
	nominated := pod.Status.NominatedNodeName
	if nominated == "" {
		return ""
	}
	node := pl.Node(nominated)
	if node == nil || pl.features.LostNominationsEnd && m.At(node.Order).Code == fwk.UnschedulableAndUnresolvable {
		return ""
	}
	for _, other := range node.Pods {
		if fwk.Priority(other.Pod) < fwk.Priority(pod) && pl.terminating(other.Pod) {
			return "not eligible due to a terminating pod on the nominated node."
		}
	}
	return ""
}

// terminating reports whether a pod goes to make room; before v1.27 no matter why it goes.
func (pl *DefaultPreemption) terminating(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp == nil {
		return false
	}
	if !pl.features.OwnVictimsOnly {
		return true
	}
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue &&
			c.Reason == corev1.PodReasonPreemptionByScheduler
	})
}

// findCandidates tries nodes from a random one on until enough are found, and says of the others why not.
func (pl *DefaultPreemption) findCandidates(state *fwk.CycleState, pod *fwk.PodInfo,
	m, statuses *fwk.NodeToStatus) []candidate {
	nodes := m.NodesForStatusCode(fwk.Unschedulable)
	if len(nodes) == 0 {
		return nil
	}
	offset := pl.Listers.RandomBelow(len(nodes))
	enough := len(nodes)
	if pl.features.CandidatesLimited {
		enough = min(max(len(nodes)*minCandidateNodesPercentage/100, minCandidateNodesAbsolute), len(nodes))
	}
	budgets := pl.Listers.PodDisruptionBudgets()
	var harmless, violating []candidate
	for i := range nodes {
		node := nodes[(offset+i)%len(nodes)]
		victims, violations, s := pl.selectVictimsOnNode(state.Clone(), pod, node.Snapshot(), budgets)
		switch {
		case s != nil:
			statuses.Set(node.Order, s)
			continue
		case violations == 0:
			harmless = append(harmless, candidate{node, victims, 0})
		default:
			violating = append(violating, candidate{node, victims, violations})
		}
		if len(harmless) > 0 && len(harmless)+len(violating) >= enough {
			break
		}
	}
	return append(harmless, violating...)
}

// selectVictimsOnNode takes all pods of lower priority away from the node, which is a copy, and puts back as many as
// possible: first those whose budget would be broken, the most important first.
func (pl *DefaultPreemption) selectVictimsOnNode(state *fwk.CycleState, pod *fwk.PodInfo,
	node *fwk.NodeInfo, budgets []*policyv1.PodDisruptionBudget) (victims []*corev1.Pod, violations int, s *fwk.Status) {
	var potential []*fwk.PodInfo
	for _, existing := range node.Pods {
		if fwk.Priority(existing.Pod) < fwk.Priority(pod.Pod) {
			potential = append(potential, existing)
		}
	}
	if len(potential) == 0 {
		return nil, 0, noVictims
	}
	remove := func(p *fwk.PodInfo) {
		node.RemovePod(p)
		pl.RunPreFilterExtensionRemovePod(state, pod, p, node)
	}
	for _, p := range potential {
		remove(p)
	}
	if s := pl.RunFilterPluginsWithNominatedPods(state, pod, node); s != nil {
		return nil, 0, s
	}
	slices.SortStableFunc(potential, pl.moreImportant)
	violating, harmless := splitByBudgets(potential, budgets)
	reprieve := func(p *fwk.PodInfo) bool {
		node.AddPod(p)
		pl.RunPreFilterExtensionAddPod(state, pod, p, node)
		if pl.RunFilterPluginsWithNominatedPods(state, pod, node) == nil {
			return true
		}
		remove(p)
		return false
	}
	var chosen []*fwk.PodInfo
	for _, p := range violating {
		if !reprieve(p) {
			chosen, violations = append(chosen, p), violations+1
		}
	}
	for _, p := range harmless {
		if !reprieve(p) {
			chosen = append(chosen, p)
		}
	}
	if pl.features.VictimsSorted {
		slices.SortStableFunc(chosen, pl.moreImportant)
	}
	for _, p := range chosen {
		victims = append(victims, p.Pod)
	}
	return victims, violations, nil
}

// moreImportant orders pods by priority, then by age (pkg/scheduler/util MoreImportantPod).
func (pl *DefaultPreemption) moreImportant(a, b *fwk.PodInfo) int {
	if x, y := fwk.Priority(a.Pod), fwk.Priority(b.Pod); x != y || !pl.features.VictimsByAge {
		return int(int64(y) - int64(x))
	}
	switch x, y := pl.startTime(a.Pod), pl.startTime(b.Pod); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (pl *DefaultPreemption) startTime(pod *corev1.Pod) int64 {
	if pod.Status.StartTime != nil {
		return pod.Status.StartTime.UnixNano()
	}
	return pl.Listers.Now()
}

// splitByBudgets tells the pods whose eviction would break a budget from the others.
func splitByBudgets(pods []*fwk.PodInfo, budgets []*policyv1.PodDisruptionBudget) (violating, harmless []*fwk.PodInfo) {
	allowed := make([]int32, len(budgets))
	for i, budget := range budgets {
		allowed[i] = budget.Status.DisruptionsAllowed
	}
	for _, p := range pods {
		violates := false
		for i, budget := range budgets {
			if !guards(budget, p.Pod) {
				continue
			}
			allowed[i]--
			violates = violates || allowed[i] < 0
		}
		if violates {
			violating = append(violating, p)
		} else {
			harmless = append(harmless, p)
		}
	}
	return violating, harmless
}

func guards(budget *policyv1.PodDisruptionBudget, pod *corev1.Pod) bool {
	if budget.Namespace != pod.Namespace || len(pod.Labels) == 0 {
		return false
	}
	selector := fwk.SelectorOf(budget.Spec.Selector)
	if selector.Empty() || !selector.Matches(labels.Set(pod.Labels)) {
		return false
	}
	_, going := budget.Status.DisruptedPods[pod.Name]
	return !going
}

// pickOneNodeForPreemption prefers, in this order: fewest budgets broken, lowest highest priority of a victim, lowest
// sum of priorities, fewest victims, the latest start of the oldest of the most important victims; then the first.
func (pl *DefaultPreemption) pickOneNodeForPreemption(candidates []candidate) candidate {
	scores := [...]func(*candidate) int64{
		func(c *candidate) int64 { return -int64(c.pdbViolations) },
		func(c *candidate) int64 { return -int64(fwk.Priority(c.victims[0])) },
		func(c *candidate) int64 {
			sum := int64(0)
			for _, victim := range c.victims { // all made positive, so that more victims are never better
				sum += int64(fwk.Priority(victim)) + math.MaxInt32 + 1
			}
			return -sum
		},
		func(c *candidate) int64 { return -int64(len(c.victims)) },
		pl.earliestStart,
	}
	left := candidates
	for _, score := range scores {
		best := int64(math.MinInt64)
		var selected []candidate
		for i := range left {
			s := score(&left[i])
			if s > best {
				best, selected = s, selected[:0:0]
			}
			if s == best {
				selected = append(selected, left[i])
			}
		}
		left = selected
		if len(left) == 1 {
			break
		}
	}
	return left[0]
}

// earliestStart is when the oldest of the victims of the highest priority started.
func (pl *DefaultPreemption) earliestStart(c *candidate) int64 {
	if !pl.features.VictimsByAge {
		return 0
	}
	highest, earliest := fwk.Priority(c.victims[0]), pl.startTime(c.victims[0])
	for _, victim := range c.victims {
		switch p := fwk.Priority(victim); {
		case p > highest:
			highest, earliest = p, pl.startTime(victim)
		case p == highest:
			earliest = min(earliest, pl.startTime(victim))
		}
	}
	return earliest
}
