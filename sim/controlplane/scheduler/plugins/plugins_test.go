package plugins

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim/api"
	"ksim/sim/controlplane/scheduler/cache"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

// bench is a framework with the default plugins over a cache that tests fill.
type bench struct {
	*fwk.Framework
	cache    *cache.Cache
	features *fwk.Features
	services []*corev1.Service
	sets     map[string]*appsv1.ReplicaSet
	spaces   []*corev1.Namespace
}

func newBench(minor int) *bench {
	b := &bench{features: fwk.FeaturesOf(api.ReleaseOf(minor)), sets: map[string]*appsv1.ReplicaSet{}}
	b.cache = cache.New(b.features)
	random := rand.New(rand.NewPCG(1, 2))
	b.Framework = fwk.New(b.cache, &fwk.Listers{
		Services:   func(string) []*corev1.Service { return b.services },
		ReplicaSet: func(_, name string) *appsv1.ReplicaSet { return b.sets[name] },
		Namespaces: func() []*corev1.Namespace { return b.spaces },
		Namespace: func(name string) *corev1.Namespace {
			for _, n := range b.spaces {
				if n.Name == name {
					return n
				}
			}
			return nil
		},
		PersistentVolumeClaim: func(string, string) *corev1.PersistentVolumeClaim { return nil },
		NominatedPodsOnNode:   func(string) []*fwk.PodInfo { return nil },
		Preempting:            func(*corev1.Pod) bool { return false },
		RandomBelow:           random.IntN,
		Now:                   func() int64 { return 0 },
	})
	b.Use(Default(b.Framework, b.features)...)
	return b
}

func quantity(text string) resource.Quantity { return resource.MustParse(text) }

func (b *bench) node(name string, labels map[string]string, change ...func(*corev1.Node)) *fwk.NodeInfo {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	for key, value := range labels { // any order: a copy
		n.Labels[key] = value
	}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: quantity("4"), corev1.ResourceMemory: quantity("8Gi"),
		corev1.ResourcePods: quantity("10")}
	for _, fn := range change {
		fn(n)
	}
	b.cache.AddNode(n)
	return b.cache.Node(name)
}

func zone(name string) map[string]string { return map[string]string{corev1.LabelTopologyZone: name} }

func podOf(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "nginx"}}
	for _, fn := range change {
		fn(p)
	}
	return p
}

func asks(cpu, memory string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: quantity(cpu),
			corev1.ResourceMemory: quantity(memory)}
	}
}

func labelled(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[key] = value
	}
}

func runsOn(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }

// filter returns the reasons by which a pod is refused on a node, nil if it is not.
func (b *bench) filter(p *corev1.Pod, node string) (reasons []string, code fwk.Code) {
	state, info := &fwk.CycleState{}, fwk.NewPodInfo(p, b.features)
	if _, _, s := b.RunPreFilterPlugins(state, info); s != nil {
		return s.Reasons, s.Code
	}
	if s := b.RunFilterPlugins(state, info, b.cache.Node(node)); s != nil {
		return s.Reasons, s.Code
	}
	return nil, fwk.Success
}

// scores returns the normalised scores of one plugin by node.
func (b *bench) scores(t *testing.T, plugin string, p *corev1.Pod) map[string]int64 {
	for _, w := range Default(b.Framework, b.features) {
		if w.Name() != plugin {
			continue
		}
		state, info := &fwk.CycleState{}, fwk.NewPodInfo(p, b.features)
		nodes := b.cache.Nodes()
		if pre, ok := w.Plugin.(fwk.PreScorePlugin); ok && fwk.CodeOf(pre.PreScore(state, info, nodes)) == fwk.Skip {
			return nil
		}
		scores := make([]int64, len(nodes))
		for i, node := range nodes {
			scores[i] = w.Plugin.(fwk.ScorePlugin).Score(state, info, node)
		}
		if ext, ok := w.Plugin.(fwk.ScoreExtensions); ok {
			ext.NormalizeScore(state, nodes, scores)
		}
		byName := map[string]int64{}
		for i, node := range nodes {
			byName[node.Name()] = scores[i]
			require.True(t, 0 <= scores[i] && scores[i] <= fwk.MaxNodeScore, "%s scores %d", plugin, scores[i])
		}
		return byName
	}
	t.Fatalf("no plugin %s", plugin)
	return nil
}

func TestNodeFilters(t *testing.T) {
	taint := func(key, value string, effect corev1.TaintEffect) func(*corev1.Node) {
		return func(n *corev1.Node) {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
		}
	}
	tolerates := func(ts ...corev1.Toleration) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Tolerations = ts }
	}
	cordoned := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	hostPort := func(ip string, port int32) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostIP: ip, HostPort: port}}
		}
	}
	affinity := func(terms ...corev1.NodeSelectorTerm) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms}}}
		}
	}
	expression := func(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: key, Operator: op, Values: values}}}
	}
	const repelled, unmatched = "node(s) had untolerated taint(s)", "node(s) didn't match Pod's node affinity/selector"
	for _, tc := range []struct {
		name  string
		node  func(*corev1.Node)
		there *corev1.Pod
		pod   *corev1.Pod
		want  []string
		code  fwk.Code
	}{
		{name: "nothing special", pod: podOf("p")},
		{name: "cordoned", node: cordoned, pod: podOf("p"), want: []string{"node(s) were unschedulable"},
			code: fwk.UnschedulableAndUnresolvable},
		{name: "cordoned, tolerated as a DaemonSet's pod does", node: cordoned, pod: podOf("p", tolerates(
			corev1.Toleration{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists,
				Effect: corev1.TaintEffectNoSchedule}))},
		{name: "NoSchedule", node: taint("a", "b", corev1.TaintEffectNoSchedule), pod: podOf("p"), want: []string{repelled},
			code: fwk.UnschedulableAndUnresolvable},
		{name: "NoExecute", node: taint("a", "b", corev1.TaintEffectNoExecute), pod: podOf("p"), want: []string{repelled},
			code: fwk.UnschedulableAndUnresolvable},
		{name: "PreferNoSchedule keeps nobody off", node: taint("a", "b", corev1.TaintEffectPreferNoSchedule),
			pod: podOf("p")},
		{name: "the right value is tolerated", node: taint("a", "b", corev1.TaintEffectNoSchedule),
			pod: podOf("p", tolerates(corev1.Toleration{Key: "a", Value: "b"}))},
		{name: "another value is not", node: taint("a", "b", corev1.TaintEffectNoSchedule),
			pod: podOf("p", tolerates(corev1.Toleration{Key: "a", Value: "c"})), want: []string{repelled},
			code: fwk.UnschedulableAndUnresolvable},
		{name: "another effect is not", node: taint("a", "b", corev1.TaintEffectNoSchedule), pod: podOf("p", tolerates(
			corev1.Toleration{Key: "a", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute})),
			want: []string{repelled}, code: fwk.UnschedulableAndUnresolvable},
		{name: "everything is tolerated", node: taint("a", "b", corev1.TaintEffectNoSchedule),
			pod: podOf("p", tolerates(corev1.Toleration{Operator: corev1.TolerationOpExists}))},
		{name: "a selector", pod: podOf("p", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} })},
		{name: "a selector that does not match", want: []string{unmatched}, code: fwk.UnschedulableAndUnresolvable,
			pod: podOf("p", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "hdd"} })},
		{name: "terms are alternatives", pod: podOf("p", affinity(expression("disk", corev1.NodeSelectorOpIn, "hdd"),
			expression("disk", corev1.NodeSelectorOpExists)))},
		{name: "greater than", pod: podOf("p", affinity(expression("cores", corev1.NodeSelectorOpGt, "7")))},
		{name: "not greater than", pod: podOf("p", affinity(expression("cores", corev1.NodeSelectorOpGt, "8"))),
			want: []string{unmatched}, code: fwk.UnschedulableAndUnresolvable},
		{name: "an empty term matches nothing", pod: podOf("p", affinity(corev1.NodeSelectorTerm{})),
			want: []string{unmatched}, code: fwk.UnschedulableAndUnresolvable},
		{name: "the node by its name", pod: podOf("p", affinity(corev1.NodeSelectorTerm{
			MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn,
				Values: []string{"n"}}}}))},
		{name: "another node by its name", pod: podOf("p", runsOn("other")),
			want: []string{"node(s) didn't match the requested node name"}, code: fwk.UnschedulableAndUnresolvable},
		{name: "a port that is taken", there: podOf("q", hostPort("", 80)), pod: podOf("p", hostPort("10.0.0.1", 80)),
			want: []string{"node(s) didn't have free ports for the requested pod ports"}, code: fwk.Unschedulable},
		{name: "the port of another address", there: podOf("q", hostPort("10.0.0.2", 80)),
			pod: podOf("p", hostPort("10.0.0.1", 80))},
		{name: "no room", there: podOf("q", asks("3", "1Gi")), pod: podOf("p", asks("2", "7.5Gi")),
			want: []string{"Insufficient cpu", "Insufficient memory"}, code: fwk.Unschedulable},
		{name: "never room", pod: podOf("p", asks("5", "1Gi")), want: []string{"Insufficient cpu"},
			code: fwk.UnschedulableAndUnresolvable},
		{name: "exactly room", there: podOf("q", asks("3", "1Gi")), pod: podOf("p", asks("1", "7Gi"))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(36)
			var change []func(*corev1.Node)
			if tc.node != nil {
				change = append(change, tc.node)
			}
			b.node("n", map[string]string{"disk": "ssd", "cores": "8"}, change...)
			if tc.there != nil {
				tc.there.Spec.NodeName = "n"
				b.cache.AddPod(tc.there)
			}
			reasons, code := b.filter(tc.pod, "n")
			assert.Equal(t, tc.want, reasons)
			assert.Equal(t, tc.code, code)
		})
	}
}

func TestTooManyPods(t *testing.T) {
	b := newBench(36)
	b.node("n", nil, func(n *corev1.Node) { n.Status.Allocatable[corev1.ResourcePods] = quantity("1") })
	b.cache.AddPod(podOf("q", runsOn("n")))
	reasons, _ := b.filter(podOf("p"), "n")
	assert.Equal(t, []string{"Too many pods"}, reasons)
}

// What a pod asks for: its containers together or its largest init container, with the sidecars that run by then.
func TestPodRequests(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	cpu := func(n string) corev1.Container {
		return corev1.Container{Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: quantity(n)}}}
	}
	sidecar := func(n string) corev1.Container {
		c := cpu(n)
		c.RestartPolicy = &always
		return c
	}
	for _, tc := range []struct {
		init, run []corev1.Container
		want      int64
	}{
		{nil, []corev1.Container{cpu("1"), cpu("500m")}, 1500},
		{[]corev1.Container{cpu("2"), cpu("1")}, []corev1.Container{cpu("1")}, 2000},
		{[]corev1.Container{sidecar("1"), cpu("2")}, []corev1.Container{cpu("1")}, 3000},
		{[]corev1.Container{cpu("2"), sidecar("1")}, []corev1.Container{cpu("1500m")}, 2500},
	} {
		spec := &corev1.PodSpec{InitContainers: tc.init, Containers: tc.run}
		r := fwk.PodRequests(spec, fwk.FeaturesOf(api.ReleaseOf(36)), false)
		assert.Equal(t, tc.want, r.MilliCPU)
	}
	r := fwk.PodRequests(&corev1.PodSpec{Containers: []corev1.Container{{}, cpu("1")}},
		fwk.FeaturesOf(api.ReleaseOf(36)), true)
	assert.Equal(t, int64(1100), r.MilliCPU, "a container that asks for no CPU counts as 100m")
	assert.Equal(t, int64(400<<20), r.Memory)
}

// The scores of upstream's tests (noderesources/least_allocated_test.go, balanced_allocation_test.go).
func TestResourceScores(t *testing.T) {
	b := newBench(36)
	machine := func(cpu, memory string) func(*corev1.Node) {
		return func(n *corev1.Node) {
			n.Status.Allocatable[corev1.ResourceCPU] = quantity(cpu)
			n.Status.Allocatable[corev1.ResourceMemory] = quantity(memory)
		}
	}
	b.node("small", nil, machine("4", "10000"))
	b.node("big", nil, machine("6", "10000"))
	pod := podOf("p", asks("3", "5000"))
	// small: cpu (4000-3000)*100/4000 = 25, memory 50; big: cpu 50, memory 50
	assert.Equal(t, map[string]int64{"small": 37, "big": 50}, b.scores(t, nodeResourcesFit, pod))
	// small: |0.75-0.5|/2 = 0.125 -> 87; without 100: 50 + (50+87-100)/2; big: balanced before and after
	assert.Equal(t, map[string]int64{"small": 68, "big": 75}, b.scores(t, balancedAllocation, pod))
	assert.Nil(t, b.scores(t, balancedAllocation, podOf("p")), "best effort")

	old := newBench(31)
	old.node("small", nil, machine("4", "10000"))
	old.node("big", nil, machine("6", "10000"))
	assert.Equal(t, map[string]int64{"small": 87, "big": 100}, old.scores(t, balancedAllocation, pod))
}

func TestPreferences(t *testing.T) {
	b := newBench(36)
	b.node("a", map[string]string{"disk": "ssd"})
	b.node("b", map[string]string{"zone": "x"})
	b.node("c", nil, func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectPreferNoSchedule}}
		n.Status.Images = []corev1.ContainerImage{{Names: []string{"nginx:latest"}, SizeBytes: 1500 << 20}}
	})
	prefer := func(key string, weight int32) corev1.PreferredSchedulingTerm {
		return corev1.PreferredSchedulingTerm{Weight: weight, Preference: corev1.NodeSelectorTerm{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpExists}}}}
	}
	p := podOf("p", func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{prefer("disk", 4),
				prefer("zone", 1)}}}
	})
	assert.Equal(t, map[string]int64{"a": 100, "b": 25, "c": 0}, b.scores(t, nodeAffinity, p))
	assert.Equal(t, map[string]int64{"a": 100, "b": 100, "c": 0}, b.scores(t, taintToleration, p))
	// 1500 MiB on one of three nodes counts as 500 MiB: (500-23)/(1000-23)
	assert.Equal(t, map[string]int64{"a": 0, "b": 0, "c": 48}, b.scores(t, imageLocality, p))
}
