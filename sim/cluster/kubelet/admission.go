package kubelet

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Models the kubelet's own admission of pods (pkg/kubelet/lifecycle/predicate.go, v1.36): operating system,
// resources, node affinity, ports, NoExecute taints. Leaves out: preemption for critical pods, topology and device
// managers, sysctls.

// refusal is why a pod may not run here.
type refusal struct{ reason, message string }

// admit decides about a pod that is new to this kubelet, nil: it may run.
func (kl *Kubelet) admit(pod *corev1.Pod) *refusal {
	if kl.shutdown.active {
		return &refusal{"NodeShutdown", "Pod was rejected as the node is shutting down."}
	}
	if os := pod.Spec.NodeSelector[corev1.LabelOSStable]; os != "" && os != "linux" {
		return &refusal{"PodOSSelectorNodeLabelDoesNotMatch",
			"Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"}
	}
	if pod.Spec.OS != nil && pod.Spec.OS.Name != corev1.Linux {
		return &refusal{"PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"}
	}
	node := kl.node.cached()
	if node == nil {
		node = kl.node.initialNode()
	}
	others := activePods{kl: kl, but: pod}
	if r := kl.fits(pod, &others, node); r != nil {
		return r
	}
	if isStatic(pod) {
		return portConflict(pod, &others) // affinity and taints are not asked of static pods
	}
	if !matchesNode(pod, node) {
		return &refusal{"NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"}
	}
	if r := portConflict(pod, &others); r != nil {
		return r
	}
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectNoExecute && !tolerates(pod, taint) {
			return &refusal{"TaintToleration",
				"Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"}
		}
	}
	return nil
}

// activePods are those that use the node (GetActivePods): not the one asked about, and none that has ended. They are
// looked for only when it depends on them.
type activePods struct {
	kl     *Kubelet
	but    *corev1.Pod
	listed bool
	pods   []*corev1.Pod
}

func (a *activePods) list() []*corev1.Pod {
	if a.listed {
		return a.pods
	}
	a.listed = true
	for _, known := range a.kl.known.order {
		pod := known.pod
		if pod.UID == a.but.UID || terminalPhase(pod.Status.Phase) {
			continue
		}
		if w := a.kl.workers.get(pod.UID); w == nil || w.terminated {
			continue
		}
		if s := a.kl.status.get(pod.UID); s != nil && terminalPhase(s.Phase) {
			continue
		}
		a.pods = append(a.pods, pod)
	}
	return a.pods
}

// fits compares requests with what is left (scheduler plugin NodeResourcesFit, as the kubelet words it).
func (kl *Kubelet) fits(pod *corev1.Pod, others *activePods, node *corev1.Node) *refusal {
	capacity := node.Status.Allocatable
	if capacity == nil {
		capacity = kl.node.capacity
	}
	limit := capacity.Pods().Value()
	if int64(len(kl.known.order)) >= limit && int64(len(others.list())+1) > limit { // the pod may be among the known
		return outOf(corev1.ResourcePods, 1, int64(len(others.list())), limit)
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory,
		corev1.ResourceEphemeralStorage} {
		wanted := request(pod, name)
		if wanted.IsZero() {
			continue
		}
		used := resource.Quantity{}
		for _, other := range others.list() {
			used.Add(request(other, name))
		}
		total := used.DeepCopy()
		total.Add(wanted)
		limit := capacity[name]
		if total.Cmp(limit) <= 0 {
			continue
		}
		if name == corev1.ResourceCPU {
			return outOf(name, wanted.MilliValue(), used.MilliValue(), limit.MilliValue())
		}
		return outOf(name, wanted.Value(), used.Value(), limit.Value())
	}
	return nil
}

func outOf(name corev1.ResourceName, requested, used, capacity int64) *refusal {
	return &refusal{"OutOf" + string(name), fmt.Sprintf(
		"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, requested, used, capacity)}
}

// request is what a pod asks for: its containers and sidecars together, or its largest init container.
func request(pod *corev1.Pod, name corev1.ResourceName) resource.Quantity {
	var sum resource.Quantity
	for i := range pod.Spec.Containers {
		sum.Add(pod.Spec.Containers[i].Resources.Requests[name])
	}
	var largest, sidecars resource.Quantity
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		asked := c.Resources.Requests[name]
		if isSidecar(c) {
			sum.Add(asked)
			sidecars.Add(asked)
			continue
		}
		asked = asked.DeepCopy()
		asked.Add(sidecars)
		if asked.Cmp(largest) > 0 {
			largest = asked
		}
	}
	if largest.Cmp(sum) > 0 {
		sum = largest
	}
	sum.Add(pod.Spec.Overhead[name])
	return sum
}

func portConflict(pod *corev1.Pod, others *activePods) *refusal {
	for _, wanted := range hostPorts(pod) {
		for _, other := range others.list() {
			for _, used := range hostPorts(other) {
				if used == wanted {
					return &refusal{"NodePorts",
						"Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"}
				}
			}
		}
	}
	return nil
}

func hostPorts(pod *corev1.Pod) []string {
	var list []string
	for i := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[i].Ports {
			if port.HostPort > 0 {
				protocol := port.Protocol
				if protocol == "" {
					protocol = corev1.ProtocolTCP
				}
				list = append(list, string(protocol)+"/"+strconv.Itoa(int(port.HostPort)))
			}
		}
	}
	return list
}

// matchesNode compares node selector and required node affinity with the node (component-helpers
// scheduling/corev1/nodeaffinity).
func matchesNode(pod *corev1.Pod, node *corev1.Node) bool {
	for key, value := range pod.Spec.NodeSelector { // any order: all must match
		if node.Labels[key] != value {
			return false
		}
	}
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil ||
		affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			continue
		}
		if allMatch(term.MatchExpressions, node.Labels) &&
			allMatch(term.MatchFields, map[string]string{"metadata.name": node.Name}) {
			return true
		}
	}
	return false
}

func allMatch(list []corev1.NodeSelectorRequirement, have map[string]string) bool {
	for _, r := range list {
		op := map[corev1.NodeSelectorOperator]selection.Operator{
			corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
			corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
			corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
		}[r.Operator]
		requirement, err := labels.NewRequirement(r.Key, op, r.Values)
		if err != nil || !requirement.Matches(labels.Set(have)) {
			return false
		}
	}
	return true
}

func tolerates(pod *corev1.Pod, taint *corev1.Taint) bool {
	for i := range pod.Spec.Tolerations {
		t := &pod.Spec.Tolerations[i]
		if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
			continue
		}
		if t.Operator == corev1.TolerationOpExists || t.Key != "" && t.Value == taint.Value {
			return true
		}
	}
	return false
}
