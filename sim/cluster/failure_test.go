package cluster

import (
	"fmt"
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

func TestLostWorker(t *testing.T) {
	c := start(t, 1, specOf(spec.Stacked, spec.Kubeadm, 4))
	create(t, c, deployment("web", 4))
	runFor(t, c, 30*time.Second)
	require.Equal(t, 4, readyPods(c))
	at := c.kernel.Now()
	require.NoError(t, c.faults.Crash("worker-1"))
	runFor(t, c, 8*time.Minute)
	require.NoError(t, c.faults.Start("worker-1"))
	runFor(t, c, 3*time.Minute)
	for _, e := range c.kernel.Trace().Events() {
		if e.T >= at && e.Level >= sim.Story {
			fmt.Printf("%s %d<-%d %s/%s %s %s %s [%s %s since %d]\n", sim.Time(e.T.Sub(at)), e.Seq, e.Cause,
				e.Machine, e.Component, e.Reason, e.Object, e.Message, e.Setting, e.Wait, e.Since)
		}
	}
	for _, p := range pods(c) {
		fmt.Println(p.Name, p.Spec.NodeName, p.Status.Phase, isReady(p))
	}
}
