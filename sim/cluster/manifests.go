package cluster

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"ksim/sim/api"
)

// Models the static pod manifests that kubeadm writes (cmd/kubeadm/app/phases/controlplane/manifests.go,
// phases/etcd/local.go, util/staticpod/utils.go, v1.36). Leaves out: volumes, security contexts, seccomp profiles.

// staticPod says what differs between the manifests of the control plane's components.
type staticPod struct {
	component string
	image     string
	command   []string
	port      int32
	scheme    corev1.URIScheme
	host      string // that probes ask
	probes    api.ProbeSet
	cpu       string
	memory    string
}

// manifest writes a static pod's manifest.
func (s *staticPod) manifest() []byte {
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: s.component, Namespace: metav1.NamespaceSystem,
			Labels: map[string]string{"component": s.component, "tier": "control-plane"}},
		Spec: corev1.PodSpec{
			HostNetwork:       true,
			PriorityClassName: "system-node-critical",
			Containers: []corev1.Container{{
				Name:            s.component,
				Image:           s.image,
				ImagePullPolicy: corev1.PullIfNotPresent,
				Command:         s.command,
				LivenessProbe:   s.probe(s.probes.Liveness, 10, 8, s.probes.InitialDelaySeconds),
				ReadinessProbe:  s.probe(s.probes.Readiness, 1, 3, 0),
				StartupProbe:    s.probe(s.probes.Startup, 10, 24, s.probes.InitialDelaySeconds),
			}},
		},
	}
	requests := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(s.cpu)}
	if s.memory != "" {
		requests[corev1.ResourceMemory] = resource.MustParse(s.memory)
	}
	pod.Spec.Containers[0].Resources.Requests = requests
	text, err := yaml.Marshal(pod)
	if err != nil {
		panic(err) // a Pod has a form in YAML
	}
	return text
}

// probe makes a probe of kubeadm's: time-out 15 s (cmd/kubeadm/app/util/staticpod/utils.go createHTTPProbe).
func (s *staticPod) probe(path string, period, failures, delay int32) *corev1.Probe {
	if path == "" {
		return nil
	}
	probe := &corev1.Probe{PeriodSeconds: period, TimeoutSeconds: 15, FailureThreshold: failures,
		InitialDelaySeconds: delay}
	if path == api.EtcdctlGet {
		probe.Exec = &corev1.ExecAction{Command: []string{"/bin/sh", "-ec", "ETCDCTL_API=3 " + path}}
		return probe
	}
	probe.HTTPGet = &corev1.HTTPGetAction{Host: s.host, Path: path, Port: intstr.FromInt32(s.port), Scheme: s.scheme}
	return probe
}

// command is a program's command line under construction: later values of a flag replace earlier ones, in place.
type command struct {
	program string
	flags   [][2]string
}

func newCommand(program string, flags ...string) *command {
	c := &command{program: program}
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		c.set(name, value)
	}
	return c
}

func (c *command) set(name, value string) {
	for i := range c.flags {
		if c.flags[i][0] == name {
			c.flags[i][1] = value
			return
		}
	}
	c.flags = append(c.flags, [2]string{name, value})
}

// argv returns the program and its flags, as kubeadm lists them in a manifest.
func (c *command) argv() []string {
	argv := []string{c.program}
	for _, f := range c.flags {
		argv = append(argv, fmt.Sprintf("--%s=%s", f[0], f[1]))
	}
	return argv
}

// unitText writes a service's unit file; settings are further lines of its [Service] section.
func unitText(description, execStart string, settings ...string) []byte {
	return []byte(fmt.Sprintf("[Unit]\nDescription=%s\n\n[Service]\nExecStart=%s\n%s\n\n"+
		"[Install]\nWantedBy=multi-user.target\n",
		description, execStart, strings.Join(settings, "\n")))
}

// execStart writes a command as a unit file does, a flag a line.
func execStart(argv []string) string {
	return "/usr/local/bin/" + strings.Join(argv, " \\\n  ")
}
