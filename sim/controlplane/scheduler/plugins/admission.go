package plugins

import "ksim/sim/controlplane/scheduler/framework"

// AdmissionCheck reports whether a node could take a pod as far as it alone can tell: resources, node affinity, node name,
// ports. Releases without queueing hints tell a pod only of nodes that pass it and whose taints it tolerates
// (pkg/scheduler/eventhandlers.go AdmissionCheck and preCheckForNode, v1.31).
func AdmissionCheck(pod *framework.PodInfo, node *framework.NodeInfo) bool {
	if missing, scalars := lacks(pod, node); missing != 0 || scalars != nil {
		return false
	}
	return pod.RequiredNode.Match(node.Node()) && !framework.PortsConflict(pod.HostPorts, node.UsedPorts) &&
		(pod.Pod.Spec.NodeName == "" || pod.Pod.Spec.NodeName == node.Name())
}
