package controllers

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's EndpointSlice controller (pkg/controller/endpointslice and
// staging/src/k8s.io/endpointslice, v1.36) and Endpoints controller (pkg/controller/endpoint). Leaves out: topology
// hints, dual stack, filling slices evenly, pods of one Service with different numbers for a named port, Services
// without a selector.

const (
	// pkg/controller/endpointslice defaultSyncBackOff and maxSyncBackOff.
	sliceBackoff    = time.Second
	sliceBackoffMax = 1000 * time.Second
	// pkg/controller/endpointslice maxRetries.
	sliceRetries = 15
	// endpointslice-controller.k8s.io: pkg/controller/endpointslice ControllerName.
	sliceManager = "endpointslice-controller.k8s.io"
)

// endpointSliceController is the controller.
type endpointSliceController struct {
	*manager
	services  *controlplane.Informer[*corev1.Service]
	byNS      *controlplane.Index[*corev1.Service]
	slices    *controlplane.Informer[*discoveryv1.EndpointSlice]
	byService *controlplane.Index[*discoveryv1.EndpointSlice]
	endpoints *controlplane.Informer[*corev1.Endpoints] //nolint:staticcheck // the API of releases before v1.19
	podsByNS  *controlplane.Index[*corev1.Pod]
	epClient  api.Client // the endpoints controller's
	queue     *controlplane.WorkQueue[api.Key]
	written   map[api.Key]int64 // the last revision that this process wrote of a Service's slices
}

func newEndpointSliceController(m *manager) *endpointSliceController {
	c := &endpointSliceController{manager: m, services: informerFor[*corev1.Service](m, api.Services),
		epClient:  m.withClient(m.options.RateLimit).client,
		slices:    informerFor[*discoveryv1.EndpointSlice](m, api.EndpointSlices),
		endpoints: informerFor[*corev1.Endpoints](m, api.Endpoints), //nolint:staticcheck // as above
		queue: controlplane.NewWorkQueue[api.Key](m.scope, controlplane.RateLimits{Base: sliceBackoff,
			Max: sliceBackoffMax}),
		written: map[api.Key]int64{}}
	c.byNS = c.services.Index(func(s *corev1.Service) string { return s.Namespace })
	c.byService = c.slices.Index(func(s *discoveryv1.EndpointSlice) string {
		if s.Labels[discoveryv1.LabelManagedBy] != sliceManager {
			return ""
		}
		return s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]
	})
	c.podsByNS = m.pods.Index(func(pod *corev1.Pod) string { return pod.Namespace })
	c.services.Handle(controlplane.Handler[*corev1.Service]{
		OnAdd:    func(s *corev1.Service) { c.queue.Add(api.KeyOf(s)) },
		OnUpdate: func(_, s *corev1.Service) { c.queue.Add(api.KeyOf(s)) },
		OnDelete: func(s *corev1.Service, _ bool) { c.queue.Add(api.KeyOf(s)) },
	})
	c.slices.Handle(controlplane.Handler[*discoveryv1.EndpointSlice]{
		OnDelete: func(s *discoveryv1.EndpointSlice, _ bool) {
			c.queue.Add(api.Key{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]})
		},
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd:    func(pod *corev1.Pod) { c.podChanged(pod, nil) },
		OnUpdate: c.podUpdated,
		OnDelete: func(pod *corev1.Pod, _ bool) { c.podChanged(pod, nil) },
	})
	return c
}

func (c *endpointSliceController) run() {
	c.whenSynced("endpointslice", func(*sim.Proc) {
		c.queue.RunRetrying("endpointslice", int(c.options.ConcurrentServiceEndpointSyncs), sliceRetries, c.sync)
	}, c.services, c.slices, c.endpoints, c.pods, c.nodes)
}

// podUpdated queues the Services of a pod when what slices say of it has changed.
func (c *endpointSliceController) podUpdated(old, pod *corev1.Pod) {
	relabelled := !maps.Equal(old.Labels, pod.Labels)
	if !relabelled && old.Status.PodIP == pod.Status.PodIP && isPodReady(old) == isPodReady(pod) &&
		isTerminal(old) == isTerminal(pod) && (old.DeletionTimestamp == nil) == (pod.DeletionTimestamp == nil) {
		return
	}
	if relabelled {
		c.podChanged(old, pod)
	}
	c.podChanged(pod, nil)
}

// podChanged queues the Services that select a pod, but not those that select except as well.
func (c *endpointSliceController) podChanged(pod, except *corev1.Pod) {
	for _, service := range c.byNS.Get(pod.Namespace) {
		if len(service.Spec.Selector) > 0 && containsAll(pod.Labels, service.Spec.Selector) &&
			(except == nil || !containsAll(except.Labels, service.Spec.Selector)) {
			c.queue.AddAfter(api.KeyOf(service), c.options.EndpointSliceUpdatesBatchPeriod)
		}
	}
}

func (c *endpointSliceController) sync(p *sim.Proc, key api.Key) error {
	service, ok := c.services.Get(key)
	if !ok {
		delete(c.written, key) // its slices are the garbage collector's
		return nil
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName || len(service.Spec.Selector) == 0 ||
		service.DeletionTimestamp != nil {
		return nil
	}
	if seen, err := strconv.ParseInt(c.slices.ResourceVersion(), 10, 64); err == nil && seen < c.written[key] {
		c.queue.AddAfter(key, sliceBackoff) // EndpointSlice informer cache is out of date
		return nil
	}
	pods := c.podsOf(service)
	cause := c.kernel.Cause()
	if c.release.EndpointSlices {
		if err := c.reconcile(p, service, pods); err != nil {
			return err
		}
	}
	c.kernel.Because(cause)
	return c.syncEndpoints(p, service, pods)
}

// podsOf returns the pods that belong into a Service's slices, by name.
func (c *endpointSliceController) podsOf(service *corev1.Service) []*corev1.Pod {
	pods := slices.DeleteFunc(c.podsByNS.Get(service.Namespace), func(pod *corev1.Pod) bool {
		return !containsAll(pod.Labels, service.Spec.Selector) || pod.Status.PodIP == "" || isTerminal(pod)
	})
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return boolFirst(a.Name < b.Name) })
	return pods
}

func (c *endpointSliceController) endpointOf(service *corev1.Service, pod *corev1.Pod) discoveryv1.Endpoint {
	serving := service.Spec.PublishNotReadyAddresses || isPodReady(pod)
	terminating := pod.DeletionTimestamp != nil
	ready := service.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{Addresses: []string{pod.Status.PodIP},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
	if pod.Spec.NodeName != "" {
		e.NodeName = &pod.Spec.NodeName
		if node, ok := c.nodes.Named("", pod.Spec.NodeName); ok && node.Labels[corev1.LabelTopologyZone] != "" {
			zone := node.Labels[corev1.LabelTopologyZone]
			e.Zone = &zone
		}
	}
	return e
}

// reconcile makes a Service's slices say what its pods are: endpoints stay in their slice, new ones go where there is
// room.
func (c *endpointSliceController) reconcile(p *sim.Proc, service *corev1.Service, pods []*corev1.Pod) error {
	key := api.KeyOf(service)
	ports := slicePorts(service, pods)
	wanted := map[string]discoveryv1.Endpoint{}
	var order []string
	for _, pod := range pods {
		e := c.endpointOf(service, pod)
		wanted[string(pod.UID)] = e
		order = append(order, string(pod.UID))
	}
	existing := slices.DeleteFunc(c.byService.Get(key.String()), func(s *discoveryv1.EndpointSlice) bool {
		return s.DeletionTimestamp != nil
	})
	slices.SortFunc(existing, func(a, b *discoveryv1.EndpointSlice) int { return boolFirst(a.Name < b.Name) })
	kept := make([][]discoveryv1.Endpoint, len(existing))
	for i, slice := range existing {
		for _, e := range slice.Endpoints {
			if e.TargetRef == nil {
				continue
			}
			uid := string(e.TargetRef.UID)
			if now, ok := wanted[uid]; ok {
				kept[i] = append(kept[i], now)
				delete(wanted, uid)
			}
		}
	}
	limit := int(c.options.MaxEndpointsPerSlice)
	var fresh [][]discoveryv1.Endpoint
	for _, uid := range order {
		e, left := wanted[uid]
		if !left {
			continue
		}
		if i := slices.IndexFunc(kept, func(k []discoveryv1.Endpoint) bool { return len(k) < limit }); i >= 0 {
			kept[i] = append(kept[i], e)
		} else if n := len(fresh); n > 0 && len(fresh[n-1]) < limit {
			fresh[n-1] = append(fresh[n-1], e)
		} else {
			fresh = append(fresh, []discoveryv1.Endpoint{e})
		}
	}
	if len(existing)+len(fresh) == 0 {
		fresh = append(fresh, nil) // a Service always has a slice
	}
	return c.write(p, service, sliceChanges{existing, kept, fresh, ports})
}

// sliceChanges is what is to be written: what existing slices are to hold, and what new ones.
type sliceChanges struct {
	existing []*discoveryv1.EndpointSlice
	kept     [][]discoveryv1.Endpoint
	fresh    [][]discoveryv1.Endpoint
	ports    []discoveryv1.EndpointPort
}

func (c *endpointSliceController) write(p *sim.Proc, service *corev1.Service, change sliceChanges) error {
	key, cause := api.KeyOf(service), c.kernel.Cause()
	wrote := func(obj *discoveryv1.EndpointSlice, err error) error {
		if err == nil {
			c.written[key] = max(c.written[key], api.Revision(obj))
		}
		c.kernel.Because(cause)
		return err
	}
	for _, endpoints := range change.fresh {
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace,
			GenerateName: key.Name + "-",
			Labels:       sliceLabels(service), OwnerReferences: []metav1.OwnerReference{*ownerReference(service)}},
			AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints, Ports: change.ports}
		if err := wrote(api.CreateObject(p, c.client, slice)); err != nil {
			return err
		}
	}
	left := len(change.fresh)
	for i, slice := range change.existing {
		if len(change.kept[i]) == 0 && (left > 0 || i < len(change.existing)-1) {
			err := api.DeleteObject[*discoveryv1.EndpointSlice](p, c.client, api.KeyOf(slice), api.DeleteOptions{})
			if err != nil && !api.IsNotFound(err) {
				return err
			}
			c.kernel.Because(cause)
			continue
		}
		left++
		if equalEndpoints(slice.Endpoints, change.kept[i]) && reflect.DeepEqual(slice.Ports, change.ports) &&
			maps.Equal(slice.Labels, sliceLabels(service)) {
			continue
		}
		copied := slice.DeepCopy()
		copied.Endpoints, copied.Ports, copied.Labels = change.kept[i], change.ports, sliceLabels(service)
		if err := wrote(api.UpdateObject(p, c.client, copied)); err != nil {
			return err
		}
	}
	return nil
}

func sliceLabels(service *corev1.Service) map[string]string {
	labels := maps.Clone(service.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[discoveryv1.LabelServiceName] = service.Name
	labels[discoveryv1.LabelManagedBy] = sliceManager
	if service.Spec.ClusterIP == corev1.ClusterIPNone {
		labels[corev1.IsHeadlessService] = ""
	}
	return labels
}

func equalEndpoints(a, b []discoveryv1.Endpoint) bool {
	return slices.EqualFunc(a, b, func(x, y discoveryv1.Endpoint) bool {
		return x.TargetRef.UID == y.TargetRef.UID && slices.Equal(x.Addresses, y.Addresses) &&
			equalPointers(x.Conditions.Ready, y.Conditions.Ready) && equalPointers(x.Conditions.Serving, y.Conditions.Serving) &&
			equalPointers(x.Conditions.Terminating, y.Conditions.Terminating) && equalPointers(x.NodeName, y.NodeName) &&
			equalPointers(x.Zone, y.Zone)
	})
}

// slicePorts resolves a Service's ports; named ones by the first pod that has them.
func slicePorts(service *corev1.Service, pods []*corev1.Pod) []discoveryv1.EndpointPort {
	var ports []discoveryv1.EndpointPort
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		number := targetPort(port, pods)
		if number == 0 {
			continue
		}
		name, protocol := port.Name, port.Protocol
		ports = append(ports, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number,
			AppProtocol: port.AppProtocol})
	}
	return ports
}

func targetPort(port *corev1.ServicePort, pods []*corev1.Pod) int32 {
	if port.TargetPort.Type == intstr.Int {
		if port.TargetPort.IntVal != 0 {
			return port.TargetPort.IntVal
		}
		return port.Port
	}
	for _, pod := range pods {
		for i := range pod.Spec.Containers {
			for _, has := range pod.Spec.Containers[i].Ports {
				if has.Name == port.TargetPort.StrVal && has.Protocol == port.Protocol {
					return has.ContainerPort
				}
			}
		}
	}
	return 0
}

// syncEndpoints writes the older Endpoints object of a Service.
func (c *endpointSliceController) syncEndpoints(p *sim.Proc, service *corev1.Service, pods []*corev1.Pod) error {
	var ready, notReady []corev1.EndpointAddress
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil && !service.Spec.PublishNotReadyAddresses {
			continue
		}
		node := pod.Spec.NodeName
		address := corev1.EndpointAddress{IP: pod.Status.PodIP, NodeName: &node,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
		if isPodReady(pod) || service.Spec.PublishNotReadyAddresses {
			ready = append(ready, address)
		} else {
			notReady = append(notReady, address)
		}
	}
	byIP := func(a, b corev1.EndpointAddress) int {
		x, errX := netip.ParseAddr(a.IP)
		y, errY := netip.ParseAddr(b.IP)
		if errX != nil || errY != nil {
			return boolFirst(a.IP < b.IP)
		}
		return x.Compare(y)
	}
	slices.SortStableFunc(ready, byIP)
	slices.SortStableFunc(notReady, byIP)
	var subsets []corev1.EndpointSubset
	if len(ready)+len(notReady) > 0 {
		subset := corev1.EndpointSubset{Addresses: ready, NotReadyAddresses: notReady}
		for _, port := range slicePorts(service, pods) {
			subset.Ports = append(subset.Ports, corev1.EndpointPort{Name: *port.Name, Port: *port.Port,
				Protocol: *port.Protocol})
		}
		subsets = append(subsets, subset)
	}
	current, ok := c.endpoints.Get(api.KeyOf(service))
	if !ok {
		_, err := api.CreateObject(p, c.epClient, &corev1.Endpoints{ //nolint:staticcheck // as above
			ObjectMeta: metav1.ObjectMeta{Namespace: service.Namespace, Name: service.Name,
				Labels: service.Labels}, Subsets: subsets})
		if api.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	if reflect.DeepEqual(current.Subsets, subsets) {
		return nil
	}
	copied := current.DeepCopy()
	copied.Subsets = subsets
	_, err := api.UpdateObject(p, c.epClient, copied)
	if api.IsConflict(err) {
		c.queue.AddAfter(api.KeyOf(service), sliceBackoff)
		return nil
	}
	return err
}
