package spec

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Install says what runs the control plane.
type Install string

// The ways to install.
const (
	Kubeadm Install = "kubeadm" // static pods under a kubelet; control-plane machines are Nodes
	Systemd Install = "systemd" // every component is a service; control-plane machines run no kubelet
)

// Topology says where etcd runs.
type Topology string

// The topologies.
const (
	Single   Topology = "single"   // one control plane with its etcd
	Stacked  Topology = "stacked"  // several, each with an etcd member
	External Topology = "external" // etcd on machines of its own
)

// Cluster is a whole cluster, all defaults filled in.
type Cluster struct {
	Kubernetes    string // v1.36
	Install       Install
	Topology      Topology
	ControlPlanes int
	Etcd          int // machines etcd-1...; 0 unless external
	Workers       []Worker
	Zones         []string
	LoadBalancer  *LoadBalancer // nil: none, clients talk to cp-1
	Network       Network
	Fsync         time.Duration
	Flags         map[string][]Flag // by component, in the order of the file
}

// Worker is one worker machine. Empty resources mean the defaults of the builder.
type Worker struct {
	Name, Zone  string
	CPU, Memory string // quantities
	Pods        int
	Labels      map[string]string
	Taints      []corev1.Taint
}

// LoadBalancer is haproxy on lb-1 in TCP mode.
type LoadBalancer struct {
	Check      string // /healthz | /readyz | /livez | tcp
	Inter      time.Duration
	Fall, Rise int
	Timeout    time.Duration // of idle connections, client and server
}

// Network is the network between all machines.
type Network struct {
	Latency, Jitter, BetweenZones time.Duration
	LossPerMillion                int64
}

// Flag is one command-line flag of a component, without the dashes.
type Flag struct{ Name, Value string }

// Role is what a machine is for.
type Role string

// The roles. A stacked control plane also answers to RoleEtcd: see Machine.Has.
const (
	RoleControlPlane Role = "control-plane"
	RoleEtcd         Role = "etcd"
	RoleWorker       Role = "worker"
	RoleLoadBalancer Role = "load-balancer"
	RoleAdmin        Role = "admin"
)

// Roles lists the roles that targets may name.
func Roles() []Role {
	return []Role{RoleControlPlane, RoleEtcd, RoleWorker, RoleLoadBalancer, RoleAdmin}
}

// Admin is the administrator's workstation, BalancerName the load balancer's machine.
const (
	Admin        = "admin"
	BalancerName = "lb-1"
)

// Machine is a machine of the cluster as the spec has it.
type Machine struct {
	Name, Zone string
	Role       Role
	Member     bool // runs an etcd member
}

// Has reports whether the machine plays that role; a control plane with an etcd member plays two.
func (m Machine) Has(r Role) bool { return m.Role == r || r == RoleEtcd && m.Member }

// Machines lists all machines: control planes, etcd, workers, load balancer, administrator. Each kind is dealt to the
// zones in turn; the last two have none.
func (c *Cluster) Machines() []Machine {
	var all []Machine
	for i := 1; i <= c.ControlPlanes; i++ {
		all = append(all, Machine{Name: fmt.Sprintf("cp-%d", i), Zone: c.zone(i), Role: RoleControlPlane,
			Member: c.Topology != External})
	}
	if c.Topology == External {
		for i := 1; i <= c.Etcd; i++ {
			all = append(all, Machine{Name: fmt.Sprintf("etcd-%d", i), Zone: c.zone(i), Role: RoleEtcd, Member: true})
		}
	}
	for i, w := range c.Workers {
		zone := w.Zone
		if zone == "" {
			zone = c.zone(i + 1)
		}
		all = append(all, Machine{Name: w.Name, Zone: zone, Role: RoleWorker})
	}
	if c.LoadBalancer != nil {
		all = append(all, Machine{Name: BalancerName, Role: RoleLoadBalancer})
	}
	return append(all, Machine{Name: Admin, Role: RoleAdmin})
}

func (c *Cluster) zone(i int) string {
	if len(c.Zones) == 0 {
		return ""
	}
	return c.Zones[(i-1)%len(c.Zones)]
}

// Server is the machine that kubeconfigs name: the load balancer, or the first control plane where there is none.
func (c *Cluster) Server() string {
	if c.LoadBalancer != nil {
		return BalancerName
	}
	return "cp-1"
}
