package kubelet

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/cluster/containerd"
)

// Models kuberuntime's killPodWithSyncResult and killContainer, and lifecycle hooks (pkg/kubelet/kuberuntime,
// lifecycle, v1.36): hooks inside the grace period, never less than 2 s for the runtime, sidecars last. Leaves out:
// hooks over HTTP.

// killPod stops all containers of a pod, then its sandboxes. pod is nil for one that only the runtime knows.
func (kl *Kubelet) killPod(p *sim.Proc, pod *corev1.Pod, status containerd.PodStatus, override *int64) error {
	var kills []containerKill
	for _, c := range status.Containers {
		if c.State == containerd.Running {
			kills = append(kills, containerKill{container: c, spec: containerSpec(pod, c.Name)})
		}
	}
	if err := kl.killContainers(p, pod, kills, override); err != nil {
		return err
	}
	for _, s := range status.Sandboxes {
		if s.Ready {
			if err := kl.runtime.StopPodSandbox(p, s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

func containerSpec(pod *corev1.Pod, name string) *corev1.Container {
	if pod == nil {
		return nil
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	return nil
}

// killContainers stops containers side by side and waits until all have ended; sidecars end after the others, the last
// first (kuberuntime_termination_order.go).
func (kl *Kubelet) killContainers(p *sim.Proc, pod *corev1.Pod, kills []containerKill, override *int64) error {
	if len(kills) == 1 {
		return kl.killContainer(p, pod, &kills[0], override, 0)
	}
	var main, sidecars []*containerKill
	for i := range kills {
		if kills[i].spec != nil && isSidecar(kills[i].spec) {
			sidecars = append(sidecars, &kills[i])
		} else {
			main = append(main, &kills[i])
		}
	}
	began := p.Now()
	if err := kl.killTogether(p, pod, main, override); err != nil {
		return err
	}
	for _, kill := range sidecars { // newest first, as the runtime lists them
		if err := kl.killContainer(p, pod, kill, override, p.Now().Sub(began)); err != nil {
			return err
		}
	}
	return nil
}

func (kl *Kubelet) killTogether(p *sim.Proc, pod *corev1.Pod, kills []*containerKill, override *int64) error {
	var failed error
	left := len(kills)
	all := sim.NewFuture[struct{}]()
	for _, kill := range kills {
		kl.scope.Go("kill container", func(p *sim.Proc) {
			if err := kl.killContainer(p, pod, kill, override, 0); err != nil && failed == nil {
				failed = err
			}
			if left--; left == 0 {
				all.Resolve(struct{}{}, nil)
			}
		})
	}
	if left > 0 {
		_, _ = all.Await(p, sim.Forever) // cannot fail: no deadline
	}
	return failed
}

// killContainer stops one container; spent is what others have used of the grace period.
func (kl *Kubelet) killContainer(p *sim.Proc, pod *corev1.Pod, kill *containerKill, override *int64,
	spent time.Duration) error {
	grace := int64(minimumGracePeriod)
	if pod != nil {
		grace = kl.gracePeriod(pod, kill)
		message := kill.message
		if message == "" {
			message = "Stopping container " + kill.container.Name
		}
		trace := sim.Event{Level: sim.Detail}
		if kill.message != "" {
			trace.Level = storyFor(pod)
		}
		kl.kernel.Because(kl.record(pod, corev1.EventTypeNormal, "Killing", message, trace))
	}
	if override != nil {
		grace = *override
	}
	left := time.Duration(grace)*time.Second - spent
	if kill.spec != nil && kill.spec.Lifecycle != nil && kill.spec.Lifecycle.PreStop != nil && left > 0 {
		left -= kl.preStop(p, pod, kill, left)
	}
	left = max(left.Truncate(time.Second), minimumGracePeriod*time.Second)
	return kl.runtime.StopContainer(p, kill.container, left)
}

func (kl *Kubelet) gracePeriod(pod *corev1.Pod, kill *containerKill) int64 {
	switch {
	case pod.DeletionGracePeriodSeconds != nil:
		return *pod.DeletionGracePeriodSeconds
	case kill.grace != nil:
		return *kill.grace
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return *pod.Spec.TerminationGracePeriodSeconds
	}
	return minimumGracePeriod
}

// preStop runs the hook, at most as long as the grace period; it returns the whole seconds that it took.
func (kl *Kubelet) preStop(p *sim.Proc, pod *corev1.Pod, kill *containerKill, grace time.Duration) time.Duration {
	began := p.Now()
	takes, status, output := hookOutcome(kill.spec.Lifecycle.PreStop)
	if takes == containerd.Never || takes > grace {
		takes = grace
	}
	p.Sleep(takes)
	if status != 0 {
		kl.record(pod, corev1.EventTypeWarning, "FailedPreStopHook",
			fmt.Sprintf("PreStopHook failed: command exited with %d: %s", status, output), sim.Event{Level: sim.Detail})
	}
	return p.Now().Sub(began).Truncate(time.Second)
}

// postStart runs the hook after a start; the container is killed when it fails.
func (kl *Kubelet) postStart(p *sim.Proc, pod *corev1.Pod, spec *corev1.Container, c *containerd.Container) error {
	if spec.Lifecycle == nil || spec.Lifecycle.PostStart == nil {
		return nil
	}
	takes, status, output := hookOutcome(spec.Lifecycle.PostStart)
	if takes > 0 {
		p.Sleep(takes)
	}
	if status == 0 {
		return nil
	}
	kl.record(pod, corev1.EventTypeWarning, "FailedPostStartHook",
		fmt.Sprintf("PostStartHook failed: command exited with %d: %s", status, output), sim.Event{Level: sim.Detail})
	kill := containerKill{container: c, spec: spec, message: "FailedPostStartHook"}
	if err := kl.killContainer(p, pod, &kill, nil, 0); err != nil {
		return err
	}
	return fmt.Errorf("PostStartHook failed: command exited with %d", status)
}

// hookOutcome plays a hook: its command's, or its sleep. What is neither takes no time and succeeds.
func hookOutcome(hook *corev1.LifecycleHandler) (takes time.Duration, status int, output string) {
	switch {
	case hook.Sleep != nil:
		return time.Duration(hook.Sleep.Seconds) * time.Second, 0, ""
	case hook.Exec != nil:
		if script, ok := containerd.ParseCommand(hook.Exec.Command); ok {
			return script.Outcome()
		}
	}
	return 0, 0, ""
}
