package cluster

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"ksim/sim/cluster/haproxy"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/systemd"
	"ksim/sim/controlplane"
)

// Where things lie on a machine: kubeadm's places, and those of an installation from binaries.
const (
	manifestDir   = "/etc/kubernetes/manifests"
	pkiDir        = "/etc/kubernetes/pki"
	etcdDataDir   = "/var/lib/etcd"
	etcdPkiDir    = "/etc/etcd"
	kubeletConfig = "/var/lib/kubelet/config.yaml"
	imageRegistry = "registry.k8s.io/"
)

// The ports of the components (their --secure-port and client URL defaults).
const (
	apiServerPort = 6443
	etcdPort      = 2379
	etcdPeerPort  = 2380
)

func (h *host) write(path string, text []byte) {
	// cannot fail: the disk of a new machine is empty.
	_ = h.machine.Disk().WriteFileSync(path, text)
}

// service writes a unit file and enables it.
func (h *host) service(name string, text []byte) {
	h.write(systemd.UnitDir+"/"+name+".service", text)
	_ = h.init.Enable(name) // cannot fail: the file is ours and just written
}

// server returns the URL that kubeconfigs of workers and administrators name.
func (c *Cluster) server() string {
	return fmt.Sprintf("https://%s:%d", c.spec.Server(), apiServerPort)
}

// componentServer returns the URL that a control-plane machine's own controller manager and scheduler use.
func (c *Cluster) componentServer(h *host) string {
	if c.release.LocalAPIServer {
		return fmt.Sprintf("https://%s:%d", h.Name, apiServerPort)
	}
	return c.server()
}

// withFlags sets the flags that the spec gives for a component.
func (c *Cluster) withFlags(cmd *command, component string) *command {
	for _, f := range c.spec.Flags[component] {
		cmd.set(f.Name, f.Value)
	}
	return cmd
}

func (c *Cluster) installControlPlane(h *host) {
	for _, user := range []string{"controller-manager", "scheduler"} {
		h.write("/etc/kubernetes/"+user+".conf", controlplane.Kubeconfig(c.componentServer(h), "system:kube-"+user))
	}
	h.write("/etc/kubernetes/admin.conf", controlplane.Kubeconfig(c.server(), "kubernetes-admin"))
	h.write("/root/.kube/config", controlplane.Kubeconfig(c.server(), "kubernetes-admin"))
	c.certificates(h)
	commands := []*staticPod{c.apiServer(h), c.controllerManager(), c.scheduler()}
	if h.Member {
		commands = append([]*staticPod{c.etcd(h)}, commands...)
	}
	if c.spec.Install == spec.Kubeadm {
		for _, s := range commands {
			h.write(manifestDir+"/"+s.component+".yaml", s.manifest())
		}
		c.installKubelet(h)
		return
	}
	for _, s := range commands {
		// RestartSec: the units of the common installation from binaries (Kubernetes the Hard Way).
		h.service(s.component, unitText(s.component, execStart(s.command), "Restart=on-failure", "RestartSec=5"))
	}
}

func (c *Cluster) installEtcd(h *host) {
	c.certificates(h)
	s := c.etcd(h)
	h.service("etcd", unitText("etcd", execStart(s.command), "Type=notify", "Restart=on-failure", "RestartSec=5"))
}

// certificates puts key material where a course looks for it. Its content is of no consequence; that it is there is.
func (c *Cluster) certificates(h *host) {
	names := map[string]string{}
	if c.spec.Install == spec.Kubeadm && c.spec.Topology != spec.External || h.Role == spec.RoleAdmin {
		names[pkiDir+"/etcd/ca"], names[pkiDir+"/etcd/server"] = "etcd-ca", "etcd server "+h.Name
	}
	if c.spec.Install == spec.Systemd || c.spec.Topology == spec.External {
		names[etcdPkiDir+"/ca"], names[etcdPkiDir+"/etcd-server"] = "etcd-ca", "etcd server "+h.Name
	}
	paths := make([]string, 0, len(names))
	for path := range names { // any order: sorted below
		paths = append(paths, path)
	}
	sort.Strings(paths)
	for _, path := range paths {
		h.write(path+".crt", pem("CERTIFICATE", names[path]))
		h.write(path+".key", pem("RSA PRIVATE KEY", names[path]))
	}
}

func pem(kind, subject string) []byte {
	return []byte(fmt.Sprintf("-----BEGIN %s-----\n%s\n-----END %s-----\n", kind, subject, kind))
}

// installKubelet installs the container runtime and the kubelet.
func (c *Cluster) installKubelet(h *host) {
	server, labels := c.server(), map[string]string{}
	var taints []string
	if h.Role == spec.RoleControlPlane {
		if c.release.KubeletLocalAPIServer {
			server = fmt.Sprintf("https://%s:%d", h.Name, apiServerPort)
		}
		for _, key := range c.release.ControlPlaneTaints {
			taints = append(taints, key+"=:NoSchedule")
		}
	}
	cmd := newCommand("kubelet", "kubeconfig=/etc/kubernetes/kubelet.conf", "config="+kubeletConfig)
	if h.Zone != "" {
		labels["topology.kubernetes.io/zone"] = h.Zone
	}
	if h.worker != nil {
		for k, v := range h.worker.Labels { // any order: a map again
			labels[k] = v
		}
		for _, t := range h.worker.Taints {
			taints = append(taints, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
		}
	}
	if len(labels) > 0 {
		cmd.set("node-labels", joinSorted(labels))
	}
	if len(taints) > 0 {
		cmd.set("register-with-taints", strings.Join(taints, ","))
	}
	c.withFlags(cmd, "kubelet")
	h.write("/etc/kubernetes/kubelet.conf", controlplane.Kubeconfig(server, "system:node:"+h.Name))
	h.write(kubeletConfig, []byte("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+
		"staticPodPath: "+manifestDir+"\n"))
	h.service("containerd", unitText("containerd container runtime", "/usr/bin/containerd", "Restart=always",
		"RestartSec=5"))
	// The kubelet's unit of its Debian package: Restart=always, StartLimitInterval=0, RestartSec=10.
	h.service("kubelet", unitText("kubelet: The Kubernetes Node Agent", execStart(cmd.argv()), "Restart=always",
		"StartLimitInterval=0", "RestartSec=10"))
	// kubeadm runs kube-proxy as a DaemonSet. Here it is a service of the machine under either installation, so that a
	// scenario's pods are those that its author has asked for.
	h.write("/var/lib/kube-proxy/kubeconfig.conf", controlplane.Kubeconfig(c.server(), "system:kube-proxy"))
	proxy := newCommand("kube-proxy", "kubeconfig=/var/lib/kube-proxy/kubeconfig.conf", "hostname-override="+h.Name)
	h.service("kube-proxy", unitText("Kubernetes Kube Proxy", execStart(c.withFlags(proxy, "kube-proxy").argv()),
		"Restart=always", "RestartSec=5"))
}

func joinSorted(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels { // any order: sorted below
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}

func (c *Cluster) installBalancer(h *host) {
	lb := c.spec.LoadBalancer
	config := &haproxy.Config{Port: apiServerPort,
		// Truth/ha; kubeadm's ha-considerations.md: check 10s
		ConnectTimeout: 5 * time.Second, CheckTimeout: 10 * time.Second,
		IdleTimeout: lb.Timeout, Retries: 1, Redispatch: true, Inter: lb.Inter, Fall: lb.Fall, Rise: lb.Rise}
	if lb.Check != "tcp" {
		config.CheckPath = lb.Check
	}
	for _, other := range c.hosts {
		if other.Role == spec.RoleControlPlane {
			config.Servers = append(config.Servers, haproxy.ServerConfig{Name: other.Name,
				Address: fmt.Sprintf("%s:%d", other.machine.IP(), apiServerPort)})
		}
	}
	h.write(haproxy.ConfigPath, []byte(config.Text()))
	h.service("haproxy", unitText("HAProxy Load Balancer", "/usr/sbin/haproxy -f "+haproxy.ConfigPath, "Restart=always"))
}

func (c *Cluster) installAdmin(h *host) {
	h.write("/root/.kube/config", controlplane.Kubeconfig(c.server(), "kubernetes-admin"))
	c.certificates(h)
	c.markControlPlanes(h)
}
