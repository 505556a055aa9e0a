package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"ksim/sim/api"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

// Whatever happens to nodes and pods: a pod is never bound to a node that is cordoned, repels it or has no room at
// that instant, as the scheduler knew it; what counts on nodes is what is bound; and in the end nobody who fits is
// left over.
func TestNeverBindsWhereAFilterRefuses(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		minor := rapid.SampledFrom([]int{20, 24, 31, 32, 36}).Draw(r, "minor")
		w := newWorld(t, rapid.Uint64().Draw(r, "seed"), minor)
		defer w.kernel.Close()
		m := &machine{w: w, pods: 0}
		w.deciding = func(name string) { m.checkBinding(r, name) }
		r.Repeat(map[string]func(*rapid.T){
			"node":   m.changeNode,
			"pod":    m.addPod,
			"delete": m.deletePod,
			"wait": func(r *rapid.T) {
				w.run(time.Duration(rapid.IntRange(1, 5000).Draw(r, "milliseconds")) * time.Millisecond)
			},
			"": m.checkCache,
		})
		w.run(10 * time.Second)
		m.checkCache(r)
		w.run(7 * time.Minute) // nothing happens any more; the flush finds whoever was forgotten
		m.checkNobodyIsForgotten(r)
	})
}

type machine struct {
	w    *world
	pods int
}

func (m *machine) changeNode(r *rapid.T) {
	name := fmt.Sprintf("worker-%d", rapid.IntRange(1, 4).Draw(r, "node"))
	n := node(name, rapid.SampledFrom([]string{"a", "b"}).Draw(r, "zone"))
	switch rapid.IntRange(0, 3).Draw(r, "state") {
	case 1:
		cordoned(n)
	case 2:
		tainted("example.com/broken", corev1.TaintEffectNoExecute)(n)
	case 3:
		if old := m.w.server.Get(api.Nodes, "", name); old != nil {
			m.w.server.Remove(old)
		}
		return
	}
	m.w.put(n)
}

func (m *machine) addPod(r *rapid.T) {
	m.pods++
	p := pod(fmt.Sprintf("web-%d", m.pods), rapid.SampledFrom([]int64{0, 500, 1500, 3500}).Draw(r, "cpu"))
	switch rapid.IntRange(0, 4).Draw(r, "wish") {
	case 1:
		p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	case 2:
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: corev1.LabelHostname,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}}}
	case 3:
		p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 1,
			TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.DoNotSchedule,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	case 4:
		p.Spec.NodeSelector = map[string]string{corev1.LabelTopologyZone: "a"}
	}
	m.w.put(p)
}

func (m *machine) deletePod(r *rapid.T) {
	if m.pods == 0 {
		return
	}
	name := fmt.Sprintf("web-%d", rapid.IntRange(1, m.pods).Draw(r, "pod"))
	if p := m.w.pod(name); p != nil {
		m.w.server.Remove(p)
	}
}

// checkBinding runs at the instant of the decision.
func (m *machine) checkBinding(r *rapid.T, name string) {
	s := m.w.s
	p, _ := s.informers.pods.Named("default", name)
	on := s.cache.Node(s.cache.AssumedNode(p.UID))
	require.NotNil(r, on, "%s goes to a node that is not known", name)
	require.LessOrEqual(r, on.Requested.MilliCPU, on.Allocatable.MilliCPU, "%s does not fit on %s", name, on.Name())
	if len(p.Spec.Tolerations) > 0 {
		return
	}
	require.False(r, on.Node().Spec.Unschedulable, "%s goes to %s, which is cordoned", name, on.Name())
	_, repelled := fwk.FindUntoleratedTaint(on.Node().Spec.Taints, nil)
	require.False(r, repelled, "%s goes to %s, which repels it", name, on.Name())
}

// checkCache compares what counts on nodes with the pods, one by one.
func (m *machine) checkCache(r *rapid.T) {
	s := m.w.s
	counted := s.cache.CountPods("default", fwk.Selector{Text: "app=web",
		Match: func(l map[string]string) bool { return l["app"] == "web" }})
	for _, n := range s.cache.Nodes() {
		milliCPU := int64(0)
		for _, p := range n.Pods {
			milliCPU += p.Requests.MilliCPU
		}
		require.Equal(r, milliCPU, n.Requested.MilliCPU, "%s", n.Name())
		require.Equal(r, len(n.Pods), int(counted[n.Slot]), "the table of %s", n.Name())
	}
}

func (m *machine) checkNobodyIsForgotten(r *rapid.T) {
	s := m.w.s
	for _, obj := range m.w.server.List(api.Pods) {
		p := obj.(*corev1.Pod)
		if p.Spec.NodeName != "" {
			continue
		}
		require.True(r, s.queue.Holds(p.UID), "%s is in no queue", p.Name)
		state := &fwk.CycleState{}
		info := fwk.NewPodInfo(p, s.features)
		if _, _, status := s.framework.RunPreFilterPlugins(state, info); status != nil {
			continue
		}
		for _, n := range s.cache.Nodes() {
			require.NotNil(r, s.framework.RunFilterPlugins(state, info, n), "%s fits on %s and waits", p.Name, n.Name())
		}
	}
}
