package report

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
	"ksim/sim/cluster/truth"
)

// Snapshot is the cluster at one moment: what the story says of the beginning, and what it compares the end with.
type Snapshot struct {
	EtcdLeader string
	Holders    []Holder
	Machines   []MachineState
	Nodes      []NodeState
	Pods       []PodState
}

// Holder is a component and the machine named in its lock.
type Holder struct{ Component, Machine string }

// MachineState is a machine and whether it has power.
type MachineState struct {
	Name, Zone string
	Up         bool
}

// NodeState is a Node object: Ready is "True", "False" or "Unknown".
type NodeState struct {
	Name, Ready string
}

// PodState is a Pod object.
type PodState struct {
	Name        string // as in the trace: pod/default/web-1
	Node        string // "" while it is unscheduled
	Owner       string // the object that controls it, as in the trace: replicaset/default/web-7c9d; "" for none
	Workload    string // what a person calls it: web, for a pod of a ReplicaSet of Deployment web; its own name if bare
	Ready       bool
	Terminating bool
	Running     bool // containers, as far as the kubelet has said
}

// lockedComponents are those that elect a leader.
var lockedComponents = []string{"kube-controller-manager", "kube-scheduler"}

// TakeSnapshot reads the true state of a cluster.
func TakeSnapshot(w truth.World) *Snapshot {
	s := &Snapshot{EtcdLeader: w.Etcd().Leader}
	for _, component := range lockedComponents {
		s.Holders = append(s.Holders, Holder{component, w.Holder(component)})
	}
	for _, m := range w.Machines() {
		s.Machines = append(s.Machines, MachineState{m.Name, m.Zone, m.Up})
	}
	for _, object := range w.Objects(api.Nodes) {
		s.Nodes = append(s.Nodes, NodeState{object.GetName(), readiness(object.(*corev1.Node))})
	}
	deployments := deploymentsOf(w)
	for _, object := range w.Objects(api.Pods) {
		s.Pods = append(s.Pods, podState(object.(*corev1.Pod), deployments))
	}
	return s
}

// readiness is a node's Ready condition, "Unknown" while it has none.
func readiness(node *corev1.Node) string {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return string(c.Status)
		}
	}
	return string(corev1.ConditionUnknown)
}

// deploymentsOf returns the Deployment of each ReplicaSet, by the set's name in the trace.
func deploymentsOf(w truth.World) map[string]string {
	deployments := map[string]string{}
	for _, object := range w.Objects(api.ReplicaSets) {
		set := object.(*appsv1.ReplicaSet)
		if owner := metav1.GetControllerOf(set); owner != nil {
			deployments[api.EventName(set)] = owner.Name
		}
	}
	return deployments
}

func podState(pod *corev1.Pod, deployments map[string]string) PodState {
	state := PodState{Name: api.EventName(pod), Node: pod.Spec.NodeName, Workload: pod.Name,
		Terminating: pod.DeletionTimestamp != nil,
		Running: slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
			return c.State.Terminated == nil
		})}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			state.Ready = c.Status == corev1.ConditionTrue
		}
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		namespace := pod.Namespace
		if owner.Kind == "Node" {
			namespace = ""
		}
		state.Owner = objectName(strings.ToLower(owner.Kind), namespace, owner.Name)
		state.Workload = owner.Name
		if deployment, ok := deployments[state.Owner]; ok {
			state.Workload = deployment
		}
	}
	return state
}

func objectName(kind, namespace, name string) string {
	if namespace == "" {
		return kind + "/" + name
	}
	return kind + "/" + namespace + "/" + name
}

// kind returns the kind of an object as the trace names it: pod of pod/default/web-1.
func kind(object string) string {
	k, _, _ := strings.Cut(object, "/")
	return k
}

// short returns the last part of an object's name: web-1 of pod/default/web-1.
func short(object string) string { return object[strings.LastIndexByte(object, '/')+1:] }

// namespace returns the middle part of an object's name, "" if there is none.
func namespace(object string) string {
	if parts := strings.Split(object, "/"); len(parts) > 2 {
		return parts[1]
	}
	return ""
}

// bare reports whether nothing would replace the pod.
func (p PodState) bare() bool { return p.Owner == "" }

// staysOnNode reports whether the pod belongs to its node: it tolerates what others do not, and has no other place.
func (p PodState) staysOnNode() bool {
	return slices.Contains([]string{"daemonset", "node"}, kind(p.Owner))
}
