package scenarios

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ksim/scenarios/source"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
)

// Limits and defaults of clusters that no source prescribes. chosen.
const (
	maxWorkers       = 5000 // Kubernetes' stated limit of nodes
	maxMembers       = 9
	defaultWorkers   = 2
	defaultHA        = 3 // control planes and etcd machines where there are several
	defaultLatency   = 500 * time.Microsecond
	defaultJitter    = 200 * time.Microsecond
	defaultZoneDelay = time.Millisecond
	defaultFsync     = time.Millisecond
)

// Components lists the components that take flags.
func Components() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"}
}

// checkCluster fills in Spec.
func (c *checker) checkCluster() {
	in := &c.Cluster
	s := &spec.Cluster{Kubernetes: fmt.Sprintf("v1.%d", api.DefaultMinor), Install: spec.Kubeadm, Zones: in.Zones,
		Fsync: or(in.Disk.Fsync, defaultFsync), Flags: map[string][]spec.Flag(in.Flags),
		Network: spec.Network{Latency: or(in.Network.Latency, defaultLatency), Jitter: or(in.Network.Jitter, defaultJitter),
			BetweenZones: or(in.Network.BetweenZones, defaultZoneDelay), LossPerMillion: int64(in.Network.Loss)}}
	c.Spec = s
	if in.Kubernetes != "" {
		release, err := api.ParseRelease(string(in.Kubernetes))
		if err != nil {
			c.wrong(&in.Kubernetes, "kubernetes: %v", err)
		} else {
			s.Kubernetes = release.MinorVersion()
			if release.Patch != 0 {
				s.Kubernetes = release.Version()
			}
		}
	}
	if in.Install == string(spec.Systemd) {
		s.Install = spec.Systemd
	}
	c.checkTopology(in, s)
	c.checkZones(in)
	c.checkWorkers(in, s)
	c.checkLoadBalancer(in, s)
	c.checkFlags(in, s)
}

func or[T any](given *T, otherwise T) T {
	if given != nil {
		return *given
	}
	return otherwise
}

func (c *checker) checkTopology(in *Cluster, s *spec.Cluster) {
	s.Topology = spec.Topology(in.Topology)
	if !slices.Contains([]spec.Topology{spec.Single, spec.Stacked, spec.External}, s.Topology) {
		switch {
		case in.Etcd != nil:
			s.Topology = spec.External
		case in.ControlPlanes != nil && *in.ControlPlanes > 1:
			s.Topology = spec.Stacked
		default:
			s.Topology = spec.Single
		}
	}
	s.ControlPlanes = or(in.ControlPlanes, map[spec.Topology]int{spec.Single: 1}[s.Topology])
	if in.ControlPlanes == nil && s.Topology != spec.Single {
		s.ControlPlanes = defaultHA
	}
	switch {
	case s.Topology == spec.Single && s.ControlPlanes != 1:
		c.wrong(
			in.ControlPlanes,
			"controlPlanes: %d, topology single has 1; stacked and external have several",
			s.ControlPlanes,
		)
		s.ControlPlanes = 1
	case s.ControlPlanes < 1 || s.ControlPlanes > maxMembers:
		c.wrong(in.ControlPlanes, "controlPlanes: %d, want 1 to %d", s.ControlPlanes, maxMembers)
		s.ControlPlanes = defaultHA
	}
	if s.Topology == spec.External {
		s.Etcd = or(in.Etcd, defaultHA)
		if s.Etcd < 1 || s.Etcd > maxMembers {
			c.wrong(in.Etcd, "etcd: %d, want 1 to %d", s.Etcd, maxMembers)
			s.Etcd = defaultHA
		}
	} else if in.Etcd != nil {
		c.wrong(in.Etcd, "etcd: topology %s runs etcd on the control planes; only external has machines for it", s.Topology)
	}
}

func (c *checker) checkZones(in *Cluster) {
	seen := map[string]bool{}
	for i := range in.Zones {
		zone := &in.Zones[i]
		if problems := validation.IsValidLabelValue(*zone); *zone == "" || problems != nil {
			c.wrong(zone, "zones: %q is not a name of letters, digits and dashes", *zone)
		}
		c.unique(seen, zone, "zone")
	}
}

func (c *checker) checkWorkers(in *Cluster, s *spec.Cluster) {
	count := in.Workers.Count
	if !in.Workers.Given {
		count = defaultWorkers
	}
	for i := 1; i <= count; i++ {
		s.Workers = append(s.Workers, spec.Worker{Name: fmt.Sprintf("worker-%d", i)})
	}
	if len(in.Workers.List) > maxWorkers {
		c.wrong(&in.Workers, "workers: %d, want 0 to %d", len(in.Workers.List), maxWorkers)
		return
	}
	seen := map[string]bool{}
	for _, m := range s.Machines() {
		seen[m.Name] = true
	}
	for i := range in.Workers.List {
		w := &in.Workers.List[i]
		c.unique(seen, &w.Name, "machine")
		if problems := validation.IsDNS1123Label(w.Name); w.Name != "" && problems != nil {
			c.wrong(&w.Name, "name: %q is no name of a machine: %s", w.Name, problems[0])
		}
		if w.Zone != "" && validation.IsValidLabelValue(w.Zone) != nil {
			c.wrong(&w.Zone, "zone: %q is not a name of letters, digits and dashes", w.Zone)
		}
		if w.Pods != nil && *w.Pods < 0 {
			c.wrong(w.Pods, "pods: %d, want 0 or more", *w.Pods)
		}
		worker := spec.Worker{Name: w.Name, Zone: w.Zone, CPU: string(w.CPU), Memory: string(w.Memory), Pods: or(w.Pods, 0)}
		if len(w.Labels) > 0 {
			worker.Labels = map[string]string{}
			for key, value := range w.Labels { // any order: into a map
				worker.Labels[key] = string(value)
			}
			for _, e := range metav1validation.ValidateLabels(worker.Labels, field.NewPath("labels")) {
				c.wrong(&w.Labels, "labels: %s", e.Detail)
			}
		}
		for _, t := range w.Taints {
			worker.Taints = append(worker.Taints, corev1.Taint{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)})
		}
		s.Workers = append(s.Workers, worker)
	}
}

func (c *checker) checkLoadBalancer(in *Cluster, s *spec.Cluster) {
	b := in.LoadBalancer
	switch {
	case b == nil && s.ControlPlanes == 1, b != nil && b.Off:
		return
	case b == nil:
		b = &LoadBalancer{}
	}
	// The settings of contract and guide: haproxy's own defaults are inter 2s, fall 3, rise 2 (configuration manual
	// 5.2).
	s.LoadBalancer = &spec.LoadBalancer{Check: b.Check, Inter: or(b.Inter, 2*time.Second), Fall: or(b.Fall, 3),
		Rise: or(b.Rise, 2), Timeout: or(b.Timeout, time.Hour)}
	if b.Check == "" {
		s.LoadBalancer.Check = "/healthz"
	}
}

// checkFlags looks up every flag in its component's release.
func (c *checker) checkFlags(in *Cluster, s *spec.Cluster) {
	node := c.Place(&in.Flags)
	release, err := api.ParseRelease(s.Kubernetes)
	if node == nil || node.Kind != source.Map || err != nil {
		return
	}
	for _, component := range node.Pairs {
		if !slices.Contains(Components(), component.Key.Text) {
			c.Problems.At(component.Key, "flags: no component %q%s; allowed: %s", component.Key.Text,
				source.Suggest(component.Key.Text, Components()), listed(Components()))
			continue
		}
		pairs := component.Value.Pairs
		for _, issue := range checkComponentFlags(component.Key.Text, release, in.Flags[component.Key.Text]) {
			if issue.index >= len(pairs) {
				continue
			}
			at := pairs[issue.index].Key
			if issue.onValue {
				at = pairs[issue.index].Value
			}
			if issue.warning {
				c.Warnings = append(
					c.Warnings,
					source.Problem{File: c.from.Name, Line: at.Line, Column: at.Column, Message: issue.message},
				)
			} else {
				c.Problems.At(at, "%s", issue.message)
			}
		}
	}
}
