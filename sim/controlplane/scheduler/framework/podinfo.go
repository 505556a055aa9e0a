package framework

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// PodInfo is a pod with what scheduling wants to know of it, computed once. The pod is shared and must not be changed.
type PodInfo struct {
	Pod *corev1.Pod
	*Demands
}

// Demands is what a pod asks for. It never changes: the pods of a template may share one.
type Demands struct {
	Requests Resource
	// NonZero has the default requests where a container makes none; scores look at it.
	NonZero               Resource
	HostPorts             []HostPort
	RequiredNode          *RequiredNodeAffinity
	PreferredNode         PreferredSchedulingTerms
	RequiredAffinity      []AffinityTerm
	RequiredAntiAffinity  []AffinityTerm
	PreferredAffinity     []WeightedAffinityTerm
	PreferredAntiAffinity []WeightedAffinityTerm
}

// AffinityTerm is a term of a pod's affinity to other pods, parsed.
type AffinityTerm struct {
	Namespaces        []string
	NamespaceSelector labels.Selector
	Selector          labels.Selector
	TopologyKey       string
}

// WeightedAffinityTerm is a preferred term.
type WeightedAffinityTerm struct {
	AffinityTerm
	Weight int64
}

// HostPort is a port of the node that a pod takes.
type HostPort struct {
	IP       string
	Protocol corev1.Protocol
	Port     int32
}

const anyAddress = "0.0.0.0"

// NewPodInfo reads a pod.
func NewPodInfo(pod *corev1.Pod, features *Features) *PodInfo {
	spec := &pod.Spec
	info := &PodInfo{pod, &Demands{Requests: PodRequests(spec, features, false),
		NonZero: PodRequests(spec, features, true), RequiredNode: NewRequiredNodeAffinity(spec),
		PreferredNode: NewPreferredSchedulingTerms(spec), HostPorts: hostPorts(spec)}}
	if a := spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			info.RequiredAffinity = parseTerms(pod, a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
			info.PreferredAffinity = parseWeighted(pod, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
		if a.PodAntiAffinity != nil {
			info.RequiredAntiAffinity = parseTerms(pod, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
			info.PreferredAntiAffinity = parseWeighted(pod, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		}
	}
	return info
}

// Same reports whether two pods ask for the same amounts and for nothing else, as most do.
func (d *Demands) Same(other *Demands) bool {
	return d.plain() && other.plain() && d.Requests.same(&other.Requests) && d.NonZero.same(&other.NonZero)
}

// plain reports whether only amounts are asked for.
func (d *Demands) plain() bool {
	return len(d.HostPorts)+len(d.PreferredNode) == 0 && d.RequiredNode == nil && !d.hasAffinity()
}

func (r *Resource) same(other *Resource) bool {
	return r.MilliCPU == other.MilliCPU && r.Memory == other.Memory && r.EphemeralStorage == other.EphemeralStorage &&
		r.AllowedPodNumber == other.AllowedPodNumber && len(r.Scalar)+len(other.Scalar) == 0
}

// hasAffinity reports whether existing pods must ask this one when they are scored.
func (d *Demands) hasAffinity() bool {
	return len(d.RequiredAffinity)+len(d.RequiredAntiAffinity)+len(d.PreferredAffinity)+
		len(d.PreferredAntiAffinity) > 0
}

// Priority returns a pod's priority, 0 by default.
func Priority(pod *corev1.Pod) int32 {
	if pod.Spec.Priority != nil {
		return *pod.Spec.Priority
	}
	return 0
}

// RequiredAntiAffinityOf parses the terms by which a pod refuses others.
func RequiredAntiAffinityOf(pod *corev1.Pod) []AffinityTerm {
	if a := pod.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		return parseTerms(pod, a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	return nil
}

// HostPortsOf returns the ports of its node that a pod takes.
func HostPortsOf(pod *corev1.Pod) []HostPort { return hostPorts(&pod.Spec) }

func hostPorts(spec *corev1.PodSpec) []HostPort {
	var ports []HostPort
	for i := range spec.Containers {
		ports = appendHostPorts(ports, &spec.Containers[i])
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			ports = appendHostPorts(ports, c)
		}
	}
	return ports
}

func appendHostPorts(ports []HostPort, c *corev1.Container) []HostPort {
	for _, p := range c.Ports {
		if p.HostPort <= 0 {
			continue
		}
		port := HostPort{p.HostIP, p.Protocol, p.HostPort}
		if port.IP == "" {
			port.IP = anyAddress
		}
		if port.Protocol == "" {
			port.Protocol = corev1.ProtocolTCP
		}
		ports = append(ports, port)
	}
	return ports
}

// Conflicts reports whether both cannot be taken on one node: the same port, and addresses that overlap.
func (p HostPort) Conflicts(other HostPort) bool {
	return p.Port == other.Port && p.Protocol == other.Protocol &&
		(p.IP == other.IP || p.IP == anyAddress || other.IP == anyAddress)
}

// PortsConflict reports whether any of the ports conflicts with one that is taken.
func PortsConflict(wanted, taken []HostPort) bool {
	for _, w := range wanted {
		if slices.ContainsFunc(taken, w.Conflicts) {
			return true
		}
	}
	return false
}

func parseTerms(pod *corev1.Pod, terms []corev1.PodAffinityTerm) []AffinityTerm {
	var parsed []AffinityTerm
	for i := range terms {
		parsed = append(parsed, parseAffinityTerm(pod, &terms[i]))
	}
	return parsed
}

func parseWeighted(pod *corev1.Pod, terms []corev1.WeightedPodAffinityTerm) []WeightedAffinityTerm {
	var parsed []WeightedAffinityTerm
	for i := range terms {
		parsed = append(parsed, WeightedAffinityTerm{parseAffinityTerm(pod, &terms[i].PodAffinityTerm),
			int64(terms[i].Weight)})
	}
	return parsed
}

func parseAffinityTerm(pod *corev1.Pod, term *corev1.PodAffinityTerm) AffinityTerm {
	t := AffinityTerm{Namespaces: term.Namespaces, NamespaceSelector: labels.Nothing(),
		Selector: SelectorOf(term.LabelSelector), TopologyKey: term.TopologyKey}
	switch {
	case term.NamespaceSelector != nil:
		t.NamespaceSelector = SelectorOf(term.NamespaceSelector)
	case len(term.Namespaces) == 0:
		t.Namespaces = []string{pod.Namespace}
	}
	return t
}

// SelectorOf parses a label selector; one that is nil or invalid matches nothing.
func SelectorOf(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

// Matches reports whether the term speaks of the pod; namespaceLabels are those of the pod's namespace.
func (t *AffinityTerm) Matches(pod *corev1.Pod, namespaceLabels map[string]string) bool {
	if !slices.Contains(t.Namespaces, pod.Namespace) && !t.NamespaceSelector.Matches(labels.Set(namespaceLabels)) {
		return false
	}
	return t.Selector.Matches(labels.Set(pod.Labels))
}

// MatchesAll reports whether all the terms, at least one, speak of the pod.
func MatchesAll(terms []AffinityTerm, pod *corev1.Pod, namespaceLabels map[string]string) bool {
	for i := range terms {
		if !terms[i].Matches(pod, namespaceLabels) {
			return false
		}
	}
	return len(terms) > 0
}
