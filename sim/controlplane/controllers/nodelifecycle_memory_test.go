package controllers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim/api"
	"ksim/sim/hardware"
)

// A status that arrives alone makes the controller's record anew, without the Lease: that one counts as news in the
// next tick, so a node that dies after such a status is noticed up to five seconds later.
func TestLeaseCountsOnceMoreAfterAStatus(t *testing.T) {
	b := newBench(t, 1, "v1.36")
	b.addNodes(4)
	b.start()
	b.at(30 * time.Second)
	b.kubelet["n1"].Kill("crash")
	b.at(37 * time.Second) // the Lease is old news by now
	node := b.node("n1").DeepCopy()
	stamp := metav1.NewTime(hardware.WallTime(b.kernel.Now()))
	for i := range node.Status.Conditions {
		node.Status.Conditions[i].LastHeartbeatTime = stamp
	}
	b.server.Put(node)
	seen := 40 * time.Second // the tick that sees it
	unknown := b.when(3*time.Minute, "Unknown", func() bool { return ready(b.node("n1")) == corev1.ConditionUnknown })
	assert.InDelta(t, 55, (unknown - seen).Seconds(), 0.2, "50 s after the tick after that")
}

// What the controller knows of a deleted node's health stays: one that is made anew by hand under its name, and posts
// nothing, has no start-up grace left.
func TestNodeMadeAnewGoesOnWithTheOldOnesHealth(t *testing.T) {
	b := newBench(t, 2, "v1.36")
	b.addNodes(4)
	b.start()
	b.at(30 * time.Second)
	b.kubelet["n1"].Kill("crash")
	b.at(36 * time.Second)
	b.server.Remove(b.node("n1"))
	b.at(3 * time.Minute)
	require.Len(t, b.events("RemovingNode"), 1)
	stamp := metav1.NewTime(hardware.WallTime(b.kernel.Now()))
	add := func(name string) {
		b.server.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("new-" + name),
			CreationTimestamp: stamp}})
	}
	add("n1")
	add("n9") // nobody has ever heard of it
	lost := func(name string) func() bool {
		return func() bool { c := nodeCondition(b.node(name), corev1.NodeReady); return c != nil }
	}
	assert.Less(t, b.when(5*time.Minute, "n1", lost("n1")), 3*time.Minute+6*time.Second)
	assert.InDelta(t, 242.5, b.when(5*time.Minute, "n9", lost("n9")).Seconds(), 3)
}

// Taints are added behind those that are there; one that is there gets a new time.
func TestTaintsAreAppended(t *testing.T) {
	b := newBench(t, 3, "v1.36")
	b.addNodes(4)
	node := b.node("n1").DeepCopy()
	node.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "db", Effect: corev1.TaintEffectNoSchedule}}
	b.server.Put(node)
	b.start()
	b.at(30 * time.Second)
	b.crash("n1")
	b.at(3 * time.Minute)
	var got []string
	for _, taint := range b.node("n1").Spec.Taints {
		got = append(got, taint.Key+":"+string(taint.Effect))
	}
	assert.Equal(t, []string{"dedicated:NoSchedule", "node.kubernetes.io/unreachable:NoSchedule",
		"node.kubernetes.io/unreachable:NoExecute"}, got)
}

// Which nodes are not counted in their zone: by label from v1.19 on, by the name master up to v1.20.
func TestWhoIsExcludedFromDisruption(t *testing.T) {
	label := map[string]string{"node.kubernetes.io/exclude-disruption": ""}
	for _, c := range []struct {
		minor  int
		name   string
		labels map[string]string
		want   bool
	}{
		{18, "worker-1", label, false}, {19, "worker-1", label, true}, {36, "worker-1", label, true},
		{12, "k8s-master", nil, true}, {20, "master-abc", nil, true}, {20, "master-1", nil, false},
		{21, "k8s-master", nil, false}, {36, "worker-1", nil, false},
	} {
		nc := &nodeLifecycle{manager: &manager{release: api.ReleaseOf(c.minor)}}
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.name, Labels: c.labels}}
		assert.Equal(t, c.want, nc.isExcludedFromDisruption(node), "%s in v1.%d", c.name, c.minor)
	}
}

// Up to v1.18 a taint that somebody takes off a lost node stays off; then the controller puts it on again.
func TestTaintTakenOffALostNodeComesBack(t *testing.T) {
	for version, back := range map[string]bool{"v1.18": false, "v1.19": true, "v1.36": true} { // any order: separate runs
		b := newBench(t, 4, version)
		b.addNodes(4)
		b.start()
		b.at(30 * time.Second)
		b.crash("n1")
		b.at(3 * time.Minute)
		node := b.node("n1").DeepCopy()
		require.Len(t, node.Spec.Taints, 2)
		node.Spec.Taints = node.Spec.Taints[:1]
		b.server.Put(node)
		b.at(4 * time.Minute)
		assert.Equal(t, back, hasTaint(b.node("n1"), corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute), version)
	}
}

// A condition DisruptionTarget that no deletion followed is taken back after two minutes.
func TestStaleDisruptionTargetIsTakenBack(t *testing.T) {
	b := newBench(t, 5, "v1.36")
	b.addNodes(1)
	b.start()
	b.at(10 * time.Second)
	pod := b.addPod("bare", "n1").DeepCopy()
	setPodCondition(pod, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
		Reason: "EvictionByEvictionAPI", LastTransitionTime: metav1.NewTime(hardware.WallTime(b.kernel.Now()))})
	b.server.Put(pod)
	target := func() corev1.ConditionStatus { return podCondition(b.pod("bare"), corev1.DisruptionTarget).Status }
	b.at(128 * time.Second)
	assert.Equal(t, corev1.ConditionTrue, target())
	b.at(132 * time.Second)
	assert.Equal(t, corev1.ConditionFalse, target())
}

// Labels decide whose a pod is: one that loses them is released and replaced, an orphan that has them is adopted.
func TestReplicaSetReleasesAndAdopts(t *testing.T) {
	b := newBench(t, 6, "v1.36")
	nodes := b.addNodes(2)
	b.addReplicaSet("web", 2)
	b.runNewPods(nodes...)
	b.start()
	b.at(10 * time.Second)
	require.Len(t, b.pods(), 2)
	suspect := b.pods()[0].DeepCopy()
	suspect.Labels = map[string]string{"app": "suspect"}
	b.server.Put(suspect)
	b.at(20 * time.Second)
	require.Len(t, b.pods(), 3)
	assert.Empty(t, b.pod(suspect.Name).OwnerReferences)
	back := b.pod(suspect.Name).DeepCopy()
	back.Labels = map[string]string{"app": "web"}
	b.server.Put(back)
	b.at(30 * time.Second)
	assert.Len(t, b.pods(), 2, "one too many now")
	for _, pod := range b.pods() {
		assert.Equal(t, "web", pod.OwnerReferences[0].Name)
	}
}

// While an old ReplicaSet's status still counts pods that it was told to delete, no more of them are taken away.
func TestRolloutWaitsForTheStatusOfAScaledDownSet(t *testing.T) {
	b := newBench(t, 7, "v1.36")
	b.start()
	b.at(time.Second)
	set := func(spec, available int32) *appsv1.ReplicaSet {
		rs := b.addReplicaSet("web", spec).DeepCopy()
		rs.Status.Replicas, rs.Status.AvailableReplicas = available, available
		return rs
	}
	four := int32(4)
	r := &rollout{deploymentController: &deploymentController{manager: &manager{release: b.release}},
		d:   &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &four}},
		new: set(2, 2), old: []*appsv1.ReplicaSet{set(3, 4)}}
	changed, err := r.reconcileOld(nil) // any write would need a process
	assert.False(t, changed)
	assert.NoError(t, err)
}
