package plugins

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// SchedulingGates keeps pods with gates out of the active queue.
//
// Models kube-scheduler's SchedulingGates plugin (pkg/scheduler/framework/plugins/schedulinggates, v1.36).
type SchedulingGates struct{}

// Name implements fwk.Plugin.
func (SchedulingGates) Name() string { return schedulingGates }

// PreEnqueue refuses pods that have gates.
func (SchedulingGates) PreEnqueue(pod *corev1.Pod) *fwk.Status {
	if len(pod.Spec.SchedulingGates) == 0 {
		return nil
	}
	gates := make([]string, 0, len(pod.Spec.SchedulingGates))
	for _, gate := range pod.Spec.SchedulingGates {
		gates = append(gates, gate.Name)
	}
	return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, schedulingGates,
		"waiting for scheduling gates: ["+strings.Join(gates, " ")+"]")
}

// EventsToRegister implements fwk.EnqueueExtensions: only the pod itself can lose its gates.
func (SchedulingGates) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{{
		Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.UpdatePodSchedulingGatesEliminated},
		Hint: func(pod *fwk.PodInfo, c *fwk.Change) bool {
			return c.NewPod.UID == pod.Pod.UID
		},
	}}
}
