package apiserver

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
)

// Models the generic registry (apiserver pkg/registry/generic/registry/store.go, pkg/registry/rest, v0.36): what create
// and update do around the storage. Leaves out: managedFields and server-side apply, creation by update.

// optimisticLock is what a writer is told whose object is out of date (registry/store.go OptimisticLockErrorMsg).
const optimisticLock = "the object has been modified; please apply your changes to the latest version and try again"

// generateTries is how often a generated name is drawn (registry/store.go maxNameGenerationCreateAttempts).
const generateTries = 8

func (q *request) createObject(p *sim.Proc) (*api.Response, error) {
	obj, generate := q.Object, q.Object.GetGenerateName()
	if q.Resource.Namespaced && obj.GetNamespace() != "" && obj.GetNamespace() != q.Namespace {
		return nil, apierrors.NewBadRequest(
			"the namespace of the provided object does not match the namespace sent on the request")
	}
	tries := 1
	if generate != "" && obj.GetName() == "" && q.server.release.RetryGenerateName {
		tries = generateTries
	}
	for {
		stored, err := q.createOnce(p, obj)
		if tries--; tries > 0 && apierrors.IsAlreadyExists(err) {
			obj.SetName("")
			continue
		}
		if err != nil {
			return nil, err
		}
		return &api.Response{Object: stored, Status: 201}, nil
	}
}

func (q *request) createOnce(p *sim.Proc, obj api.Object) (api.Object, error) {
	api.SetDefaults(obj)
	if err := q.admitCreate(p, obj); err != nil {
		return nil, err
	}
	err := api.BeforeCreate(q.Resource, obj, api.CreateOptions{Namespace: q.Namespace, Now: q.server.now(),
		Stream: q.server.random})
	if err != nil {
		return nil, err
	}
	if q.Resource == api.Pods && !q.server.release.PodGeneration {
		obj.SetGeneration(0)
	}
	release, err := q.allocate(p, obj)
	if err != nil {
		return nil, err
	}
	lease, err := q.ttl(p)
	if err != nil {
		return nil, err
	}
	stored, err := q.create(p, obj, lease)
	if err != nil {
		release()
	}
	return stored, err
}

// ttl returns the etcd lease that an object of the resource is stored with, 0 for none: Events go after --event-ttl.
func (q *request) ttl(p *sim.Proc) (int64, error) {
	if q.Resource != api.Events {
		return 0, nil
	}
	lease, err := q.server.eventLeases.get(p, q)
	if err != nil {
		return 0, q.etcdFailed(err)
	}
	return lease, nil
}

// updateObject serves PUT and PATCH of an object or its status.
func (q *request) updateObject(p *sim.Proc) (*api.Response, error) {
	reason := "Updated"
	if q.Verb == api.Patch {
		reason = "Patched"
	}
	lease, err := q.ttl(p)
	if err != nil {
		return nil, err
	}
	version := ""
	if q.Object != nil {
		version = q.Object.GetResourceVersion()
	}
	stored, err := q.update(p, reason, func(existing api.Object) (change, error) {
		if q.Object != nil {
			q.Object.SetResourceVersion(version) // as it came: the try before may have set it
		}
		next, err := q.wanted(existing)
		if err != nil {
			return change{}, err
		}
		if err := q.prepareUpdate(next, existing); err != nil {
			return change{}, err
		}
		if deletable(existing, next) {
			return change{object: next, remove: true}, nil
		}
		return change{object: next, kept: api.KeptBy(q.Subresource), lease: lease}, nil
	})
	if err != nil {
		return nil, err
	}
	return &api.Response{Object: stored, Status: 200}, nil
}

// wanted is what the client wants the object to become: the body, or the patched object.
func (q *request) wanted(existing api.Object) (api.Object, error) {
	if q.Verb == api.Patch {
		return q.patched(existing)
	}
	obj := q.Object
	if obj.GetName() != "" && obj.GetName() != q.Name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)",
			obj.GetName(), q.Name))
	}
	if q.Resource.Namespaced && obj.GetNamespace() != "" && obj.GetNamespace() != q.Namespace {
		return nil, apierrors.NewBadRequest(fmt.Sprintf(
			"the namespace of the object (%s) does not match the namespace on the URL (%s)", obj.GetNamespace(), q.Namespace))
	}
	obj.SetName(q.Name)
	obj.SetNamespace(q.Namespace)
	return obj, nil
}

// prepareUpdate checks versions and has the strategy look at the new object.
func (q *request) prepareUpdate(next, existing api.Object) error {
	switch version := next.GetResourceVersion(); {
	case version == "" || version == "0":
		if q.Verb == api.Update && !allowUnconditionalUpdate(q.Resource) {
			kind := schema.GroupKind{Group: q.Resource.GVK.Group, Kind: q.Resource.Plural}
			return apierrors.NewInvalid(kind, q.Name, mustSpecifyVersion())
		}
		next.SetResourceVersion(existing.GetResourceVersion())
	case version != existing.GetResourceVersion():
		return q.conflict(optimisticLock)
	}
	if next.GetUID() != "" && next.GetUID() != existing.GetUID() {
		return q.conflict(uidMismatch(next.GetUID(), existing.GetUID()))
	}
	api.SetDefaults(next)
	if q.Subresource == "" {
		if err := q.admitUpdate(next, existing); err != nil {
			return err
		}
	}
	return api.BeforeUpdate(q.Resource, next, existing, q.Subresource)
}

func (q *request) conflict(why string) error {
	return apierrors.NewConflict(q.Resource.GroupResource(), q.Name, fmt.Errorf("%s", why))
}

func uidMismatch(wanted, is types.UID) string {
	return fmt.Sprintf("Precondition failed: UID in precondition: %v, UID in object meta: %v", wanted, is)
}

// deletable reports whether an update takes the last thing away that kept a deleted object (store.go
// ShouldDeleteDuringUpdate).
func deletable(existing, next api.Object) bool {
	if existing.GetDeletionTimestamp() == nil || len(next.GetFinalizers()) > 0 {
		return false
	}
	if ns, ok := namespaceOf(next); ok && len(ns.Spec.Finalizers) > 0 {
		return false
	}
	grace := existing.GetDeletionGracePeriodSeconds()
	return grace == nil || *grace == 0
}

// allowUnconditionalUpdate reports whether an object may be replaced without saying which version
// (pkg/registry/*/strategy.go AllowUnconditionalUpdate, v1.36).
func allowUnconditionalUpdate(r *api.Resource) bool {
	return r != api.Leases && r != api.PodDisruptionBudgets && r != api.FlowSchemas && r != api.PriorityLevelConfigurations
}

// checkPreconditions compares what a delete demands with the object.
func (q *request) checkPreconditions(obj api.Object) error {
	if q.Preconditions == nil {
		return nil
	}
	if uid := q.Preconditions.UID; uid != nil && *uid != obj.GetUID() {
		return q.conflict(uidMismatch(*uid, obj.GetUID()))
	}
	if version := q.Preconditions.ResourceVersion; version != nil && *version != obj.GetResourceVersion() {
		return q.conflict(fmt.Sprintf("Precondition failed: ResourceVersion in precondition: %v, "+
			"ResourceVersion in object meta: %v", *version, obj.GetResourceVersion()))
	}
	return nil
}

// now is the server's clock in the API's resolution of a second, as it reads when it was written as text.
func (s *Server) now() metav1.Time {
	return metav1.NewTime(s.process.Machine().Clock().Now().UTC().Truncate(timeResolution))
}
