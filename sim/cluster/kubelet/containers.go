package kubelet

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/cluster/containerd"
)

// Models kuberuntime's SyncPod, startContainer, killContainer and the image manager (pkg/kubelet/kuberuntime, images,
// v1.36). Leaves out: parallel pulls' limits, pull secrets, log files.

// syncContainers does what computeActions found; done counts what it did. The error of a back-off carries its end.
func (kl *Kubelet) syncContainers(p *sim.Proc, w *podWorker, pod *corev1.Pod,
	status containerd.PodStatus) (done int, err error) {
	a := kl.computeActions(pod, &status)
	a.exited = exitedRuns(&status)
	if a.create && a.changed {
		kl.record(pod, corev1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.",
			sim.Event{Level: sim.Detail})
	}
	if a.killPod {
		if len(status.Sandboxes) > 0 {
			if err := kl.killPod(p, pod, status, nil); err != nil {
				return done, err
			}
			done++
		}
	} else if len(a.kill) > 0 {
		if err := kl.killContainers(p, pod, a.kill, nil); err != nil {
			return done, err
		}
		done += len(a.kill)
	}
	sandbox, err := kl.sandboxFor(p, pod, &a, status.Sandboxes)
	if err != nil || sandbox == nil {
		return done, err
	}
	if a.create {
		done++
	}
	started, err := kl.startAll(p, w, pod, sandbox, &a)
	return done + started, err
}

// exitedRuns are the newest dead runs by container, as they are before anything is killed: a container that the kubelet
// itself ends is held back by the end of the run before it.
func exitedRuns(status *containerd.PodStatus) map[string]*containerd.Container {
	var runs map[string]*containerd.Container
	for _, c := range status.Containers {
		if c.State == containerd.Exited && runs[c.Name] == nil {
			if runs == nil {
				runs = map[string]*containerd.Container{}
			}
			runs[c.Name] = c
		}
	}
	return runs
}

// sandboxFor makes the sandbox that containers start in, or takes the one that is there; nil when there is none to be.
func (kl *Kubelet) sandboxFor(p *sim.Proc, pod *corev1.Pod, a *podActions,
	before []*containerd.Sandbox) (*containerd.Sandbox, error) {
	if !a.create {
		if len(before) > 0 && before[0].Ready {
			return before[0], nil
		}
		return nil, nil
	}
	sandbox, err := kl.createSandbox(p, pod, a.attempt)
	if err != nil {
		kl.record(pod, corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+err.Error(),
			sim.Event{Level: sim.Detail})
		return nil, fmt.Errorf("failed to %q for %q with CreatePodSandboxError: %w", "CreatePodSandbox", pod.Name, err)
	}
	kl.status.readyToStart(pod)
	kl.dropOldSandboxes(p, before)
	return sandbox, nil
}

// startAll starts what is to be started, the containers even when one before them failed; it returns how many began.
func (kl *Kubelet) startAll(p *sim.Proc, w *podWorker, pod *corev1.Pod, sandbox *containerd.Sandbox,
	a *podActions) (done int, failed error) {
	begin := func(spec *corev1.Container) bool {
		err := kl.startContainer(p, w, &start{pod, spec, sandbox, a.exited[spec.Name]})
		if err != nil {
			failed = firstExpiry(failed, err)
			return false
		}
		done++
		return true
	}
	if a.init != nil && !begin(a.init) {
		return done, failed
	}
	for _, spec := range a.start {
		begin(spec)
	}
	return done, failed
}

// start is one container to start.
type start struct {
	pod     *corev1.Pod
	spec    *corev1.Container
	sandbox *containerd.Sandbox
	exited  *containerd.Container // its last dead run, nil if there is none
}

// firstExpiry keeps the error whose back-off ends first (kubecontainer.MinBackoffExpiration).
func firstExpiry(a, b error) error {
	if a == nil {
		return b
	}
	var x, y *backoffError
	if errors.As(b, &y) && (!errors.As(a, &x) || y.until < x.until) {
		return b
	}
	return a
}

func (kl *Kubelet) createSandbox(p *sim.Proc, pod *corev1.Pod, attempt int) (*containerd.Sandbox, error) {
	return kl.runtime.RunPodSandbox(p, containerd.Sandbox{PodUID: pod.UID, Namespace: pod.Namespace, Name: pod.Name,
		Attempt: attempt, HostNetwork: pod.Spec.HostNetwork})
}

// dropOldSandboxes keeps the dead sandbox that came before, whose containers tell their last state, and removes older
// ones.
func (kl *Kubelet) dropOldSandboxes(p *sim.Proc, before []*containerd.Sandbox) {
	if len(before) < 2 {
		return
	}
	for _, s := range append([]*containerd.Sandbox(nil), before[1:]...) {
		_ = kl.runtime.RemovePodSandbox(p, s.ID) // the next round tries again
	}
}

// startContainer starts one container unless its back-off or its image is in the way; what is in the way becomes the
// reason of its waiting state.
func (kl *Kubelet) startContainer(p *sim.Proc, w *podWorker, o *start) error {
	code, err := kl.tryStart(p, w, o)
	if err == nil {
		delete(w.reasons, o.spec.Name)
		return nil
	}
	if w.reasons == nil {
		w.reasons = map[string]reason{}
	}
	w.reasons[o.spec.Name] = reason{code, err.Error()}
	return err
}

func (kl *Kubelet) tryStart(p *sim.Proc, w *podWorker, o *start) (code string, err error) {
	pod, spec := o.pod, o.spec
	status, err := kl.runtime.Status(w.uid)
	if err != nil {
		return "RunContainerError", err
	}
	last := latest(&status, spec.Name)
	if err := kl.crashBackoff(pod, spec, o.exited); err != nil {
		return "CrashLoopBackOff", err
	}
	behaviour, err := containerd.BehaviourOf(pod.Annotations, spec.Name)
	if err != nil {
		return "CreateContainerConfigError", err
	}
	if code, err := kl.ensureImage(p, pod, spec, behaviour); err != nil {
		return code, err
	}
	if err := kl.environment(p, pod, spec); err != nil {
		kl.record(pod, corev1.EventTypeWarning, "Failed", "Error: "+err.Error(), sim.Event{Level: sim.Detail})
		return "CreateContainerConfigError", err
	}
	attempt := 0
	if last != nil {
		attempt = last.Attempt + 1
	}
	c, err := kl.runtime.CreateContainer(p, containerd.Config{PodUID: w.uid, Namespace: pod.Namespace, Pod: pod.Name,
		SandboxID: o.sandbox.ID, Name: spec.Name, Attempt: attempt, Image: spec.Image,
		Argv: append(append([]string(nil), spec.Command...), spec.Args...), Behaviour: behaviour,
		Ports: portsOf(spec), HostNetwork: pod.Spec.HostNetwork, Hash: kl.containerHash(spec)})
	if err != nil {
		kl.record(pod, corev1.EventTypeWarning, "Failed", "Error: "+err.Error(), sim.Event{Level: sim.Detail})
		return "CreateContainerError", err
	}
	kl.record(pod, corev1.EventTypeNormal, "Created", kl.lifeMessage("created", spec.Name), sim.Event{Level: sim.Detail})
	if err := kl.runtime.StartContainer(p, c); err != nil {
		kl.record(pod, corev1.EventTypeWarning, "Failed", "Error: "+err.Error(), sim.Event{Level: sim.Detail})
		return "RunContainerError", err
	}
	kl.tellStarted(pod, spec, c)
	kl.dropOldRuns(p, w.uid, spec.Name)
	return "", kl.postStart(p, pod, spec, c)
}

// portsOf is where a container listens if it is a server: on the ports that it declares, and on those that its probes
// ask, for it answers them. None: it declares no port.
func portsOf(spec *corev1.Container) []int {
	if len(spec.Ports) == 0 {
		return nil
	}
	ports := make([]int, 0, len(spec.Ports))
	for i := range spec.Ports {
		if p := spec.Ports[i].Protocol; p == corev1.ProtocolTCP || p == "" {
			ports = append(ports, int(spec.Ports[i].ContainerPort))
		}
	}
	for _, probe := range [...]*corev1.Probe{spec.LivenessProbe, spec.ReadinessProbe, spec.StartupProbe} {
		if port := probePort(probe, spec); port != 0 {
			ports = append(ports, port)
		}
	}
	return ports
}

// tellStarted records the start; what a reader wants told of it is a restart.
func (kl *Kubelet) tellStarted(pod *corev1.Pod, spec *corev1.Container, c *containerd.Container) {
	trace := sim.Event{Level: sim.Detail, Related: kl.draft.words("node/", kl.config.nodeName)}
	trace.Message = kl.draft.words("container ", spec.Name, " started")
	if c.Attempt > 0 {
		trace.Level = storyFor(pod)
		trace.Message = fmt.Sprintf("container %s started again, restart %d", spec.Name, c.Attempt)
	}
	kl.record(pod, corev1.EventTypeNormal, "Started", kl.lifeMessage("started", spec.Name), trace)
}

// lifeMessage words a start as the release does.
func (kl *Kubelet) lifeMessage(what, name string) string {
	switch minor := kl.options.Release.Minor; {
	case minor >= 35:
		return kl.draft.words("Container ", what)
	case minor >= 32 && what == "created":
		return kl.draft.words("Created container: ", name)
	case what == "created":
		return kl.draft.words("Created container ", name)
	}
	return kl.draft.words("Started container ", name)
}

// dropOldRuns removes all dead runs of a container but the last (pod_container_deletor.go, containersToKeep 1).
func (kl *Kubelet) dropOldRuns(p *sim.Proc, uid types.UID, name string) {
	status, err := kl.runtime.Status(uid)
	if err != nil {
		return
	}
	dead := 0
	for _, c := range append([]*containerd.Container(nil), status.Containers...) {
		if c.Name != name || c.State != containerd.Exited {
			continue
		}
		if dead++; dead > 1 {
			_ = kl.runtime.RemoveContainer(p, c) // the next start tries again
		}
	}
}

// crashBackoff holds a container back that ended a short while ago (doBackOff).
func (kl *Kubelet) crashBackoff(pod *corev1.Pod, spec *corev1.Container, last *containerd.Container) error {
	if last == nil || last.State != containerd.Exited {
		return nil
	}
	key, now := spec.Name+"/"+string(pod.UID), kl.kernel.Now()
	if kl.crashes.left(key, last.Finished, now) > 0 {
		wait := kl.crashes.wait(key)
		kl.record(pod, corev1.EventTypeWarning, "BackOff",
			fmt.Sprintf("Back-off restarting failed container %s in pod %s", spec.Name, formatPod(pod)),
			sim.Event{Level: sim.Detail, Message: fmt.Sprintf("waits %s since the exit before it starts container %s again",
				wait, spec.Name)})
		return &backoffError{until: last.Finished.Add(wait),
			message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s",
				wait, spec.Name, formatPod(pod))}
	}
	kl.crashes.next(key, last.Finished, now)
	return nil
}

// ensureImage pulls the image where the policy wants it (pkg/kubelet/images/image_manager.go EnsureImageExists).
func (kl *Kubelet) ensureImage(p *sim.Proc, pod *corev1.Pod, spec *corev1.Container,
	b containerd.Behaviour) (string, error) {
	present := kl.runtime.HasImage(spec.Image, b)
	if present && spec.ImagePullPolicy != corev1.PullAlways {
		access := ""
		if kl.options.Release.Minor >= 35 { // KubeletEnsureSecretPulledImages
			access = " and can be accessed by the pod"
		}
		message := kl.draft.words("Container image ", strconv.Quote(spec.Image), " already present on machine", access)
		kl.record(pod, corev1.EventTypeNormal, "Pulled", message, sim.Event{Level: sim.Detail})
		return "", nil
	}
	if spec.ImagePullPolicy == corev1.PullNever {
		message := fmt.Sprintf("Container image %q is not present with pull policy of Never", spec.Image)
		kl.record(pod, corev1.EventTypeWarning, "ErrImageNeverPull", message, sim.Event{Level: sim.Detail})
		return "ErrImageNeverPull", errors.New(message)
	}
	key := spec.Image + "/" + string(pod.UID)
	entry := kl.pulls.entries[key]
	if entry != nil && kl.kernel.Now().Sub(entry.updated) < entry.wait {
		message := fmt.Sprintf("Back-off pulling image %q", spec.Image)
		kl.record(pod, corev1.EventTypeNormal, "BackOff", message, sim.Event{Level: sim.Detail})
		kl.record(pod, corev1.EventTypeWarning, "Failed", "Error: ImagePullBackOff", sim.Event{Level: sim.Detail})
		return "ImagePullBackOff", fmt.Errorf("%s: ErrImagePull: %w", message, containerd.ErrPull(spec.Image))
	}
	kl.record(pod, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", spec.Image),
		sim.Event{Level: sim.Detail})
	took, err := kl.runtime.PullImage(p, spec.Image, b)
	if err != nil {
		kl.pulls.next(key, kl.kernel.Now(), kl.kernel.Now())
		kl.record(pod, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", spec.Image, err),
			sim.Event{Level: storyFor(pod)})
		kl.record(pod, corev1.EventTypeWarning, "Failed", "Error: ErrImagePull", sim.Event{Level: sim.Detail})
		return "ErrImagePull", err
	}
	took = took.Round(time.Millisecond)
	kl.record(pod, corev1.EventTypeNormal, "Pulled", fmt.Sprintf(
		"Successfully pulled image %q in %s (%s including waiting). Image size: 1000000 bytes.", spec.Image, took, took),
		sim.Event{Level: sim.Detail})
	return "", nil
}
