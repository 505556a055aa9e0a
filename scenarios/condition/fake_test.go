package condition

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
	"ksim/sim/cluster/truth"
)

// world is a cluster that stands still until a test moves it.
type world struct {
	changes  truth.Changes
	objects  map[string][]api.Object
	machines []truth.Machine
	etcd     truth.Etcd
	asked    map[string]int
}

func (w *world) Changes() *truth.Changes { return &w.changes }
func (w *world) Objects(res *api.Resource) []api.Object {
	w.asked[res.Plural]++
	return w.objects[res.Plural]
}
func (w *world) Machines() []truth.Machine { return w.machines }
func (w *world) Etcd() truth.Etcd          { return w.etcd }
func (w *world) Leaders(string) []string   { return []string{"cp-2"} }
func (w *world) Holder(string) string      { return "cp-1" }
func (w *world) APIReady() []truth.Ready   { return []truth.Ready{{Machine: "cp-1", Ready: true}} }

func pod(name, node, owner string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "nginx"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	if owner != "" {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: owner, Controller: &yes}}
	}
	return p
}

func newWorld() *world {
	yes, three := true, int32(3)
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "default",
		OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: "web", Controller: &yes}}}}
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: appsv1.DeploymentSpec{Replicas: &three}}
	leaving := pod("web-1-b", "worker-2", "web-1")
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC)}
	pending := pod("lonely", "", "")
	pending.Status = corev1.PodStatus{Phase: corev1.PodPending}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}, Status: corev1.NodeStatus{
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}}}
	return &world{asked: map[string]int{}, objects: map[string][]api.Object{
		"pods":        {pending, pod("web-1-a", "worker-1", "web-1"), leaving},
		"replicasets": {set}, "deployments": {web}, "nodes": {node},
	}, machines: []truth.Machine{{Name: "worker-1", Zone: "a", Up: true, Processes: []string{"kubelet"},
		Containers: []truth.Container{{Pod: "web-1-a", Namespace: "default", Name: "c", Running: true, Restarts: 2}}}},
		etcd: truth.Etcd{Leader: "cp-1", Term: 4, Quorum: true, Revision: 100,
			Members: []truth.Member{{Name: "cp-1", Up: true, Role: "leader", Term: 4, Commit: 7, Applied: 7}}}}
}
