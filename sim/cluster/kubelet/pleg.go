package kubelet

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
)

// Models the kubelet's generic PLEG and housekeeping (pkg/kubelet/pleg/generic.go, kubelet_pods.go HandlePodCleanups,
// v1.36): once a second all containers are listed, and what has changed is an event for the pod's worker. The polls
// are computed: a change has the poll scheduled that finds it. Leaves out: evented PLEG.

// relists is PLEG's view of the pods that have changed since its last poll.
type relists struct {
	pending []types.UID
	timer   sim.Timer
}

// runtimeChanged is told by the runtime that a container or sandbox of a pod started or ended.
func (kl *Kubelet) runtimeChanged(uid types.UID) {
	w := kl.workers.get(uid)
	if w != nil {
		w.changes++
		w.dirty = true
		w.rouse()
	}
	r := &kl.relists
	for _, waiting := range r.pending {
		if waiting == uid {
			return
		}
	}
	r.pending = append(r.pending, uid)
	if !r.timer.Pending() {
		due := nextTick(kl.loop, kl.kernel.Now().Add(time.Nanosecond), relistPeriod)
		r.timer = kl.scope.At(due, "PLEG", kl.relist)
	}
}

// relist is the poll that finds the changes.
func (kl *Kubelet) relist() {
	r := &kl.relists
	if up, _ := kl.runtime.Up(); !up {
		r.timer = kl.scope.After(relistPeriod, "PLEG", kl.relist)
		return
	}
	pending := r.pending
	r.pending = nil
	for _, uid := range pending {
		w := kl.workers.get(uid)
		if w == nil {
			kl.housekeepingSoon()
			continue
		}
		kl.lookedAt(w)
	}
}

// relistPod looks at one pod at once, which a sync that did something asks for (RequestPodRelist).
func (kl *Kubelet) relistPod(w *podWorker) {
	w.fresh = true
	kl.lookedAt(w)
	r := &kl.relists // the next poll would find nothing
	if i := slices.Index(r.pending, w.uid); i >= 0 && r.timer.Pending() {
		if r.pending = slices.Delete(r.pending, i, i+1); len(r.pending) == 0 {
			r.timer.Stop()
		}
	}
}

func (kl *Kubelet) lookedAt(w *podWorker) {
	if w.changes == w.seen {
		return
	}
	events := w.changes - w.seen
	w.seen = w.changes
	pod := w.wanted()
	if pod == nil {
		return
	}
	if exit := kl.lastExit(w.uid); exit != 0 {
		kl.kernel.Because(exit)
	}
	kl.workers.update(updateOptions{kind: syncSync, pod: pod, mirror: kl.known.mirrorOf(pod)})
	if events > 1 {
		// Each event is a sync of its own: the second finds the worker busy, and waits for the poll after the first.
		kl.scope.After(time.Millisecond, "PLEG", func() {
			if current := kl.known.get(w.uid); current != nil && kl.workers.get(w.uid) == w && !w.terminating {
				kl.workers.update(updateOptions{kind: syncSync, pod: current, mirror: kl.known.mirrorOf(current)})
			}
		})
	}
}

// lastExit is the trace event of the newest container of a pod that has ended, 0 when it runs.
func (kl *Kubelet) lastExit(uid types.UID) sim.EventID {
	status, err := kl.runtime.Status(uid)
	if err != nil || len(status.Containers) == 0 || status.Containers[0].State != containerd.Exited {
		return 0
	}
	return status.Containers[0].Exit
}

// newerStatus waits until PLEG has looked at the pod since the worker's last sync, and returns what it saw
// (podCache.GetNewerThan).
func (kl *Kubelet) newerStatus(p *sim.Proc, w *podWorker) (containerd.PodStatus, error) {
	for {
		now := p.Now()
		up, since := kl.runtime.Up()
		seen := lastTick(kl.loop, now, relistPeriod)
		if up && (!w.synced && now >= kl.loop || w.fresh || w.synced && seen > w.lastSync && seen >= since) {
			return kl.runtime.Status(w.uid)
		}
		p.Sleep(nextTick(kl.loop, now.Add(time.Nanosecond), relistPeriod).Sub(now))
	}
}

// housekeepingSoon has the next round of housekeeping do its work: there is something to clean up.
func (kl *Kubelet) housekeepingSoon() {
	if kl.clean.Pending() || !kl.running {
		return
	}
	due := nextTick(kl.loop, kl.kernel.Now().Add(time.Nanosecond), housekeepingPeriod)
	kl.clean = kl.scope.At(due, "housekeeping", kl.housekeeping)
}

// housekeeping removes what nobody wants any more: workers, statuses, mirror pods, containers (HandlePodCleanups).
func (kl *Kubelet) housekeeping() {
	if !kl.sourcesReady() {
		return // whoever makes them ready asks again
	}
	again := false
	for _, w := range append([]*podWorker(nil), kl.workers.order...) {
		pod := w.wanted()
		orphan := pod == nil
		if !orphan && !w.restart {
			continue
		}
		if kl.retire(w, orphan) {
			if orphan {
				kl.status.forget(w.uid)
				kl.crashes.forgetPod(w.uid)
			}
			if !orphan && w.restart {
				kl.workers.update(updateOptions{kind: syncCreate, pod: pod, mirror: kl.known.mirrorOf(pod)})
			}
			continue
		}
		again = true
	}
	kl.deleteOrphanedMirrors()
	kl.killOrphans()
	if again {
		kl.housekeepingSoon()
	}
}

// retire forgets a worker that has finished; one of an orphan that has not is told to end (removeTerminatedWorker).
func (kl *Kubelet) retire(w *podWorker, orphan bool) bool {
	if w.finished {
		kl.workers.forget(w)
		return true
	}
	if !orphan {
		return false
	}
	w.deleted = true
	w.rouse()
	switch {
	case !w.started && !w.observed:
		kl.workers.forget(w)
		return true
	case !w.terminating:
		w.terminating = true
		w.grace = w.effectiveGrace(&updateOptions{pod: w.pod})
	}
	if w.pending == nil && w.asked && !w.working {
		again := w.active
		again.override, again.cause = &w.grace, kl.kernel.Cause()
		w.pending = &again
		w.work()
	}
	return false
}

// killOrphans ends containers of pods that no worker knows, with a grace period of a second.
func (kl *Kubelet) killOrphans() {
	pods, err := kl.runtime.Pods()
	if err != nil {
		kl.scope.After(housekeepingPeriod, "housekeeping", kl.housekeepingSoon)
		return
	}
	for i := range pods {
		pod := &pods[i]
		if kl.workers.get(pod.UID) != nil || kl.known.get(pod.UID) != nil {
			continue
		}
		if !runsAnything(pod) {
			kl.scope.Go("garbage collection", func(p *sim.Proc) { kl.removeAll(p, pod.UID) })
			continue
		}
		one := int64(1)
		kl.workers.update(updateOptions{kind: syncKill, orphan: pod, override: &one})
	}
}

func runsAnything(pod *containerd.PodStatus) bool {
	for _, s := range pod.Sandboxes {
		if s.Ready {
			return true
		}
	}
	for _, c := range pod.Containers {
		if c.State == containerd.Running {
			return true
		}
	}
	return false
}

// deleteOrphanedMirrors deletes mirror pods whose static pod is gone.
func (kl *Kubelet) deleteOrphanedMirrors() {
	for _, mirror := range kl.known.orphanedMirrors() {
		if kl.nameIsTerminating(fullName(mirror.Namespace, mirror.Name)) {
			kl.housekeepingSoon()
			continue
		}
		kl.deleteMirrorNow(mirror)
	}
}

func (kl *Kubelet) nameIsTerminating(name string) bool {
	for _, w := range kl.workers.order {
		if w.fullName == name && w.terminating && !w.terminated {
			return true
		}
	}
	return false
}

func (kl *Kubelet) deleteMirrorNow(mirror *corev1.Pod) {
	kl.client.Start(deleteRequest(mirror), func(_ *api.Response, err error) {
		if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
			kl.housekeepingSoon()
		}
	})
}
