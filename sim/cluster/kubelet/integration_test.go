package kubelet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

// A whole control plane under a kubelet: its programs are static pods, which have mirror pods, answer their probes,
// and are restarted when they are killed; a pod of a worker runs half a second after it was created.
func TestKubeletRunsAControlPlane(t *testing.T) {
	k := sim.New(1)
	defer k.Close()
	c, err := cluster.New(k, &spec.Cluster{Kubernetes: "v1.36", Install: spec.Kubeadm, Topology: spec.Single,
		ControlPlanes: 1, Workers: []spec.Worker{{Name: "worker-1"}}, Fsync: time.Millisecond,
		Network: spec.Network{Latency: 500 * time.Microsecond}})
	require.NoError(t, err)
	require.NoError(t, k.RunUntil(sim.Time(2*time.Minute)))
	mirrors := map[string]*corev1.Pod{}
	for _, object := range c.World().Objects(api.Pods) {
		pod := object.(*corev1.Pod)
		if pod.Spec.NodeName == "cp-1" && pod.Annotations[corev1.MirrorPodAnnotationKey] != "" {
			mirrors[pod.Name] = pod
		}
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		pod := mirrors[name+"-cp-1"]
		require.NotNil(t, pod, name)
		assert.True(t, ready(pod), name)
	}

	created := k.Now()
	create(t, c, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: "default"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "registry.local/app:1"}}}})
	for !ready(app(c)) {
		_, err := k.Step()
		require.NoError(t, err)
		require.Less(t, k.Now().Sub(created), time.Second)
	}

	server := process(c, "kube-apiserver")
	restarted := k.Now()
	server.Signal(hardware.SIGKILL)
	for process(c, "kube-apiserver") == nil {
		_, err := k.Step()
		require.NoError(t, err)
		require.Less(t, k.Now().Sub(restarted), 1200*time.Millisecond)
	}
	require.NoError(t, k.RunUntil(k.Now().Add(time.Minute)))
	assert.True(t, ready(app(c)))
	assert.Zero(t, app(c).Status.ContainerStatuses[0].RestartCount)
}

func create(t *testing.T, c *cluster.Cluster, object api.Object) {
	failed, done := error(nil), false
	c.Machine(spec.Admin).Start("kubectl", func(p *hardware.Process) {
		client := c.Client(p, "https://cp-1:6443", "kubernetes-admin", "kubectl/v1.36.0")
		client.Start(&api.Request{Verb: api.Create, Resource: api.ResourceOf(object), Namespace: object.GetNamespace(),
			Name: object.GetName(), Object: object}, func(_ *api.Response, err error) { failed, done = err, true })
	})
	for !done {
		_, err := c.Kernel().Step()
		require.NoError(t, err)
	}
	require.NoError(t, failed)
}

func app(c *cluster.Cluster) *corev1.Pod {
	for _, object := range c.World().Objects(api.Pods) {
		if pod := object.(*corev1.Pod); pod.Name == "app" {
			return pod
		}
	}
	return nil
}

func ready(pod *corev1.Pod) bool {
	if pod == nil {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func process(c *cluster.Cluster, name string) *hardware.Process {
	for _, p := range c.Machine("cp-1").Processes() {
		if p.Name == name {
			return p
		}
	}
	return nil
}
