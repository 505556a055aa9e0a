package queue

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// Nominator remembers which pods wait for room on which node.
//
// Models kube-scheduler's nominator (pkg/scheduler/backend/queue/nominator.go, v1.36).
type Nominator struct {
	byNode map[string][]*fwk.PodInfo
	nodeOf map[types.UID]string
}

func newNominator() *Nominator {
	return &Nominator{byNode: map[string][]*fwk.PodInfo{}, nodeOf: map[types.UID]string{}}
}

// AddNominatedPod notes that a pod waits for room on a node; "": on none.
func (n *Nominator) AddNominatedPod(pod *fwk.PodInfo, node string) {
	n.DeleteNominatedPodIfExists(pod.Pod.UID)
	if node != "" {
		n.nodeOf[pod.Pod.UID] = node
		n.byNode[node] = append(n.byNode[node], pod)
	}
}

// updateNominatedPod takes over a newer version of a pod. One that was nominated here and whose status does not say so
// yet stays nominated.
func (n *Nominator) updateNominatedPod(old *corev1.Pod, pod *fwk.PodInfo) {
	node := pod.Pod.Status.NominatedNodeName
	if old.Status.NominatedNodeName == "" && pod.Pod.Status.NominatedNodeName == "" {
		node = n.nodeOf[pod.Pod.UID]
	}
	n.AddNominatedPod(pod, node)
}

// DeleteNominatedPodIfExists forgets a pod.
func (n *Nominator) DeleteNominatedPodIfExists(uid types.UID) {
	node, known := n.nodeOf[uid]
	if !known {
		return
	}
	delete(n.nodeOf, uid)
	n.byNode[node] = slices.DeleteFunc(slices.Clone(n.byNode[node]), func(p *fwk.PodInfo) bool {
		return p.Pod.UID == uid
	})
	if len(n.byNode[node]) == 0 {
		delete(n.byNode, node)
	}
}

// NominatedPodsForNode returns the pods that wait for room on a node. The slice must not be changed.
func (n *Nominator) NominatedPodsForNode(node string) []*fwk.PodInfo { return n.byNode[node] }
