package controllers

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models how controllers adopt and release what they own (pkg/controller/controller_ref_manager.go, v1.36). Upstream
// patches; here a write that loses against another fails and is made again with the next sync.

// claimer claims objects for an owner.
type claimer[T api.Object] struct {
	*manager
	owner api.Object
	match func(T) bool
	// finalizer, if any, is put on what is adopted and taken off what is released.
	finalizer string

	asked    bool // whether the owner is still there
	standing error
}

// claimPods returns those of the owner's pods and of its namespace's orphans that belong to the owner and match.
func (m *manager) claimPods(p *sim.Proc, owner api.Object, match func(*corev1.Pod) bool) ([]*corev1.Pod, error) {
	c := claimer[*corev1.Pod]{manager: m, owner: owner, match: match}
	return c.claim(p, m.candidates(owner))
}

// candidates returns the pods that an owner owns or might adopt.
func (m *manager) candidates(owner api.Object) []*corev1.Pod {
	pods := m.podsByOwner.Get(string(owner.GetUID()))
	pods = append(pods, m.podsByOwner.Get(orphansOf(owner.GetNamespace()))...)
	return slices.DeleteFunc(pods, func(pod *corev1.Pod) bool { return pod.Namespace != owner.GetNamespace() })
}

// claim returns those of the objects that belong to the owner: its own that match; orphans that match are adopted
// first, and its own that no longer match are released.
func (c *claimer[T]) claim(p *sim.Proc, objects []T) ([]T, error) {
	var claimed []T
	var failure error
	leaving := c.owner.GetDeletionTimestamp() != nil
	for _, obj := range objects {
		mine := controllerUID(obj) == string(c.owner.GetUID())
		switch {
		case mine && c.match(obj):
			claimed = append(claimed, obj)
		case mine && !leaving:
			if err := c.release(p, obj); err != nil && !api.IsNotFound(err) {
				failure = err
			}
		case controllerOf(obj) == nil && !leaving && c.match(obj) && obj.GetDeletionTimestamp() == nil:
			adopted, err := c.adopt(p, obj)
			if err == nil {
				claimed = append(claimed, adopted)
			} else if !api.IsNotFound(err) {
				failure = err
			}
		}
	}
	return claimed, failure
}

// mayAdopt asks the API, once, whether the owner is still there and not being deleted.
func (c *claimer[T]) mayAdopt(p *sim.Proc) error {
	if c.asked {
		return c.standing
	}
	c.asked = true
	answer, err := c.client.Do(p, &api.Request{Verb: api.Get, Resource: api.ResourceOf(c.owner),
		Namespace: c.owner.GetNamespace(), Name: c.owner.GetName()})
	key := api.KeyOf(c.owner)
	switch {
	case err != nil:
		c.standing = err
	case answer.Object.GetUID() != c.owner.GetUID():
		c.standing = fmt.Errorf("original %s is gone: got uid %s, wanted %s", key, answer.Object.GetUID(), c.owner.GetUID())
	case answer.Object.GetDeletionTimestamp() != nil:
		c.standing = fmt.Errorf("%s has just been deleted", key)
	}
	return c.standing
}

func (c *claimer[T]) adopt(p *sim.Proc, obj T) (T, error) {
	var none T
	if err := c.mayAdopt(p); err != nil {
		return none, fmt.Errorf("can't adopt %s: %w", api.KeyOf(obj), err)
	}
	copied := obj.DeepCopyObject().(T)
	copied.SetOwnerReferences(append(copied.GetOwnerReferences(), *ownerReference(c.owner)))
	if c.finalizer != "" && !slices.Contains(copied.GetFinalizers(), c.finalizer) {
		copied.SetFinalizers(append(copied.GetFinalizers(), c.finalizer))
	}
	return api.UpdateObject(p, c.client, copied)
}

func (c *claimer[T]) release(p *sim.Proc, obj T) error {
	copied := obj.DeepCopyObject().(T)
	copied.SetOwnerReferences(slices.DeleteFunc(copied.GetOwnerReferences(), func(ref metav1.OwnerReference) bool {
		return ref.UID == c.owner.GetUID()
	}))
	copied.SetFinalizers(slices.DeleteFunc(copied.GetFinalizers(), func(f string) bool { return f == c.finalizer }))
	_, err := api.UpdateObject(p, c.client, copied)
	return err
}
