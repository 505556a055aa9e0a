package controllers

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models kube-controller-manager's pod garbage collector (pkg/controller/podgc/gc_controller.go, v1.36): terminated
// pods above a threshold, terminating pods on out-of-service nodes, orphans of deleted nodes, terminating pods that
// never got a node.

const (
	// podgc gcCheckPeriod and quarantineTime.
	podGCPeriod     = 20 * time.Second
	podGCQuarantine = 40 * time.Second
)

// podGC is the controller.
type podGC struct {
	*manager
	quarantine map[string]quarantined // nodes that pods name and that are not there
	lost       int                    // pods that are to end and never began
}

type quarantined struct {
	until sim.Time
	since sim.EventID
}

func newPodGC(m *manager) *podGC {
	gcc := &podGC{manager: m, quarantine: map[string]quarantined{}}
	m.pods.Tally(func(pod *corev1.Pod, sign int) {
		if isUnscheduledTerminating(pod) {
			gcc.lost += sign
		}
	})
	return gcc
}

func isUnscheduledTerminating(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && pod.Spec.NodeName == ""
}

func (gcc *podGC) run() {
	gcc.whenSynced("podgc", func(p *sim.Proc) {
		for {
			tick := gcc.kernel.Cause()
			gcc.gcTerminated(p)
			if gcc.release.OutOfServiceTaint {
				gcc.gcTerminating(p)
			}
			gcc.gcOrphaned(p)
			gcc.gcUnscheduledTerminating(p)
			p.Sleep(podGCPeriod)
			gcc.kernel.Because(tick)
		}
	}, gcc.pods, gcc.nodes)
}

// gcTerminated deletes the oldest ended pods above --terminated-pod-gc-threshold, evicted ones first.
func (gcc *podGC) gcTerminated(p *sim.Proc) {
	threshold := int(gcc.options.TerminatedPodGCThreshold)
	if threshold <= 0 || gcc.pods.Len() <= threshold {
		return
	}
	var ended []*corev1.Pod
	for i := range gcc.pods.Len() {
		if pod := gcc.pods.At(i); isTerminal(pod) {
			ended = append(ended, pod)
		}
	}
	slices.SortStableFunc(ended, func(a, b *corev1.Pod) int {
		evictedA, evictedB := a.Status.Reason == "Evicted", b.Status.Reason == "Evicted"
		switch {
		case evictedA != evictedB:
			return boolFirst(evictedA)
		case !a.CreationTimestamp.Equal(&b.CreationTimestamp):
			return boolFirst(a.CreationTimestamp.Before(&b.CreationTimestamp))
		}
		return boolFirst(a.Name < b.Name)
	})
	for i := 0; i < len(ended)-threshold; i++ {
		gcc.because(ended[i])
		gcc.markFailedAndDelete(p, ended[i], "",
			"it had ended, and there were too many such pods (terminated-pod-gc-threshold)")
	}
}

// gcTerminating deletes terminating pods of nodes that an administrator declared out of service.
func (gcc *podGC) gcTerminating(p *sim.Proc) {
	for _, node := range gcc.nodes.List() {
		if len(node.Spec.Taints) == 0 || isNodeReady(node) || !slices.ContainsFunc(node.Spec.Taints,
			func(t corev1.Taint) bool {
				return t.Key == corev1.TaintNodeOutOfService
			}) {
			continue
		}
		for _, pod := range gcc.podsByNode.Get(node.Name) {
			if pod.DeletionTimestamp != nil {
				gcc.because(node)
				gcc.markFailedAndDelete(p, pod, "", fmt.Sprintf("it was terminating on %s, which is out of service", node.Name))
			}
		}
	}
}

// gcOrphaned deletes the pods of nodes that are gone, once the node was missing for the quarantine and the API
// confirms it.
func (gcc *podGC) gcOrphaned(p *sim.Proc) {
	missing := gcc.podsByNode.Values(func(node string) bool { _, exists := gcc.nodes.Named("", node); return !exists })
	if !gcc.release.PodGCQuarantine {
		gcc.gcOrphanedAtOnce(p, missing)
		return
	}
	for _, name := range missing {
		if _, known := gcc.quarantine[name]; !known {
			gcc.quarantine[name] = quarantined{until: p.Now().Add(podGCQuarantine), since: gcc.kernel.Cause()}
		}
	}
	for name := range gcc.quarantine { // any order: deletes what no longer applies
		if !slices.Contains(missing, name) {
			delete(gcc.quarantine, name)
		}
	}
	for _, name := range missing {
		q := gcc.quarantine[name]
		if p.Now() < q.until {
			continue
		}
		delete(gcc.quarantine, name)
		if _, err := api.GetObject[*corev1.Node](p, gcc.client, "", name); !api.IsNotFound(err) {
			continue
		}
		for _, pod := range gcc.podsByNode.Get(name) {
			gcc.kernel.Because(gcc.deletionOf(name, pod))
			gcc.markFailedAndDelete(p, pod, "PodGC: node no longer exists",
				fmt.Sprintf("its node %s no longer exists, for more than %s", name, seconds(podGCQuarantine)))
		}
	}
}

// gcOrphanedAtOnce is gcOrphaned of releases without quarantine: a list of all nodes, fresh from the API, decides.
func (gcc *podGC) gcOrphanedAtOnce(p *sim.Proc, missing []string) {
	if len(missing) == 0 {
		return // upstream asks also then, and nothing comes of it
	}
	nodes, _, err := api.ListObjects[*corev1.Node](p, gcc.client, "", api.ListOptions{})
	if err != nil {
		return
	}
	for _, name := range missing {
		if slices.ContainsFunc(nodes, func(node *corev1.Node) bool { return node.Name == name }) {
			continue
		}
		for _, pod := range gcc.podsByNode.Get(name) {
			gcc.kernel.Because(gcc.deletionOf(name, pod))
			gcc.markFailedAndDelete(p, pod, "", fmt.Sprintf("its node %s no longer exists", name))
		}
	}
}

// deletionOf finds the last thing that happened to a node that is gone: its deletion.
func (gcc *podGC) deletionOf(node string, pod *corev1.Pod) sim.EventID {
	trace, object := gcc.kernel.Trace(), nodeObject(node)
	for id := sim.EventID(trace.Len()); id > 0; id-- {
		if trace.Event(id).Object == object {
			return id
		}
	}
	return api.CauseOf(gcc.kernel, pod)
}

// gcUnscheduledTerminating deletes pods that are to end and never began: no kubelet will confirm them.
func (gcc *podGC) gcUnscheduledTerminating(p *sim.Proc) {
	if gcc.lost == 0 {
		return
	}
	var found []*corev1.Pod
	for i := range gcc.pods.Len() {
		if pod := gcc.pods.At(i); isUnscheduledTerminating(pod) {
			found = append(found, pod)
		}
	}
	for _, pod := range found {
		gcc.because(pod)
		gcc.markFailedAndDelete(p, pod, "", "it was terminating and had never been scheduled")
	}
}

// markFailedAndDelete sets the phase of a pod that had not ended to Failed and deletes it without grace.
func (gcc *podGC) markFailedAndDelete(p *sim.Proc, pod *corev1.Pod, condition, why string) {
	name := api.ResourceEventName(api.Pods, pod.Namespace, pod.Name)
	id := gcc.emit(sim.Event{Level: sim.Story, Reason: "DeletionByPodGC", Object: name,
		Message: "deleted without grace: " + why})
	if !isTerminal(pod) && gcc.release.PodGCMarksFailed {
		reason := ""
		if condition != "" {
			reason = "DeletionByPodGC"
		}
		if err := gcc.markDisrupted(p, pod, reason, condition, corev1.PodFailed); err != nil {
			return // the next loop sees to it
		}
	}
	gcc.kernel.Because(id)
	zero := int64(0)
	err := api.DeleteObject[*corev1.Pod](p, gcc.client, api.KeyOf(pod), api.DeleteOptions{GracePeriodSeconds: &zero})
	_ = err // the next loop sees to it
}
