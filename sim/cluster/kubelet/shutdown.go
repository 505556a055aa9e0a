package kubelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
)

// Models graceful node shutdown (pkg/kubelet/nodeshutdown, v1.36) where shutdownGracePeriod is set: the node becomes
// not ready, pods are ended, critical ones last. Leaves out: shutdown by pod priority.

// nodeShutdown is what a clean shutdown of the machine does to its pods.
type nodeShutdown struct {
	kl     *Kubelet
	active bool
}

func (s *nodeShutdown) init(kl *Kubelet) { s.kl = kl }

// ShutdownGracePeriod is how long a clean shutdown of the machine is held up for pods; 0: not at all.
func (kl *Kubelet) ShutdownGracePeriod() time.Duration { return kl.config.shutdownGrace }

// Shutdown ends all pods because the machine shuts down; done is called when they have ended or the time is up.
// Without a configured grace period it is called at once.
func (kl *Kubelet) Shutdown(done func()) {
	s := &kl.shutdown
	if kl.config.shutdownGrace == 0 || !kl.options.Release.GracefulNodeShutdown || s.active || !kl.running {
		done()
		return
	}
	s.active = true
	kl.node.update()
	kl.scope.Go("node shutdown", func(p *sim.Proc) {
		s.end(p, false, kl.config.shutdownGrace-kl.config.shutdownCritical)
		s.end(p, true, kl.config.shutdownCritical)
		done()
	})
}

func (s *nodeShutdown) end(p *sim.Proc, critical bool, within time.Duration) {
	var waiting []*podWorker
	grace := int64(within / time.Second)
	for _, pod := range s.kl.known.all() {
		w := s.kl.workers.get(pod.UID)
		if w == nil || w.terminated || isCritical(pod) != critical {
			continue
		}
		waiting = append(waiting, w)
		s.kl.workers.update(updateOptions{kind: syncKill, pod: pod, override: &grace,
			statusFn: func(status *corev1.PodStatus) {
				status.Phase, status.Reason = corev1.PodFailed, "Terminated"
				status.Message = "Pod was terminated in response to imminent node shutdown."
				status.Conditions = append(status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget,
					Status: corev1.ConditionTrue, Reason: "TerminationByKubelet", Message: status.Message,
					LastTransitionTime: metav1.NewTime(s.kl.now().Time)})
			}})
	}
	deadline := p.Now().Add(within)
	for _, w := range waiting {
		for !w.terminated && p.Now() < deadline {
			p.Sleep(min(100*time.Millisecond, deadline.Sub(p.Now())))
		}
	}
}

// isCritical: mirror and static pods, and those of a system priority (kubetypes.IsCriticalPod).
func isCritical(pod *corev1.Pod) bool {
	const systemCritical = 2_000_000_000
	return isStatic(pod) || pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical
}
