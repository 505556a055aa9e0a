package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

// typed runs what an administrator does at his workstation, and waits until it is done.
func typed(t testing.TB, c *Cluster, what func(p *sim.Proc, client api.Client)) {
	done := false
	c.Machine(spec.Admin).Start("kubectl", func(process *hardware.Process) {
		client := c.Client(process, c.server(), "kubernetes-admin", "kubectl/v1.36.0")
		process.Go("kubectl", func(p *sim.Proc) {
			what(p, client)
			done = true
		})
	})
	for !done {
		_, err := c.kernel.Step()
		require.NoError(t, err)
	}
}

func deployment(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.local/app:1"}}}}}}
}

// create creates objects and fails the test if the API server does not take one.
func create(t testing.TB, c *Cluster, objects ...api.Object) {
	typed(t, c, func(p *sim.Proc, client api.Client) {
		for _, object := range objects {
			res := api.ResourceOf(object)
			require.NotNil(t, res)
			_, err := client.Do(p, &api.Request{Verb: api.Create, Resource: res, Namespace: object.GetNamespace(),
				Name: object.GetName(), Object: object, Within: 30 * time.Second})
			require.NoError(t, err)
		}
	})
}

func pods(c *Cluster) []*corev1.Pod {
	var all []*corev1.Pod
	for _, object := range c.World().Objects(api.Pods) {
		if pod := object.(*corev1.Pod); pod.Namespace == "default" {
			all = append(all, pod)
		}
	}
	return all
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}

func readyPods(c *Cluster) int {
	n := 0
	for _, pod := range pods(c) {
		if isReady(pod) {
			n++
		}
	}
	return n
}

// runFor lets d of virtual time pass.
func runFor(t testing.TB, c *Cluster, d time.Duration) {
	require.NoError(t, c.kernel.RunUntil(c.kernel.Now().Add(d)))
}

// eventsAfter returns the events of a reason since t, as times after t and objects.
func eventsAfter(c *Cluster, t sim.Time, reason string) map[string]time.Duration {
	found := map[string]time.Duration{}
	for _, e := range c.kernel.Trace().Events() {
		if _, seen := found[e.Object]; e.T >= t && e.Reason == reason && !seen {
			found[e.Object] = e.T.Sub(t)
		}
	}
	return found
}

// A worker with a pod of a Deployment loses power and returns after eight minutes. Two waits add up, 50 s and 300 s;
// without any of the mechanisms (heartbeats, taints, tolerations, the ReplicaSet, the kubelet's confirmation) one of
// the assertions fails.
func TestPodsOfALostWorkerMoveAfterTwoWaits(t *testing.T) {
	c := start(t, 1, specOf(spec.Stacked, spec.Kubeadm, 4))
	create(t, c, deployment("web", 4))
	runFor(t, c, 30*time.Second)
	require.Equal(t, 4, readyPods(c))
	var victim string
	for _, pod := range pods(c) {
		if pod.Spec.NodeName == "worker-1" {
			victim = "pod/default/" + pod.Name
		}
	}
	require.NotEmpty(t, victim, "the scheduler spreads four pods over four workers")

	at := c.kernel.Now()
	c.kernel.Outside(func() { require.NoError(t, c.faults.Crash("worker-1")) })
	runFor(t, c, 8*time.Minute)
	unknown := eventsAfter(c, at, "NodeNotReady")["node/worker-1"]
	require.True(t, unknown >= 39*time.Second && unknown <= 56*time.Second, "Unknown after %s", unknown)
	evicted := eventsAfter(c, at, "TaintManagerEviction")[victim]
	require.InDelta(t, 300, (evicted - unknown).Seconds(), 0.7)
	require.Equal(t, 4, readyPods(c), "the ReplicaSet has put another pod in its place")
	require.Len(t, pods(c), 5, "the deleted pod stays Terminating: nobody can confirm its end")

	back := c.kernel.Now()
	c.kernel.Outside(func() { require.NoError(t, c.faults.Start("worker-1")) })
	runFor(t, c, 2*time.Minute)
	require.Len(t, pods(c), 4, "its kubelet has confirmed the end")
	require.NotZero(t, eventsAfter(c, back, "NodeReady")["node/worker-1"])
	for _, pod := range pods(c) {
		require.NotEqual(t, "worker-1", pod.Spec.NodeName, "nothing moves back")
	}
	requireCausesLeadOutside(t, c, victim)
}

// requireCausesLeadOutside follows the causes of an object's events to the outside world.
func requireCausesLeadOutside(t *testing.T, c *Cluster, object string) {
	trace := c.kernel.Trace()
	var last sim.EventID
	for _, e := range trace.Events() {
		if e.Object == object && e.Reason == "TaintManagerEviction" {
			last = e.Seq
		}
	}
	require.NotZero(t, last)
	var reasons []string
	for id := last; id != 0; id = trace.Event(id).Cause {
		require.Less(t, trace.Event(id).Cause, id, "a cause comes before its effect")
		reasons = append(reasons, trace.Event(id).Reason)
	}
	require.Equal(t, "MachineCrashed", reasons[len(reasons)-1], "%v", reasons)
}
