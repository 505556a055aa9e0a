package shell

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"

	"ksim/sim/api"
)

// Models the tables that API servers print for kubectl get (pkg/printers/internalversion/printers.go, v1.36): columns
// and cells of pods, nodes, workloads, services, leases, events.

// table makes the columns of a resource; wide columns come after narrow of them.
type table struct {
	columns []string
	narrow  int
	cells   func(obj api.Object, now time.Time) []string
}

func printTables(k *kubectl, groups []group) {
	now := k.session.machine.Clock().Now()
	prefix := len(groups) > 1
	first := true
	for _, g := range groups {
		if len(g.objects) == 0 {
			continue
		}
		if !first {
			k.printf("\n")
		}
		first = false
		t := tableOf(g.resource, k.release().Minor)
		shown := t.narrow
		if k.text("output") == "wide" {
			shown = len(t.columns)
		}
		w := printers.GetNewTabWriter(k.stdout)
		namespaces := k.is("all-namespaces") && g.resource.Namespaced
		if !k.is("no-headers") {
			fmt.Fprintln(w, row(namespaces, "NAMESPACE", t.columns[:shown], k.is("show-labels"), "LABELS"))
		}
		for _, obj := range g.objects {
			cells := t.cells(obj, now)[:shown]
			if prefix {
				cells[0] = typeName(g.resource) + "/" + cells[0]
			}
			fmt.Fprintln(
				w,
				row(namespaces, obj.GetNamespace(), cells, k.is("show-labels"), labels.FormatLabels(obj.GetLabels())),
			)
		}
		w.Flush()
	}
}

func row(namespaces bool, namespace string, cells []string, withLabels bool, text string) string {
	if namespaces {
		cells = append([]string{namespace}, cells...)
	}
	if withLabels {
		cells = append(append([]string{}, cells...), text)
	}
	return strings.Join(cells, "\t")
}

func tableOf(res *api.Resource, minor int) table {
	switch res {
	case api.Pods:
		return table{
			[]string{"NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"},
			5,
			podCells,
		}
	case api.Nodes:
		return table{[]string{"NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE",
			"KERNEL-VERSION", "CONTAINER-RUNTIME"}, 5, nodeCells}
	case api.Deployments:
		return table{[]string{"NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"}, 5,
			deploymentCells}
	case api.ReplicaSets:
		return table{
			[]string{"NAME", "DESIRED", "CURRENT", "READY", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"},
			5,
			replicaSetCells,
		}
	case api.DaemonSets:
		return table{
			[]string{"NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "NODE SELECTOR", "AGE", "CONTAINERS",
				"IMAGES", "SELECTOR"},
			8,
			daemonSetCells,
		}
	case api.StatefulSets:
		return table{[]string{"NAME", "READY", "AGE", "CONTAINERS", "IMAGES"}, 3, statefulSetCells}
	case api.Leases:
		return table{[]string{"NAME", "HOLDER", "AGE"}, 3, leaseCells}
	case api.Namespaces:
		return table{[]string{"NAME", "STATUS", "AGE"}, 3, func(obj api.Object, now time.Time) []string {
			return []string{obj.GetName(), string(obj.(*corev1.Namespace).Status.Phase), age(obj, now)}
		}}
	case api.ConfigMaps:
		return table{[]string{"NAME", "DATA", "AGE"}, 3, func(obj api.Object, now time.Time) []string {
			cm := obj.(*corev1.ConfigMap)
			return []string{obj.GetName(), strconv.Itoa(len(cm.Data) + len(cm.BinaryData)), age(obj, now)}
		}}
	case api.Services:
		return table{[]string{"NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"}, 6, serviceCells}
	case api.Events:
		return table{[]string{"LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"}, 5, eventCells}
	}
	return furtherTable(res, minor)
}

func age(obj api.Object, now time.Time) string { return since(obj.GetCreationTimestamp(), now) }

func since(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

func orNoneCell(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}

func podCells(obj api.Object, now time.Time) []string {
	pod := obj.(*corev1.Pod)
	ready, restarts := 0, int32(0)
	var lastRestart metav1.Time
	for i := range pod.Status.ContainerStatuses {
		s := &pod.Status.ContainerStatuses[i]
		restarts += s.RestartCount
		if end := s.LastTerminationState.Terminated; end != nil && lastRestart.Before(&end.FinishedAt) {
			lastRestart = end.FinishedAt
		}
		if s.Ready && s.State.Running != nil {
			ready++
		}
	}
	times := strconv.Itoa(int(restarts))
	if restarts != 0 && !lastRestart.IsZero() {
		times = fmt.Sprintf("%d (%s ago)", restarts, since(lastRestart, now))
	}
	return []string{pod.Name, fmt.Sprintf("%d/%d", ready, len(pod.Spec.Containers)), PodStatus(pod), times, age(pod, now),
		orNoneCell(pod.Status.PodIP), orNoneCell(pod.Spec.NodeName), orNoneCell(pod.Status.NominatedNodeName), "<none>"}
}

// PodStatus is the STATUS column of kubectl get pods.
func PodStatus(pod *corev1.Pod) string {
	status := string(pod.Status.Phase)
	if pod.Status.Reason != "" {
		status = pod.Status.Reason
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			status = corev1.PodReasonSchedulingGated
		}
	}
	for i := range pod.Status.InitContainerStatuses {
		s := &pod.Status.InitContainerStatuses[i].State
		switch {
		case s.Terminated != nil && s.Terminated.ExitCode == 0:
			continue
		case s.Terminated != nil && s.Terminated.Reason != "":
			status = "Init:" + s.Terminated.Reason
		case s.Terminated != nil:
			status = fmt.Sprintf("Init:ExitCode:%d", s.Terminated.ExitCode)
		case s.Waiting != nil && s.Waiting.Reason != "" && s.Waiting.Reason != "PodInitializing":
			status = "Init:" + s.Waiting.Reason
		default:
			status = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		return terminating(pod, status)
	}
	running := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		s := &pod.Status.ContainerStatuses[i]
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			status = s.State.Waiting.Reason
		case s.State.Terminated != nil && s.State.Terminated.Reason != "":
			status = s.State.Terminated.Reason
		case s.State.Terminated != nil && s.State.Terminated.Signal != 0:
			status = fmt.Sprintf("Signal:%d", s.State.Terminated.Signal)
		case s.State.Terminated != nil:
			status = fmt.Sprintf("ExitCode:%d", s.State.Terminated.ExitCode)
		case s.Ready && s.State.Running != nil:
			running = true
		}
	}
	if status == "Completed" && running {
		status = "NotReady"
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				status = "Running"
			}
		}
	}
	return terminating(pod, status)
}

func terminating(pod *corev1.Pod, status string) string {
	ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	switch {
	case pod.DeletionTimestamp != nil && pod.Status.Reason == "NodeLost":
		return "Unknown"
	case pod.DeletionTimestamp != nil && !ended:
		return "Terminating"
	}
	return status
}

func nodeCells(obj api.Object, now time.Time) []string {
	node := obj.(*corev1.Node)
	status := "Unknown"
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			status = map[bool]string{true: "Ready", false: "NotReady"}[c.Status == corev1.ConditionTrue]
		}
	}
	if node.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	var roles []string
	for _, key := range sortedKeys(node.Labels) {
		if role, ok := strings.CutPrefix(key, "node-role.kubernetes.io/"); ok && role != "" {
			roles = append(roles, role)
		} else if key == "kubernetes.io/role" && node.Labels[key] != "" {
			roles = append(roles, node.Labels[key])
		}
	}
	info := &node.Status.NodeInfo
	addresses := map[corev1.NodeAddressType]string{}
	for _, a := range node.Status.Addresses {
		addresses[a.Type] = a.Address
	}
	kernel := info.KernelVersion
	if kernel == "" {
		kernel = "<unknown>"
	}
	return []string{node.Name, status, orNoneCell(strings.Join(roles, ",")), age(node, now), info.KubeletVersion,
		orNoneCell(addresses[corev1.NodeInternalIP]), orNoneCell(addresses[corev1.NodeExternalIP]), unknownCell(info.OSImage),
		kernel, unknownCell(info.ContainerRuntimeVersion)}
}

func unknownCell(text string) string {
	if text == "" {
		return "<unknown>"
	}
	return text
}

// templateCells are CONTAINERS and IMAGES of a pod template.
func templateCells(spec *corev1.PodSpec) (names, images string) {
	var n, i []string
	for _, c := range spec.Containers {
		n, i = append(n, c.Name), append(i, c.Image)
	}
	return strings.Join(n, ","), strings.Join(i, ",")
}

func deploymentCells(obj api.Object, now time.Time) []string {
	d := obj.(*appsv1.Deployment)
	names, images := templateCells(&d.Spec.Template.Spec)
	return []string{
		d.Name,
		fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, wanted(d.Spec.Replicas)),
		count(d.Status.UpdatedReplicas),
		count(d.Status.AvailableReplicas),
		age(d, now),
		names,
		images,
		metav1.FormatLabelSelector(d.Spec.Selector),
	}
}

func replicaSetCells(obj api.Object, now time.Time) []string {
	s := obj.(*appsv1.ReplicaSet)
	names, images := templateCells(&s.Spec.Template.Spec)
	return []string{
		s.Name,
		count(wanted(s.Spec.Replicas)),
		count(s.Status.Replicas),
		count(s.Status.ReadyReplicas),
		age(s, now),
		names,
		images,
		metav1.FormatLabelSelector(s.Spec.Selector),
	}
}

func daemonSetCells(obj api.Object, now time.Time) []string {
	d := obj.(*appsv1.DaemonSet)
	names, images := templateCells(&d.Spec.Template.Spec)
	return []string{d.Name, count(d.Status.DesiredNumberScheduled), count(d.Status.CurrentNumberScheduled),
		count(d.Status.NumberReady), count(d.Status.UpdatedNumberScheduled), count(d.Status.NumberAvailable),
		labels.FormatLabels(
			d.Spec.Template.Spec.NodeSelector,
		), age(d, now), names, images, metav1.FormatLabelSelector(d.Spec.Selector)}
}

func statefulSetCells(obj api.Object, now time.Time) []string {
	s := obj.(*appsv1.StatefulSet)
	names, images := templateCells(&s.Spec.Template.Spec)
	return []string{
		s.Name,
		fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, wanted(s.Spec.Replicas)),
		age(s, now),
		names,
		images,
	}
}

func wanted(replicas *int32) int32 {
	if replicas == nil {
		return 0
	}
	return *replicas
}

func count(n int32) string { return strconv.Itoa(int(n)) }

func leaseCells(obj api.Object, now time.Time) []string {
	holder := ""
	if h := obj.(*coordinationv1.Lease).Spec.HolderIdentity; h != nil {
		holder = *h
	}
	return []string{obj.GetName(), holder, age(obj, now)}
}

func serviceCells(obj api.Object, now time.Time) []string {
	s := obj.(*corev1.Service)
	var ports []string
	for _, p := range s.Spec.Ports {
		port := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if p.NodePort > 0 {
			port = fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol)
		}
		ports = append(ports, port)
	}
	return []string{
		s.Name,
		string(s.Spec.Type),
		orNoneCell(s.Spec.ClusterIP),
		externalCell(s),
		orNoneCell(strings.Join(ports, ",")),
		age(s, now),
		labels.FormatLabels(s.Spec.Selector),
	}
}

// externalCell is where a Service is reached from outside.
func externalCell(s *corev1.Service) string {
	list := slices.Clone(s.Spec.ExternalIPs)
	switch s.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		var balancers []string
		for _, i := range s.Status.LoadBalancer.Ingress {
			balancers = append(balancers, i.IP+i.Hostname)
		}
		if list = append(balancers, list...); len(list) == 0 {
			return "<pending>"
		}
	}
	return orNoneCell(strings.Join(list, ","))
}

func eventCells(obj api.Object, now time.Time) []string {
	e := obj.(*corev1.Event)
	last := e.LastTimestamp
	if last.IsZero() {
		last = metav1.Time{Time: e.EventTime.Time}
	}
	return []string{
		since(last, now),
		e.Type,
		e.Reason,
		strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name,
		strings.TrimSpace(e.Message),
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m { // any order: sorted below
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
