package controllers

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// podControl creates, deletes, adopts and releases pods for a controller (pkg/controller RealPodControl,
// controller_ref_manager.go).
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

// claim returns those of the pods that belong to owner: its own that match; orphans that match are adopted first, and
// its own that no longer match are released.
func (c *podControl) claim(p *sim.Proc, owner api.Object, pods []*corev1.Pod,
	match func(*corev1.Pod) bool) ([]*corev1.Pod, error) {
	var claimed []*corev1.Pod
	var failure error
	adoptable := onceOnly{}
	for _, pod := range pods {
		mine := controllerUID(pod) == string(owner.GetUID())
		switch {
		case mine && match(pod):
			claimed = append(claimed, pod)
		case mine && owner.GetDeletionTimestamp() == nil:
			if err := c.release(p, pod, owner); err != nil && !api.IsNotFound(err) {
				failure = err
			}
		case controllerOf(pod) == nil && owner.GetDeletionTimestamp() == nil && match(pod) && pod.DeletionTimestamp == nil:
			err := adoptable.once(func() error { return c.recheckDeletion(p, owner) })
			if err == nil {
				err = c.adopt(p, pod, owner)
			}
			if err == nil {
				claimed = append(claimed, pod)
			} else if !api.IsNotFound(err) {
				failure = err
			}
		}
	}
	return claimed, failure
}

// onceOnly remembers the outcome of what is asked once.
type onceOnly struct {
	asked bool
	err   error
}

func (s *onceOnly) once(fn func() error) error {
	if !s.asked {
		s.asked, s.err = true, fn()
	}
	return s.err
}

// recheckDeletion asks the API whether owner is still there and not being deleted, before it adopts anything.
func (c *podControl) recheckDeletion(p *sim.Proc, owner api.Object) error {
	answer, err := c.client.Do(p, &api.Request{Verb: api.Get, Resource: api.ResourceOf(owner),
		Namespace: owner.GetNamespace(),
		Name:      owner.GetName()})
	if err != nil {
		return err
	}
	if answer.Object.GetUID() != owner.GetUID() {
		return fmt.Errorf("original %s is gone: got uid %s, wanted %s", api.KeyOf(owner), answer.Object.GetUID(),
			owner.GetUID())
	}
	if answer.Object.GetDeletionTimestamp() != nil {
		return fmt.Errorf("%s has just been deleted", api.KeyOf(owner))
	}
	return nil
}

func (c *podControl) adopt(p *sim.Proc, pod *corev1.Pod, owner api.Object) error {
	copied := pod.DeepCopy()
	copied.OwnerReferences = append(copied.OwnerReferences, *ownerReference(owner))
	_, err := api.UpdateObject(p, c.client, copied)
	return err
}

func (c *podControl) release(p *sim.Proc, pod *corev1.Pod, owner api.Object) error {
	copied := pod.DeepCopy()
	copied.OwnerReferences = slices.DeleteFunc(copied.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.UID == owner.GetUID()
	})
	_, err := api.UpdateObject(p, c.client, copied)
	return err
}
