package controllers

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

func (b *bench) addNodes(n int) []string {
	all := names("n", n)
	for _, name := range all {
		b.addNode(name, "")
	}
	return all
}

// A replacement is made when the pod on the dead node gets its deletionTimestamp, not when the node dies; the old
// object stays Terminating.
func TestReplicaSetReplacesAPodWhenItIsMarkedForDeletion(t *testing.T) {
	b := newBench(t, 1, "v1.36")
	nodes := b.addNodes(4)
	b.addReplicaSet("web", 4)
	b.runNewPods(nodes...)
	b.start()
	b.at(30 * time.Second)
	require.Equal(t, 4, len(b.pods()))
	victim := slices.IndexFunc(b.pods(), func(pod *corev1.Pod) bool { return pod.Spec.NodeName == "n1" })
	name := b.pods()[victim].Name
	tolerant := b.pod(name).DeepCopy()
	thirty := int64(30)
	tolerant.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists, TolerationSeconds: &thirty}}
	b.server.Put(tolerant)
	b.crash("n1")
	lost := b.when(3*time.Minute, "NotReady", func() bool { return !isPodReady(b.pod(name)) })
	b.at(lost + 29*time.Second)
	require.Equal(t, 4, len(b.pods()), "nothing was made while the pod only was not ready")
	deleted := b.when(3*time.Minute, "deletion", func() bool { return b.pod(name).DeletionTimestamp != nil })
	b.at(deleted + 100*time.Millisecond)
	require.Equal(t, 5, len(b.pods()))
	created := b.events("SuccessfulCreate")
	assert.Equal(t, "machine/n1", b.rootCause(created[len(created)-1]).Object)
	assert.Contains(t, created[len(created)-1].Message, "Created pod: web-")
	b.at(10 * time.Minute)
	assert.NotNil(t, b.pod(name).DeletionTimestamp, "nobody but its kubelet can end it")
}

// Victims, in this order: unassigned, Pending, not ready, cheap, crowded, young, restarted, new.
func TestVictimOrder(t *testing.T) {
	now := hardware.WallTime(sim.Time(1000 * time.Second))
	pod := func(name, node string, phase corev1.PodPhase, readyFor time.Duration) *corev1.Pod {
		p := newTestPod(name, node, phase)
		if readyFor > 0 {
			setPodCondition(p, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue,
				LastTransitionTime: metav1.NewTime(now.Add(-readyFor))})
		}
		p.CreationTimestamp = metav1.NewTime(now.Add(-500 * time.Second))
		return p
	}
	unassigned := pod("unassigned", "", corev1.PodPending, 0)
	pending := pod("pending", "n1", corev1.PodPending, 0)
	notReady := pod("not-ready", "n1", corev1.PodRunning, 0)
	cheap := pod("cheap", "n2", corev1.PodRunning, 400*time.Second)
	cheap.Annotations = map[string]string{corev1.PodDeletionCost: "-5"}
	crowded := pod("crowded", "n3", corev1.PodRunning, 400*time.Second)
	young := pod("young", "n2", corev1.PodRunning, 5*time.Second)
	restarted := pod("restarted", "n2", corev1.PodRunning, 400*time.Second)
	restarted.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 3}}
	old := pod("old", "n2", corev1.PodRunning, 400*time.Second)
	pods := []*corev1.Pod{old, restarted, young, crowded, cheap, notReady, pending, unassigned}
	order := victimOrder{now: now, rank: map[string]int{"n2": 1, "n3": 2}, logarithmic: true, cost: true}
	slices.SortStableFunc(pods, order.compare)
	assert.Equal(t, "unassigned pending not-ready cheap crowded young restarted old", podNames(pods))

	// Ages in the same power of two are the same age: the UID decides.
	a, c := pod("a", "n2", corev1.PodRunning, 300*time.Second), pod("c", "n2", corev1.PodRunning, 400*time.Second)
	a.UID, c.UID = "2", "1"
	assert.Positive(t, order.compare(a, c))
	order.logarithmic = false
	assert.Negative(t, order.compare(a, c))
}

func newTestPod(name, node string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:   corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{Phase: phase}}
}

func (b *bench) addDeployment(name string, replicas int32, strategy appsv1.DeploymentStrategyType) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	deadline := int32(600)
	return b.server.Put(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Generation: 1},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			ProgressDeadlineSeconds: &deadline, Strategy: appsv1.DeploymentStrategy{Type: strategy},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "web:1"}}}}}}).(*appsv1.Deployment)
}

func (b *bench) deployment(name string) *appsv1.Deployment {
	return b.server.Get(api.Deployments, "default", name).(*appsv1.Deployment)
}

func (b *bench) change(d *appsv1.Deployment, edit func(*appsv1.Deployment)) {
	d = d.DeepCopy()
	edit(d)
	d.Generation++
	b.server.Put(d)
}

// With 4 replicas, 25 % and 25 %: at most 5 pods, at least 3 available, all through the rollout.
func TestRollingUpdateKeepsWithinSurgeAndUnavailability(t *testing.T) {
	b := newBench(t, 2, "v1.36")
	nodes := b.addNodes(4)
	b.addDeployment("web", 4, appsv1.RollingUpdateDeploymentStrategyType)
	b.runNewPods(nodes...)
	b.start()
	b.at(20 * time.Second)
	require.EqualValues(t, 4, b.deployment("web").Status.AvailableReplicas)
	assert.Equal(t, "1", b.deployment("web").Annotations[revisionAnnotation])
	b.change(b.deployment("web"), func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "web:2" })
	for b.kernel.Now() < sim.Time(60*time.Second) {
		b.at(b.kernel.Now().Duration() + 50*time.Millisecond)
		alive, available := 0, 0
		for _, pod := range b.pods() {
			if isActive(pod) {
				alive++
				if isPodReady(pod) {
					available++
				}
			}
		}
		require.LessOrEqual(t, alive, 5)
		require.GreaterOrEqual(t, available, 3)
	}
	for _, pod := range b.pods() {
		assert.Equal(t, "web:2", pod.Spec.Containers[0].Image)
	}
	d := b.deployment("web")
	assert.Equal(t, "2", d.Annotations[revisionAnnotation])
	assert.Equal(t, reasonAvailable, deploymentCondition(&d.Status, appsv1.DeploymentProgressing).Reason)
	assert.Len(t, b.server.List(api.ReplicaSets), 2)
	first := b.events("ScalingReplicaSet")[0]
	assert.Regexp(t, `^Scaled up replica set web-\w+ from 0 to 4$`, first.Message)
}

// Going back to an older template takes the old ReplicaSet again, under a new revision.
func TestRollbackReusesTheOldReplicaSet(t *testing.T) {
	b := newBench(t, 3, "v1.36")
	nodes := b.addNodes(3)
	b.addDeployment("web", 2, appsv1.RollingUpdateDeploymentStrategyType)
	b.runNewPods(nodes...)
	b.start()
	for i, image := range []string{"web:2", "web:1"} {
		b.at(time.Duration(i+1) * 20 * time.Second)
		b.change(b.deployment("web"), func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image })
	}
	b.at(time.Minute)
	assert.Len(t, b.server.List(api.ReplicaSets), 2)
	assert.Equal(t, "3", b.deployment("web").Annotations[revisionAnnotation])
}

// Recreate waits for the last old pod, and so for ever for one that is stuck on a dead node.
func TestRecreateWaitsForAPodOnADeadNode(t *testing.T) {
	b := newBench(t, 4, "v1.36")
	nodes := b.addNodes(2)
	b.addDeployment("web", 2, appsv1.RecreateDeploymentStrategyType)
	b.runNewPods(nodes...)
	b.start()
	b.at(20 * time.Second)
	b.crash("n1")
	b.change(b.deployment("web"), func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "web:2" })
	b.at(2 * time.Minute)
	require.Equal(t, 1, len(b.pods()))
	b.server.Remove(b.pods()[0])
	b.at(b.kernel.Now().Duration() + 5*time.Second)
	assert.Equal(t, 2, len(b.pods()))
}

func TestDeploymentArithmetic(t *testing.T) {
	for _, c := range []struct {
		replicas                   int32
		maxSurge, maxUnavailable   string
		wantSurge, wantUnavailable int32
	}{
		{4, "25%", "25%", 1, 1}, {10, "25%", "25%", 3, 2}, {1, "25%", "25%", 1, 0}, {3, "0", "25%", 0, 1},
		{5, "0", "0", 0, 1}, {8, "100%", "0", 8, 0}, {2, "1", "5", 1, 2},
	} {
		surge, unavailable := intstr.Parse(c.maxSurge), intstr.Parse(c.maxUnavailable)
		r := &rollout{d: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &c.replicas,
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable}}}}}
		gotSurge, gotUnavailable := r.fenceposts()
		assert.Equal(t, []int32{c.wantSurge, c.wantUnavailable}, []int32{gotSurge, gotUnavailable}, "%+v", c)
	}
}

// Scaled in the middle of a rollout, all ReplicaSets grow alike; what rounding leaves goes to the largest.
func TestProportionalScaling(t *testing.T) {
	replicas := int32(20)
	r := &rollout{d: &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &replicas,
		Strategy: appsv1.DeploymentStrategy{
			Type: appsv1.RollingUpdateDeploymentStrategyType}}}}
	set := func(name string, n int32) *appsv1.ReplicaSet {
		return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name,
			Annotations: map[string]string{maxReplicasAnnotation: "13"}},
			Spec: appsv1.ReplicaSetSpec{Replicas: &n}}
	}
	sets := []*appsv1.ReplicaSet{set("new", 5), set("old", 8)}
	sizes := r.proportions(sets, 12)
	assert.Equal(t, "old", sets[0].Name)
	assert.Equal(t, []int32{15, 10}, sizes)
}

// A pod of a deleted node: not found missing at once, 40 s of quarantine, a loop each 20 s.
func TestPodGCDeletesOrphansAfterTheQuarantine(t *testing.T) {
	for seed := range uint64(5) {
		b := newBench(t, seed, "v1.36")
		b.addNodes(3)
		b.addPod("bare", "n1")
		b.start()
		b.at(time.Minute + time.Duration(seed)*4*time.Second)
		deleted := b.kernel.Now().Duration()
		b.crash("n1")
		b.server.Remove(b.node("n1"))
		gone := b.when(4*time.Minute, "end of the pod", func() bool { return b.pod("bare") == nil })
		assert.True(t, gone-deleted >= 40*time.Second && gone-deleted <= 81*time.Second, "%s", gone-deleted)
		failed := slices.ContainsFunc(b.server.Writes, func(r *api.Request) bool {
			pod, ok := r.Object.(*corev1.Pod)
			return ok && pod.Status.Phase == corev1.PodFailed && podCondition(pod,
				corev1.DisruptionTarget).Reason == "DeletionByPodGC"
		})
		assert.True(t, failed, "it is marked Failed before it is deleted")
	}
}

func TestOutOfServiceTaintForcesTerminatingPodsOut(t *testing.T) {
	b := newBench(t, 6, "v1.36")
	b.addNodes(4)
	b.addPod("bare", "n1")
	b.start()
	b.at(30 * time.Second)
	b.crash("n1")
	b.at(8 * time.Minute)
	require.NotNil(t, b.pod("bare").DeletionTimestamp)
	node := b.node("n1").DeepCopy()
	node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeOutOfService,
		Effect: corev1.TaintEffectNoExecute})
	b.server.Put(node)
	b.at(8*time.Minute + 21*time.Second)
	assert.Nil(t, b.pod("bare"))
}

// A deleted Deployment takes its ReplicaSets and their pods along; a deleted node its lease, at once.
func TestDependentsFollowTheirOwners(t *testing.T) {
	b := newBench(t, 7, "v1.36")
	nodes := b.addNodes(3)
	b.addDeployment("web", 3, appsv1.RollingUpdateDeploymentStrategyType)
	b.server.Put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "owned",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n3", UID: "uid-n3"}}}})
	b.runNewPods(nodes...)
	b.start()
	b.at(20 * time.Second)
	require.Equal(t, 3, len(b.pods()))
	b.server.Remove(b.deployment("web"))
	b.crash("n3")
	b.server.Remove(b.node("n3"))
	b.at(25 * time.Second)
	assert.Empty(t, b.server.List(api.ReplicaSets))
	assert.Nil(t, b.server.Get(api.Leases, "kube-node-lease", "owned"))
	stuck := b.pods() // the one on the dead node waits for PodGC
	require.LessOrEqual(t, len(stuck), 1)
}

// --cascade=orphan leaves the pods; foreground deletion keeps the owner until they are gone.
func TestOrphanAndForegroundDeletion(t *testing.T) {
	b := newBench(t, 8, "v1.36")
	nodes := b.addNodes(3)
	b.addReplicaSet("orphaning", 2)
	b.addReplicaSet("foreground", 2)
	b.runNewPods(nodes...)
	b.start()
	b.at(20 * time.Second)
	client := b.server.Client(b.kernel.Root())
	b.kernel.Root().Go("kubectl", func(p *sim.Proc) {
		for name, policy := range map[string]metav1.DeletionPropagation{ // any order: independent objects
			"orphaning": metav1.DeletePropagationOrphan, "foreground": metav1.DeletePropagationForeground} {
			err := api.DeleteObject[*appsv1.ReplicaSet](p, client, api.Key{Namespace: "default", Name: name},
				api.DeleteOptions{PropagationPolicy: &policy})
			assert.NoError(t, err)
		}
	})
	b.at(20*time.Second + 100*time.Millisecond)
	assert.NotNil(t, b.server.Get(api.ReplicaSets, "default", "foreground"), "it waits for its pods")
	b.at(30 * time.Second)
	assert.Empty(t, b.server.List(api.ReplicaSets))
	left := b.pods()
	require.Len(t, left, 2)
	for _, pod := range left {
		assert.Equal(t, "orphaning", pod.Labels["app"])
		assert.Empty(t, pod.OwnerReferences)
	}
}

func (b *bench) addDaemonSet() {
	labels := map[string]string{"app": "agent"}
	b.server.Put(&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "agent", Generation: 1},
		Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}}})
}

// Recorded (01): the DaemonSet's DESIRED drops by one when the node gets its NoSchedule taint; its pod is never
// evicted.
func TestDaemonSetPodStaysOnADeadNode(t *testing.T) {
	b := newBench(t, 9, "v1.36")
	b.addNodes(4)
	b.addDaemonSet()
	b.runNewPods("n1", "n2", "n3", "n4")
	b.start()
	b.at(30 * time.Second)
	status := func() appsv1.DaemonSetStatus {
		return b.server.Get(api.DaemonSets, "default", "agent").(*appsv1.DaemonSet).Status
	}
	require.EqualValues(t, 4, status().DesiredNumberScheduled)
	b.crash("n1")
	b.at(8 * time.Minute)
	assert.EqualValues(t, 3, status().DesiredNumberScheduled)
	assert.EqualValues(t, 1, status().NumberMisscheduled)
	for _, pod := range b.pods() {
		assert.Nil(t, pod.DeletionTimestamp)
	}
	b.boot("n1")
	b.at(9 * time.Minute)
	assert.EqualValues(t, 4, status().DesiredNumberScheduled)
}

// The identity of a StatefulSet's pod is taken as long as its object exists: no replacement while it is stuck.
func TestStatefulSetWaitsForTheOldPodToBeGone(t *testing.T) {
	b := newBench(t, 10, "v1.36")
	nodes := b.addNodes(4)
	labels, replicas := map[string]string{"app": "db"}, int32(3)
	b.server.Put(&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db", Generation: 1},
		Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}}})
	b.runNewPods(nodes...)
	b.start()
	b.at(30 * time.Second)
	require.Equal(t, "db-0 db-1 db-2", podNames(b.pods()))
	at := b.pod("db-1").Spec.NodeName
	uid := b.pod("db-1").UID
	b.crash(at)
	b.at(90 * time.Second) // it tolerates nothing: it is deleted with the taint
	require.NotNil(t, b.pod("db-1").DeletionTimestamp)
	b.at(5 * time.Minute)
	assert.Equal(t, uid, b.pod("db-1").UID)
	b.server.Remove(b.pod("db-1"))
	b.at(5*time.Minute + 5*time.Second)
	require.NotNil(t, b.pod("db-1"))
	assert.NotEqual(t, uid, b.pod("db-1").UID)
	created := b.events("SuccessfulCreate")
	assert.Equal(t, "Create Pod db-1 in StatefulSet db successful", created[len(created)-1].Message)
}

// Budgets count what is Ready; slices show what serves. A lost node costs both at once.
func TestLostNodeEmptiesSlicesAndBudget(t *testing.T) {
	b := newBench(t, 11, "v1.36")
	nodes := b.addNodes(4)
	b.addReplicaSet("web", 4)
	two := intstr.FromInt32(3)
	b.server.Put(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web",
		Generation: 1},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &two,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}})
	b.server.Put(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: types.UID("svc")},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80,
			Protocol: corev1.ProtocolTCP}}}})
	b.runNewPods(nodes...)
	b.start()
	b.at(10 * time.Second)
	for i, pod := range b.pods() {
		pod = pod.DeepCopy()
		pod.Status.PodIP = fmt.Sprintf("10.244.0.%d", i+1)
		b.server.Put(pod)
	}
	b.at(30 * time.Second)
	budget := func() policyv1.PodDisruptionBudgetStatus {
		return b.server.Get(api.PodDisruptionBudgets, "default", "web").(*policyv1.PodDisruptionBudget).Status
	}
	require.EqualValues(t, 1, budget().DisruptionsAllowed)
	require.Len(t, b.server.List(api.EndpointSlices), 1)
	slice := func() *discoveryv1.EndpointSlice {
		return b.server.List(api.EndpointSlices)[0].(*discoveryv1.EndpointSlice)
	}
	require.Len(t, slice().Endpoints, 4)
	b.crash("n1")
	unknown := b.when(3*time.Minute, "Unknown", func() bool { return ready(b.node("n1")) == corev1.ConditionUnknown })
	b.at(unknown + 2*time.Second)
	assert.EqualValues(t, 0, budget().DisruptionsAllowed)
	serving := 0
	for _, e := range slice().Endpoints {
		if *e.Conditions.Ready {
			serving++
		}
	}
	assert.Equal(t, 3, serving)
}

func TestJobRetriesFailedPodsWithBackoff(t *testing.T) {
	b := newBench(t, 12, "v1.36")
	b.addNodes(1)
	one, limit, labels := int32(1), int32(3), map[string]string{"job": "task"}
	b.server.Put(&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "task", Generation: 1},
		Spec: batchv1.JobSpec{Parallelism: &one, Completions: &one, BackoffLimit: &limit,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}}})
	var created []time.Duration
	b.kernel.Observe(func(e sim.Event) {
		if e.Reason == "SuccessfulCreate" {
			created = append(created, e.T.Duration())
		}
	})
	b.kernel.Root().Go("world", func(p *sim.Proc) {
		for {
			p.Sleep(time.Second)
			for _, pod := range b.pods() {
				if pod.Status.Phase == corev1.PodPending {
					pod = pod.DeepCopy()
					pod.Status.Phase = corev1.PodFailed
					b.server.Put(pod)
				}
			}
		}
	})
	b.start()
	b.at(10 * time.Minute)
	job := b.server.Get(api.Jobs, "default", "task").(*batchv1.Job)
	require.True(t, jobFinished(job))
	assert.EqualValues(t, 4, job.Status.Failed)
	require.Len(t, created, 4)
	for i, want := range []float64{10, 20, 40} {
		assert.InDelta(t, want, (created[i+1] - created[i]).Seconds(), 2.1)
	}
}

// A namespace goes when all in it has gone.
func TestNamespaceIsEmptiedBeforeItGoes(t *testing.T) {
	b := newBench(t, 13, "v1.36")
	nodes := b.addNodes(2)
	b.server.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}}})
	b.addReplicaSet("web", 2)
	b.runNewPods(nodes...)
	b.start()
	b.at(20 * time.Second)
	require.NotNil(t, b.server.Get(api.ServiceAccounts, "default", "default"))
	ns := b.server.Get(api.Namespaces, "", "default").(*corev1.Namespace).DeepCopy()
	now := metav1.NewTime(hardware.WallTime(b.kernel.Now()))
	ns.DeletionTimestamp, ns.Status.Phase = &now, corev1.NamespaceTerminating
	b.server.Put(ns)
	b.server.Fail = func(r *api.Request) error { // the API server's admission
		if r.Verb != api.Create || r.Resource == api.Events {
			return nil
		}
		err := apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, errors.New("it is being terminated"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
		return err
	}
	b.at(24 * time.Second)
	assert.Equal(t, 2, len(b.pods()), "other servers get 5 s to notice")
	b.at(2 * time.Minute)
	assert.Empty(t, b.pods())
	assert.Empty(t, b.server.Get(api.Namespaces, "", "default").(*corev1.Namespace).Spec.Finalizers)
}

func TestRemovedFlagsAreRefused(t *testing.T) {
	for version, want := range map[string]string{ // any order: independent runs
		"v1.36": "Error: unknown flag: --pod-eviction-timeout", "v1.20": ""} {
		b := newBench(t, 14, version)
		why := "still running"
		p := b.dc.Machine("cp-1").Start("kube-controller-manager", func(p *hardware.Process) {
			Main(p, []string{"--master=https://cp-1:6443", "--pod-eviction-timeout=1m"}, version)
		})
		p.Wait(b.kernel.Root(), func(s hardware.ExitStatus) { why = fmt.Sprint(s.Code, " ", s.Why) })
		b.at(5 * time.Second)
		if want == "" {
			assert.Equal(t, "still running", why)
		} else {
			assert.Equal(t, "1 "+want, why)
		}
	}
	modelled, accepted := Flags(newBench(t, 15, "v1.36").release)
	assert.Contains(t, modelled, "node-monitor-grace-period")
	assert.Contains(t, accepted, "cluster-cidr")
}
