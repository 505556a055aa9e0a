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
	heavy := func(now int64) int64 {
		if f.Minor < 23 {
			return 1
		}
		return now
	}
	plugins := []framework.WeightedPlugin{
		{Plugin: SchedulingGates{}},
		{Plugin: NodeUnschedulable{}},
		{Plugin: NodeName{}},
		{Plugin: newTaintToleration(f), Weight: heavy(3)},
		{Plugin: newNodeAffinity(f), Weight: heavy(2)},
		{Plugin: NodePorts{}},
		{Plugin: newFit(f), Weight: 1},
		{Plugin: VolumeBinding{fw.Listers}},
		{Plugin: newPodTopologySpread(fw, f), Weight: 2},
		{Plugin: newInterPodAffinity(fw), Weight: heavy(2)},
	}
	if f.DynamicResources {
		plugins = append(plugins, framework.WeightedPlugin{Plugin: DynamicResources{}})
	}
	return append(plugins,
		framework.WeightedPlugin{Plugin: NewDefaultPreemption(fw, f)},
		framework.WeightedPlugin{Plugin: &BalancedAllocation{f}, Weight: 1},
		framework.WeightedPlugin{Plugin: ImageLocality{fw}, Weight: 1})
}
