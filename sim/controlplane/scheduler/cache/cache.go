package cache

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

// Cache is the scheduler's picture of the cluster.
//
// Models kube-scheduler's cache (pkg/scheduler/backend/cache, v1.36).
type Cache struct {
	features *fwk.Features
	nodes    map[string]*fwk.NodeInfo // also of nodes that only pods tell of
	pods     map[types.UID]*podState
	tree     nodeTree
	images   map[string]int // how many nodes have an image
	counters counters
	common   *fwk.Demands // the last new one: the pods of a template share it
	slots    int
	free     []int32
	slab     []fwk.NodeInfo          // for the next nodes: what is walked over together lies together
	domains  map[string]*fwk.Domains // by topology key

	list         []*fwk.NodeInfo // in the order of the tree
	withAffinity []*fwk.NodeInfo
	withAnti     []*fwk.NodeInfo
	stale        bool // the lists
}

type podState struct {
	info    *fwk.PodInfo // own, or the scheduling queue's
	own     fwk.PodInfo
	node    string
	assumed bool
}

// keep makes info the pod's own.
func (s *podState) keep(pod *corev1.Pod, demands *fwk.Demands) {
	s.own = fwk.PodInfo{Pod: pod, Demands: demands}
	s.info = &s.own
}

// New makes an empty cache.
func New(features *fwk.Features) *Cache {
	return &Cache{features: features, nodes: map[string]*fwk.NodeInfo{}, pods: map[types.UID]*podState{},
		images: map[string]int{}, tree: newNodeTree(), counters: newCounters(),
		domains: map[string]*fwk.Domains{}}
}

// Nodes implements fwk.Handle.
func (c *Cache) Nodes() []*fwk.NodeInfo {
	c.refresh()
	return c.list
}

// Node implements fwk.Handle.
func (c *Cache) Node(name string) *fwk.NodeInfo {
	if info := c.nodes[name]; info != nil && info.Node() != nil {
		return info
	}
	return nil
}

// NodesWithAffinity implements fwk.Handle.
func (c *Cache) NodesWithAffinity() []*fwk.NodeInfo {
	c.refresh()
	return c.withAffinity
}

// NodesWithRequiredAntiAffinity implements fwk.Handle.
func (c *Cache) NodesWithRequiredAntiAffinity() []*fwk.NodeInfo {
	c.refresh()
	return c.withAnti
}

// ImageNodes implements fwk.Handle.
func (c *Cache) ImageNodes(image string) int { return c.images[image] }

// CountPods implements fwk.Handle.
func (c *Cache) CountPods(namespace string, selector fwk.Selector) []int32 {
	return c.counters.table(c, namespace, selector)
}

func (c *Cache) refresh() {
	if !c.stale {
		return
	}
	c.stale = false
	c.list, c.withAffinity, c.withAnti = c.list[:0:0], nil, nil
	for _, name := range c.tree.list() {
		info := c.nodes[name]
		info.Order = int32(len(c.list))
		c.list = append(c.list, info)
		if len(info.PodsWithAffinity) > 0 {
			c.withAffinity = append(c.withAffinity, info)
		}
		if len(info.PodsWithRequiredAntiAffinity) > 0 {
			c.withAnti = append(c.withAnti, info)
		}
	}
}

// AddNode takes over a node; UpdateNode and AddNode are the same.
func (c *Cache) AddNode(node *corev1.Node) {
	info := c.node(node.Name)
	old := info.Node()
	if c.tree.update(old, node) {
		c.stale = true
	}
	c.nodeChanged(old, node)
	c.countImages(info, -1)
	info.SetNode(node)
	c.countImages(info, 1)
}

// RemoveNode forgets a node. Its pods stay until they are removed themselves.
func (c *Cache) RemoveNode(node *corev1.Node) {
	info := c.nodes[node.Name]
	if info == nil || info.Node() == nil {
		return
	}
	c.tree.remove(info.Node())
	c.nodeChanged(node, nil)
	c.countImages(info, -1)
	info.SetNode(nil)
	c.stale = true
	c.dropIfEmpty(node.Name, info)
}

func (c *Cache) countImages(info *fwk.NodeInfo, n int) {
	for name := range info.Images { // any order: each counts for itself
		if c.images[name] += n; c.images[name] == 0 {
			delete(c.images, name)
		}
	}
}

func (c *Cache) node(name string) *fwk.NodeInfo {
	info := c.nodes[name]
	if info == nil {
		if len(c.slab) == 0 {
			c.slab = make([]fwk.NodeInfo, 64)
		}
		info, c.slab = &c.slab[0], c.slab[1:]
		if n := len(c.free); n > 0 {
			info.Slot, c.free = c.free[n-1], c.free[:n-1]
		} else {
			info.Slot = int32(c.slots)
			c.slots++
		}
		c.nodes[name] = info
		c.counters.grow(c.slots)
	}
	return info
}

func (c *Cache) dropIfEmpty(name string, info *fwk.NodeInfo) {
	if info.Node() == nil && len(info.Pods) == 0 {
		delete(c.nodes, name)
		c.free = append(c.free, info.Slot)
	}
}

// AssumePod counts a pod on the node that it is about to be bound to. The pod's own nodeName is still empty.
func (c *Cache) AssumePod(info *fwk.PodInfo, node string) {
	uid := info.Pod.UID
	sim.Assert(c.pods[uid] == nil, "pod %s/%s is in the cache, so it cannot be assumed", info.Pod.Namespace, info.Pod.Name)
	info.Demands = c.shared(info.Demands)
	c.pods[uid] = &podState{info: info, node: node, assumed: true}
	c.put(info, node)
}

// ForgetPod takes an assumed pod back.
func (c *Cache) ForgetPod(uid types.UID) {
	if state := c.pods[uid]; state != nil && state.assumed {
		c.take(uid, state)
	}
}

// IsAssumed reports whether a pod is assumed and not yet seen to be bound.
func (c *Cache) IsAssumed(uid types.UID) bool {
	state := c.pods[uid]
	return state != nil && state.assumed
}

// AssumedNode returns where a pod is assumed to run, "" if it is not.
func (c *Cache) AssumedNode(uid types.UID) string {
	if state := c.pods[uid]; state != nil && state.assumed {
		return state.node
	}
	return ""
}

// AddPod takes over a bound pod; it confirms one that was assumed.
func (c *Cache) AddPod(pod *corev1.Pod) {
	state := c.pods[pod.UID]
	switch {
	case state == nil:
		state = &podState{node: pod.Spec.NodeName}
		state.keep(pod, c.demands(pod))
		c.pods[pod.UID] = state
		c.put(state.info, state.node)
	case state.node != pod.Spec.NodeName: // assumed on one node, bound to another by somebody else
		c.take(pod.UID, state)
		c.AddPod(pod)
	default:
		c.replace(state, pod)
		state.assumed = false
	}
}

// UpdatePod takes over a newer version of a bound pod.
func (c *Cache) UpdatePod(pod *corev1.Pod) { c.AddPod(pod) }

// RemovePod forgets a pod.
func (c *Cache) RemovePod(uid types.UID) {
	if state := c.pods[uid]; state != nil {
		c.take(uid, state)
	}
}

// replace puts a newer version of a pod in the place of an older one.
func (c *Cache) replace(state *podState, pod *corev1.Pod) {
	old := state.info.Pod
	if !sameDemands(old, pod) {
		c.take(pod.UID, state)
		c.pods[pod.UID] = state
		state.keep(pod, c.demands(pod))
		c.put(state.info, state.node)
		return
	}
	node := c.nodes[state.node]
	counts := !fwk.IsTerminating(old) != !fwk.IsTerminating(pod) || !maps.Equal(old.Labels, pod.Labels)
	if counts {
		c.counters.count(state.info.Pod, node.Slot, -1)
	}
	if before := state.info; before != &state.own {
		state.keep(pod, before.Demands)
		node.ReplacePod(before, state.info)
	} else {
		state.own.Pod = pod // nobody keeps it from one event to the next
	}
	if counts {
		c.counters.count(pod, node.Slot, 1)
	}
}

// demands returns what a pod asks for.
func (c *Cache) demands(pod *corev1.Pod) *fwk.Demands {
	return c.shared(fwk.NewPodInfo(pod, c.features).Demands)
}

// shared returns demands that are equal, and mostly those of many pods.
func (c *Cache) shared(demands *fwk.Demands) *fwk.Demands {
	if c.common == nil || !c.common.Same(demands) {
		c.common = demands
	}
	return c.common
}

// sameDemands reports whether two versions of a pod ask for the same: only in-place resizing can change that.
func sameDemands(old, pod *corev1.Pod) bool {
	return slices.EqualFunc(old.Spec.Containers, pod.Spec.Containers, func(a, b corev1.Container) bool {
		return fwk.SameResources(a.Resources.Requests, b.Resources.Requests)
	})
}

func (c *Cache) put(info *fwk.PodInfo, name string) {
	node := c.node(name)
	affinity, anti := len(node.PodsWithAffinity), len(node.PodsWithRequiredAntiAffinity)
	node.AddPod(info)
	c.affinityChanged(node, affinity, anti)
	c.counters.count(info.Pod, node.Slot, 1)
}

func (c *Cache) take(uid types.UID, state *podState) {
	node := c.nodes[state.node]
	affinity, anti := len(node.PodsWithAffinity), len(node.PodsWithRequiredAntiAffinity)
	node.RemovePod(state.info)
	c.affinityChanged(node, affinity, anti)
	c.counters.count(state.info.Pod, node.Slot, -1)
	delete(c.pods, uid)
	c.dropIfEmpty(state.node, node)
}

// affinityChanged notes that a node that had so many pods with affinity may belong to other lists now.
func (c *Cache) affinityChanged(node *fwk.NodeInfo, affinity, anti int) {
	if (affinity == 0) != (len(node.PodsWithAffinity) == 0) ||
		(anti == 0) != (len(node.PodsWithRequiredAntiAffinity) == 0) {
		c.stale = true
	}
}
