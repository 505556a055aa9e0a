package cluster

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim/cluster/spec"
)

// etcd returns how a member is started: kubeadm's flags (cmd/kubeadm/app/phases/etcd/local.go, v1.36), except that all
// members start together as one new cluster instead of joining one after the other.
func (c *Cluster) etcd(h *host) *staticPod {
	var members []string
	for _, other := range c.hosts {
		if other.Member {
			members = append(members, fmt.Sprintf("%s=https://%s:%d", other.Name, other.Name, etcdPeerPort))
		}
	}
	client, peer := fmt.Sprintf("https://%s:%d", h.Name, etcdPort), fmt.Sprintf("https://%s:%d", h.Name, etcdPeerPort)
	cert, key, ca := c.etcdCertificates()
	cmd := newCommand("etcd",
		"advertise-client-urls="+client,
		"cert-file="+cert,
		"client-cert-auth=true",
		"data-dir="+etcdDataDir,
		"initial-advertise-peer-urls="+peer,
		"initial-cluster="+strings.Join(members, ","),
		"initial-cluster-state=new",
		"key-file="+key,
		fmt.Sprintf("listen-client-urls=https://127.0.0.1:%d,%s", etcdPort, client),
		"listen-metrics-urls=http://127.0.0.1:2381",
		"listen-peer-urls="+peer,
		"name="+h.Name,
		"snapshot-count=10000",
		"trusted-ca-file="+ca)
	return &staticPod{component: "etcd", image: imageRegistry + "etcd:" + c.release.Etcd,
		command: c.withFlags(cmd, "etcd").argv(), port: 2381, scheme: corev1.URISchemeHTTP, host: "127.0.0.1",
		probes: c.release.Probes.Etcd, cpu: "100m", memory: "100Mi"}
}

func (c *Cluster) etcdCertificates() (cert, key, ca string) {
	if c.spec.Install == spec.Systemd || c.spec.Topology == spec.External {
		return etcdPkiDir + "/etcd-server.crt", etcdPkiDir + "/etcd-server.key", etcdPkiDir + "/ca.crt"
	}
	return pkiDir + "/etcd/server.crt", pkiDir + "/etcd/server.key", pkiDir + "/etcd/ca.crt"
}

// apiServer returns how an API server is started (cmd/kubeadm/app/phases/controlplane/manifests.go, v1.36): a stacked
// one is given its own etcd member only, an external one all members.
func (c *Cluster) apiServer(h *host) *staticPod {
	servers := []string{fmt.Sprintf("https://127.0.0.1:%d", etcdPort)}
	if !h.Member {
		servers = nil
		for _, other := range c.hosts {
			if other.Member {
				servers = append(servers, fmt.Sprintf("https://%s:%d", other.Name, etcdPort))
			}
		}
	}
	_, _, ca := c.etcdCertificates()
	cmd := newCommand("kube-apiserver",
		"advertise-address="+h.machine.IP(),
		"allow-privileged=true",
		"authorization-mode=Node,RBAC",
		"client-ca-file="+pkiDir+"/ca.crt",
		"enable-admission-plugins=NodeRestriction",
		"enable-bootstrap-token-auth=true",
		"etcd-cafile="+ca,
		"etcd-certfile="+pkiDir+"/apiserver-etcd-client.crt",
		"etcd-keyfile="+pkiDir+"/apiserver-etcd-client.key",
		"etcd-servers="+strings.Join(servers, ","),
		fmt.Sprintf("secure-port=%d", apiServerPort),
		"service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"service-cluster-ip-range=10.96.0.0/12",
		"tls-cert-file="+pkiDir+"/apiserver.crt",
		"tls-private-key-file="+pkiDir+"/apiserver.key")
	return &staticPod{component: "kube-apiserver", image: imageRegistry + "kube-apiserver:" + c.release.Version(),
		command: c.withFlags(cmd, "kube-apiserver").argv(), port: apiServerPort, scheme: corev1.URISchemeHTTPS,
		host: h.machine.IP(), probes: c.release.Probes.APIServer, cpu: "250m"}
}

func (c *Cluster) controllerManager() *staticPod {
	cmd := newCommand("kube-controller-manager",
		"allocate-node-cidrs=true",
		"authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
		"authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
		"bind-address=127.0.0.1",
		"client-ca-file="+pkiDir+"/ca.crt",
		"cluster-cidr=10.244.0.0/16",
		"cluster-name=kubernetes",
		"controllers=*,bootstrapsigner,tokencleaner",
		"kubeconfig=/etc/kubernetes/controller-manager.conf",
		"leader-elect=true",
		"service-cluster-ip-range=10.96.0.0/12",
		"use-service-account-credentials=true")
	s := &staticPod{component: "kube-controller-manager",
		image: imageRegistry + "kube-controller-manager:" + c.release.Version(), command: c.withFlags(cmd,
			"kube-controller-manager").argv(), port: 10257, scheme: corev1.URISchemeHTTPS, host: "127.0.0.1",
		probes: c.release.Probes.ControllerManager, cpu: "200m"}
	if c.release.InsecureManagerPorts {
		s.port, s.scheme = 10252, corev1.URISchemeHTTP
	}
	return s
}

func (c *Cluster) scheduler() *staticPod {
	cmd := newCommand("kube-scheduler",
		"authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
		"authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
		"bind-address=127.0.0.1",
		"kubeconfig=/etc/kubernetes/scheduler.conf",
		"leader-elect=true")
	s := &staticPod{component: "kube-scheduler", image: imageRegistry + "kube-scheduler:" + c.release.Version(),
		command: c.withFlags(cmd, "kube-scheduler").argv(), port: 10259, scheme: corev1.URISchemeHTTPS, host: "127.0.0.1",
		probes: c.release.Probes.Scheduler, cpu: "100m"}
	if c.release.InsecureManagerPorts {
		s.port, s.scheme = 10251, corev1.URISchemeHTTP
	}
	return s
}
