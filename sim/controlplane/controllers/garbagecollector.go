package controllers

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's garbage collector (pkg/controller/garbagecollector, v1.36): the graph of owners,
// background, foreground and orphaning deletion, absent owners. Leaves out: resources that ksim only stores,
// discovery of new ones.

// gcItem is an object in the graph of owners. A virtual one is only known as somebody's owner.
type gcItem struct {
	resource           *api.Resource
	key                api.Key
	uid                types.UID
	owners             []metav1.OwnerReference
	dependents         []*gcItem // in the order in which they appeared
	virtual            bool
	deleting           bool // has a deletionTimestamp
	deletingDependents bool // foreground: waits for its dependents
}

// garbageCollector is the controller.
type garbageCollector struct {
	*manager
	items    map[types.UID]*gcItem
	toDelete *controlplane.WorkQueue[types.UID]
	toOrphan *controlplane.WorkQueue[types.UID]
	gone     map[types.UID]sim.EventID // owners that were seen to vanish
	watched  []controlplane.Syncer
}

func newGarbageCollector(m *manager) *garbageCollector {
	gc := &garbageCollector{manager: m, items: map[types.UID]*gcItem{}, gone: map[types.UID]sim.EventID{},
		toDelete: controlplane.NewWorkQueue[types.UID](m.scope, controlplane.DefaultRateLimits()),
		toOrphan: controlplane.NewWorkQueue[types.UID](m.scope, controlplane.DefaultRateLimits())}
	collect(gc, m.pods, api.Pods)
	collect(gc, m.nodes, api.Nodes)
	collect(gc, m.leases, api.Leases)
	collect(gc, m.replicaSets, api.ReplicaSets)
	collect(gc, m.daemonSets, api.DaemonSets)
	collect(gc, informerFor[*appsv1.Deployment](m, api.Deployments), api.Deployments)
	collect(gc, informerFor[*appsv1.StatefulSet](m, api.StatefulSets), api.StatefulSets)
	collect(gc, informerFor[*appsv1.ControllerRevision](m, api.ControllerRevisions), api.ControllerRevisions)
	collect(gc, informerFor[*batchv1.Job](m, api.Jobs), api.Jobs)
	collect(gc, informerFor[*corev1.Service](m, api.Services), api.Services)
	collect(gc, informerFor[*discoveryv1.EndpointSlice](m, api.EndpointSlices), api.EndpointSlices)
	collect(gc, informerFor[*policyv1.PodDisruptionBudget](m, api.PodDisruptionBudgets), api.PodDisruptionBudgets)
	collect(gc, informerFor[*corev1.ConfigMap](m, api.ConfigMaps), api.ConfigMaps)
	collect(gc, informerFor[*corev1.Secret](m, api.Secrets), api.Secrets)
	return gc
}

// collect has a resource's objects taken into the graph.
func collect[T api.Object](gc *garbageCollector, inf *controlplane.Informer[T], resource *api.Resource) {
	gc.watched = append(gc.watched, inf)
	inf.Handle(controlplane.Handler[T]{
		OnAdd: func(obj T) { gc.observe(resource, obj) },
		OnUpdate: func(old, obj T) {
			if old.GetUID() != obj.GetUID() {
				gc.removed(old)
			}
			if obj.GetDeletionTimestamp() == nil && sameOwners(old.GetOwnerReferences(), obj.GetOwnerReferences()) {
				return
			}
			gc.observe(resource, obj)
		},
		OnDelete: func(last T, _ bool) { gc.removed(last) },
	})
}

func sameOwners(a, b []metav1.OwnerReference) bool {
	return slices.EqualFunc(a, b, func(x, y metav1.OwnerReference) bool { return x.UID == y.UID })
}

func (gc *garbageCollector) run() {
	gc.whenSynced("garbagecollector", func(*sim.Proc) {
		gc.toDelete.RunRetrying("gc-delete", int(gc.options.ConcurrentGCSyncs), 0, gc.attemptToDelete)
		gc.toOrphan.RunRetrying("gc-orphan", int(gc.options.ConcurrentGCSyncs), 0, gc.attemptToOrphan)
	}, gc.watched...)
}

// observe takes an object's present state into the graph (GraphBuilder.processGraphChanges).
func (gc *garbageCollector) observe(resource *api.Resource, obj api.Object) {
	item := gc.items[obj.GetUID()]
	if item == nil {
		item = &gcItem{uid: obj.GetUID()}
		gc.items[item.uid] = item
	}
	item.resource, item.key, item.virtual = resource, api.KeyOf(obj), false
	gc.setOwners(item, obj.GetOwnerReferences())
	if obj.GetDeletionTimestamp() == nil {
		return
	}
	item.deleting = true
	if hasFinalizer(obj, metav1.FinalizerOrphanDependents) {
		gc.toOrphan.Add(item.uid)
	}
	if hasFinalizer(obj, metav1.FinalizerDeleteDependents) && !item.deletingDependents {
		item.deletingDependents = true
		for _, d := range item.dependents {
			gc.toDelete.Add(d.uid)
		}
		gc.toDelete.Add(item.uid)
	}
}

func hasFinalizer(obj api.Object, name string) bool {
	return slices.Contains(obj.GetFinalizers(), name)
}

// setOwners links an item with its owners. An owner that is not known is looked up: it may not exist.
func (gc *garbageCollector) setOwners(item *gcItem, owners []metav1.OwnerReference) {
	for _, ref := range item.owners {
		if slices.ContainsFunc(owners, func(r metav1.OwnerReference) bool { return r.UID == ref.UID }) {
			continue
		}
		if owner := gc.items[ref.UID]; owner != nil {
			gc.unlink(owner, item)
		}
	}
	before := item.owners
	item.owners = owners
	for _, ref := range owners {
		if slices.ContainsFunc(before, func(r metav1.OwnerReference) bool { return r.UID == ref.UID }) {
			continue
		}
		owner := gc.items[ref.UID]
		if owner == nil {
			if _, gone := gc.gone[ref.UID]; gone {
				gc.toDelete.Add(item.uid)
				continue
			}
			owner = &gcItem{uid: ref.UID, virtual: true, resource: api.ResourceByKind(ref.Kind),
				key: api.Key{Namespace: item.key.Namespace, Name: ref.Name}}
			if owner.resource != nil && !owner.resource.Namespaced {
				owner.key.Namespace = ""
			}
			gc.items[ref.UID] = owner
			gc.toDelete.Add(ref.UID)
		}
		owner.dependents = append(owner.dependents, item)
	}
}

func (gc *garbageCollector) unlink(owner, item *gcItem) {
	owner.dependents = slices.DeleteFunc(owner.dependents, func(d *gcItem) bool { return d == item })
	if owner.deletingDependents {
		gc.toDelete.Add(owner.uid)
	}
}

func (gc *garbageCollector) removed(obj api.Object) { gc.vanish(obj.GetUID()) }

// vanish takes an object out of the graph: its dependents may have to follow, owners that waited for it go on.
func (gc *garbageCollector) vanish(uid types.UID) {
	item := gc.items[uid]
	if item == nil {
		return
	}
	delete(gc.items, uid)
	if len(item.dependents) > 0 {
		gc.gone[uid] = gc.kernel.Cause()
	}
	for _, d := range item.dependents {
		gc.toDelete.Add(d.uid)
	}
	for _, ref := range item.owners {
		if owner := gc.items[ref.UID]; owner != nil {
			gc.unlink(owner, item)
		}
	}
}

// fetch reads the present state of an item; nil when it is gone or another object has its name.
func (gc *garbageCollector) fetch(p *sim.Proc, resource *api.Resource, key api.Key, uid types.UID) (api.Object, error) {
	answer, err := gc.client.Do(p, &api.Request{Verb: api.Get, Resource: resource, Namespace: key.Namespace,
		Name: key.Name})
	if api.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if answer.Object.GetUID() != uid {
		return nil, nil
	}
	return answer.Object, nil
}

// attemptToDelete deletes an item whose owners are all gone (GarbageCollector.attemptToDeleteItem).
func (gc *garbageCollector) attemptToDelete(p *sim.Proc, uid types.UID) error {
	item := gc.items[uid]
	if item == nil || item.resource == nil || item.deleting && !item.deletingDependents {
		return nil
	}
	cause := gc.kernel.Cause()
	latest, err := gc.fetch(p, item.resource, item.key, uid)
	if err != nil {
		return err
	}
	gc.kernel.Because(cause)
	if latest == nil {
		gc.vanish(uid)
		return nil
	}
	if item.virtual {
		return nil // it exists; its informer will show it
	}
	if item.deletingDependents {
		return gc.processDeletingDependents(p, item, latest)
	}
	owners := latest.GetOwnerReferences()
	if len(owners) == 0 {
		return nil
	}
	return gc.deleteUnlessOwned(p, item, latest, owners)
}

func (gc *garbageCollector) deleteUnlessOwned(p *sim.Proc, item *gcItem, latest api.Object,
	owners []metav1.OwnerReference) error {
	cause := gc.kernel.Cause()
	var solid []metav1.OwnerReference
	waiting := false
	for _, ref := range owners {
		if _, gone := gc.gone[ref.UID]; gone {
			gc.kernel.Because(gc.gone[ref.UID])
			continue
		}
		resource := api.ResourceByKind(ref.Kind)
		if resource == nil {
			return fmt.Errorf("no kind %q is known: owner of %s", ref.Kind, item.key)
		}
		key := api.Key{Namespace: latest.GetNamespace(), Name: ref.Name}
		if !resource.Namespaced {
			key.Namespace = ""
		}
		owner, err := gc.fetch(p, resource, key, ref.UID)
		gc.kernel.Because(cause)
		switch {
		case err != nil:
			return err
		case owner == nil:
			gc.gone[ref.UID] = cause
		case owner.GetDeletionTimestamp() != nil && hasFinalizer(owner, metav1.FinalizerDeleteDependents):
			waiting = true
			cause = api.CauseOf(gc.kernel, owner)
			gc.kernel.Because(cause)
		default:
			solid = append(solid, ref)
		}
	}
	policy := metav1.DeletePropagationBackground
	switch {
	case len(solid) > 0:
		if len(solid) == len(owners) {
			return nil
		}
		copied := copyOf(latest)
		copied.SetOwnerReferences(solid)
		return gc.update(p, item.resource, copied)
	case waiting && len(item.dependents) > 0, hasFinalizer(latest, metav1.FinalizerDeleteDependents):
		policy = metav1.DeletePropagationForeground
	case hasFinalizer(latest, metav1.FinalizerOrphanDependents):
		policy = metav1.DeletePropagationOrphan
	}
	gc.emit(sim.Event{Level: sim.Detail, Reason: "GarbageCollected", Object: api.ResourceEventName(item.resource,
		item.key.Namespace, item.key.Name), Message: "deleted: its owner " + owners[0].Kind + " " + owners[0].Name +
		" is gone or going"})
	uid := item.uid
	_, err := gc.client.Do(p, &api.Request{Verb: api.Delete, Resource: item.resource, Namespace: item.key.Namespace,
		Name: item.key.Name, PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid}})
	if api.IsNotFound(err) {
		return nil
	}
	return err
}

// processDeletingDependents lets an owner in foreground deletion go when no dependent that blocks it is left.
func (gc *garbageCollector) processDeletingDependents(p *sim.Proc, item *gcItem, latest api.Object) error {
	blocked := false
	for _, d := range item.dependents {
		for _, ref := range d.owners {
			if ref.UID == item.uid && ref.BlockOwnerDeletion != nil && *ref.BlockOwnerDeletion {
				blocked = true
				if !d.deletingDependents {
					gc.toDelete.Add(d.uid)
				}
			}
		}
	}
	if blocked {
		return nil
	}
	return gc.removeFinalizer(p, item, latest, metav1.FinalizerDeleteDependents)
}

// attemptToOrphan takes an owner off its dependents and then lets it go.
func (gc *garbageCollector) attemptToOrphan(p *sim.Proc, uid types.UID) error {
	item := gc.items[uid]
	if item == nil {
		return nil
	}
	cause := gc.kernel.Cause()
	for _, d := range slices.Clone(item.dependents) {
		latest, err := gc.fetch(p, d.resource, d.key, d.uid)
		if err != nil {
			return err
		}
		if latest == nil {
			continue
		}
		copied := copyOf(latest)
		copied.SetOwnerReferences(slices.DeleteFunc(slices.Clone(copied.GetOwnerReferences()),
			func(ref metav1.OwnerReference) bool { return ref.UID == uid }))
		gc.kernel.Because(cause)
		if err := gc.update(p, d.resource, copied); err != nil && !api.IsNotFound(err) {
			return err
		}
	}
	latest, err := gc.fetch(p, item.resource, item.key, uid)
	if err != nil || latest == nil {
		return err
	}
	gc.kernel.Because(cause)
	return gc.removeFinalizer(p, item, latest, metav1.FinalizerOrphanDependents)
}

func (gc *garbageCollector) removeFinalizer(p *sim.Proc, item *gcItem, latest api.Object, name string) error {
	if !hasFinalizer(latest, name) {
		return nil
	}
	copied := copyOf(latest)
	copied.SetFinalizers(slices.DeleteFunc(slices.Clone(copied.GetFinalizers()), func(f string) bool { return f == name }))
	err := gc.update(p, item.resource, copied)
	if api.IsNotFound(err) {
		return nil
	}
	return err
}

func (gc *garbageCollector) update(p *sim.Proc, resource *api.Resource, obj api.Object) error {
	_, err := gc.client.Do(p, &api.Request{Verb: api.Update, Resource: resource, Namespace: obj.GetNamespace(),
		Name: obj.GetName(), Object: obj})
	return err
}

func copyOf(obj api.Object) api.Object {
	copied, ok := obj.DeepCopyObject().(api.Object)
	sim.Assert(ok, "a copy of %s is no object", api.KeyOf(obj))
	return copied
}
