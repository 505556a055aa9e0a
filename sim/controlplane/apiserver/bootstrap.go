package apiserver

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"ksim/sim"
	"ksim/sim/api"
)

// Models the objects that kube-apiserver makes itself (pkg/controlplane/controller/systemnamespaces,
// clusterauthenticationtrust, pkg/registry/scheduling/rest, pkg/controlplane/controller/apiserverleasegc, v1.36).
// Leaves out: roles and bindings, flow schemas, the objects of API aggregation.

const (
	bootstrapRetry = time.Second
	// namespacesPeriod is how often the system namespaces are looked for
	// (systemnamespaces/system_namespaces_controller.go).
	namespacesPeriod = time.Minute
	// The identity Lease (pkg/controlplane/apiserver/config.go IdentityLeaseDurationSeconds,
	// IdentityLeaseRenewIntervalPeriod).
	identitySeconds  = 3600
	identityInterval = 10 * time.Second
	identityJitter   = 40 // per mille; component-helpers apimachinery/lease/controller.go
	// identitySince is the first minor with APIServerIdentity on (pkg/features, beta 1.26).
	identitySince = 26
)

func targetPort(port int) intstr.IntOrString { return intstr.FromInt32(int32(port)) }

func (s *Server) firstAddress() (string, error) {
	prefix, err := netip.ParsePrefix(firstOf(s.options.serviceCIDR))
	if err != nil {
		return "", err
	}
	return addressAt(prefix, 1), nil
}

// The names of the system's classes (pkg/apis/scheduling/types.go).
const (
	systemNodeCritical    = "system-node-critical"
	systemClusterCritical = "system-cluster-critical"
)

func systemPriorityClasses() []*schedulingv1.PriorityClass {
	class := func(name string, value int32, why string) *schedulingv1.PriorityClass {
		return &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, Description: why,
			PreemptionPolicy: ptr.To(corev1.PreemptLowerPriority)}
	}
	return []*schedulingv1.PriorityClass{
		class(systemNodeCritical, 2000001000,
			"Used for system critical pods that must not be moved from their current node."),
		class(systemClusterCritical, 2000000000,
			"Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
	}
}

// bootstrap makes what has to be there; it tries each object until it exists.
func (s *Server) bootstrap(p *sim.Proc) {
	for _, ns := range s.systemNamespaces() {
		s.ensure(p, api.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	}
	s.ensure(p, api.ConfigMaps, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "extension-apiserver-authentication",
		Namespace: metav1.NamespaceSystem}, Data: map[string]string{
		"requestheader-allowed-names":        `["front-proxy-client"]`,
		"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
		"requestheader-group-headers":        `["X-Remote-Group"]`,
		"requestheader-username-headers":     `["X-Remote-User"]`,
	}})
	if s.release.Minor >= 11 { // scheduling.k8s.io is on by default in every release that ksim has
		for _, class := range systemPriorityClasses() {
			s.ensure(p, api.PriorityClasses, class)
		}
	}
	s.rolesMade = true
	s.doneHooks[hookPriorityClasses] = true
}

func (s *Server) systemNamespaces() []string {
	if !s.release.NodeLeases {
		return immortalNamespaces
	}
	return append(immortalNamespaces[:len(immortalNamespaces):len(immortalNamespaces)], corev1.NamespaceNodeLease)
}

// ensure creates an object unless it is there.
func (s *Server) ensure(p *sim.Proc, r *api.Resource, obj api.Object) {
	for {
		is, err := s.lookup(p, r, obj.GetNamespace(), obj.GetName())
		if err == nil && is != nil {
			return
		}
		if err == nil {
			body := obj.DeepCopyObject().(api.Object)
			_, err = s.internal(p, &api.Request{Verb: api.Create, Resource: r, Namespace: obj.GetNamespace(), Object: body})
		}
		if err == nil || apierrors.IsAlreadyExists(err) {
			return
		}
		p.Sleep(bootstrapRetry)
	}
}

// keepNamespaces makes the system namespaces again if somebody has deleted one.
func (s *Server) keepNamespaces(p *sim.Proc) {
	for {
		p.Sleep(namespacesPeriod)
		if c := s.registryOf(api.Namespaces).cache; c != nil && !c.ready {
			continue
		}
		for _, ns := range s.systemNamespaces() {
			s.ensure(p, api.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		}
	}
}

// keepIdentity renews the Lease by which API servers know one another.
func (s *Server) keepIdentity(p *sim.Proc) {
	if s.release.Minor < identitySince {
		return
	}
	hash := sha256.Sum256([]byte(s.machineName))
	name := "apiserver-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash[:16]))
	holder := name + "_" + api.NewUUID(s.random)
	for {
		s.renewIdentity(p, name, holder)
		p.Sleep(s.random.Jitter(identityInterval, identityJitter))
	}
}

func (s *Server) renewIdentity(p *sim.Proc, name, holder string) {
	now := metav1.NewMicroTime(s.process.Machine().Clock().Now())
	is, err := s.lookup(p, api.Leases, metav1.NamespaceSystem, name)
	if err != nil {
		return
	}
	r := &api.Request{Verb: api.Create, Resource: api.Leases, Namespace: metav1.NamespaceSystem, Name: name}
	if is != nil {
		lease := is.(*coordinationv1.Lease).DeepCopy()
		lease.Spec.HolderIdentity, lease.Spec.RenewTime = &holder, &now
		r.Verb, r.Object = api.Update, lease
	} else {
		r.Object = &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceSystem, Labels: map[string]string{
				"apiserver.kubernetes.io/identity": "kube-apiserver", corev1.LabelHostname: s.machineName}},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: ptr.To[int32](identitySeconds),
				RenewTime: &now}}
	}
	_, _ = s.internal(p, r) // the next round tries again
}

// holderChanged reports whether a Lease has passed to somebody else.
func holderChanged(obj, old api.Object) bool {
	a, b := obj.(*coordinationv1.Lease), old.(*coordinationv1.Lease)
	return ptr.Deref(a.Spec.HolderIdentity, "") != ptr.Deref(b.Spec.HolderIdentity, "")
}
