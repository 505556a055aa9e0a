package plugins

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// SelectorSpread prefers nodes, and twice as much zones, with few pods of the same Services and controllers.
//
// Models kube-scheduler's SelectorSpread plugin (pkg/scheduler/framework/plugins/selectorspread, v1.19), before that
// SelectorSpreadPriority (pkg/scheduler/algorithm/priorities/selector_spreading.go, v1.11 to v1.17); spread constraints
// of the system have come in its place.
type SelectorSpread struct {
	fwk.Handle
	listers  *fwk.Listers
	features *fwk.Features
}

func newSelectorSpread(fw *fwk.Framework, f *fwk.Features) *SelectorSpread {
	return &SelectorSpread{Handle: fw.Handle, listers: fw.Listers, features: f}
}

// Name implements fwk.Plugin.
func (pl *SelectorSpread) Name() string { return selectorSpread }

// selectorSpreadState is how many pods each node has that the same selectors select, by NodeInfo.Slot.
type selectorSpreadState struct{ counts []int32 }

// Clone implements fwk.StateData.
func (s *selectorSpreadState) Clone() fwk.StateData { return s }

var skipSelectorSpread = fwk.NewStatus(fwk.Skip, selectorSpread)

// PreScore counts the pods.
func (pl *SelectorSpread) PreScore(state *fwk.CycleState, pod *fwk.PodInfo, _ []*fwk.NodeInfo) *fwk.Status {
	if len(pod.Pod.Spec.TopologySpreadConstraints) > 0 {
		return skipSelectorSpread
	}
	counts := pl.CountPods(pod.Pod.Namespace, pl.selector(pod.Pod))
	state.Write(fwk.SelectorSpreadScore, &selectorSpreadState{counts})
	return nil
}

// selector matches the pods that count.
func (pl *SelectorSpread) selector(pod *corev1.Pod) fwk.Selector {
	o := owners(pl.listers, pod)
	if !pl.features.SelectorSpreadAny {
		return selectorOf(o.all())
	}
	each := o.each()
	texts := make([]string, len(each))
	for i := range each {
		texts[i] = each[i].String()
	}
	return fwk.Selector{Text: "any of " + strings.Join(texts, "; "), Empty: len(each) == 0,
		Match: func(set map[string]string) bool {
			for i := range each {
				if each[i].Matches(labels.Set(set)) {
					return true
				}
			}
			return false
		}}
}

// Score is the number of pods on the node.
func (pl *SelectorSpread) Score(state *fwk.CycleState, _ *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	return int64(state.Read(fwk.SelectorSpreadScore).(*selectorSpreadState).counts[node.Slot])
}

// NormalizeScore turns the numbers round; where there are zones, theirs weigh two thirds.
func (pl *SelectorSpread) NormalizeScore(_ *fwk.CycleState, nodes []*fwk.NodeInfo, scores []int64) {
	type zone struct{ region, name string }
	zoneOf := func(node *fwk.NodeInfo) (z zone, has bool) {
		z.region, z.name = node.Node().Labels[corev1.LabelTopologyRegion], node.Node().Labels[corev1.LabelTopologyZone]
		return z, z != zone{}
	}
	most, mostInZone, counts := int64(0), int64(0), map[zone]int64{}
	for i, n := range scores {
		most = max(most, n)
		if z, has := zoneOf(nodes[i]); has {
			counts[z] += n
			mostInZone = max(mostInZone, counts[z])
		}
	}
	// Shares of the whole, as exact as integers are; upstream's float64 may differ by 1 where a score is whole.
	share := func(n, most int64) (numerator, denominator int64) {
		if most == 0 {
			return 1, 1
		}
		return most - n, most
	}
	for i, n := range scores {
		a, b := share(n, most)
		if z, has := zoneOf(nodes[i]); has {
			c, d := share(counts[z], mostInZone)
			a, b = a*d+2*c*b, 3*b*d // a third of a/b and two thirds of c/d
		}
		scores[i] = pl.features.MaxNodeScore * a / b
	}
}

// ownerSelectors are the selectors of what a pod belongs to (plugins/helper/spread.go DefaultSelector, v1.36).
type ownerSelectors struct {
	services   []map[string]string   // of its Services
	set        map[string]string     // of its ReplicationController
	of         *metav1.LabelSelector // of another controller, in the version that was looked at
	controller types.UID
}

// owners returns the selectors of a pod's Services and controller.
func owners(listers *fwk.Listers, pod *corev1.Pod) ownerSelectors {
	var o ownerSelectors
	for _, service := range listers.Services(pod.Namespace) {
		if len(service.Spec.Selector) > 0 && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			o.services = append(o.services, service.Spec.Selector)
		}
	}
	owner := metav1.GetControllerOfNoCopy(pod)
	if owner == nil {
		return o
	}
	o.controller = owner.UID
	switch owner.APIVersion + "/" + owner.Kind {
	case "v1/ReplicationController":
		if rc := listers.ReplicationController(pod.Namespace, owner.Name); rc != nil {
			o.set = rc.Spec.Selector
		}
	case "apps/v1/ReplicaSet":
		if rs := listers.ReplicaSet(pod.Namespace, owner.Name); rs != nil {
			o.of = rs.Spec.Selector
		}
	case "apps/v1/StatefulSet":
		if ss := listers.StatefulSet(pod.Namespace, owner.Name); ss != nil {
			o.of = ss.Spec.Selector
		}
	}
	return o
}

// all returns a selector of what all of them select; an empty one if there is none.
func (o *ownerSelectors) all() labels.Selector {
	set := labels.Set{}
	for _, s := range o.services {
		maps.Copy(set, s)
	}
	maps.Copy(set, o.set)
	selector := set.AsSelector()
	if o.of != nil {
		if requirements, ok := fwk.SelectorOf(o.of).Requirements(); ok {
			selector = selector.Add(requirements...)
		}
	}
	return selector
}

// each returns all of them.
func (o *ownerSelectors) each() []labels.Selector {
	var each []labels.Selector
	for _, s := range o.services {
		each = append(each, labels.SelectorFromSet(s))
	}
	if o.set != nil {
		each = append(each, labels.SelectorFromSet(o.set))
	}
	if o.of != nil {
		each = append(each, fwk.SelectorOf(o.of))
	}
	return each
}
