package kubelet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

// bench is an API server and one node's machine with containerd and a kubelet.
type bench struct {
	t       testing.TB
	kernel  *sim.Kernel
	dc      *hardware.Datacenter
	server  *testServer
	api     *hardware.Machine
	machine *hardware.Machine
	runtime *containerd.Runtime
	kubelet *hardware.Process
	release *api.Release
	args    []string
}

const testNode = "worker-1"

func newBench(t testing.TB, seed uint64) *bench {
	k := sim.New(seed)
	t.Cleanup(k.Close)
	b := &bench{t: t, kernel: k, release: api.ReleaseOf(36)}
	b.dc = hardware.New(k, hardware.NetworkConfig{Latency: 500 * time.Microsecond})
	b.api = b.dc.AddMachine(hardware.MachineSpec{Name: "cp-1"})
	b.machine = b.dc.AddMachine(hardware.MachineSpec{Name: testNode, Zone: "a"})
	b.server = newTestServer(k)
	b.args = []string{"--kubeconfig=/etc/kubernetes/kubelet.conf", "--pod-manifest-path=/etc/kubernetes/manifests"}
	b.runtime = containerd.New(b.machine, containerd.Options{PodCIDR: "10.244.1.0/24"})
	kubeconfig := controlplane.Kubeconfig("https://cp-1:6443", "system:node:"+testNode)
	require.NoError(t, b.machine.Disk().WriteFileSync("/etc/kubernetes/kubelet.conf", kubeconfig))
	b.api.OnBoot(b.startServer)
	b.machine.OnBoot(func() {
		b.startContainerd()
		b.startKubelet()
	})
	b.api.PowerOn()
	b.machine.PowerOn()
	return b
}

func (b *bench) startServer() { b.api.Start("kube-apiserver", b.server.main) }

func (b *bench) startContainerd() {
	b.machine.Start("containerd", func(p *hardware.Process) { b.runtime.Main(p, nil) })
}

func (b *bench) startKubelet() {
	b.kubelet = b.machine.Start("kubelet", func(p *hardware.Process) {
		Main(p, b.args, Options{Runtime: b.runtime, Release: b.release})
	})
}

func (b *bench) run(d time.Duration) {
	b.t.Helper()
	require.NoError(b.t, b.kernel.RunUntil(b.kernel.Now().Add(d)))
}

func secondsOf(n int64) time.Duration { return time.Duration(n) * time.Second }

// pod makes a pod bound to the node, with one container c of that command and annotation.
func testPod(name, command, behaviour string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{NodeName: testNode, RestartPolicy: corev1.RestartPolicyAlways,
			Volumes: []corev1.Volume{{Name: "kube-api-access"}},
			Containers: []corev1.Container{{Name: "c", Image: "registry.local/app:1",
				ImagePullPolicy: corev1.PullIfNotPresent}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending}}
	grace := int64(30)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	if command != "" {
		pod.Spec.Containers[0].Command = []string{"sh", "-c", command}
	}
	if behaviour != "" {
		pod.Annotations = map[string]string{containerd.AnnotationPrefix + "c": behaviour}
	}
	return pod
}

func (b *bench) put(pod *corev1.Pod) *corev1.Pod { return b.server.put(pod, nil).(*corev1.Pod) }

func (b *bench) pod(name string) *corev1.Pod {
	pod, _ := b.server.of(api.Pods)[api.Key{Namespace: "default", Name: name}].(*corev1.Pod)
	return pod
}

func (b *bench) node() *corev1.Node {
	node, _ := b.server.of(api.Nodes)[api.Key{Name: testNode}].(*corev1.Node)
	return node
}

// life tells what happened to a pod's object since t, one line a write.
func (b *bench) life(name string, since sim.Time) []string {
	var lines []string
	last := ""
	for _, w := range b.server.writes {
		if w.at < since {
			continue
		}
		at := w.at.Sub(since).Seconds()
		if w.object == nil {
			if w.request != nil && w.request.Resource == api.Pods && w.request.Name == name {
				lines = append(lines, fmt.Sprintf("%.2f gone", at))
			}
			continue
		}
		pod, ok := w.object.(*corev1.Pod)
		if !ok || pod.Name != name {
			continue
		}
		if text := describe(pod); text != last {
			lines = append(lines, fmt.Sprintf("%.2f %s", at, text))
			last = text
		}
	}
	return lines
}

func describe(pod *corev1.Pod) string {
	var b strings.Builder
	b.WriteString(string(pod.Status.Phase))
	for _, c := range pod.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			fmt.Fprintf(&b, " %s", c.Type)
		}
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			fmt.Fprintf(&b, " %s#%d:%s", s.Name, s.RestartCount, stateText(s.State))
		}
	}
	if pod.DeletionTimestamp != nil {
		fmt.Fprintf(&b, " deleting(%d)", *pod.DeletionGracePeriodSeconds)
	}
	return b.String()
}

func stateText(s corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("exited-%d-%s", s.Terminated.ExitCode, s.Terminated.Reason)
	case s.Waiting != nil:
		return s.Waiting.Reason
	}
	return "none"
}

// leases returns the times of lease writes since t, in seconds.
func (b *bench) leases(since sim.Time) []float64 {
	var list []float64
	for _, w := range b.server.writes {
		if w.at >= since && w.request != nil && w.request.Resource == api.Leases {
			list = append(list, w.at.Sub(since).Seconds())
		}
	}
	return list
}

// events returns the reasons of a pod's trace events by the kubelet.
func (b *bench) events(object string) []string {
	var list []string
	for _, e := range b.kernel.Trace().Events() {
		if e.Object == object && e.Component == "kubelet" {
			list = append(list, e.Reason)
		}
	}
	return list
}
