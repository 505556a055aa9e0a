package plugins

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// VolumeBinding keeps pods waiting whose claims do not exist, are going away, or are yet to be bound.
//
// Models kube-scheduler's VolumeBinding plugin (pkg/scheduler/framework/plugins/volumebinding, v1.36). Leaves out:
// finding and binding volumes (claims of class WaitForFirstConsumer count as bindable anywhere), node affinity of
// volumes, capacity.
type VolumeBinding struct{ listers *fwk.Listers }

// Name implements fwk.Plugin.
func (pl VolumeBinding) Name() string { return volumeBinding }

// PreFilter implements fwk.PreFilterPlugin.
func (pl VolumeBinding) PreFilter(_ *fwk.CycleState, pod *fwk.PodInfo) ([]string, *fwk.Status) {
	unbound := false
	for i := range pod.Pod.Spec.Volumes {
		volume := &pod.Pod.Spec.Volumes[i]
		name, ephemeral := claimName(pod.Pod, volume)
		if name == "" {
			continue
		}
		claim := pl.listers.PersistentVolumeClaim(pod.Pod.Namespace, name)
		reason := ""
		switch {
		case claim == nil && ephemeral:
			reason = fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name)
		case claim == nil:
			reason = fmt.Sprintf("persistentvolumeclaim %q not found", name)
		case claim.Status.Phase == corev1.ClaimLost:
			reason = fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name,
				claim.Spec.VolumeName)
		case claim.DeletionTimestamp != nil:
			reason = fmt.Sprintf("persistentvolumeclaim %q is being deleted", name)
		}
		if reason != "" {
			return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, volumeBinding, reason)
		}
		unbound = unbound || claim.Spec.VolumeName == "" && !pl.waitsForConsumer(claim)
	}
	if unbound {
		return nil, fwk.NewStatus(fwk.UnschedulableAndUnresolvable, volumeBinding,
			"pod has unbound immediate PersistentVolumeClaims")
	}
	return nil, nil
}

func (pl VolumeBinding) waitsForConsumer(claim *corev1.PersistentVolumeClaim) bool {
	if claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName == "" {
		return false
	}
	class := pl.listers.StorageClass(*claim.Spec.StorageClassName)
	return class != nil && class.VolumeBindingMode != nil &&
		*class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

func claimName(pod *corev1.Pod, volume *corev1.Volume) (name string, ephemeral bool) {
	switch {
	case volume.PersistentVolumeClaim != nil:
		return volume.PersistentVolumeClaim.ClaimName, false
	case volume.Ephemeral != nil:
		return pod.Name + "-" + volume.Name, true
	}
	return "", false
}

// EventsToRegister implements fwk.EnqueueExtensions.
func (pl VolumeBinding) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.StorageClass, Action: fwk.Add | fwk.Update}},
		{Event: fwk.ClusterEvent{Resource: fwk.PersistentVolumeClaim, Action: fwk.Add | fwk.Update},
			Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool {
				if c.NewPVC.Namespace != pod.Pod.Namespace {
					return false
				}
				for i := range pod.Pod.Spec.Volumes {
					if name, _ := claimName(pod.Pod, &pod.Pod.Spec.Volumes[i]); name == c.NewPVC.Name {
						return true
					}
				}
				return false
			}},
		{Event: fwk.ClusterEvent{Resource: fwk.Node, Action: fwk.Add | fwk.UpdateNodeLabel}},
	}
}

// DynamicResources stands for the plugin of that name, which on every cluster of its releases says that it cannot help.
//
// Models the PostFilter of kube-scheduler's DynamicResources plugin (pkg/scheduler/framework/plugins/dynamicresources,
// v1.36) for pods without claims. Leaves out: devices and claims.
type DynamicResources struct{}

var nothingToDeallocate = fwk.NewStatus(fwk.Unschedulable, dynamicResources, "no new claims to deallocate")

// Name implements fwk.Plugin.
func (DynamicResources) Name() string { return dynamicResources }

// PostFilter implements fwk.PostFilterPlugin.
func (DynamicResources) PostFilter(*fwk.CycleState, *fwk.PodInfo, *fwk.NodeToStatus) (
	*fwk.PostFilterResult, *fwk.Status) {
	return nil, nothingToDeallocate
}
