package plugins

import "ksim/sim/controlplane/scheduler/framework"

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
func Default(fw *framework.Framework, f *framework.Features) []framework.WeightedPlugin {
	w := f.Weights
	plugins := []framework.WeightedPlugin{
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
		plugins = append(plugins, framework.WeightedPlugin{Plugin: DynamicResources{}})
	}
	return append(plugins,
		framework.WeightedPlugin{Plugin: NewDefaultPreemption(fw, f)},
		framework.WeightedPlugin{Plugin: &BalancedAllocation{f}, Weight: w.NodeResourcesBalancedAllocation},
		framework.WeightedPlugin{Plugin: ImageLocality{fw}, Weight: w.ImageLocality})
}
