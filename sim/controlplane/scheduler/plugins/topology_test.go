package plugins

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// fill puts pods of app web on nodes, as many as the map says.
func (b *bench) fill(counts map[string]int) {
	for name, n := range counts { // any order: names do not depend on it
		for i := range n {
			b.cache.AddPod(podOf(fmt.Sprintf("%s-%d", name, i), labelled("app", "web"), runsOn(name)))
		}
	}
}

func (b *bench) zones() {
	b.node("a1", zone("a"))
	b.node("a2", zone("a"))
	b.node("b1", zone("b"))
	b.node("b2", zone("b"))
}

func spreads(maxSkew int32, key string, when corev1.UnsatisfiableConstraintAction,
	change ...func(*corev1.TopologySpreadConstraint)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := corev1.TopologySpreadConstraint{MaxSkew: maxSkew, TopologyKey: key, WhenUnsatisfiable: when,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}
		for _, fn := range change {
			fn(&c)
		}
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, c)
	}
}

// Upstream's pictures (podtopologyspread/filtering_test.go): how many matching pods each node has, and where one more
// may go.
func TestSpreadConstraintsFilter(t *testing.T) {
	three := int32(3)
	for _, tc := range []struct {
		name   string
		counts map[string]int
		pod    *corev1.Pod
		fits   string
	}{
		{"zones 3 to 3", map[string]int{"a1": 2, "a2": 1, "b2": 3},
			podOf("p", labelled("app", "web"), spreads(1, corev1.LabelTopologyZone, corev1.DoNotSchedule)), "a1 a2 b1 b2"},
		{"zones 3 to 2", map[string]int{"a1": 2, "a2": 1, "b2": 2},
			podOf("p", labelled("app", "web"), spreads(1, corev1.LabelTopologyZone, corev1.DoNotSchedule)), "b1 b2"},
		{"nodes 2, 1, 0, 3", map[string]int{"a1": 2, "a2": 1, "b2": 3},
			podOf("p", labelled("app", "web"), spreads(1, corev1.LabelHostname, corev1.DoNotSchedule)), "b1"},
		{"nodes with skew 2", map[string]int{"a1": 2, "a2": 1, "b2": 3},
			podOf("p", labelled("app", "web"), spreads(2, corev1.LabelHostname, corev1.DoNotSchedule)), "a2 b1"},
		{"a pod that does not count itself", map[string]int{"a1": 1},
			podOf("p", spreads(1, corev1.LabelHostname, corev1.DoNotSchedule)), "a1 a2 b1 b2"},
		{"zone and node together", map[string]int{"a1": 1, "b1": 1, "b2": 1}, podOf("p", labelled("app", "web"),
			spreads(1, corev1.LabelTopologyZone, corev1.DoNotSchedule),
			spreads(1, corev1.LabelHostname, corev1.DoNotSchedule)), "a2"},
		{"too few domains", map[string]int{"a1": 1, "b1": 1}, podOf("p", labelled("app", "web"),
			spreads(1, corev1.LabelTopologyZone, corev1.DoNotSchedule,
				func(c *corev1.TopologySpreadConstraint) { c.MinDomains = &three })), ""},
		{"soft ones refuse nobody", map[string]int{"a1": 5},
			podOf("p", labelled("app", "web"), spreads(1, corev1.LabelHostname, corev1.ScheduleAnyway)), "a1 a2 b1 b2"},
		{"a label that no node has", nil, podOf("p", spreads(1, "rack", corev1.DoNotSchedule)), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(36)
			b.zones()
			b.fill(tc.counts)
			assert.Equal(t, tc.fits, b.fits(tc.pod))
		})
	}
}

// fits returns the nodes that take a pod, by name.
func (b *bench) fits(p *corev1.Pod) string {
	text := ""
	for _, name := range []string{"a1", "a2", "b1", "b2"} {
		if reasons, _ := b.filter(p, name); reasons == nil {
			if text != "" {
				text += " "
			}
			text += name
		}
	}
	return text
}

func TestCordonedNodesCountUnlessTaintsAreHonoured(t *testing.T) {
	honor := corev1.NodeInclusionPolicyHonor
	repelling := func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}} }
	for _, tc := range []struct {
		minor  int
		policy *corev1.NodeInclusionPolicy
		fits   bool
	}{{36, nil, false}, {36, &honor, true}, {24, &honor, false}} {
		b := newBench(tc.minor)
		b.node("a1", zone("a"))
		b.node("b1", zone("b"), repelling)
		b.fill(map[string]int{"a1": 1})
		reasons, _ := b.filter(podOf("p", labelled("app", "web"), spreads(1, corev1.LabelTopologyZone, corev1.DoNotSchedule,
			func(c *corev1.TopologySpreadConstraint) { c.NodeTaintsPolicy = tc.policy })), "a1")
		assert.Equal(t, tc.fits, reasons == nil, "v1.%d", tc.minor)
	}
}

// Terminating pods do not count: their replacement may take their place's domain.
func TestTerminatingPodsDoNotCount(t *testing.T) {
	b := newBench(36)
	b.zones()
	b.fill(map[string]int{"a1": 1, "b1": 1, "b2": 1, "a2": 1})
	p := podOf("p", labelled("app", "web"), spreads(1, corev1.LabelHostname, corev1.DoNotSchedule))
	assert.Equal(t, "a1 a2 b1 b2", b.fits(p))
	going := podOf("a1-0", labelled("app", "web"), runsOn("a1"))
	now := metav1.Now()
	going.DeletionTimestamp = &now
	b.cache.UpdatePod(going)
	assert.Equal(t, "a1", b.fits(p))
}

// The system's default constraints score pods that belong to something; by upstream's arithmetic in floating point.
func TestSystemDefaultSpreading(t *testing.T) {
	yes := true
	owned := podOf("p", labelled("app", "web"), func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web",
			Controller: &yes}}
	})
	counts := map[string]int{"a1": 2, "a2": 1, "b1": 0, "b2": 1}
	b := newBench(36)
	b.zones()
	b.fill(counts)
	assert.Nil(t, b.scores(t, podTopologySpread, owned), "its ReplicaSet is not known")
	rs := &appsv1.ReplicaSet{}
	rs.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	b.sets["web"] = rs

	raw, zones := map[string]float64{}, map[string]int{"a": 3, "b": 1}
	lowest, highest := math.Inf(1), 0.0
	for name, n := range counts { // any order: by name
		raw[name] = math.Round(float64(n)*math.Log(4+2) + 2 + float64(zones[name[:1]])*math.Log(2+2) + 4)
		lowest, highest = min(lowest, raw[name]), max(highest, raw[name])
	}
	want := map[string]int64{}
	for name, score := range raw { // any order: by name
		want[name] = int64(100*(highest+lowest-score)) / int64(highest)
	}
	assert.Equal(t, want, b.scores(t, podTopologySpread, owned))

	b.sets = map[string]*appsv1.ReplicaSet{}
	service := &corev1.Service{}
	service.Spec.Selector = map[string]string{"app": "web"}
	b.services = []*corev1.Service{service}
	assert.Equal(t, want, b.scores(t, podTopologySpread, podOf("q", labelled("app", "web"))), "a Service's pod")
	assert.Nil(t, b.scores(t, podTopologySpread, podOf("q", labelled("app", "other"))))

	old := newBench(19)
	old.zones()
	old.services = b.services
	assert.Nil(t, old.scores(t, podTopologySpread, podOf("q", labelled("app", "web"))), "not before v1.20")
}

func TestNaturalLogarithm(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 4, 5, 7, 10, 100, 1000, 5002, 150_002} {
		assert.InDelta(t, math.Log(float64(n)), float64(naturalLogarithm(n))/(1<<32), 1e-8, "ln %d", n)
	}
}

func nearTo(app, key string) []corev1.PodAffinityTerm {
	return []corev1.PodAffinityTerm{{TopologyKey: key,
		LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}}}
}

func wants(app, key string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: nearTo(app, key)}}
	}
}

func refuses(app, key string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: nearTo(app, key)}}
	}
}

func TestInterPodAffinityFilter(t *testing.T) {
	for _, tc := range []struct {
		name  string
		there []*corev1.Pod
		pod   *corev1.Pod
		fits  string
		why   string
	}{
		{"near, by zone", []*corev1.Pod{podOf("db", labelled("app", "db"), runsOn("a1"))},
			podOf("p", wants("db", corev1.LabelTopologyZone)), "a1 a2", "node(s) didn't match pod affinity rules"},
		{"nobody to be near to", nil, podOf("p", wants("db", corev1.LabelTopologyZone)), "",
			"node(s) didn't match pod affinity rules"},
		{"the first of its kind may go anywhere", nil,
			podOf("p", labelled("app", "db"), wants("db", corev1.LabelTopologyZone)), "a1 a2 b1 b2", ""},
		{"away from its kind", []*corev1.Pod{podOf("q", labelled("app", "web"), runsOn("b1"))},
			podOf("p", labelled("app", "web"), refuses("web", corev1.LabelHostname)), "a1 a2 b2",
			"node(s) didn't match pod anti-affinity rules"},
		{"refused by those that are there", []*corev1.Pod{
			podOf("q", labelled("app", "lonely"), refuses("web", corev1.LabelTopologyZone), runsOn("b1"))},
			podOf("p", labelled("app", "web")), "a1 a2", "node(s) didn't satisfy existing pods anti-affinity rules"},
		{"those of another namespace do not matter", []*corev1.Pod{podOf("q", labelled("app", "web"), runsOn("b1"),
			func(p *corev1.Pod) { p.Namespace = "other" })},
			podOf("p", labelled("app", "web"), refuses("web", corev1.LabelHostname)), "a1 a2 b1 b2", ""},
		{"unless the term says so", []*corev1.Pod{podOf("q", labelled("app", "web"), runsOn("b1"),
			func(p *corev1.Pod) { p.Namespace = "other" })},
			podOf("p", labelled("app", "web"), refuses("web", corev1.LabelHostname), func(p *corev1.Pod) {
				p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].NamespaceSelector =
					&metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}
			}), "a1 a2 b2", "node(s) didn't match pod anti-affinity rules"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(36)
			b.zones()
			b.spaces = []*corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
				{ObjectMeta: metav1.ObjectMeta{Name: "other", Labels: map[string]string{"team": "x"}}}}
			for _, p := range tc.there {
				b.cache.AddPod(p)
			}
			assert.Equal(t, tc.fits, b.fits(tc.pod))
			if tc.why != "" {
				reasons, _ := b.filter(tc.pod, map[bool]string{true: "b1", false: "a1"}[tc.fits != ""])
				assert.Equal(t, []string{tc.why}, reasons)
			}
		})
	}
}

func TestInterPodAffinityScore(t *testing.T) {
	b := newBench(36)
	b.zones()
	b.cache.AddPod(podOf("db", labelled("app", "db"), runsOn("a1")))
	b.cache.AddPod(podOf("cache", labelled("app", "cache"), runsOn("b2")))
	prefers := func(weight int32, app, key string) []corev1.WeightedPodAffinityTerm {
		return []corev1.WeightedPodAffinityTerm{{Weight: weight, PodAffinityTerm: nearTo(app, key)[0]}}
	}
	p := podOf("p", func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{
			PodAffinity: &corev1.PodAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: prefers(10, "db", corev1.LabelTopologyZone)},
			PodAntiAffinity: &corev1.PodAntiAffinity{
				PreferredDuringSchedulingIgnoredDuringExecution: prefers(10, "cache", corev1.LabelHostname)}}
	})
	assert.Equal(t, map[string]int64{"a1": 100, "a2": 100, "b1": 50, "b2": 0}, b.scores(t, interPodAffinity, p))
	assert.Nil(t, b.scores(t, interPodAffinity, podOf("q")), "nobody prefers anything")

	b.cache.AddPod(podOf("fan", labelled("app", "fan"), wants("star", corev1.LabelHostname), runsOn("b1")))
	assert.Equal(t, map[string]int64{"a1": 0, "a2": 0, "b1": 100, "b2": 0},
		b.scores(t, interPodAffinity, podOf("star", labelled("app", "star"))), "a fan is pleased")
}

func TestWeightsOfReleases(t *testing.T) {
	weights := func(minor int) map[string]int64 {
		b, of := newBench(minor), map[string]int64{}
		for _, w := range Default(b.Framework, b.features) {
			if _, scores := w.Plugin.(fwk.ScorePlugin); scores {
				of[w.Name()] = w.Weight
			}
		}
		return of
	}
	assert.Equal(t, map[string]int64{taintToleration: 3, nodeAffinity: 2, nodeResourcesFit: 1, podTopologySpread: 2,
		interPodAffinity: 2, balancedAllocation: 1, imageLocality: 1}, weights(36))
	assert.Equal(t, map[string]int64{taintToleration: 1, nodeAffinity: 1, nodeResourcesFit: 1, podTopologySpread: 2,
		interPodAffinity: 1, balancedAllocation: 1, imageLocality: 1}, weights(22))
}
