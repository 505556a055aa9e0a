package controllers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models the ControllerRevisions of DaemonSets and StatefulSets (pkg/controller/history, daemon/update.go,
// statefulset/stateful_set_control.go, v1.36). Leaves out: hash collisions.

// revisionHistory keeps a ControllerRevision for each template that a DaemonSet or StatefulSet had.
type revisionHistory struct {
	*manager
	revisions *controlplane.Informer[*appsv1.ControllerRevision]
	byOwner   *controlplane.Index[*appsv1.ControllerRevision]
	known     map[types.UID]knownRevision
	templates map[types.UID]*corev1.PodTemplateSpec // of revisions, by their UID
}

// knownRevision is what was found for an owner's generation: hashing a template is slow.
type knownRevision struct {
	generation int64
	name, hash string
	data       []byte
}

func newRevisionHistory(m *manager) *revisionHistory {
	h := &revisionHistory{manager: m, revisions: informerFor[*appsv1.ControllerRevision](m, api.ControllerRevisions),
		known: map[types.UID]knownRevision{}, templates: map[types.UID]*corev1.PodTemplateSpec{}}
	h.byOwner = h.revisions.Index(ownerOrOrphan[*appsv1.ControllerRevision])
	h.revisions.Handle(controlplane.Handler[*appsv1.ControllerRevision]{
		OnDelete: func(r *appsv1.ControllerRevision, _ bool) { delete(h.templates, r.UID) },
	})
	return h
}

// of returns the revisions of an owner, oldest first. Orphans that it selects are adopted.
func (h *revisionHistory) of(p *sim.Proc, owner api.Object,
	selector *metav1.LabelSelector) ([]*appsv1.ControllerRevision, error) {
	found := h.byOwner.Get(string(owner.GetUID()))
	if orphans := h.byOwner.Get(orphansOf(owner.GetNamespace())); len(orphans) > 0 {
		c := claimer[*appsv1.ControllerRevision]{manager: h.manager, owner: owner,
			match: func(r *appsv1.ControllerRevision) bool { return selects(selector, r.Labels) }}
		adopted, err := c.claim(p, orphans)
		if err != nil {
			return nil, err
		}
		found = append(found, adopted...)
	}
	slices.SortFunc(found, func(a, b *appsv1.ControllerRevision) int {
		if a.Revision != b.Revision {
			return int(a.Revision - b.Revision)
		}
		return boolFirst(a.Name < b.Name)
	})
	return found, nil
}

// daemonSetRevision returns the hash of a DaemonSet's template, after making sure that its revision exists and is the
// newest.
func (h *revisionHistory) daemonSetRevision(p *sim.Proc, ds *appsv1.DaemonSet) (string, error) {
	k, ok := h.known[ds.UID]
	if !ok || k.generation != ds.Generation {
		data, err := api.RevisionData(&ds.Spec.Template)
		if err != nil {
			return "", fmt.Errorf("revision of %s: %w", api.KeyOf(ds), err)
		}
		hash := api.ComputeHash(&ds.Spec.Template, ds.Status.CollisionCount)
		k = knownRevision{generation: ds.Generation, name: ds.Name + "-" + hash, hash: hash, data: data}
		h.known[ds.UID] = k
	}
	revisions, err := h.of(p, ds, ds.Spec.Selector)
	if err != nil {
		return "", err
	}
	_, err = h.ensure(p, ds, &ds.Spec.Template, revisions)
	return k.hash, err
}

// statefulSetRevisions returns all revisions of a StatefulSet, the one that its status calls current, and that of its
// template, after making sure that it exists and is the newest.
func (h *revisionHistory) statefulSetRevisions(p *sim.Proc, set *appsv1.StatefulSet) (all []*appsv1.ControllerRevision,
	current, update *appsv1.ControllerRevision, err error) {
	k, ok := h.known[set.UID]
	if !ok || k.generation != set.Generation {
		data, err := api.RevisionData(&set.Spec.Template)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("revision of %s: %w", api.KeyOf(set), err)
		}
		collisions := int32(0) // it counts also where the status does not say it
		if set.Status.CollisionCount != nil {
			collisions = *set.Status.CollisionCount
		}
		hash := api.RevisionHash(data, &collisions)
		k = knownRevision{generation: set.Generation, name: set.Name + "-" + hash, hash: hash, data: data}
		h.known[set.UID] = k
	}
	if all, err = h.of(p, set, set.Spec.Selector); err != nil {
		return nil, nil, nil, err
	}
	if update, err = h.ensure(p, set, &set.Spec.Template, all); err != nil {
		return nil, nil, nil, err
	}
	current = update
	for _, r := range all {
		if r.Name == set.Status.CurrentRevision {
			current = r
		}
	}
	return all, current, update, nil
}

// ensure makes the revision that is known for an owner its newest one, creating it if there is none.
func (h *revisionHistory) ensure(p *sim.Proc, owner api.Object, template *corev1.PodTemplateSpec,
	revisions []*appsv1.ControllerRevision) (*appsv1.ControllerRevision, error) {
	k, newest := h.known[owner.GetUID()], int64(0)
	var found *appsv1.ControllerRevision
	for _, r := range revisions {
		newest = max(newest, r.Revision)
		if r.Name == k.name {
			found = r
		}
	}
	switch {
	case found != nil && found.Revision == newest:
		return found, nil
	case found != nil: // a template of old times has come back
		copied := found.DeepCopy()
		copied.Revision = newest + 1
		return api.UpdateObject(p, h.client, copied)
	}
	labels := map[string]string{appsv1.ControllerRevisionHashLabelKey: k.hash}
	for key, value := range template.Labels { // any order: fills a map
		labels[key] = value
	}
	created, err := api.CreateObject(p, h.client, &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: owner.GetNamespace(), Name: k.name, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*ownerReference(owner)}},
		Data: runtime.RawExtension{Raw: k.data}, Revision: newest + 1})
	if !api.IsAlreadyExists(err) {
		return created, err
	}
	there, readErr := api.GetObject[*appsv1.ControllerRevision](p, h.client, owner.GetNamespace(), k.name)
	if readErr == nil && bytes.Equal(there.Data.Raw, k.data) {
		return there, nil
	}
	return nil, err
}

// template returns the pod template that a revision holds.
func (h *revisionHistory) template(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	if t := h.templates[r.UID]; t != nil {
		return t, nil
	}
	var data struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("revision %s: %w", api.KeyOf(r), err)
	}
	h.templates[r.UID] = &data.Spec.Template
	return &data.Spec.Template, nil
}

// truncate deletes the oldest of those revisions beyond the limit, but none that is in use.
func (h *revisionHistory) truncate(p *sim.Proc, revisions []*appsv1.ControllerRevision, limit *int32,
	live func(*appsv1.ControllerRevision) bool) error {
	excess := len(revisions) - 10 // pkg/apis/apps/v1/defaults.go
	if limit != nil {
		excess = len(revisions) - int(*limit)
	}
	for _, r := range revisions {
		if excess <= 0 {
			break
		}
		if live(r) {
			continue
		}
		err := api.DeleteObject[*appsv1.ControllerRevision](p, h.client, api.KeyOf(r), api.DeleteOptions{})
		if err != nil && !api.IsNotFound(err) {
			return err
		}
		excess--
	}
	return nil
}
