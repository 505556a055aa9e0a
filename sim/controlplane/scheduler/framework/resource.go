package framework

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	// DefaultMilliCPURequest is what a container without a CPU request counts for in scores
	// (pkg/scheduler/util/pod_resources.go).
	DefaultMilliCPURequest int64 = 100
	// DefaultMemoryRequest is the same for memory: 200 MB.
	DefaultMemoryRequest int64 = 200 * 1024 * 1024
)

// Resource is an amount of each resource: CPU in thousandths of a core, memory and ephemeral storage in bytes.
type Resource struct {
	MilliCPU         int64
	Memory           int64
	EphemeralStorage int64
	AllowedPodNumber int64
	Scalar           []ScalarResource // extended resources and huge pages, by name
}

// ScalarResource is an amount of one extended resource.
type ScalarResource struct {
	Name     corev1.ResourceName
	Quantity int64
}

// NewResource returns what a resource list says.
func NewResource(list corev1.ResourceList) Resource {
	var r Resource
	for name, quantity := range list { // any order: each name has its own field
		r.set(name, valueOf(name, quantity))
	}
	return r
}

// Of returns the amount of one resource.
func (r *Resource) Of(name corev1.ResourceName) int64 {
	switch name {
	case corev1.ResourceCPU:
		return r.MilliCPU
	case corev1.ResourceMemory:
		return r.Memory
	case corev1.ResourceEphemeralStorage:
		return r.EphemeralStorage
	case corev1.ResourcePods:
		return r.AllowedPodNumber
	}
	for i := range r.Scalar {
		if r.Scalar[i].Name == name {
			return r.Scalar[i].Quantity
		}
	}
	return 0
}

// IsZero reports whether nothing is asked for but a place among the pods.
func (r *Resource) IsZero() bool {
	return r.MilliCPU == 0 && r.Memory == 0 && r.EphemeralStorage == 0 && len(r.Scalar) == 0
}

// Add adds sign (1 or -1) times other.
func (r *Resource) Add(other *Resource, sign int64) {
	r.MilliCPU += sign * other.MilliCPU
	r.Memory += sign * other.Memory
	r.EphemeralStorage += sign * other.EphemeralStorage
	for _, s := range other.Scalar {
		r.set(s.Name, r.Of(s.Name)+sign*s.Quantity)
	}
}

// raise makes each amount at least that of other.
func (r *Resource) raise(other *Resource) {
	r.MilliCPU = max(r.MilliCPU, other.MilliCPU)
	r.Memory = max(r.Memory, other.Memory)
	r.EphemeralStorage = max(r.EphemeralStorage, other.EphemeralStorage)
	for _, s := range other.Scalar {
		r.set(s.Name, max(r.Of(s.Name), s.Quantity))
	}
}

func (r *Resource) set(name corev1.ResourceName, value int64) {
	switch name {
	case corev1.ResourceCPU:
		r.MilliCPU = value
	case corev1.ResourceMemory:
		r.Memory = value
	case corev1.ResourceEphemeralStorage:
		r.EphemeralStorage = value
	case corev1.ResourcePods:
		r.AllowedPodNumber = value
	default:
		if strings.HasPrefix(string(name), "attachable-volumes-") {
			return
		}
		i, found := slices.BinarySearchFunc(r.Scalar, name, func(s ScalarResource, name corev1.ResourceName) int {
			return strings.Compare(string(s.Name), string(name))
		})
		if found {
			r.Scalar[i].Quantity = value
			return
		}
		r.Scalar = slices.Insert(slices.Clip(r.Scalar), i, ScalarResource{name, value})
	}
}

func (r *Resource) clone() Resource {
	c := *r
	c.Scalar = slices.Clone(r.Scalar)
	return c
}

func valueOf(name corev1.ResourceName, quantity resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return quantity.MilliValue()
	}
	return quantity.Value()
}

// PodRequests returns what a pod asks for: the larger of its containers' sum and its largest init container, sidecars
// counted as they run, plus overhead (component-helpers resource/helpers.go PodRequests, v0.36). With missing, a
// container without a request for CPU or memory counts as the default one.
func PodRequests(spec *corev1.PodSpec, features *Features, missing bool) Resource {
	var total Resource
	for i := range spec.Containers {
		request := containerRequests(&spec.Containers[i], missing)
		total.Add(&request, 1)
	}
	var sidecars, init Resource
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		request := containerRequests(c, missing)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			total.Add(&request, 1)
			sidecars.Add(&request, 1)
			request = sidecars.clone()
		} else {
			request.Add(&sidecars, 1)
		}
		init.raise(&request)
	}
	total.raise(&init)
	if features.PodLevelResources && spec.Resources != nil {
		for name, quantity := range spec.Resources.Requests { // any order: each name has its own field
			total.set(name, valueOf(name, quantity))
		}
	}
	if len(spec.Overhead) > 0 {
		overhead := NewResource(spec.Overhead)
		total.Add(&overhead, 1)
	}
	return total
}

func containerRequests(c *corev1.Container, missing bool) Resource {
	r := NewResource(c.Resources.Requests)
	if missing {
		if _, says := c.Resources.Requests[corev1.ResourceCPU]; !says {
			r.MilliCPU = DefaultMilliCPURequest
		}
		if _, says := c.Resources.Requests[corev1.ResourceMemory]; !says {
			r.Memory = DefaultMemoryRequest
		}
	}
	return r
}
