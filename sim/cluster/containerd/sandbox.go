package containerd

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
)

// Sandbox is what holds a pod's network; its containers are born into it.
type Sandbox struct {
	ID          string
	PodUID      types.UID
	Namespace   string
	Name        string // of the pod
	Attempt     int
	Ready       bool
	IP          string // "" with the machine's own network
	HostNetwork bool
	CreatedAt   time.Time
	// Annotations are those of the pod, which the kubelet passes on.
	Annotations map[string]string
	// StaticManifest marks a pod that came from a file, by the hash of its manifest.
	StaticManifest string
}

// RunPodSandbox makes a sandbox and returns it; only the identity, the network and the annotations of want count.
func (r *Runtime) RunPodSandbox(p *sim.Proc, want Sandbox) (*Sandbox, error) {
	s := &want
	err := r.invoke(p, r.draw(r.options.Timing.Sandbox), func() error {
		if r.machine.Disk().Full() {
			return fmt.Errorf("rpc error: code = Unknown desc = failed to reserve sandbox name: no space left on device")
		}
		s.ID, s.Ready, s.CreatedAt = r.newID(""), true, r.machine.Clock().Now()
		if !s.HostNetwork {
			if s.IP = r.address(); s.IP == "" {
				return errors.New("rpc error: code = Unknown desc = failed to setup network for sandbox: " +
					"no IP addresses available in range set")
			}
		}
		pod := r.pods[s.PodUID]
		if pod == nil {
			pod = &podRecord{uid: s.PodUID}
			r.pods[s.PodUID] = pod
			r.order = append(r.order, pod)
		}
		pod.sandboxes = append([]*Sandbox{s}, pod.sandboxes...)
		r.notify(s.PodUID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// StopPodSandbox kills what still runs in the sandbox and gives its address back. One that is gone counts as stopped.
func (r *Runtime) StopPodSandbox(p *sim.Proc, id string) error {
	return r.invoke(p, time.Millisecond, func() error {
		s, pod := r.sandbox(id)
		if s == nil || !s.Ready {
			return nil
		}
		for _, c := range pod.containers {
			if c.SandboxID == id && c.State == Running {
				r.kill(c, 137, "Error")
			}
		}
		s.Ready, s.IP = false, ""
		r.notify(s.PodUID)
		return nil
	})
}

// RemovePodSandbox forgets a stopped sandbox and its containers.
func (r *Runtime) RemovePodSandbox(p *sim.Proc, id string) error {
	return r.invoke(p, time.Millisecond, func() error {
		s, pod := r.sandbox(id)
		if s == nil {
			return nil
		}
		kept := pod.containers[:0:0]
		for _, c := range pod.containers {
			if c.SandboxID != id {
				kept = append(kept, c)
			}
		}
		pod.containers = kept
		for i, other := range pod.sandboxes {
			if other == s {
				pod.sandboxes = append(pod.sandboxes[:i:i], pod.sandboxes[i+1:]...)
				break
			}
		}
		if len(pod.sandboxes) == 0 {
			r.forget(pod)
		}
		r.changed()
		return nil
	})
}

func (r *Runtime) forget(pod *podRecord) {
	delete(r.pods, pod.uid)
	for i, other := range r.order {
		if other == pod {
			r.order = append(r.order[:i:i], r.order[i+1:]...)
			return
		}
	}
}

func (r *Runtime) sandbox(id string) (*Sandbox, *podRecord) {
	for _, pod := range r.order {
		for _, s := range pod.sandboxes {
			if s.ID == id {
				return s, pod
			}
		}
	}
	return nil, nil
}

// PodStatus is what the runtime has of a pod, newest first. The slices must not be changed.
type PodStatus struct {
	UID        types.UID
	Sandboxes  []*Sandbox
	Containers []*Container
}

// Status returns what the runtime has of a pod. The error is that of a dead daemon. It takes no time: answers come
// within a millisecond.
func (r *Runtime) Status(uid types.UID) (PodStatus, error) {
	if r.daemon == nil {
		return PodStatus{}, ErrUnavailable
	}
	if pod := r.pods[uid]; pod != nil {
		return PodStatus{uid, pod.sandboxes, pod.containers}, nil
	}
	return PodStatus{UID: uid}, nil
}

// Pods returns what the runtime has of all pods, in the order in which they were first run.
func (r *Runtime) Pods() ([]PodStatus, error) {
	if r.daemon == nil {
		return nil, ErrUnavailable
	}
	all := make([]PodStatus, 0, len(r.order))
	for _, pod := range r.order {
		all = append(all, PodStatus{pod.uid, pod.sandboxes, pod.containers})
	}
	return all, nil
}
