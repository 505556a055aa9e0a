package apiserver

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/raft"
)

// Models the allocation of cluster IPs and node ports (pkg/registry/core/service, v1.36). An address is taken by a key
// of its own in etcd: an IPAddress from v1.33 on. Leaves out: the bitmap that releases before have, ServiceCIDR
// objects, IPv6, dual stack, the repair loops.

// addressesSince is the first minor whose cluster IPs are objects (pkg/features MultiCIDRServiceAllocator: GA 1.33).
const addressesSince = 33

// addressKey is where a taken cluster IP stands.
func (s *Server) addressKey(address string) []byte {
	if s.release.Minor < addressesSince {
		return []byte("/registry/ranges/serviceips/" + address)
	}
	return []byte(api.IPAddresses.Key("", address))
}

// addressValue is what stands there (pkg/registry/core/service/ipallocator/ipallocator.go). Its UID is made of the
// address: nobody holds on to it.
func (q *request) addressValue(address string) []byte {
	sum := sha256.Sum256([]byte(address))
	ip := &networkingv1.IPAddress{ObjectMeta: metav1.ObjectMeta{Name: address, CreationTimestamp: q.server.now(),
		UID: types.UID(fmt.Sprintf("%x-%x-4%x-8%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])),
		Labels: map[string]string{networkingv1.LabelIPAddressFamily: string(corev1.IPv4Protocol),
			networkingv1.LabelManagedBy: "ipallocator.k8s.io"}, Generation: 1},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services",
			Namespace: q.Object.GetNamespace(), Name: q.Object.GetName()}}}
	value, err := api.Encode(ip)
	sim.Assert(err == nil, "an IPAddress cannot be encoded: %v", err)
	return value
}

// allocateTries is how many random addresses are tried.
const allocateTries = 64

func nothing() {}

// allocate gives a new Service what it needs of scarce things; release gives it back when the Service could not be
// stored.
func (q *request) allocate(p *sim.Proc, obj api.Object) (release func(), err error) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return nothing, nil
	}
	if err := q.allocateNodePorts(svc); err != nil {
		return nothing, err
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nothing, nil
	}
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		svc.Spec.ClusterIPs = []string{corev1.ClusterIPNone}
		setFamilies(svc)
		return nothing, nil
	}
	address, err := q.allocateAddress(p, svc)
	if err != nil || q.DryRun {
		return nothing, err
	}
	svc.Spec.ClusterIP, svc.Spec.ClusterIPs = address, []string{address}
	setFamilies(svc)
	return func() { q.server.releaseAddress(address) }, nil
}

func setFamilies(svc *corev1.Service) {
	if len(svc.Spec.IPFamilies) == 0 {
		svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	if svc.Spec.IPFamilyPolicy == nil {
		svc.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
	}
}

// allocateAddress takes the address that the Service asks for, or a random one.
func (q *request) allocateAddress(p *sim.Proc, svc *corev1.Service) (string, error) {
	if wanted := svc.Spec.ClusterIP; wanted != "" {
		if q.DryRun {
			return wanted, nil
		}
		taken, err := q.takeAddress(p, wanted)
		if err == nil && !taken {
			err = apierrors.NewInvalid(q.Resource.GVK.GroupKind(), svc.Name, field.ErrorList{field.Invalid(
				field.NewPath("spec", "clusterIPs"), []string{wanted},
				"failed to allocate IP "+wanted+": provided IP is already allocated")})
		}
		return wanted, err
	}
	for range allocateTries {
		address, err := q.server.randomAddress()
		if err != nil {
			return "", err
		}
		if q.DryRun {
			return address, nil
		}
		if taken, err := q.takeAddress(p, address); err != nil || taken {
			return address, err
		}
	}
	return "", apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP: range is full"))
}

// takeAddress makes the address's key unless it exists.
func (q *request) takeAddress(p *sim.Proc, address string) (taken bool, err error) {
	key := q.server.addressKey(address)
	resp, err := q.client.Txn(p, &raft.TxnRequest{
		Compare: []raft.Compare{{Result: raft.CompareEqual, Target: raft.CompareMod, Key: key}},
		Success: []raft.RequestOp{{Put: &raft.PutRequest{Key: key, Value: q.addressValue(address)}}},
	}, q.within())
	if err != nil {
		return false, q.etcdFailed(err)
	}
	p.Because(q.cause)
	return resp.Succeeded, nil
}

// releaseAddress gives an address back, in its own time.
func (s *Server) releaseAddress(address string) {
	client := s.registryOf(api.Services).client
	s.scope.Go("release "+address, func(p *sim.Proc) {
		key := s.addressKey(address)
		_, _ = client.Txn(p, &raft.TxnRequest{Success: []raft.RequestOp{{DeleteRange: &raft.DeleteRangeRequest{Key: key}}}},
			s.options.requestTimeout) // a lost address stays taken, as until the real repair loop comes
	})
}

// randomAddress draws from the upper part of the range: the lower is for addresses that users choose
// (pkg/registry/core/service/ipallocator, offset min(max(16, size/16), 256)).
func (s *Server) randomAddress() (string, error) {
	prefix, err := netip.ParsePrefix(firstOf(s.options.serviceCIDR))
	if err != nil || !prefix.Addr().Is4() {
		return "", apierrors.NewInternalError(fmt.Errorf("the service IP range %q is no IPv4 range", s.options.serviceCIDR))
	}
	size := int64(1) << (32 - prefix.Bits())
	offset := min(max(16, size/16), 256)
	if offset >= size-1 {
		offset = 1
	}
	return addressAt(prefix, offset+s.random.Int64N(size-1-offset)), nil
}

// addressAt returns the nth address of a range.
func addressAt(prefix netip.Prefix, n int64) string {
	b := prefix.Masked().Addr().As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return first
}

// allocateNodePorts draws a port for each port of a Service that needs one and has none.
func (q *request) allocateNodePorts(svc *corev1.Service) error {
	if svc.Spec.Type != corev1.ServiceTypeNodePort && svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return nil
	}
	low, high, err := portRange(q.server.options.nodePortRange)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	used := q.server.nodePorts(svc.Namespace, svc.Name)
	for i := range svc.Spec.Ports {
		port := &svc.Spec.Ports[i]
		if port.NodePort != 0 {
			if used[port.NodePort] {
				return apierrors.NewInvalid(q.Resource.GVK.GroupKind(), svc.Name, field.ErrorList{field.Invalid(
					field.NewPath("spec", "ports").Index(i).Child("nodePort"), port.NodePort, "provided port is already allocated")})
			}
			continue
		}
		for tries := 0; port.NodePort == 0 || used[port.NodePort]; tries++ {
			if tries > int(high-low) {
				return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: range is full"))
			}
			port.NodePort = low + q.server.random.Int32N(high-low+1)
		}
		used[port.NodePort] = true
	}
	return nil
}

// nodePorts returns the ports that other Services have, as far as the cache knows.
func (s *Server) nodePorts(namespace, name string) map[int32]bool {
	used := map[int32]bool{}
	c := s.registryOf(api.Services).cache
	if c == nil {
		return used
	}
	c.inOrder().Scan(func(key string) bool {
		svc := c.object(c.get(key)).(*corev1.Service)
		if svc.Namespace != namespace || svc.Name != name {
			for i := range svc.Spec.Ports {
				used[svc.Spec.Ports[i].NodePort] = true
			}
		}
		return true
	})
	delete(used, 0)
	return used
}

func portRange(text string) (low, high int32, err error) {
	from, to, ok := strings.Cut(text, "-")
	a, err1 := strconv.ParseInt(from, 10, 32)
	b, err2 := strconv.ParseInt(to, 10, 32)
	if !ok || err1 != nil || err2 != nil || a > b {
		return 0, 0, fmt.Errorf("%q is no range of ports", text)
	}
	return int32(a), int32(b), nil
}

// keepAllocated has a Service that replaces another keep its addresses, and gives it what its new type needs.
func (q *request) keepAllocated(next, old *corev1.Service) error {
	if next.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	if next.Spec.ClusterIP == "" {
		next.Spec.ClusterIP, next.Spec.ClusterIPs = old.Spec.ClusterIP, old.Spec.ClusterIPs
	}
	if len(next.Spec.ClusterIPs) == 0 && next.Spec.ClusterIP != "" {
		next.Spec.ClusterIPs = []string{next.Spec.ClusterIP}
	}
	if next.Spec.IPFamilies == nil {
		next.Spec.IPFamilies = old.Spec.IPFamilies
	}
	if next.Spec.IPFamilyPolicy == nil {
		next.Spec.IPFamilyPolicy = old.Spec.IPFamilyPolicy
	}
	for i := range next.Spec.Ports {
		for j := range old.Spec.Ports {
			if port := &next.Spec.Ports[i]; port.NodePort == 0 && port.Port == old.Spec.Ports[j].Port &&
				port.Name == old.Spec.Ports[j].Name && next.Spec.Type != corev1.ServiceTypeClusterIP {
				port.NodePort = old.Spec.Ports[j].NodePort
			}
		}
	}
	return q.allocateNodePorts(next)
}

// deleted does what follows the removal of an object.
func (q *request) deleted(obj api.Object) {
	if svc, ok := obj.(*corev1.Service); ok && svc.Spec.ClusterIP != "" && svc.Spec.ClusterIP != corev1.ClusterIPNone {
		q.server.releaseAddress(svc.Spec.ClusterIP)
	}
}
