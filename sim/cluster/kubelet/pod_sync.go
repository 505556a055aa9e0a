package kubelet

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/cluster/containerd"
)

// Models Kubelet.SyncPod, SyncTerminatingPod, SyncTerminatingRuntimePod and SyncTerminatedPod
// (pkg/kubelet/kubelet.go, v1.36).

// syncPod brings a pod's containers to what its spec says. terminal: it has run its course. relist: something was
// done, so PLEG should look at once.
func (kl *Kubelet) syncPod(p *sim.Proc, w *podWorker, o *updateOptions, status containerd.PodStatus) (terminal,
	relist bool,
	err error) {
	pod := o.pod
	apiStatus := kl.generateStatus(w, pod, status, false)
	if terminalPhase(apiStatus.Phase) {
		kl.status.set(pod, apiStatus)
		return true, false, nil
	}
	kl.status.set(pod, apiStatus)
	if w.static {
		kl.reconcileMirror(p, pod, o.mirror)
		if w.terminating {
			return false, false, nil
		}
	}
	if err := kl.waitForMount(p, w, pod); err != nil || w.terminating {
		return false, false, err
	}
	kl.probes.add(w, pod)
	done, err := kl.syncContainers(p, w, pod, status)
	return false, done > 0, err
}

// syncTerminatingPod stops a pod's containers and reports their end.
func (kl *Kubelet) syncTerminatingPod(p *sim.Proc, w *podWorker, o *updateOptions, status containerd.PodStatus,
	statusFns []func(*corev1.PodStatus)) error {
	pod := o.pod
	apiStatus := kl.generateStatus(w, pod, status, false)
	for _, fn := range statusFns {
		fn(apiStatus)
	}
	kl.status.set(pod, apiStatus)
	kl.probes.stopLivenessAndStartup(w.uid)
	if err := kl.killPod(p, pod, status, o.override); err != nil {
		kl.record(pod, corev1.EventTypeWarning, "FailedKillPod", "error killing pod: "+err.Error(),
			sim.Event{Level: sim.Detail})
		return fmt.Errorf("error killing terminating pod: %w", err)
	}
	kl.probes.remove(w.uid)
	stopped, err := kl.runtime.Status(w.uid)
	if err != nil {
		return fmt.Errorf("unable to read pod status prior to final pod termination: %w", err)
	}
	kl.status.set(pod, kl.generateStatus(w, pod, stopped, true))
	return nil
}

// syncTerminatingRuntimePod stops a pod that only the runtime knows.
func (kl *Kubelet) syncTerminatingRuntimePod(p *sim.Proc, orphan *containerd.PodStatus) error {
	grace := int64(1)
	status, err := kl.runtime.Status(orphan.UID)
	if err != nil {
		return err
	}
	if err := kl.killPod(p, nil, status, &grace); err != nil {
		return err
	}
	kl.removeAll(p, orphan.UID)
	return nil
}

// syncTerminatedPod cleans up after a pod whose containers have ended.
func (kl *Kubelet) syncTerminatedPod(p *sim.Proc, w *podWorker, pod *corev1.Pod, status containerd.PodStatus) error {
	kl.status.set(pod, kl.generateStatus(w, pod, status, true))
	w.mounted = false
	kl.status.terminate(pod)
	if w.deleted || kl.known.get(w.uid) == nil {
		kl.removeAll(p, w.uid)
	}
	return nil
}

// removeAll removes a dead pod's containers and sandboxes from the runtime. The sandboxes follow half a minute later in
// reality (container GC); nothing shows them.
func (kl *Kubelet) removeAll(p *sim.Proc, uid types.UID) {
	status, err := kl.runtime.Status(uid)
	if err != nil {
		return
	}
	for _, s := range append([]*containerd.Sandbox(nil), status.Sandboxes...) {
		if kl.runtime.RemovePodSandbox(p, s.ID) != nil {
			return
		}
	}
}

const (
	mountPoll       = 300 * time.Millisecond        // podAttachAndMountRetryInterval (volumemanager/volume_manager.go)
	mountTimeout    = 2*time.Minute + 3*time.Second // podAttachAndMountTimeout
	mountRetryFirst = 500 * time.Millisecond        // goroutinemap exponentialbackoff
	mountRetryLast  = 2*time.Minute + 2*time.Second
)

// waitForMount waits for a pod's volumes: looked at once at the start and every 300 ms, they are there at the second
// look when what they need exists (volume manager's WaitForAttachAndMount).
func (kl *Kubelet) waitForMount(p *sim.Proc, w *podWorker, pod *corev1.Pod) error {
	if w.mounted || len(pod.Spec.Volumes) == 0 {
		return nil
	}
	began := p.Now()
	retry, next := mountRetryFirst, began
	for {
		p.Sleep(mountPoll)
		if w.terminating {
			return nil
		}
		if p.Now() < next {
			continue
		}
		volume, err := kl.missingSource(p, pod)
		if err == nil {
			w.mounted = true
			return nil
		}
		kl.record(pod, corev1.EventTypeWarning, "FailedMount",
			fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", volume, err), sim.Event{Level: sim.Detail})
		next, retry = p.Now().Add(retry), min(2*retry, mountRetryLast)
		if p.Now().Sub(began) > mountTimeout {
			err = fmt.Errorf("unmounted volumes=[%s], unattached volumes=[], failed to process volumes=[]: "+
				"context deadline exceeded", volume)
			kl.record(pod, corev1.EventTypeWarning, "FailedMount", "Unable to attach or mount volumes: "+err.Error(),
				sim.Event{Level: sim.Detail})
			return err
		}
	}
}

// backoffError says that something is not done before a moment (kubecontainer.BackoffError).
type backoffError struct {
	until   sim.Time
	message string
}

func (e *backoffError) Error() string { return e.message }

// forgetPod drops the back-offs of a pod that is gone.
func (b *backoff) forgetPod(uid types.UID) {
	for key := range b.entries { // any order: deletes what matches
		if strings.HasSuffix(key, string(uid)) {
			delete(b.entries, key)
		}
	}
}
