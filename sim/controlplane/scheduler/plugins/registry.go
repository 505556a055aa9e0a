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
	selectorSpread     = "SelectorSpread"
	nodeConditions     = "CheckNodeCondition" // a predicate, as the next
	generalPredicates  = "GeneralPredicates"
	interPodAffinity   = "InterPodAffinity"
	dynamicResources   = "DynamicResources"
	defaultPreemption  = "DefaultPreemption"
	balancedAllocation = "NodeResourcesBalancedAllocation"
	imageLocality      = "ImageLocality"
)

// Default returns the default plugins of a release for a framework, with the weights of their scores: filters in the
// order in which they are asked, which decides what is said of a node that several refuse
// (pkg/scheduler/apis/config/v1/default_plugins.go, v1.36; before v1.23 algorithmprovider/registry.go; before v1.17
// predicatesOrdering in algorithm/predicates/predicates.go). Leaves out: NodePreferAvoidPods, whose annotation names
// controllers by UID.
func Default(fw *fwk.Framework, f *fwk.Features) []fwk.WeightedPlugin {
	w := f.Weights
	fit, affinity := newFit(f), newNodeAffinity(f)
	name := fwk.WeightedPlugin{Plugin: NodeName{}}
	ports := fwk.WeightedPlugin{Plugin: NodePorts{}}
	labels := fwk.WeightedPlugin{Plugin: affinity, Weight: w.NodeAffinity}
	resources := fwk.WeightedPlugin{Plugin: fit, Weight: w.NodeResourcesFit}
	taints := fwk.WeightedPlugin{Plugin: newTaintToleration(f), Weight: w.TaintToleration}
	volumes := fwk.WeightedPlugin{Plugin: VolumeBinding{fw.Listers}}
	spread := fwk.WeightedPlugin{Plugin: newPodTopologySpread(fw, f), Weight: w.PodTopologySpread}
	near := fwk.WeightedPlugin{Plugin: newInterPodAffinity(fw, f), Weight: w.InterPodAffinity}

	plugins := []fwk.WeightedPlugin{{Plugin: SchedulingGates{}}}
	if f.NodeConditions {
		plugins = append(plugins, fwk.WeightedPlugin{Plugin: NodeConditions{}})
	} else {
		plugins = append(plugins, fwk.WeightedPlugin{Plugin: NodeUnschedulable{}})
	}
	switch {
	case f.GeneralPredicates:
		name.NoFilter, ports.NoFilter, labels.NoFilter, resources.NoFilter = true, true, true, true
		general := fwk.WeightedPlugin{Plugin: &GeneralPredicates{fit, affinity}}
		plugins = append(plugins, general, resources, name, ports, labels, taints, volumes, near)
	case w.PodTopologySpread == 0:
		plugins = append(plugins, resources, name, ports, labels, taints, volumes, near)
	case f.SpreadLast:
		plugins = append(plugins, resources, name, ports, labels, taints, volumes, near, spread)
	case f.ResourcesFirst:
		plugins = append(plugins, resources, name, ports, labels, taints, volumes, spread, near)
	default:
		plugins = append(plugins, name, taints, labels, ports, resources, volumes, spread, near)
	}
	if f.DynamicResources {
		plugins = append(plugins, fwk.WeightedPlugin{Plugin: DynamicResources{}})
	}
	plugins = append(plugins,
		fwk.WeightedPlugin{Plugin: NewDefaultPreemption(fw, f)},
		fwk.WeightedPlugin{Plugin: &BalancedAllocation{f}, Weight: w.NodeResourcesBalancedAllocation},
		fwk.WeightedPlugin{Plugin: ImageLocality{fw, f}, Weight: w.ImageLocality})
	if w.SelectorSpread > 0 {
		plugins = append(plugins, fwk.WeightedPlugin{Plugin: newSelectorSpread(fw, f), Weight: w.SelectorSpread})
	}
	return plugins
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
