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

// Models kube-controller-manager's namespace controller (pkg/controller/namespace, v1.36), with the conditions that say
// what is left, and the default ServiceAccount of a namespace (pkg/controller/serviceaccount). Leaves out: tokens,
// discovery of resources and its failures.

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
