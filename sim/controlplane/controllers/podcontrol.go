package controllers

import (
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// podControl creates and deletes pods for a controller (pkg/controller RealPodControl).
type podControl struct {
	*manager
	events *controlplane.Recorder
}

func newPodControl(m *manager, component string) *podControl {
	return &podControl{manager: m, events: m.recorder(component)}
}

// record writes an event about the owner of a pod.
func (c *podControl) record(owner api.Object, kind, reason, message string, related *corev1.Pod) {
	trace := sim.Event{Level: sim.Story}
	if related != nil {
		trace.Related = api.ResourceEventName(api.Pods, related.Namespace, related.Name)
	}
	c.events.Record(controlplane.Event{Resource: api.ResourceOf(owner), Object: owner, Type: kind, Reason: reason,
		Message: message, Trace: trace})
}

func (c *podControl) create(p *sim.Proc, pod *corev1.Pod, owner api.Object) error {
	created, err := api.CreateObject(p, c.client, pod)
	if err != nil {
		if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			c.record(owner, corev1.EventTypeWarning, "FailedCreate", "Error creating: "+err.Error(), nil)
		}
		return err
	}
	c.because(created)
	c.record(owner, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: "+created.Name, created)
	return nil
}

func (c *podControl) delete(p *sim.Proc, pod *corev1.Pod, owner api.Object) error {
	err := api.DeleteObject[*corev1.Pod](p, c.client, api.KeyOf(pod), api.DeleteOptions{})
	if err != nil {
		if !api.IsNotFound(err) {
			c.record(owner, corev1.EventTypeWarning, "FailedDelete", "Error deleting: "+err.Error(), pod)
		}
		return err
	}
	c.record(owner, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: "+pod.Name, pod)
	return nil
}
