package framework

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// MaxNodeScore is what the best node gets from a plugin since v1.17; see ScoreFeatures.
const MaxNodeScore int64 = 100

// Plugin is one part of the decision, with the name that upstream gives it.
type Plugin interface{ Name() string }

// PreEnqueuePlugin keeps pods out of the active queue.
type PreEnqueuePlugin interface {
	Plugin
	PreEnqueue(pod *corev1.Pod) *Status
}

// PreFilterPlugin prepares filtering for one pod. Names, if not nil, are the only nodes that can do; Skip leaves the
// plugin's Filter out of this cycle.
type PreFilterPlugin interface {
	Plugin
	PreFilter(state *CycleState, pod *PodInfo) (names []string, status *Status)
}

// PreFilterExtensions keep what PreFilter prepared true when a pod is added to a node or taken away in thought.
type PreFilterExtensions interface {
	Plugin
	AddPod(state *CycleState, pod, added *PodInfo, node *NodeInfo)
	RemovePod(state *CycleState, pod, removed *PodInfo, node *NodeInfo)
}

// FilterPlugin tells whether a pod can run on a node.
type FilterPlugin interface {
	Plugin
	Filter(state *CycleState, pod *PodInfo, node *NodeInfo) *Status
}

// PostFilterPlugin tries to make room for a pod that fits nowhere. A result that is not nil nominates a node, "" none.
type PostFilterPlugin interface {
	Plugin
	PostFilter(state *CycleState, pod *PodInfo, statuses *NodeToStatus) (*PostFilterResult, *Status)
}

// PostFilterResult says which node a pod is nominated to.
type PostFilterResult struct {
	NominatedNodeName string
	Victims           []*corev1.Pod // to be deleted by the scheduler
}

// PreScorePlugin prepares scoring of the nodes that passed the filters; Skip leaves the plugin's Score out.
type PreScorePlugin interface {
	Plugin
	PreScore(state *CycleState, pod *PodInfo, nodes []*NodeInfo) *Status
}

// ScorePlugin ranks nodes.
type ScorePlugin interface {
	Plugin
	Score(state *CycleState, pod *PodInfo, node *NodeInfo) int64
}

// ScoreAllPlugin is a ScorePlugin that scores all nodes in one call, which saves a call for each.
type ScoreAllPlugin interface {
	ScorePlugin
	ScoreAll(state *CycleState, pod *PodInfo, nodes []*NodeInfo, scores []int64)
}

// ScoreExtensions bring a plugin's scores to 0..100.
type ScoreExtensions interface {
	NormalizeScore(state *CycleState, nodes []*NodeInfo, scores []int64)
}

// EnqueueExtensions say which events may make a pod schedulable that the plugin refused.
type EnqueueExtensions interface {
	Plugin
	EventsToRegister() []ClusterEventWithHint
}

// Code is the outcome of an extension point.
type Code int

// The codes. A nil *Status is Success.
const (
	Success Code = iota
	// Error: something went wrong; the pod is tried again after a back-off.
	Error
	// Unschedulable: not here, or not now; preemption may help.
	Unschedulable
	// UnschedulableAndUnresolvable: not here, and preemption will not help.
	UnschedulableAndUnresolvable
	// Skip: the plugin has nothing to say about this pod.
	Skip
)

// Status is the outcome of an extension point with its reasons. It is shared and must not be changed.
type Status struct {
	Code    Code
	Plugin  string
	Reasons []string
	Err     error
}

// CodeOf returns the code of a status; nil is Success.
func CodeOf(s *Status) Code {
	if s == nil {
		return Success
	}
	return s.Code
}

// Rejected reports whether the pod was refused, as opposed to accepted or failed.
func (s *Status) Rejected() bool {
	return s != nil && (s.Code == Unschedulable || s.Code == UnschedulableAndUnresolvable)
}

// NewStatus makes a status of a plugin.
func NewStatus(code Code, plugin string, reasons ...string) *Status {
	return &Status{Code: code, Plugin: plugin, Reasons: reasons}
}

// ErrorStatus makes a status of an error.
func ErrorStatus(plugin string, err error) *Status {
	return &Status{Code: Error, Plugin: plugin, Reasons: []string{err.Error()}, Err: err}
}

// StateKey is the place of a plugin's data in a CycleState.
type StateKey int

// The places.
const (
	PodTopologySpreadFilter StateKey = iota
	PodTopologySpreadScore
	InterPodAffinityFilter
	InterPodAffinityScore
	SelectorSpreadScore
	stateKeys
)

// StateData is what a plugin remembers for one scheduling cycle.
type StateData interface{ Clone() StateData }

// CycleState is what plugins remember for one scheduling cycle.
type CycleState struct {
	data       [stateKeys]StateData
	skipFilter uint32 // by place among the filter plugins
	skipScore  uint32
}

// Read returns what was written, nil if nothing was.
func (s *CycleState) Read(key StateKey) StateData { return s.data[key] }

// Write remembers data.
func (s *CycleState) Write(key StateKey, data StateData) { s.data[key] = data }

// Clone returns a copy that can be changed without changing s.
func (s *CycleState) Clone() *CycleState {
	c := *s
	for i, data := range c.data {
		if data != nil {
			c.data[i] = data.Clone()
		}
	}
	return &c
}

// NodeToStatus says why each node was refused: of nodes by their order in the cluster, and of those not mentioned.
type NodeToStatus struct {
	nodes    []*NodeInfo
	statuses []*Status
	mentions int
	absent   *Status
}

// Reset forgets all and takes over the nodes that are spoken of.
func (m *NodeToStatus) Reset(nodes []*NodeInfo) {
	m.nodes, m.mentions = nodes, 0
	m.absent = unresolvable
	m.statuses = slices.Grow(m.statuses[:0], len(nodes))[:len(nodes)]
	clear(m.statuses)
}

var unresolvable = &Status{Code: UnschedulableAndUnresolvable}

// Set says why the i-th node was refused.
func (m *NodeToStatus) Set(i int32, s *Status) {
	if m.statuses[i] == nil {
		m.mentions++
	}
	m.statuses[i] = s
}

// SetAbsent says why all others were.
func (m *NodeToStatus) SetAbsent(s *Status) { m.absent = s }

// Len returns how many nodes were mentioned.
func (m *NodeToStatus) Len() int { return m.mentions }

// At returns the status of the i-th node.
func (m *NodeToStatus) At(i int32) *Status {
	if s := m.statuses[i]; s != nil {
		return s
	}
	return m.absent
}

// NodesForStatusCode returns the nodes whose status has that code, in order.
func (m *NodeToStatus) NodesForStatusCode(code Code) []*NodeInfo {
	var nodes []*NodeInfo
	for i, node := range m.nodes {
		if m.At(int32(i)).Code == code {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// Handle is what plugins see of the scheduler: the state of the cluster in this cycle, and listers.
type Handle interface {
	// Nodes returns all nodes, zones taking turns. The slice must not be changed.
	Nodes() []*NodeInfo
	// Node returns the node of that name, nil if there is none.
	Node(name string) *NodeInfo
	// NodesWithAffinity returns the nodes with pods that have affinity to other pods.
	NodesWithAffinity() []*NodeInfo
	// NodesWithRequiredAntiAffinity returns the nodes with pods that refuse others.
	NodesWithRequiredAntiAffinity() []*NodeInfo
	// ImageNodes returns how many nodes have an image.
	ImageNodes(image string) int
	// CountPods returns a table, by NodeInfo.Slot, of how many pods of a namespace match a selector that has that text;
	// pods that are being deleted do not count.
	CountPods(namespace string, selector Selector) []int32
	// Domains numbers the values that the nodes have of a label. It is good for one scheduling cycle.
	Domains(key string) *Domains
}

// Domains are the topology domains of one label, numbered. A node without the label is in the domain of the empty
// value. The slices go by NodeInfo.Slot.
type Domains struct {
	Of       []int32 // -1: no node
	Labelled []bool
	Count    int
}

// Selector is a label selector with its text, which names it. CountPods counts nothing for an empty one, although it
// matches everything (podtopologyspread/common.go countPodsMatchSelector).
type Selector struct {
	Match func(labels map[string]string) bool
	Text  string
	Empty bool
}

// Listers read the informers' stores; what they find nothing for is nil. The rest is what else plugins ask the
// scheduler.
type Listers struct {
	Services              func(namespace string) []*corev1.Service
	ReplicationController func(namespace, name string) *corev1.ReplicationController
	ReplicaSet            func(namespace, name string) *appsv1.ReplicaSet
	StatefulSet           func(namespace, name string) *appsv1.StatefulSet
	Namespaces            func() []*corev1.Namespace
	Namespace             func(name string) *corev1.Namespace
	PodDisruptionBudgets  func() []*policyv1.PodDisruptionBudget
	PersistentVolumeClaim func(namespace, name string) *corev1.PersistentVolumeClaim
	StorageClass          func(name string) *storagev1.StorageClass

	// NominatedPodsOnNode returns the pods that wait for room on a node.
	NominatedPodsOnNode func(node string) []*PodInfo
	// Preempting reports whether the victims of a pod are still being deleted.
	Preempting func(pod *corev1.Pod) bool
	// RandomBelow draws a number from 0 to n-1.
	RandomBelow func(n int) int
	// Now is the wall clock in nanoseconds, by which a pod that has not started starts now.
	Now func() int64
}
