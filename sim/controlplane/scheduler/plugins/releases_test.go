package plugins

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

func ownedBy(set string) func(*corev1.Pod) {
	yes := true
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: set,
			Controller: &yes}}
	}
}

func (b *bench) replicaSet(name string, selector map[string]string) {
	rs := &appsv1.ReplicaSet{}
	rs.Spec.Selector = &metav1.LabelSelector{MatchLabels: selector}
	b.sets[name] = rs
}

// SelectorSpread: a third for the node, two thirds for the zone, of what Services and ReplicaSet select.
func TestSelectorSpreadUpToV119(t *testing.T) {
	counts := map[string]int{"a1": 2, "a2": 1, "b1": 0, "b2": 1}
	pod := podOf("p", labelled("app", "web"), ownedBy("web"))
	scores := func(minor int) map[string]int64 {
		b := newBench(minor)
		b.zones()
		b.fill(counts)
		b.replicaSet("web", map[string]string{"app": "web"})
		return b.scores(t, selectorSpread, pod)
	}
	// a has 3 of at most 3, b 1; a1 2 of at most 2: 0; a2 (1/2)/3; b1 1/3 + 2/3*2/3 = 7/9; b2 (1/2)/3 + 4/9 = 11/18
	assert.Equal(t, map[string]int64{"a1": 0, "a2": 16, "b1": 77, "b2": 61}, scores(19))
	assert.Equal(t, map[string]int64{"a1": 0, "a2": 1, "b1": 7, "b2": 6}, scores(16), "0 to 10")

	b := newBench(19)
	b.zones()
	b.fill(counts)
	constrained := podOf("p", labelled("app", "web"), ownedBy("web"),
		spreads(1, corev1.LabelHostname, corev1.DoNotSchedule))
	b.replicaSet("web", map[string]string{"app": "web"})
	assert.Nil(t, b.scores(t, selectorSpread, constrained), "who has constraints of its own is left to them")
	assert.Equal(t, map[string]int64{"a1": 100, "a2": 100, "b1": 100, "b2": 100},
		b.scores(t, selectorSpread, podOf("alone")))
}

// Up to v1.13 a pod counts that any of Service and ReplicaSet selects, then one that all of them do.
func TestSelectorSpreadOfOneServiceOverTwoSets(t *testing.T) {
	scores := func(minor int) map[string]int64 {
		b := newBench(minor)
		b.node("x", nil)
		b.node("y", nil)
		service := &corev1.Service{}
		service.Spec.Selector = map[string]string{"app": "web"}
		b.services = []*corev1.Service{service}
		b.replicaSet("new", map[string]string{"app": "web", "hash": "new"})
		b.cache.AddPod(podOf("old", labelled("app", "web"), labelled("hash", "old"), runsOn("x")))
		return b.scores(t, selectorSpread,
			podOf("p", labelled("app", "web"), labelled("hash", "new"), ownedBy("new")))
	}
	assert.Equal(t, map[string]int64{"x": 0, "y": 10}, scores(13))
	assert.Equal(t, map[string]int64{"x": 10, "y": 10}, scores(14))
}

// v1.20 to v1.22: without zones the system's defaults score nothing.
func TestDefaultSpreadingWithoutZones(t *testing.T) {
	scores := func(minor int) map[string]int64 {
		b := newBench(minor)
		b.node("x", nil)
		b.node("y", nil)
		b.replicaSet("web", map[string]string{"app": "web"})
		b.cache.AddPod(podOf("there", labelled("app", "web"), runsOn("x")))
		return b.scores(t, podTopologySpread, podOf("p", labelled("app", "web"), ownedBy("web")))
	}
	assert.Equal(t, map[string]int64{"x": 0, "y": 0}, scores(22))
	// x: 1*ln(4) + 2 = 3.39, y: 2
	assert.Equal(t, map[string]int64{"x": 66, "y": 100}, scores(23))
	assert.Equal(t, map[string]int64{"x": 66, "y": 100}, scores(36))
}

func TestSoftConstraintsOfV118AreScoredByShare(t *testing.T) {
	scores := func(minor int) map[string]int64 {
		b := newBench(minor)
		b.zones()
		b.fill(map[string]int{"a1": 3, "b1": 1})
		return b.scores(t, podTopologySpread,
			podOf("p", labelled("app", "web"), spreads(1, corev1.LabelTopologyZone, corev1.ScheduleAnyway)))
	}
	// zone a has 3, b has 1, on each of their two nodes: 8 in all, at least 1
	assert.Equal(t, map[string]int64{"a1": 71, "a2": 71, "b1": 100, "b2": 100}, scores(18))
	// cut: 3 ln 4 = 4, 1 ln 4 = 1
	assert.Equal(t, map[string]int64{"a1": 25, "a2": 25, "b1": 100, "b2": 100}, scores(19))
}

func TestScoresOfResourcesThroughTheReleases(t *testing.T) {
	scores := func(minor int, plugin string, pod *corev1.Pod) int64 {
		b := newBench(minor)
		b.node("n", nil)
		b.cache.AddPod(podOf("there", asks("1", "1Gi"), runsOn("n")))
		return b.scores(t, plugin, pod)["n"]
	}
	pod := podOf("p", asks("1", "3Gi")) // 2 of 4 cores, 4 of 8 GiB
	assert.Equal(t, int64(5), scores(16, nodeResourcesFit, pod))
	assert.Equal(t, int64(50), scores(17, nodeResourcesFit, pod))
	lean := podOf("p", asks("2", "0")) // 3 of 4 cores, 1 of 8 GiB
	assert.Equal(t, int64(3), scores(16, balancedAllocation, lean), "10 times 1 - (6/8-1/8)")
	assert.Equal(t, int64(37), scores(21, balancedAllocation, lean))
	assert.Equal(t, int64(68), scores(22, balancedAllocation, lean), "half the distance")
	assert.Equal(t, int64(68), scores(35, balancedAllocation, lean))
	none := podOf("p")
	assert.Equal(t, int64(93), scores(22, balancedAllocation, none), "counts as 100m and 200 MiB")
	assert.Equal(t, int64(93), scores(32, balancedAllocation, none))
}

func TestAffinityScoresStartedFromZero(t *testing.T) {
	scores := func(minor int) map[string]int64 {
		b := newBench(minor)
		b.zones()
		b.cache.AddPod(podOf("db", labelled("app", "db"), runsOn("a1")))
		b.cache.AddPod(podOf("db2", labelled("app", "db"), runsOn("b1")))
		b.cache.AddPod(podOf("db3", labelled("app", "db"), runsOn("b1")))
		return b.scores(t, interPodAffinity, podOf("p", func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
					{Weight: 1, PodAffinityTerm: nearTo("db", corev1.LabelTopologyZone)[0]}}}}
		}))
	}
	assert.Equal(t, map[string]int64{"a1": 50, "a2": 50, "b1": 100, "b2": 100}, scores(20))
	assert.Equal(t, map[string]int64{"a1": 0, "a2": 0, "b1": 100, "b2": 100}, scores(21))
}

// What is said of a node that several things speak against, release by release.
func TestReasonsThroughTheReleases(t *testing.T) {
	tainted := func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "k", Value: "v", Effect: corev1.TaintEffectNoSchedule}}
	}
	small := func(n *corev1.Node) { n.Status.Allocatable[corev1.ResourceCPU] = quantity("1") }
	elsewhere := func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} }
	for _, tc := range []struct {
		minor int
		node  []func(*corev1.Node)
		pod   *corev1.Pod
		want  []string
		code  fwk.Code
	}{
		{16, []func(*corev1.Node){tainted, small}, podOf("p", asks("2", "1Gi"), elsewhere),
			[]string{"Insufficient cpu", "node(s) didn't match node selector"}, fwk.UnschedulableAndUnresolvable},
		{16, []func(*corev1.Node){tainted}, podOf("p"),
			[]string{"node(s) had taints that the pod didn't tolerate"}, fwk.UnschedulableAndUnresolvable},
		{17, []func(*corev1.Node){tainted, small}, podOf("p", asks("2", "1Gi"), elsewhere),
			[]string{"Insufficient cpu"}, fwk.Unschedulable},
		{18, []func(*corev1.Node){tainted}, podOf("p"),
			[]string{"node(s) had taint {k: v}, that the pod didn't tolerate"}, fwk.UnschedulableAndUnresolvable},
		{19, []func(*corev1.Node){tainted}, podOf("p", elsewhere),
			[]string{"node(s) didn't match node selector"}, fwk.UnschedulableAndUnresolvable},
		{20, []func(*corev1.Node){tainted, small}, podOf("p", asks("2", "1Gi"), elsewhere),
			[]string{"node(s) had taint {k: v}, that the pod didn't tolerate"}, fwk.UnschedulableAndUnresolvable},
		{20, nil, podOf("p", elsewhere),
			[]string{"node(s) didn't match Pod's node affinity"}, fwk.UnschedulableAndUnresolvable},
		{21, nil, podOf("p", elsewhere),
			[]string{"node(s) didn't match Pod's node affinity/selector"}, fwk.UnschedulableAndUnresolvable},
		{24, []func(*corev1.Node){tainted}, podOf("p"),
			[]string{"node(s) had untolerated taint {k: v}"}, fwk.UnschedulableAndUnresolvable},
		{34, []func(*corev1.Node){tainted}, podOf("p"),
			[]string{"node(s) had untolerated taint {k: v}"}, fwk.UnschedulableAndUnresolvable},
		{35, []func(*corev1.Node){tainted}, podOf("p"),
			[]string{"node(s) had untolerated taint(s)"}, fwk.UnschedulableAndUnresolvable},
		{20, nil, podOf("p", wants("db", corev1.LabelHostname)), []string{
			"node(s) didn't match pod affinity/anti-affinity", "node(s) didn't match pod affinity rules"},
			fwk.UnschedulableAndUnresolvable},
		{21, nil, podOf("p", wants("db", corev1.LabelHostname)), []string{
			"node(s) didn't match pod affinity/anti-affinity rules", "node(s) didn't match pod affinity rules"},
			fwk.UnschedulableAndUnresolvable},
		{22, nil, podOf("p", wants("db", corev1.LabelHostname)), []string{
			"node(s) didn't match pod affinity rules"}, fwk.UnschedulableAndUnresolvable},
		{18, nil, podOf("p", spreads(1, "rack", corev1.DoNotSchedule)),
			[]string{"node(s) didn't match pod topology spread constraints"}, fwk.Unschedulable},
		{19, nil, podOf("p", spreads(1, "rack", corev1.DoNotSchedule)),
			[]string{"node(s) didn't match pod topology spread constraints (missing required label)"},
			fwk.UnschedulableAndUnresolvable},
		{33, []func(*corev1.Node){small}, podOf("p", asks("2", "1Gi")), []string{"Insufficient cpu"}, fwk.Unschedulable},
		{34, []func(*corev1.Node){small}, podOf("p", asks("2", "1Gi")), []string{"Insufficient cpu"},
			fwk.UnschedulableAndUnresolvable},
	} {
		b := newBench(tc.minor)
		b.node("n", nil, tc.node...)
		reasons, code := b.filter(tc.pod, "n")
		assert.Equal(t, tc.want, reasons, "v1.%d", tc.minor)
		assert.Equal(t, tc.code, code, "v1.%d: %v", tc.minor, tc.want)
	}
}

// v1.11 has no taints for conditions: the scheduler looks at the conditions.
func TestV111LooksAtNodeConditions(t *testing.T) {
	lost := func(n *corev1.Node) {
		n.Spec.Unschedulable = true
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown},
			{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue}}
	}
	b := newBench(11)
	b.node("n", nil, lost)
	reasons, code := b.filter(podOf("p"), "n")
	assert.Equal(t, []string{"node(s) were not ready", "node(s) had unavailable network", "node(s) were unschedulable"},
		reasons)
	assert.Equal(t, fwk.UnschedulableAndUnresolvable, code)
	b = newBench(12)
	b.node("n", nil, lost)
	reasons, _ = b.filter(podOf("p"), "n")
	assert.Equal(t, []string{"node(s) were unschedulable"}, reasons)
}

// Two constraints on zones: of a web pod, and of app db. Together with the first or by itself, the second counts.
func TestConstraintsOfOneKeyThroughTheReleases(t *testing.T) {
	ofDatabases := func(c *corev1.TopologySpreadConstraint) {
		c.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
	}
	fits := func(minor, databases int) string {
		b := newBench(minor)
		b.zones()
		b.fill(map[string]int{"a1": 2})
		for i := range databases {
			b.cache.AddPod(podOf(fmt.Sprintf("db-%d", i), labelled("app", "db"), runsOn("b1")))
		}
		return b.fits(podOf("p", labelled("app", "web"),
			spreads(1, corev1.LabelTopologyZone, corev1.DoNotSchedule),
			spreads(5, corev1.LabelTopologyZone, corev1.DoNotSchedule, ofDatabases)))
	}
	assert.Equal(t, "b1 b2", fits(23, 0), "2 to 0")
	assert.Equal(t, "a1 a2 b1 b2", fits(24, 0), "the second counts, for both: 0 to 0")
	assert.Equal(t, "a1 a2", fits(23, 3), "2 to 3")
	assert.Equal(t, "a1 a2", fits(32, 3), "0 to 3")
	assert.Equal(t, "b1 b2", fits(33, 3), "2 to 0, and 0 to 3")

	scores := func(minor int) map[string]int64 {
		b := newBench(minor)
		b.zones()
		b.fill(map[string]int{"a1": 2})
		b.cache.AddPod(podOf("db", labelled("app", "db"), runsOn("b1")))
		return b.scores(t, podTopologySpread, podOf("p", labelled("app", "web"),
			spreads(1, corev1.LabelTopologyZone, corev1.ScheduleAnyway),
			spreads(1, corev1.LabelTopologyZone, corev1.ScheduleAnyway, ofDatabases)))
	}
	// a: 2 ln 4 + 2 ln 2 = 4.16, b: half of it
	assert.Equal(t, map[string]int64{"a1": 50, "a2": 50, "b1": 100, "b2": 100}, scores(32))
	// a: 2 ln 4 = 2.77, b: 1 ln 4 = 1.39
	assert.Equal(t, map[string]int64{"a1": 33, "a2": 33, "b1": 100, "b2": 100}, scores(33))
}

// Up to v1.23 nodes that the pod cannot take count for their domain, as soon as it can take one of it.
func TestNodesThatDoNotMatchCountedForTheirZone(t *testing.T) {
	for _, tc := range []struct {
		minor int
		fits  string
	}{{18, "a1"}, {19, "b1"}, {23, "b1"}, {24, "a1"}} {
		b := newBench(tc.minor)
		b.node("a1", map[string]string{corev1.LabelTopologyZone: "a", "disk": "ssd"})
		b.node("a2", zone("a"))
		b.node("b1", map[string]string{corev1.LabelTopologyZone: "b", "disk": "ssd"})
		b.node("b2", zone("b"))
		b.fill(map[string]int{"a2": 2, "b1": 1})
		assert.Equal(t, tc.fits, b.fits(podOf("p", labelled("app", "web"),
			spreads(1, corev1.LabelTopologyZone, corev1.DoNotSchedule),
			func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} })), "v1.%d", tc.minor)
	}
}

func TestImagesThroughTheReleases(t *testing.T) {
	containers := func(images ...string) (list []corev1.Container) {
		for _, image := range images {
			list = append(list, corev1.Container{Name: image, Image: image})
		}
		return list
	}
	score := func(minor int, pod *corev1.Pod) int64 {
		b := newBench(minor)
		b.node("a", nil, func(n *corev1.Node) {
			n.Status.Images = []corev1.ContainerImage{{Names: []string{"nginx:latest"}, SizeBytes: 900 << 20}}
		})
		b.node("b", nil)
		return b.scores(t, imageLocality, pod)["a"]
	}
	one := podOf("p", func(p *corev1.Pod) { p.Spec.Containers = containers("nginx") })
	assert.Equal(t, int64(9), score(11, one), "1 + 10*877/977: its whole size")
	assert.Equal(t, int64(4), score(12, one), "10*(450-23)/977: on one of two nodes")
	two := podOf("p", func(p *corev1.Pod) { p.Spec.Containers = containers("nginx", "nginx") })
	assert.Equal(t, int64(89), score(18, two), "877 of 977")
	assert.Equal(t, int64(44), score(19, two), "877 of 1977")
	initial := podOf("p", func(p *corev1.Pod) {
		p.Spec.InitContainers, p.Spec.Containers = containers("nginx"), containers("other")
	})
	assert.Equal(t, int64(0), score(29, initial))
	assert.Equal(t, int64(21), score(30, initial), "427 of 1977")
}
