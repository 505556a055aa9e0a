package api

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"ksim/sim/api/crd"
)

// prepareStoredUpdate is PrepareForUpdate for kinds that are only stored.
func prepareStoredUpdate(obj, old Object) {
	switch o := obj.(type) {
	case *batchv1.CronJob:
		was := old.(*batchv1.CronJob)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *corev1.ReplicationController:
		was := old.(*corev1.ReplicationController)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *autoscalingv2.HorizontalPodAutoscaler:
		was := old.(*autoscalingv2.HorizontalPodAutoscaler)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *networkingv1.Ingress:
		was := old.(*networkingv1.Ingress)
		o.Status = was.Status
		bump(o, o.Spec, was.Spec)
	case *networkingv1.NetworkPolicy:
		bump(o, o.Spec, old.(*networkingv1.NetworkPolicy).Spec)
	case *corev1.PersistentVolume:
		o.Status = old.(*corev1.PersistentVolume).Status
	case *corev1.PersistentVolumeClaim:
		o.Status = old.(*corev1.PersistentVolumeClaim).Status
	case *corev1.ResourceQuota:
		o.Status = old.(*corev1.ResourceQuota).Status
	case *storagev1.VolumeAttachment:
		o.Status = old.(*storagev1.VolumeAttachment).Status
	case *unstructured.Unstructured:
		if crd.Is(o) {
			was := old.(*unstructured.Unstructured)
			o.Object["status"] = runtime.DeepCopyJSONValue(was.Object["status"])
			noteStored(o)
			bump(o, o.Object["spec"], was.Object["spec"])
		}
	}
}

// noteStored notes in which version a definition's objects may be stored.
func noteStored(o *unstructured.Unstructured) {
	d, _, err := crd.Read(o)
	if err != nil {
		return // validation says so
	}
	if stored := d.Stored(); stored != "" && !slices.Contains(d.Status.StoredVersions, stored) {
		versions := append(d.Status.StoredVersions, stored)
		_ = unstructured.SetNestedStringSlice(o.Object, versions, "status", "storedVersions") // cannot fail: it was read
	}
}

// prepareStatusUpdate: an update of the status leaves the specification alone, and what else its strategy guards.
func prepareStatusUpdate(obj, old Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		was := old.(*corev1.Pod)
		o.Spec, o.DeletionTimestamp, o.OwnerReferences = was.Spec, nil, was.OwnerReferences
		if o.Status.QOSClass == "" {
			o.Status.QOSClass = was.Status.QOSClass
		}
	case *corev1.Node:
		o.Spec = old.(*corev1.Node).Spec
	case *corev1.Namespace:
		o.Spec = old.(*corev1.Namespace).Spec
	case *corev1.Service:
		o.Spec = old.(*corev1.Service).Spec
	case *appsv1.Deployment:
		was := old.(*appsv1.Deployment)
		o.Spec, o.Labels = was.Spec, was.Labels
	case *appsv1.ReplicaSet:
		o.Spec = old.(*appsv1.ReplicaSet).Spec
	case *appsv1.StatefulSet:
		o.Spec = old.(*appsv1.StatefulSet).Spec
	case *appsv1.DaemonSet:
		o.Spec = old.(*appsv1.DaemonSet).Spec
	case *batchv1.Job:
		o.Spec = old.(*batchv1.Job).Spec
	case *policyv1.PodDisruptionBudget:
		o.Spec = old.(*policyv1.PodDisruptionBudget).Spec
	case *batchv1.CronJob:
		o.Spec = old.(*batchv1.CronJob).Spec
	case *corev1.ReplicationController:
		o.Spec = old.(*corev1.ReplicationController).Spec
	case *autoscalingv2.HorizontalPodAutoscaler:
		o.Spec = old.(*autoscalingv2.HorizontalPodAutoscaler).Spec
	case *networkingv1.Ingress:
		o.Spec = old.(*networkingv1.Ingress).Spec
	case *corev1.PersistentVolume:
		o.Spec = old.(*corev1.PersistentVolume).Spec
	case *corev1.PersistentVolumeClaim:
		o.Spec = old.(*corev1.PersistentVolumeClaim).Spec
	case *corev1.ResourceQuota:
		o.Spec = old.(*corev1.ResourceQuota).Spec
	case *storagev1.VolumeAttachment:
		o.Spec = old.(*storagev1.VolumeAttachment).Spec
	case *unstructured.Unstructured:
		if crd.Is(o) {
			o.Object["spec"] = runtime.DeepCopyJSONValue(old.(*unstructured.Unstructured).Object["spec"])
		}
	}
}

// canonicalize is the last step of a write: a Namespace's label carries its name, generated or not.
func canonicalize(obj Object) {
	ns, ok := obj.(*corev1.Namespace)
	if ok && ns.Labels[corev1.LabelMetadataName] != ns.Name {
		if ns.Labels == nil {
			ns.Labels = map[string]string{}
		}
		ns.Labels[corev1.LabelMetadataName] = ns.Name
	}
}

// normalizeClusterIPs makes clusterIP and clusterIPs say the same (pkg/registry/core/service/storage, v1.36).
func normalizeClusterIPs(s *corev1.Service) {
	switch {
	case s.Spec.ClusterIP != "" && len(s.Spec.ClusterIPs) == 0:
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	case s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) > 0:
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
}

// setIPFamilies chooses the address families of a cluster that has IPv4 alone (alloc.go initIPFamilyFields).
func setIPFamilies(s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	bare := s.Spec.ClusterIP == corev1.ClusterIPNone && len(s.Spec.Selector) == 0
	if s.Spec.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicySingleStack
		if bare {
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		s.Spec.IPFamilyPolicy = &policy
	}
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	if bare && len(s.Spec.IPFamilies) == 1 && *s.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		other := corev1.IPv6Protocol
		if s.Spec.IPFamilies[0] == corev1.IPv6Protocol {
			other = corev1.IPv4Protocol
		}
		s.Spec.IPFamilies = append(s.Spec.IPFamilies, other)
	}
}

// needsClusterIP reports whether a Service of this type gets an address of its own.
func needsClusterIP(s *corev1.Service) bool {
	return s.Spec.ClusterIP != corev1.ClusterIPNone && s.Spec.Type != corev1.ServiceTypeExternalName
}

// needsNodePort reports whether the ports of a Service of this type are open on every node.
func needsNodePort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		(s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts)
}

// prepareServiceUpdate keeps what the server allocated and drops what the new type has no use for
// (pkg/registry/core/service/strategy.go and storage/storage.go patchAllocatedValues).
func prepareServiceUpdate(s, was *corev1.Service) {
	s.Status = was.Status
	if needsClusterIP(was) && needsClusterIP(s) && s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) == 0 {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = was.Spec.ClusterIP, slices.Clone(was.Spec.ClusterIPs)
	}
	if needsNodePort(was) && needsNodePort(s) {
		keepNodePorts(s, was)
	}
	normalizeClusterIPs(s)
	if s.Spec.Type != corev1.ServiceTypeExternalName {
		if s.Spec.IPFamilyPolicy == nil {
			s.Spec.IPFamilyPolicy = was.Spec.IPFamilyPolicy
		}
		if len(s.Spec.IPFamilies) == 0 {
			s.Spec.IPFamilies = was.Spec.IPFamilies
		}
		setIPFamilies(s)
	}
	if was.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.Type == corev1.ServiceTypeExternalName {
		if s.Spec.ClusterIP == was.Spec.ClusterIP {
			s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
		}
		s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = nil, nil
	}
	if needsNodePort(was) && !needsNodePort(s) && sameNodePorts(s, was) {
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = 0
		}
	}
	if was.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		s.Spec.AllocateLoadBalancerNodePorts = nil
		s.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
	if was.Spec.Type != s.Spec.Type && s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) == 0 &&
		s.Spec.ExternalTrafficPolicy == was.Spec.ExternalTrafficPolicy {
		s.Spec.ExternalTrafficPolicy = ""
	}
}

// keepNodePorts gives ports that name no node port the one that they had.
func keepNodePorts(s, was *corev1.Service) {
	for i := range s.Spec.Ports {
		port := &s.Spec.Ports[i]
		for _, old := range was.Spec.Ports {
			if port.NodePort == 0 && port.Port == old.Port && port.Protocol == old.Protocol {
				port.NodePort = old.NodePort
			}
		}
	}
}

func sameNodePorts(s, was *corev1.Service) bool {
	ports := func(s *corev1.Service) (list []int32) {
		for _, p := range s.Spec.Ports {
			if p.NodePort != 0 {
				list = append(list, p.NodePort)
			}
		}
		slices.Sort(list)
		return list
	}
	return slices.Equal(ports(s), ports(was))
}

// qosOf computes a pod's quality of service (pkg/apis/core/helper/qos/qos.go, v1.36): Guaranteed when every container
// limits cpu and memory and requests as much, BestEffort when none says anything of them.
func qosOf(p *corev1.Pod) corev1.PodQOSClass {
	guaranteed, some := true, false
	containers := slices.Concat(p.Spec.Containers, p.Spec.InitContainers)
	if p.Spec.Resources != nil {
		containers = []corev1.Container{{Resources: *p.Spec.Resources}}
	}
	for i := range containers {
		for _, name := range [...]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit := containers[i].Resources.Limits[name]
			request, requested := containers[i].Resources.Requests[name]
			some = some || limit.Sign() > 0 || request.Sign() > 0
			if limit.Sign() <= 0 || requested && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case !some:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
