package plugins

import fwk "ksim/sim/controlplane/scheduler/framework"

// The names of the plugins (pkg/scheduler/framework/plugins/names/names.go).
const (
	schedulingGates    = "SchedulingGates"
	nodeUnschedulable  = "NodeUnschedulable"
	nodeName           = "NodeName"
	taintToleration    = "TaintToleration"
	nodeAffinity       = "NodeAffinity"
	nodePorts          = "NodePorts"
	nodeResourcesFit   = "NodeResourcesFit"
	volumeBinding      = "VolumeBinding"
	podTopologySpread  = "PodTopologySpread"
	interPodAffinity   = "InterPodAffinity"
	dynamicResources   = "DynamicResources"
	defaultPreemption  = "DefaultPreemption"
	balancedAllocation = "NodeResourcesBalancedAllocation"
	imageLocality      = "ImageLocality"
)

// Default returns the default plugins of a release for a framework, with the weights of their scores
// (pkg/scheduler/apis/config/v1/default_plugins.go, v1.36; before v1.23 algorithmprovider/registry.go).
func Default(fw *fwk.Framework, f *fwk.Features) []fwk.WeightedPlugin {
	w := f.Weights
	plugins := []fwk.WeightedPlugin{
		{Plugin: SchedulingGates{}},
		{Plugin: NodeUnschedulable{}},
		{Plugin: NodeName{}},
		{Plugin: newTaintToleration(f), Weight: w.TaintToleration},
		{Plugin: newNodeAffinity(f), Weight: w.NodeAffinity},
		{Plugin: NodePorts{}},
		{Plugin: newFit(f), Weight: w.NodeResourcesFit},
		{Plugin: VolumeBinding{fw.Listers}},
		{Plugin: newPodTopologySpread(fw, f), Weight: w.PodTopologySpread},
		{Plugin: newInterPodAffinity(fw), Weight: w.InterPodAffinity},
	}
	if f.DynamicResources {
		plugins = append(plugins, fwk.WeightedPlugin{Plugin: DynamicResources{}})
	}
	return append(plugins,
		fwk.WeightedPlugin{Plugin: NewDefaultPreemption(fw, f)},
		fwk.WeightedPlugin{Plugin: &BalancedAllocation{f}, Weight: w.NodeResourcesBalancedAllocation},
		fwk.WeightedPlugin{Plugin: ImageLocality{fw}, Weight: w.ImageLocality})
}

// AdmissionCheck reports whether a node could take a pod as far as it alone can tell: resources, node affinity, node
// name, ports. Releases without queueing hints tell a pod only of nodes that pass it and whose taints it tolerates
// (pkg/scheduler/eventhandlers.go AdmissionCheck and preCheckForNode, v1.31).
func AdmissionCheck(pod *fwk.PodInfo, node *fwk.NodeInfo) bool {
	if missing, scalars := lacks(pod, node); missing != 0 || scalars != nil {
		return false
	}
	return pod.RequiredNode.Match(node.Node()) && !fwk.PortsConflict(pod.HostPorts, node.UsedPorts) &&
		(pod.Pod.Spec.NodeName == "" || pod.Pod.Spec.NodeName == node.Name())
}
