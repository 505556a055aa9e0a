package cluster

import (
	"fmt"
	"time"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
	"ksim/sim/cluster/kubeproxy"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/systemd"
	"ksim/sim/cluster/truth"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

// Cluster is a running cluster.
type Cluster struct {
	kernel  *sim.Kernel
	spec    *spec.Cluster
	release *api.Release
	dc      *hardware.Datacenter
	hosts   []*host
	core    []*host // those with a control plane or an etcd member
	byName  map[string]*host
	faults  *faults
	world   *world
}

// host is a machine of the cluster with what was installed on it.
type host struct {
	spec.Machine
	machine *hardware.Machine
	init    *systemd.Manager
	runtime *containerd.Runtime // nil: no containers there
	proxy   *kubeproxy.Table    // nil: no kube-proxy there
	worker  *spec.Worker        // nil: not a worker
}

// New builds the machines of a spec, installs what their roles need, and powers them on: the whole cluster on one page.
// Errors: a release that is not known.
func New(k *sim.Kernel, s *spec.Cluster) (*Cluster, error) {
	release, err := api.ParseRelease(s.Kubernetes)
	if err != nil {
		return nil, err
	}
	c := &Cluster{kernel: k, spec: s, release: release, byName: map[string]*host{}}
	c.dc = hardware.New(k, hardware.NetworkConfig{Latency: s.Network.Latency, Jitter: s.Network.Jitter,
		BetweenZones: s.Network.BetweenZones, LossPerMillion: s.Network.LossPerMillion})
	c.faults, c.world = newFaults(c), newWorld(c)
	for _, m := range s.Machines() {
		c.addHost(m)
	}
	for _, h := range c.hosts {
		switch h.Role {
		case spec.RoleControlPlane:
			c.installControlPlane(h)
		case spec.RoleEtcd:
			c.installEtcd(h)
		case spec.RoleWorker:
			c.installKubelet(h)
		case spec.RoleLoadBalancer:
			c.installBalancer(h)
		case spec.RoleAdmin:
			c.installAdmin(h)
		}
	}
	for _, h := range c.hosts {
		h.machine.PowerOn()
	}
	return c, nil
}

// Boot times of a machine, from power on to the start of its services. chosen: a small server or virtual machine.
const (
	bootMin = 20 * time.Second
	bootMax = 30 * time.Second
)

func (c *Cluster) addHost(m spec.Machine) {
	h := &host{Machine: m}
	h.machine = c.dc.AddMachine(hardware.MachineSpec{Name: m.Name, Zone: m.Zone, Fsync: c.spec.Fsync,
		BootMin: bootMin, BootMax: bootMax})
	for i := range c.spec.Workers {
		if c.spec.Workers[i].Name == m.Name {
			h.worker = &c.spec.Workers[i]
		}
	}
	if m.Role == spec.RoleWorker || m.Role == spec.RoleControlPlane && c.spec.Install == spec.Kubeadm {
		h.runtime = containerd.New(h.machine, containerd.Options{Programs: c.containerPrograms(),
			PodCIDR:  podCIDR(len(c.hosts)),
			OnChange: func() { c.world.changes.Touch(truth.Machines) }})
		h.proxy = kubeproxy.NewTable(h.machine)
	}
	h.init = systemd.Install(h.machine, c.servicePrograms(h))
	c.hosts = append(c.hosts, h)
	if m.Role == spec.RoleControlPlane || m.Member {
		c.core = append(c.core, h)
	}
	c.byName[m.Name] = h
}

// podCIDR is the range of the pods of the n-th machine. chosen: that of flannel's manifests, 10.244.0.0/16, and for
// clusters too large for it 100.64.0.0/10.
func podCIDR(n int) string {
	if n < 256 {
		return fmt.Sprintf("10.244.%d.0/24", n)
	}
	return fmt.Sprintf("100.%d.%d.0/24", 64+n/256, n%256)
}

// Kernel returns the kernel that drives the cluster.
func (c *Cluster) Kernel() *sim.Kernel { return c.kernel }

// Spec returns what the cluster was made from.
func (c *Cluster) Spec() *spec.Cluster { return c.spec }

// World returns the observer's view.
func (c *Cluster) World() truth.World { return c.world }

// Machine returns the machine of that name, nil if there is none.
func (c *Cluster) Machine(name string) *hardware.Machine { return c.dc.Machine(name) }

// Systemd returns the init of a machine, nil if there is no such machine.
func (c *Cluster) Systemd(machine string) *systemd.Manager {
	if h := c.byName[machine]; h != nil {
		return h.init
	}
	return nil
}

// Client makes an API client in process p, as a kubeconfig says.
func (c *Cluster) Client(p *hardware.Process, server, user, userAgent string) api.Client {
	return controlplane.NewClient(p, controlplane.ClientConfig{Server: server, User: user, UserAgent: userAgent})
}
