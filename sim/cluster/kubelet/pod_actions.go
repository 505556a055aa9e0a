package kubelet

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim/cluster/containerd"
)

// Models kuberuntime's computePodActions (pkg/kubelet/kuberuntime/kuberuntime_manager.go, v1.36): what has to be done
// to a pod's sandbox and containers. Leaves out: ephemeral containers, resize, restart rules of single containers.

// podActions is what a sync has to do.
type podActions struct {
	killPod bool // the sandbox and all that runs in it
	create  bool // a new sandbox
	changed bool // there was a sandbox before
	attempt int
	init    *corev1.Container   // the init container to start next
	start   []*corev1.Container // sidecars and containers to start, in order
	kill    []containerKill
	exited  map[string]*containerd.Container // the newest dead run of each, before anything was killed
}

// containerKill is a running container that must end, and why.
type containerKill struct {
	container *containerd.Container
	spec      *corev1.Container
	message   string
	grace     *int64 // of the probe that failed
}

// latest returns the newest run of a container, nil if there was none.
func latest(status *containerd.PodStatus, name string) *containerd.Container {
	for _, c := range status.Containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// shouldRestart reports whether a container that is not running should (ShouldContainerBeRestarted).
func shouldRestart(pod *corev1.Pod, c *containerd.Container) bool {
	switch {
	case pod.DeletionTimestamp != nil:
		return false
	case c == nil || c.State == containerd.Created:
		return true
	case c.State == containerd.Running:
		return false
	}
	switch pod.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return c.ExitCode != 0
	}
	return true
}

// containerHash changes when a running container must be replaced (pkg/kubelet/container/helpers.go HashContainer:
// name and image).
func (kl *Kubelet) containerHash(c *corev1.Container) string {
	return kl.draft.words(c.Name, "\x00", c.Image)
}

// sameHash reports whether a run has the hash of a container.
func sameHash(run *containerd.Container, c *corev1.Container) bool {
	return len(run.Hash) == len(c.Name)+1+len(c.Image) && strings.HasPrefix(run.Hash, c.Name) &&
		run.Hash[len(c.Name)] == 0 && strings.HasSuffix(run.Hash, c.Image)
}

func (kl *Kubelet) computeActions(pod *corev1.Pod, status *containerd.PodStatus) podActions {
	var a podActions
	if len(status.Sandboxes) == 0 || !status.Sandboxes[0].Ready {
		a.create, a.killPod = true, true
		a.changed = len(status.Sandboxes) > 0
		if a.changed {
			a.attempt = status.Sandboxes[0].Attempt + 1
		}
		kl.actionsForNewSandbox(pod, status, &a)
		return a
	}
	if !kl.initActions(pod, status, &a) {
		return a
	}
	kept := 0
	for i := range pod.Spec.Containers {
		spec := &pod.Spec.Containers[i]
		c := latest(status, spec.Name)
		if c == nil || c.State != containerd.Running {
			if shouldRestart(pod, c) {
				a.start = append(a.start, spec)
			}
			continue
		}
		kill, must := kl.reasonToKill(spec, c)
		if !must {
			kept++
			continue
		}
		a.kill = append(a.kill, kill)
		if pod.Spec.RestartPolicy != corev1.RestartPolicyNever || !sameHash(c, spec) {
			kill.message += ", will be restarted"
			a.kill[len(a.kill)-1] = kill
			a.start = append(a.start, spec)
		}
	}
	if kept == 0 && len(a.start) == 0 {
		a.killPod = true
	}
	return a
}

// actionsForNewSandbox decides what begins in a new sandbox: nothing when all has run and nothing should again.
func (kl *Kubelet) actionsForNewSandbox(pod *corev1.Pod, status *containerd.PodStatus, a *podActions) {
	if pod.Spec.RestartPolicy == corev1.RestartPolicyNever && a.attempt != 0 && len(status.Containers) != 0 {
		a.create = false
		return
	}
	for i := range pod.Spec.Containers {
		spec := &pod.Spec.Containers[i]
		c := latest(status, spec.Name)
		if c != nil && c.State == containerd.Exited && c.ExitCode == 0 &&
			pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure {
			continue
		}
		a.start = append(a.start, spec)
	}
	if len(a.start) == 0 {
		a.create = false
		return
	}
	if len(pod.Spec.InitContainers) > 0 {
		a.start = nil
		a.init = &pod.Spec.InitContainers[0]
	}
}

// initActions deals with init containers in order; true when the containers may run.
func (kl *Kubelet) initActions(pod *corev1.Pod, status *containerd.PodStatus, a *podActions) bool {
	if len(pod.Spec.InitContainers) == 0 {
		return true
	}
	begun := false
	for i := range pod.Spec.Containers {
		begun = begun || latest(status, pod.Spec.Containers[i].Name) != nil &&
			latest(status, pod.Spec.Containers[i].Name).SandboxID == status.Sandboxes[0].ID
	}
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		c := latest(status, spec.Name)
		if c != nil && c.SandboxID != status.Sandboxes[0].ID {
			c = nil // of an earlier sandbox: it runs again
		}
		if isSidecar(spec) {
			if c == nil && !begun {
				a.init = spec
				return false
			}
			if c != nil && c.State == containerd.Exited && pod.DeletionTimestamp == nil {
				a.start = append(a.start, spec)
			} else if c != nil && c.State == containerd.Running && !begun && !kl.probes.started(pod, spec, c) {
				return false
			}
			continue
		}
		if begun {
			continue
		}
		switch {
		case c == nil || c.State == containerd.Created:
			a.init = spec
			return false
		case c.State == containerd.Running:
			if kill, must := kl.reasonToKill(spec, c); must {
				a.kill = append(a.kill, kill)
			}
			return false
		case c.ExitCode != 0:
			if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
				a.killPod = true
			} else {
				a.init = spec
			}
			return false
		}
	}
	return true
}

// reasonToKill returns why a running container must end, if it must.
func (kl *Kubelet) reasonToKill(spec *corev1.Container, c *containerd.Container) (kill containerKill, must bool) {
	kill = containerKill{container: c, spec: spec}
	switch {
	case !sameHash(c, spec):
		kill.message = fmt.Sprintf("Container %s definition changed", spec.Name)
	case kl.probes.failed(c.StatusID, liveness):
		kill.message = fmt.Sprintf("Container %s failed liveness probe", spec.Name)
		if spec.LivenessProbe != nil {
			kill.grace = spec.LivenessProbe.TerminationGracePeriodSeconds
		}
	case kl.probes.failed(c.StatusID, startup):
		kill.message = fmt.Sprintf("Container %s failed startup probe", spec.Name)
		if spec.StartupProbe != nil {
			kill.grace = spec.StartupProbe.TerminationGracePeriodSeconds
		}
	default:
		return kill, false
	}
	return kill, true
}
