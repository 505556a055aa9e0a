package kubelet

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models the kubelet's node lease controller (component-helpers apimachinery/lease/controller.go, v0.36): renewal, five
// immediate tries, ensure with back-off, owner reference. Leaves out: nothing that shows.

const (
	leaseRenewFraction = 4                      // renewInterval = 0.25 x duration (pkg/kubelet/kubelet.go)
	leaseRenewJitter   = 40                     // per mille: jitterFactor 0.04
	maxUpdateRetries   = 5                      // controller.go
	leaseBackoffInit   = 100 * time.Millisecond // doubled before the first wait
	leaseBackoffMax    = 7 * time.Second        // maxBackoff
	// min(nodeStatusUpdateFrequency, lease duration) (cmd/kubelet/app/server.go)
	heartbeatTimeout    = 10 * time.Second
	nodeLeaseNamespace  = corev1.NamespaceNodeLease
	leaseControllerName = "lease"
)

// leaseController keeps the node's Lease fresh.
type leaseController struct {
	kl      *Kubelet
	random  *sim.Stream
	latest  *coordinationv1.Lease
	tries   int
	backoff time.Duration
	timeout time.Duration

	orEnsure bool // of the update under way
	answered func(*api.Response, error)
}

func (c *leaseController) init(kl *Kubelet) {
	c.kl, c.random = kl, kl.kernel.Rand("kubelet/lease/"+kl.machine.Name)
	c.timeout = min(heartbeatTimeout, kl.config.leaseDuration)
}

func (c *leaseController) start() { c.Run() }

// Run is one round: the renewal, or the search for a lease to renew.
func (c *leaseController) Run() {
	if c.latest != nil {
		c.tries = 0
		c.update(true)
		return
	}
	c.backoff = leaseBackoffInit
	c.ensure()
}

func (c *leaseController) next() {
	interval := c.kl.config.leaseDuration / leaseRenewFraction
	c.kl.scope.AfterRun(c.random.Jitter(interval, leaseRenewJitter), leaseControllerName, c)
}

// update writes a new renewTime over the lease known last. orEnsure says that failing five times is followed by ensure.
func (c *leaseController) update(orEnsure bool) {
	// One piece of memory: half of all that an idle cluster does are renewals.
	renewal := &struct {
		lease   coordinationv1.Lease
		renewed metav1.MicroTime
		request api.Request
	}{*c.latest, metav1.NewMicroTime(c.kl.machine.Clock().Now().Truncate(time.Microsecond)), api.Request{Verb: api.Update,
		Resource: api.Leases, Namespace: nodeLeaseNamespace, Name: c.latest.Name, Within: c.timeout}}
	renewal.lease.Spec.RenewTime, renewal.request.Object = &renewal.renewed, &renewal.lease
	c.orEnsure = orEnsure
	if c.answered == nil {
		c.answered = c.updated
	}
	c.kl.heartbeat.Start(&renewal.request, c.answered)
}

func (c *leaseController) updated(answer *api.Response, err error) {
	orEnsure := c.orEnsure
	if err == nil {
		c.latest = answer.Object.(*coordinationv1.Lease)
		c.next()
		return
	}
	c.tries++
	switch {
	case c.tries < maxUpdateRetries && api.IsConflict(err):
		c.reread(orEnsure)
	case c.tries < maxUpdateRetries:
		c.update(orEnsure)
	case orEnsure:
		c.backoff = leaseBackoffInit
		c.ensure()
	default:
		c.next()
	}
}

// reread fetches the lease after an optimistic lock conflict.
func (c *leaseController) reread(orEnsure bool) {
	c.get(func(lease *coordinationv1.Lease, err error) {
		if err == nil {
			c.latest = lease
		}
		c.update(orEnsure)
	})
}

func (c *leaseController) get(done func(*coordinationv1.Lease, error)) {
	c.kl.heartbeat.Start(&api.Request{Verb: api.Get, Resource: api.Leases, Namespace: nodeLeaseNamespace,
		Name: c.kl.config.nodeName, Within: c.timeout}, func(answer *api.Response, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(answer.Object.(*coordinationv1.Lease), nil)
	})
}

// ensure gets or creates the lease, again and again with a growing wait.
func (c *leaseController) ensure() {
	c.get(func(lease *coordinationv1.Lease, err error) {
		switch {
		case err == nil:
			c.latest, c.tries = lease, 0
			c.update(false)
		case api.IsNotFound(err):
			c.create()
		default:
			c.ensureLater()
		}
	})
}

func (c *leaseController) ensureLater() {
	c.backoff = min(2*c.backoff, leaseBackoffMax)
	c.kl.scope.After(c.backoff, "ensure lease", c.ensure)
}

// create makes the lease, owned by the Node. Without the Node it is left for the next round
// (pkg/kubelet/util/nodelease.go).
func (c *leaseController) create() {
	c.kl.heartbeat.Start(&api.Request{Verb: api.Get, Resource: api.Nodes, Name: c.kl.config.nodeName, Within: c.timeout},
		func(answer *api.Response, err error) {
			if err != nil {
				c.next()
				return
			}
			c.createFor(answer.Object.(*corev1.Node))
		})
}

func (c *leaseController) createFor(node *corev1.Node) {
	seconds := int32(c.kl.config.leaseDuration / time.Second)
	renewed := metav1.NewMicroTime(c.kl.machine.Clock().Now().Truncate(time.Microsecond))
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Namespace: nodeLeaseNamespace,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &node.Name, LeaseDurationSeconds: &seconds, RenewTime: &renewed},
	}
	c.kl.heartbeat.Start(&api.Request{Verb: api.Create, Resource: api.Leases, Namespace: nodeLeaseNamespace,
		Name: lease.Name, Object: lease, Within: c.timeout}, func(answer *api.Response, err error) {
		if err != nil {
			c.ensureLater()
			return
		}
		c.latest = answer.Object.(*coordinationv1.Lease)
		c.next()
	})
}
