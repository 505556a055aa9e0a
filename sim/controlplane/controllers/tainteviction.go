package controllers

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's taint eviction controller (pkg/controller/tainteviction, v1.36; part of the node
// lifecycle controller before v1.29): deletes pods from nodes with NoExecute taints, when their tolerations run out.
// Timers live in memory and start when this process sees the taint. Leaves out: the hash of nodes to workers, because
// looking costs no time.

const (
	// tainteviction retries and the sleep between them.
	podDeleteTries = 5
	podDeleteRetry = 10 * time.Millisecond
)

// taintEviction is the controller.
type taintEviction struct {
	*manager
	events  *controlplane.Recorder
	tainted map[string][]corev1.Taint // NoExecute taints by node
	work    map[api.Key]*timedWork
	running bool
}

// timedWork is a deletion that is due, or under way, or done and remembered.
type timedWork struct {
	createdAt sim.Time
	timer     sim.Timer
	fired     bool
}

// eviction is what is known of why a pod is to go.
type eviction struct {
	pod   *corev1.Pod
	node  string
	taint sim.EventID // the write of the taint
	taken time.Duration
	name  string // of the taint
}

func newTaintEviction(m *manager) *taintEviction {
	component := "taint-eviction-controller"
	if !m.release.SeparateTaintEviction {
		component = "taint-controller"
	}
	tc := &taintEviction{manager: m, events: m.recorder(component), tainted: map[string][]corev1.Taint{},
		work: map[api.Key]*timedWork{}}
	m.nodes.Handle(controlplane.Handler[*corev1.Node]{
		OnAdd:    func(node *corev1.Node) { tc.nodeUpdated(nil, node) },
		OnUpdate: tc.nodeUpdated,
		OnDelete: func(node *corev1.Node, _ bool) { delete(tc.tainted, node.Name) },
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd:    func(pod *corev1.Pod) { tc.podUpdated(nil, pod) },
		OnUpdate: tc.podUpdated,
		OnDelete: func(pod *corev1.Pod, _ bool) { tc.cancel(pod) },
	})
	return tc
}

func (tc *taintEviction) run() {
	if !tc.options.EnableTaintManager {
		return
	}
	tc.whenSynced("tainteviction", func(*sim.Proc) {
		tc.running = true
		for i := range tc.nodes.Len() {
			node := tc.nodes.At(i)
			tc.because(node)
			tc.nodeUpdated(nil, node)
		}
	}, tc.pods, tc.nodes)
}

func noExecuteTaints(node *corev1.Node) []corev1.Taint {
	var taints []corev1.Taint
	for i := range node.Spec.Taints {
		if node.Spec.Taints[i].Effect == corev1.TaintEffectNoExecute {
			taints = append(taints, node.Spec.Taints[i])
		}
	}
	return taints
}

func sameTaints(a, b []corev1.Taint) bool {
	return slices.EqualFunc(a, b, func(x, y corev1.Taint) bool {
		return x.Key == y.Key && x.Value == y.Value && x.TimeAdded.Equal(y.TimeAdded)
	})
}

func (tc *taintEviction) nodeUpdated(old, node *corev1.Node) {
	if !tc.running || old != nil && len(old.Spec.Taints)+len(node.Spec.Taints) == 0 {
		return
	}
	taints := noExecuteTaints(node)
	if old != nil && sameTaints(noExecuteTaints(old), taints) {
		return
	}
	pods := tc.podsByNode.Get(node.Name)
	if len(taints) == 0 {
		delete(tc.tainted, node.Name)
		for _, pod := range pods {
			tc.cancel(pod)
		}
		return
	}
	tc.tainted[node.Name] = taints
	for _, pod := range pods {
		tc.processPodOnNode(pod, taints)
	}
}

func (tc *taintEviction) podUpdated(old, pod *corev1.Pod) {
	if !tc.running || pod.Spec.NodeName == "" {
		return
	}
	taints := tc.tainted[pod.Spec.NodeName]
	if len(taints) == 0 {
		return
	}
	if old != nil && old.Spec.NodeName == pod.Spec.NodeName && sameTolerations(old.Spec.Tolerations,
		pod.Spec.Tolerations) {
		return
	}
	tc.processPodOnNode(pod, taints)
}

func sameTolerations(a, b []corev1.Toleration) bool {
	return slices.EqualFunc(a, b, func(x, y corev1.Toleration) bool {
		sameSeconds := x.TolerationSeconds == y.TolerationSeconds ||
			x.TolerationSeconds != nil && y.TolerationSeconds != nil && *x.TolerationSeconds == *y.TolerationSeconds
		return x.Key == y.Key && x.Operator == y.Operator && x.Value == y.Value && x.Effect == y.Effect && sameSeconds
	})
}

// minTolerationTime returns how long a pod tolerates the taints that the used tolerations are for; for ever: -1.
func minTolerationTime(used []*corev1.Toleration) time.Duration {
	least := int64(-1)
	for _, t := range used {
		if t.TolerationSeconds == nil {
			continue
		}
		if least < 0 || *t.TolerationSeconds < least {
			least = max(*t.TolerationSeconds, 0)
		}
	}
	if least < 0 {
		return -1
	}
	return time.Duration(least) * time.Second
}

// processPodOnNode decides when a pod on a tainted node is to go.
func (tc *taintEviction) processPodOnNode(pod *corev1.Pod, taints []corev1.Taint) {
	now := tc.kernel.Now()
	e := eviction{pod: pod, node: pod.Spec.NodeName, taint: tc.taintWrite(pod.Spec.NodeName), name: taints[0].Key}
	used, all := matchingTolerations(taints, pod.Spec.Tolerations)
	if !all {
		tc.cancel(pod)
		tc.add(e, now, 0)
		return
	}
	wait := minTolerationTime(used)
	if wait < 0 {
		tc.cancel(pod)
		return
	}
	e.taken = wait
	start := now
	if scheduled := tc.work[api.KeyOf(pod)]; scheduled != nil && !scheduled.fired {
		start = scheduled.createdAt
		if start.Add(wait) < now.Add(wait) {
			return
		}
		tc.cancel(pod)
	}
	tc.add(e, start, wait)
}

func (tc *taintEviction) taintWrite(name string) sim.EventID {
	if node, ok := tc.nodes.Named("", name); ok {
		return api.CauseOf(tc.kernel, node)
	}
	return tc.kernel.Cause()
}

// add sets the timer for a pod's deletion; one that has a timer keeps it.
func (tc *taintEviction) add(e eviction, createdAt sim.Time, wait time.Duration) {
	key := api.KeyOf(e.pod)
	if tc.work[key] != nil {
		return
	}
	work := &timedWork{createdAt: createdAt, fired: wait <= 0}
	tc.work[key] = work
	fire := func() {
		work.fired = true
		tc.scope.Go("taint-eviction", func(p *sim.Proc) {
			deleted := tc.deletePod(p, e)
			if tc.work[key] == work && !(deleted && tc.release.DeletesTaintedPodsOnce) {
				delete(tc.work, key)
			}
		})
	}
	if wait <= 0 {
		fire()
		return
	}
	tc.kernel.Because(e.taint)
	work.timer = tc.scope.After(wait, "tolerationSeconds", fire)
}

// cancel takes a pod's timer back, and says so if it was still running.
func (tc *taintEviction) cancel(pod *corev1.Pod) {
	key := api.KeyOf(pod)
	work := tc.work[key]
	if work == nil {
		return
	}
	delete(tc.work, key)
	if work.fired {
		return
	}
	work.timer.Stop()
	tc.events.Record(controlplane.Event{Resource: api.Pods, Object: pod, Reason: "TaintManagerEviction",
		Message: fmt.Sprintf("Cancelling deletion of Pod %s", key),
		Trace:   sim.Event{Level: sim.Story, Related: nodeObject(pod.Spec.NodeName)}})
}

// deletePod marks the pod as disrupted and deletes it with its own grace. Budgets are not asked.
func (tc *taintEviction) deletePod(p *sim.Proc, e eviction) (deleted bool) {
	key := api.KeyOf(e.pod)
	message := fmt.Sprintf("Marking for deletion Pod %s", key)
	trace := sim.Event{Level: sim.Story, Related: nodeObject(e.node), Cause: e.taint,
		Message: message + ": it does not tolerate the taint " + e.name}
	if e.taken > 0 {
		trace.Since, trace.Wait, trace.Setting = e.taint, e.taken, "tolerationSeconds"
		trace.Message = fmt.Sprintf("%s: it tolerated the taint %s for %s (tolerationSeconds)", message, e.name,
			seconds(e.taken))
	}
	id := tc.events.Record(controlplane.Event{Resource: api.Pods, Object: e.pod, Reason: "TaintManagerEviction",
		Message: message, Trace: trace})
	for try := range podDeleteTries {
		if try > 0 {
			p.Sleep(podDeleteRetry)
		}
		p.Because(id)
		if tc.addConditionAndDelete(p, key) == nil {
			return true
		}
	}
	return false
}

func (tc *taintEviction) addConditionAndDelete(p *sim.Proc, key api.Key) error {
	cause := tc.kernel.Cause()
	if tc.release.DisruptionTargetPodState {
		pod, err := api.GetObject[*corev1.Pod](p, tc.client, key.Namespace, key.Name)
		if err != nil {
			return err
		}
		p.Because(cause)
		if err := tc.markDisrupted(p, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint",
			""); err != nil {
			return err
		}
		p.Because(cause)
	}
	return api.DeleteObject[*corev1.Pod](p, tc.client, key, api.DeleteOptions{})
}

// markDisrupted sets the condition DisruptionTarget on a pod, unless reason is "", and its phase, unless that is "".
// Upstream patches what it changes, and so does not lose against another write: here the pod is read again then.
func (m *manager) markDisrupted(p *sim.Proc, pod *corev1.Pod, reason, message string, phase corev1.PodPhase) error {
	cause, uid := m.kernel.Cause(), pod.UID
	for {
		copied, changed := withOwnConditions(pod), false
		if reason != "" {
			changed = setPodCondition(copied, corev1.PodCondition{Type: corev1.DisruptionTarget,
				Status: corev1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: m.now()})
		}
		if phase != "" && copied.Status.Phase != phase {
			copied.Status.Phase, changed = phase, true
		}
		if !changed {
			return nil
		}
		_, err := api.UpdateStatus(p, m.client, copied)
		if !api.IsConflict(err) {
			return err
		}
		if pod, err = api.GetObject[*corev1.Pod](p, m.client, pod.Namespace, pod.Name); err != nil {
			return err
		}
		if pod.UID != uid {
			return fmt.Errorf("pod %s was replaced", api.KeyOf(pod))
		}
		m.kernel.Because(cause)
	}
}
