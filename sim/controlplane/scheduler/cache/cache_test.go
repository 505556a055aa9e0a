package cache

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"ksim/sim/api"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

func node(name, zone string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}
	return n
}

func pod(name, node, app string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name),
		Labels: map[string]string{"app": app}}}
	p.Spec.NodeName = node
	p.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}}}}
	return p
}

func names(c *Cache) (list []string) {
	for _, n := range c.Nodes() {
		list = append(list, n.Name())
	}
	return list
}

func TestZonesTakeTurns(t *testing.T) {
	c := New(fwk.FeaturesOf(api.ReleaseOf(36)))
	for _, n := range [][2]string{{"a1", "a"}, {"a2", "a"}, {"a3", "a"}, {"b1", "b"}, {"c1", "c"}, {"c2", "c"}} {
		c.AddNode(node(n[0], n[1]))
	}
	assert.Equal(t, []string{"a1", "b1", "c1", "a2", "c2", "a3"}, names(c))
	c.RemoveNode(node("b1", "b"))
	c.AddNode(node("a2", "c")) // it moves
	assert.Equal(t, []string{"a1", "c1", "a3", "c2", "a2"}, names(c))
}

func TestAssumedPodCountsUntilForgottenOrSeen(t *testing.T) {
	c := New(fwk.FeaturesOf(api.ReleaseOf(36)))
	c.AddNode(node("n1", "a"))
	c.AddNode(node("n2", "a"))
	unbound := pod("p", "", "web")
	info := fwk.NewPodInfo(unbound, c.features)
	c.AssumePod(info, "n1")
	assert.True(t, c.IsAssumed("p"))
	assert.Equal(t, int64(100), c.Node("n1").Requested.MilliCPU)
	c.ForgetPod("p")
	assert.Zero(t, c.Node("n1").Requested.MilliCPU)
	c.AssumePod(info, "n1")
	c.AddPod(pod("p", "n1", "web"))
	assert.False(t, c.IsAssumed("p"))
	c.ForgetPod("p") // too late
	assert.Equal(t, int64(100), c.Node("n1").Requested.MilliCPU)
	c.RemovePod("p")
	c.AssumePod(info, "n1")
	c.AddPod(pod("p", "n2", "web")) // somebody else bound it
	assert.Zero(t, c.Node("n1").Requested.MilliCPU)
	assert.Equal(t, int64(100), c.Node("n2").Requested.MilliCPU)
}

func TestPodsMayComeBeforeTheirNode(t *testing.T) {
	c := New(fwk.FeaturesOf(api.ReleaseOf(36)))
	c.AddPod(pod("p", "n1", "web"))
	assert.Empty(t, c.Nodes())
	assert.Nil(t, c.Node("n1"))
	c.AddNode(node("n1", "a"))
	assert.Equal(t, int64(100), c.Node("n1").Requested.MilliCPU)
	c.RemoveNode(node("n1", "a"))
	assert.Empty(t, c.Nodes())
	c.RemovePod("p")
	assert.Empty(t, c.nodes)
}

// The tables of counted pods are those of a count from scratch, whatever comes, changes and goes.
func TestCountersAgreeWithACount(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := New(fwk.FeaturesOf(api.ReleaseOf(36)))
		selector := func(app string) fwk.Selector {
			return fwk.Selector{Text: "app=" + app, Match: func(l map[string]string) bool { return l["app"] == app }}
		}
		pods := map[string]*corev1.Pod{}
		nodeName := func(r *rapid.T) string { return fmt.Sprintf("n%d", rapid.IntRange(1, 3).Draw(r, "node")) }
		r.Repeat(map[string]func(*rapid.T){
			"node":   func(r *rapid.T) { c.AddNode(node(nodeName(r), rapid.SampledFrom([]string{"a", "b"}).Draw(r, "zone"))) },
			"remove": func(r *rapid.T) { c.RemoveNode(node(nodeName(r), "")) },
			"ask": func(r *rapid.T) {
				c.CountPods("default", selector(rapid.SampledFrom([]string{"web", "db"}).Draw(r, "app")))
			},
			"pod": func(r *rapid.T) {
				name := fmt.Sprintf("p%d", rapid.IntRange(1, 6).Draw(r, "pod"))
				on := nodeName(r)
				if old := pods[name]; old != nil {
					on = old.Spec.NodeName
				}
				p := pod(name, on, rapid.SampledFrom([]string{"web", "db"}).Draw(r, "app"))
				if rapid.Bool().Draw(r, "terminating") {
					p.DeletionTimestamp = &metav1.Time{}
				}
				pods[name] = p
				c.AddPod(p)
			},
			"delete": func(r *rapid.T) {
				name := fmt.Sprintf("p%d", rapid.IntRange(1, 6).Draw(r, "pod"))
				delete(pods, name)
				c.RemovePod(types.UID(name))
			},
			"": func(r *rapid.T) {
				for _, app := range []string{"web", "db"} {
					table := c.CountPods("default", selector(app))
					for _, n := range c.Nodes() {
						want := 0
						for _, p := range pods { // any order: a count
							if p.Spec.NodeName == n.Name() && p.Labels["app"] == app && p.DeletionTimestamp == nil {
								want++
							}
						}
						require.Equal(r, want, int(table[n.Slot]), "%s on %s", app, n.Name())
					}
				}
			},
		})
	})
}
