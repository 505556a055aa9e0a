package cluster

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"ksim/sim/cluster/containerd"
	"ksim/sim/cluster/haproxy"
	"ksim/sim/cluster/kubelet"
	"ksim/sim/cluster/kubeproxy"
	"ksim/sim/cluster/systemd"
	"ksim/sim/controlplane/apiserver"
	"ksim/sim/controlplane/controllers"
	"ksim/sim/controlplane/scheduler"
	"ksim/sim/hardware"
	"ksim/sim/raft"
)

// programs are the executables of the control plane, by name, in the cluster's release. Their arguments do not
// include the program's name.
func (c *Cluster) programs() map[string]systemd.Program {
	version := c.release.Version()
	return map[string]systemd.Program{
		"etcd":           raft.Main,
		"kube-apiserver": func(p *hardware.Process, argv []string) { apiserver.Main(p, argv, version) },
		"kube-controller-manager": func(p *hardware.Process, argv []string) {
			controllers.Main(p, argv, version)
		},
		"kube-scheduler": func(p *hardware.Process, argv []string) { scheduler.Main(p, argv, version) },
	}
}

// containerPrograms are what containers of static pods can run.
func (c *Cluster) containerPrograms() map[string]containerd.Program {
	programs := map[string]containerd.Program{}
	for name, program := range c.programs() { // any order: a map again
		programs[name] = containerd.Program(program)
	}
	return programs
}

// servicePrograms are what services of a machine can run.
func (c *Cluster) servicePrograms(h *host) map[string]systemd.Program {
	programs := c.programs()
	programs["haproxy"] = haproxy.Main
	if h.runtime != nil {
		programs["containerd"] = h.runtime.Main
		programs["kubelet"] = func(p *hardware.Process, argv []string) {
			kubelet.Main(p, argv, kubelet.Options{Runtime: h.runtime, Release: c.release, Capacity: h.capacity()})
			if kl, ok := p.View().(*kubelet.Kubelet); ok {
				h.init.DelayShutdown(p, kl.ShutdownGracePeriod(), kl.Shutdown)
			}
		}
		programs["kube-proxy"] = func(p *hardware.Process, argv []string) {
			kubeproxy.Main(p, argv, kubeproxy.Options{Table: h.proxy, Release: c.release})
		}
	}
	return programs
}

// capacity is what the spec says of a worker's resources; what it does not say is left to the kubelet's defaults.
func (h *host) capacity() corev1.ResourceList {
	capacity := corev1.ResourceList{}
	if h.worker == nil {
		return capacity
	}
	if h.worker.CPU != "" {
		capacity[corev1.ResourceCPU] = resource.MustParse(h.worker.CPU)
	}
	if h.worker.Memory != "" {
		capacity[corev1.ResourceMemory] = resource.MustParse(h.worker.Memory)
	}
	if h.worker.Pods > 0 {
		capacity[corev1.ResourcePods] = *resource.NewQuantity(int64(h.worker.Pods), resource.DecimalSI)
	}
	return capacity
}
