package controllers

import (
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
// statefulset/stateful_set.go, v1.36). Leaves out: hash collisions.

// revisionHistory keeps a ControllerRevision for each template that a DaemonSet or StatefulSet had.
type revisionHistory struct {
	*manager
	revisions *controlplane.Informer[*appsv1.ControllerRevision]
	byOwner   *controlplane.Index[*appsv1.ControllerRevision]
	known     map[types.UID]knownRevision
}

// knownRevision is what was found for an owner's generation: hashing a template is slow.
type knownRevision struct {
	generation int64
	name, hash string
}

func newRevisionHistory(m *manager) *revisionHistory {
	h := &revisionHistory{manager: m, revisions: informerFor[*appsv1.ControllerRevision](m, api.ControllerRevisions),
		known: map[types.UID]knownRevision{}}
	h.byOwner = h.revisions.Index(func(r *appsv1.ControllerRevision) string { return controllerUID(r) })
	return h
}

// daemonSetHash returns the hash of a DaemonSet's template, after making sure that its revision exists.
func (h *revisionHistory) daemonSetHash(p *sim.Proc, ds *appsv1.DaemonSet) (string, error) {
	k, ok := h.known[ds.UID]
	if ok && k.generation == ds.Generation {
		return k.hash, nil
	}
	hash := api.ComputeHash(&ds.Spec.Template, ds.Status.CollisionCount)
	if err := h.ensure(p, ds, &ds.Spec.Template, ds.Name+"-"+hash, hash); err != nil {
		return "", err
	}
	h.known[ds.UID] = knownRevision{ds.Generation, ds.Name + "-" + hash, hash}
	return hash, h.truncate(p, ds, ds.Spec.RevisionHistoryLimit, nil)
}

// statefulSetRevision returns the name of the revision of a StatefulSet's template, after making sure that it exists.
func (h *revisionHistory) statefulSetRevision(p *sim.Proc, set *appsv1.StatefulSet) (string, error) {
	k, ok := h.known[set.UID]
	if ok && k.generation == set.Generation {
		return k.name, nil
	}
	data, err := api.RevisionData(&set.Spec.Template)
	if err != nil {
		return "", err
	}
	hash := api.RevisionHash(data, set.Status.CollisionCount)
	if err := h.ensure(p, set, &set.Spec.Template, set.Name+"-"+hash, hash); err != nil {
		return "", err
	}
	h.known[set.UID] = knownRevision{set.Generation, set.Name + "-" + hash, hash}
	return set.Name + "-" + hash, nil
}

// ensure makes the revision of that name the newest one of its owner, creating it if there is none.
func (h *revisionHistory) ensure(p *sim.Proc, owner api.Object, template *corev1.PodTemplateSpec, name,
	hash string) error {
	newest := int64(0)
	var found *appsv1.ControllerRevision
	for _, r := range h.byOwner.Get(string(owner.GetUID())) {
		newest = max(newest, r.Revision)
		if r.Name == name {
			found = r
		}
	}
	if found != nil {
		if found.Revision == newest {
			return nil
		}
		copied := found.DeepCopy()
		copied.Revision = newest + 1
		_, err := api.UpdateObject(p, h.client, copied)
		return err
	}
	data, err := api.RevisionData(template)
	if err != nil {
		return fmt.Errorf("revision of %s: %w", api.KeyOf(owner), err)
	}
	labels := map[string]string{appsv1.ControllerRevisionHashLabelKey: hash}
	for key, value := range template.Labels { // any order: fills a map
		labels[key] = value
	}
	_, err = api.CreateObject(p, h.client, &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: owner.GetNamespace(), Name: name, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*ownerReference(owner)}},
		Data: runtime.RawExtension{Raw: data}, Revision: newest + 1})
	if api.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// truncate deletes the oldest revisions beyond the limit that are not in use.
func (h *revisionHistory) truncate(p *sim.Proc, owner api.Object, limit *int32, used map[string]bool) error {
	keep := 10 // pkg/apis/apps/v1/defaults.go
	if limit != nil {
		keep = int(*limit)
	}
	old := slices.DeleteFunc(h.byOwner.Get(string(owner.GetUID())), func(r *appsv1.ControllerRevision) bool {
		return used[r.Name] || r.Name == h.known[owner.GetUID()].name
	})
	slices.SortFunc(old, func(a, b *appsv1.ControllerRevision) int { return int(a.Revision - b.Revision) })
	for i := 0; i < len(old)-keep; i++ {
		err := api.DeleteObject[*appsv1.ControllerRevision](p, h.client, api.KeyOf(old[i]), api.DeleteOptions{})
		if err != nil && !api.IsNotFound(err) {
			return err
		}
	}
	return nil
}
