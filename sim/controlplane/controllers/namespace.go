package controllers

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's namespace controller (pkg/controller/namespace, v1.36) and the default
// ServiceAccount of a namespace (pkg/controller/serviceaccount). Leaves out: the conditions that explain what is
// left, tokens.

const (
	// pkg/controller/namespace namespaceDeletionGracePeriod.
	namespaceDeletionGrace = 5 * time.Second
	// pkg/controller/namespace/deletion finalizerEstimateSeconds.
	finalizerEstimate = 15 * time.Second
)

// namespaceController is the controller.
type namespaceController struct {
	*manager
	namespaces *controlplane.Informer[*corev1.Namespace]
	accounts   *controlplane.Informer[*corev1.ServiceAccount]
	saClient   api.Client // the service account controller's
	queue      *controlplane.WorkQueue[string]
	missing    *controlplane.WorkQueue[string] // namespaces whose ServiceAccount is to be made
}

func newNamespaceController(m *manager) *namespaceController {
	nm := &namespaceController{manager: m, namespaces: informerFor[*corev1.Namespace](m, api.Namespaces),
		accounts: informerFor[*corev1.ServiceAccount](m, api.ServiceAccounts),
		saClient: m.withClient(m.options.RateLimit).client,
		queue: controlplane.NewWorkQueue[string](m.scope, controlplane.RateLimits{Base: 5 * time.Millisecond,
			Max: 60 * time.Second}),
		missing: controlplane.NewWorkQueue[string](m.scope, controlplane.DefaultRateLimits())}
	nm.namespaces.Handle(controlplane.Handler[*corev1.Namespace]{
		OnAdd:    nm.enqueue,
		OnUpdate: func(_, ns *corev1.Namespace) { nm.enqueue(ns) },
	})
	nm.accounts.Handle(controlplane.Handler[*corev1.ServiceAccount]{
		OnDelete: func(sa *corev1.ServiceAccount, _ bool) { nm.missing.Add(sa.Namespace) },
	})
	return nm
}

// enqueue leaves other API servers time to see that the namespace is going before its contents are deleted.
func (nm *namespaceController) enqueue(ns *corev1.Namespace) {
	if ns.DeletionTimestamp != nil {
		nm.queue.AddAfter(ns.Name, namespaceDeletionGrace)
	} else {
		nm.missing.Add(ns.Name)
	}
}

func (nm *namespaceController) run() {
	nm.whenSynced("namespace", func(*sim.Proc) {
		nm.queue.Run("namespace", int(nm.options.ConcurrentNamespaceSyncs), nm.sync)
		nm.missing.RunRetrying("serviceaccount", 1, 0, nm.syncServiceAccount)
	}, nm.namespaces, nm.accounts)
}

func (nm *namespaceController) syncServiceAccount(p *sim.Proc, name string) error {
	ns, ok := nm.namespaces.Named("", name)
	if _, has := nm.accounts.Named(name, "default"); !ok || has || ns.Status.Phase == corev1.NamespaceTerminating {
		return nil
	}
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = name, "default"
	_, err := api.CreateObject(p, nm.saClient, account)
	if api.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// remaining is the error of a namespace that still has contents, with how long they may take.
type remaining struct{ estimate time.Duration }

func (e *remaining) Error() string {
	return fmt.Sprintf("some content remains, estimate %s", e.estimate)
}

func (nm *namespaceController) sync(p *sim.Proc, name string) {
	err := nm.deleteNamespace(p, name)
	var left *remaining
	switch {
	case err == nil:
		nm.queue.Forget(name)
	case errors.As(err, &left):
		nm.queue.AddAfter(name, left.estimate/2+time.Second)
	default:
		nm.queue.AddRateLimited(name)
	}
}

// deleteNamespace deletes everything in a namespace that is being deleted, and takes its finalizer off when nothing
// is left.
func (nm *namespaceController) deleteNamespace(p *sim.Proc, name string) error {
	if _, ok := nm.namespaces.Named("", name); !ok {
		return nil
	}
	ns, err := api.GetObject[*corev1.Namespace](p, nm.client, "", name)
	if api.IsNotFound(err) || err == nil && (ns.DeletionTimestamp == nil || len(ns.Spec.Finalizers) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	cause := api.CauseOf(nm.kernel, ns)
	estimate := time.Duration(0)
	resources, err := nm.discover(p)
	if err != nil {
		return err
	}
	for _, resource := range resources {
		nm.kernel.Because(cause)
		left, err := nm.deleteAll(p, resource, name)
		if err != nil {
			return err
		}
		estimate = max(estimate, left)
	}
	if estimate > 0 {
		return &remaining{estimate}
	}
	copied := ns.DeepCopy()
	copied.Spec.Finalizers = nil
	nm.kernel.Because(cause)
	_, err = nm.client.Do(p, &api.Request{Verb: api.Update, Resource: api.Namespaces, Subresource: "finalize", Name: name,
		Object: copied})
	return err
}

// discover returns the resources that a namespace may hold objects of: those of the release, and custom ones.
func (nm *namespaceController) discover(p *sim.Proc) ([]*api.Resource, error) {
	var all []*api.Resource
	for _, resource := range api.Resources() {
		if resource.Namespaced && nm.release.Serves(resource) {
			all = append(all, resource)
		}
	}
	custom, err := api.CustomResources(p, nm.client)
	for _, resource := range custom {
		if resource.Namespaced {
			all = append(all, resource)
		}
	}
	return all, err
}

// deleteAll deletes the objects of one resource in a namespace; it returns how long what is left may take, 0 nothing
// is.
func (nm *namespaceController) deleteAll(p *sim.Proc, resource *api.Resource, namespace string) (time.Duration, error) {
	cause := nm.kernel.Cause()
	list, err := nm.client.Do(p, &api.Request{Verb: api.List, Resource: resource, Namespace: namespace})
	if err != nil || len(list.Items) == 0 {
		return 0, err
	}
	for _, obj := range list.Items {
		if obj.GetDeletionTimestamp() != nil {
			continue
		}
		nm.kernel.Because(cause)
		_, err := nm.client.Do(p, &api.Request{Verb: api.Delete, Resource: resource, Namespace: namespace,
			Name: obj.GetName()})
		if err != nil && !api.IsNotFound(err) {
			return 0, err
		}
	}
	if list, err = nm.client.Do(p, &api.Request{Verb: api.List, Resource: resource, Namespace: namespace}); err != nil {
		return 0, err
	}
	estimate := time.Duration(0)
	for _, obj := range list.Items {
		left := finalizerEstimate
		if grace := obj.GetDeletionGracePeriodSeconds(); grace != nil && *grace > 0 {
			left = time.Duration(*grace) * time.Second
		}
		estimate = max(estimate, left)
	}
	return estimate, nil
}
