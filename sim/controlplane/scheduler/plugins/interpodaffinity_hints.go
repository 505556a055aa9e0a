package plugins

import (
	corev1 "k8s.io/api/core/v1"

	"ksim/sim/controlplane/scheduler/framework"
)

// EventsToRegister implements framework.EnqueueExtensions.
func (pl *InterPodAffinity) EventsToRegister() []framework.ClusterEventWithHint {
	return []framework.ClusterEventWithHint{
		{Event: framework.ClusterEvent{Resource: framework.Pod, Action: framework.Add | framework.UpdatePodLabel |
			framework.Delete}, Hint: pl.afterPodChange},
		{Event: framework.ClusterEvent{Resource: framework.Node, Action: framework.Add | framework.UpdateNodeLabel},
			Hint: afterAffinityNodeChange},
	}
}

func (pl *InterPodAffinity) afterPodChange(pod *framework.PodInfo, c *framework.Change) bool {
	if c.OldPod != nil && c.NewPod != nil && c.NewPod.UID == pod.Pod.UID {
		return true
	}
	if c.NewPod != nil && !wasPlaced(c.NewPod) || c.OldPod != nil && !wasPlaced(c.OldPod) {
		return false
	}
	wanted := func(other *corev1.Pod) bool { return framework.MatchesAll(pod.RequiredAffinity, other, nil) }
	unwanted := func(other *corev1.Pod) bool { return framework.MatchesAll(pod.RequiredAntiAffinity, other, nil) }
	switch {
	case c.OldPod == nil:
		return wanted(c.NewPod)
	case c.NewPod != nil:
		return !wanted(c.OldPod) && wanted(c.NewPod) || unwanted(c.OldPod) && !unwanted(c.NewPod)
	}
	return unwanted(c.OldPod) ||
		framework.MatchesAll(framework.RequiredAntiAffinityOf(c.OldPod), pod.Pod, pl.namespaceLabels(pod.Pod.Namespace))
}

func afterAffinityNodeChange(pod *framework.PodInfo, c *framework.Change) bool {
	moved := func(key string) (had, has, changed bool) {
		before, had := c.OldNode.Labels[key]
		after, has := c.NewNode.Labels[key]
		return had, has, had && has && before != after
	}
	for i := range pod.RequiredAffinity {
		key := pod.RequiredAffinity[i].TopologyKey
		if c.OldNode == nil {
			if _, has := c.NewNode.Labels[key]; has {
				return true
			}
			continue
		}
		if had, has, changed := moved(key); !had && has || changed {
			return true
		}
	}
	for i := range pod.RequiredAntiAffinity {
		if c.OldNode == nil {
			return true
		}
		if had, has, changed := moved(pod.RequiredAntiAffinity[i].TopologyKey); had && !has || changed {
			return true
		}
	}
	return false
}
