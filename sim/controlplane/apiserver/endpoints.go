package apiserver

import (
	"slices"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/raft"
)

// Models the controller of the kubernetes Service and its lease reconciler
// (pkg/controlplane/controller/kubernetesservice, pkg/controlplane/reconcilers/lease.go, v1.36): each API server keeps
// a key with a TTL alive and makes the endpoints of what keys there are.

const (
	masterLeases     = "/registry/masterleases/"
	peerLeases       = "/registry/peerserverleases/"
	endpointInterval = 10 * time.Second // pkg/controlplane/apiserver/config.go DefaultEndpointReconcilerInterval
	endpointTTL      = 15 * time.Second // DefaultEndpointReconcilerTTL
	serviceName      = "kubernetes"
)

type endpointReconciler struct {
	server  *Server
	stopped bool
	busy    bool // a round is under way: leaving waits for it
	free    sim.Signal
}

// run takes a stale key of its own away, waits until the server is ready, and then reconciles each interval.
func (e *endpointReconciler) run(p *sim.Proc) {
	s := e.server
	if s.options.endpointReconciler == "none" {
		return
	}
	for s.health(p, healthQuery{endpoint: "readyz"}).Status != 200 {
		p.Sleep(readyPoll)
	}
	for next := p.Now(); ; {
		e.round(p)
		next = max(next.Add(endpointInterval), p.Now())
		p.Sleep(next.Sub(p.Now()))
	}
}

func (e *endpointReconciler) round(p *sim.Proc) {
	if e.stopped {
		return
	}
	e.busy = true
	if e.ensureService(p) == nil && e.refresh(p) == nil {
		_ = e.reconcile(p) // the next round tries again
	}
	e.busy = false
	e.free.Broadcast()
}

// refresh puts the server's key anew, with a lease of its own.
func (e *endpointReconciler) refresh(p *sim.Proc) error {
	s := e.server
	ip, within := s.options.advertiseAddress, s.options.requestTimeout
	lease, err := s.etcd.LeaseGrant(p, &raft.LeaseGrantRequest{TTL: int64(endpointTTL / time.Second)}, within)
	if err != nil {
		return err
	}
	_, err = s.etcd.Txn(p, &raft.TxnRequest{Success: []raft.RequestOp{{Put: &raft.PutRequest{
		Key: []byte(masterLeases + ip), Value: []byte(ip), Lease: lease.ID}}}}, within)
	return err
}

// addresses lists the API servers that have a key, sorted.
func (e *endpointReconciler) addresses(p *sim.Proc) ([]string, error) {
	s := e.server
	resp, err := s.etcd.Range(p, &raft.RangeRequest{Key: []byte(masterLeases), RangeEnd: prefixEnd(masterLeases)},
		s.options.requestTimeout)
	if err != nil {
		return nil, err
	}
	ips := make([]string, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		ips = append(ips, string(kv.Key[len(masterLeases):]))
	}
	sort.Strings(ips)
	return ips, nil
}

// reconcile sets the endpoints to the living API servers. An empty list is refused, except by one that leaves.
func (e *endpointReconciler) reconcile(p *sim.Proc) error {
	ips, err := e.addresses(p)
	if err != nil || len(ips) == 0 && !e.stopped {
		return err
	}
	if err := e.writeEndpoints(p, ips); err != nil {
		return err
	}
	if !e.server.release.EndpointSlices {
		return nil
	}
	return e.writeSlice(p, ips)
}

func (e *endpointReconciler) writeEndpoints(p *sim.Proc, ips []string) error {
	s := e.server
	wanted := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: serviceName, Namespace: metav1.NamespaceDefault,
		Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}}}
	if len(ips) > 0 {
		subset := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "https", Port: int32(s.options.securePort),
			Protocol: corev1.ProtocolTCP}}}
		for _, ip := range ips {
			subset.Addresses = append(subset.Addresses, corev1.EndpointAddress{IP: ip})
		}
		wanted.Subsets = []corev1.EndpointSubset{subset}
	}
	return e.write(p, api.Endpoints, wanted, func(is api.Object) (api.Object, bool) {
		old := is.(*corev1.Endpoints)
		if slices.Equal(endpointIPs(old), ips) {
			return nil, false
		}
		next := old.DeepCopy()
		next.Subsets = wanted.Subsets
		return next, true
	})
}

func endpointIPs(e *corev1.Endpoints) []string {
	var ips []string
	for i := range e.Subsets {
		for _, a := range e.Subsets[i].Addresses {
			ips = append(ips, a.IP)
		}
	}
	return ips
}

func (e *endpointReconciler) writeSlice(p *sim.Proc, ips []string) error {
	s := e.server
	wanted := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
		ObjectMeta: metav1.ObjectMeta{Name: serviceName, Namespace: metav1.NamespaceDefault,
			Labels: map[string]string{discoveryv1.LabelServiceName: serviceName}},
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("https"), Protocol: ptr.To(corev1.ProtocolTCP),
			Port: ptr.To(int32(s.options.securePort))}}}
	for _, ip := range ips {
		wanted.Endpoints = append(wanted.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}})
	}
	return e.write(p, api.EndpointSlices, wanted, func(is api.Object) (api.Object, bool) {
		old := is.(*discoveryv1.EndpointSlice)
		same := slices.EqualFunc(old.Endpoints, ips, func(e discoveryv1.Endpoint, ip string) bool {
			return len(e.Addresses) == 1 && e.Addresses[0] == ip
		})
		if same {
			return nil, false
		}
		next := old.DeepCopy()
		next.Endpoints = wanted.Endpoints
		return next, true
	})
}

// write creates wanted, or updates what is there if changed says so. What is there is looked up in the cache: a cache
// that is behind costs a conflict, and another try in the next round.
func (e *endpointReconciler) write(p *sim.Proc, r *api.Resource, wanted api.Object,
	changed func(is api.Object) (api.Object, bool)) error {
	s := e.server
	is, err := s.lookup(p, r, wanted.GetNamespace(), wanted.GetName())
	switch {
	case err != nil:
		return err
	case is == nil:
		_, err = s.internal(p, &api.Request{Verb: api.Create, Resource: r, Namespace: wanted.GetNamespace(),
			Object: wanted})
		if apierrors.IsAlreadyExists(err) {
			err = nil
		}
		return err
	}
	next, ok := changed(is)
	if !ok {
		return nil
	}
	_, err = s.internal(p, &api.Request{Verb: api.Update, Resource: r, Namespace: next.GetNamespace(),
		Name: next.GetName(), Object: next})
	return err
}

// lookup returns an object from the cache, or from etcd if there is no cache; nil if there is none.
func (s *Server) lookup(p *sim.Proc, r *api.Resource, namespace, name string) (api.Object, error) {
	if c := s.registryOf(r).cache; c != nil && c.ready {
		if v := c.find(namespace, name); v != nil {
			return c.object(v), nil
		}
		return nil, nil
	}
	resp, err := s.internal(p, &api.Request{Verb: api.Get, Resource: r, Namespace: namespace, Name: name})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resp.Object, nil
}

// ensureService makes the kubernetes Service, with the first address of the range.
func (e *endpointReconciler) ensureService(p *sim.Proc) error {
	s := e.server
	is, err := s.lookup(p, api.Services, metav1.NamespaceDefault, serviceName)
	if err != nil || is != nil {
		return err
	}
	address, err := s.firstAddress()
	if err != nil {
		return err
	}
	_, err = s.internal(p, &api.Request{Verb: api.Create, Resource: api.Services, Namespace: metav1.NamespaceDefault,
		Object: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: serviceName, Namespace: metav1.NamespaceDefault,
				Labels: map[string]string{"provider": "kubernetes", "component": "apiserver"}},
			Spec: corev1.ServiceSpec{ClusterIP: address, Type: corev1.ServiceTypeClusterIP,
				SessionAffinity: corev1.ServiceAffinityNone, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
				IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicySingleStack),
				Ports: []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP,
					TargetPort: targetPort(s.options.securePort)}}}}})
	if apierrors.IsAlreadyExists(err) || apierrors.IsInvalid(err) { // another API server makes it
		err = nil
	}
	return err
}

// leave takes the server out of the endpoints.
func (e *endpointReconciler) leave(p *sim.Proc) {
	e.stopped = true
	e.server.hook(p, "leave endpoints", func(p *sim.Proc) {
		for e.busy {
			e.free.Wait(p, sim.Forever)
		}
		if e.server.forget(p, masterLeases+e.server.options.advertiseAddress) == nil {
			_ = e.reconcile(p) // nobody is left to try again
		}
	})
}
