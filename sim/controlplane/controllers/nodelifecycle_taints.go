package controllers

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
)

// Models the tainting half of the node lifecycle controller (pkg/controller/nodelifecycle doNoScheduleTaintingPass,
// doNoExecuteTaintingPass, processTaintBaseEviction, v1.36).

// noExecutePeriod is how often the queues are looked at (nodelifecycle/scheduler NodeEvictionPeriod).
const noExecutePeriod = 100 * time.Millisecond

var noExecuteKeys = [...]string{corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady}

// conditionTaint returns the NoSchedule taint that a condition asks for, "" none (nodeConditionToTaintKeyStatusMap).
func conditionTaint(c *corev1.NodeCondition) string {
	switch {
	case c.Type == corev1.NodeReady && c.Status == corev1.ConditionFalse:
		return corev1.TaintNodeNotReady
	case c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown:
		return corev1.TaintNodeUnreachable
	case c.Status != corev1.ConditionTrue:
		return ""
	case c.Type == corev1.NodeMemoryPressure:
		return corev1.TaintNodeMemoryPressure
	case c.Type == corev1.NodeDiskPressure:
		return corev1.TaintNodeDiskPressure
	case c.Type == corev1.NodeNetworkUnavailable:
		return corev1.TaintNodeNetworkUnavailable
	case c.Type == corev1.NodePIDPressure:
		return corev1.TaintNodePIDPressure
	}
	return ""
}

var conditionTaints = [...]string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeMemoryPressure,
	corev1.TaintNodeDiskPressure, corev1.TaintNodeNetworkUnavailable, corev1.TaintNodePIDPressure,
	corev1.TaintNodeUnschedulable}

// noScheduleDiff returns which NoSchedule taints a node lacks, and which it has without reason.
func noScheduleDiff(node *corev1.Node) (add, remove []string) {
	var wanted []string
	for i := range node.Status.Conditions {
		if key := conditionTaint(&node.Status.Conditions[i]); key != "" {
			wanted = append(wanted, key)
		}
	}
	if node.Spec.Unschedulable {
		wanted = append(wanted, corev1.TaintNodeUnschedulable)
	}
	if len(wanted) == 0 && len(node.Spec.Taints) == 0 {
		return nil, nil
	}
	for _, key := range conditionTaints {
		has := hasTaint(node, key, corev1.TaintEffectNoSchedule)
		if want := slices.Contains(wanted, key); want && !has {
			add = append(add, key)
		} else if has && !want {
			remove = append(remove, key)
		}
	}
	return add, remove
}

// enqueueNode queues a node whose NoSchedule taints do not follow its conditions.
func (nc *nodeLifecycle) enqueueNode(node *corev1.Node) {
	if add, remove := noScheduleDiff(node); len(add)+len(remove) > 0 {
		nc.nodeQueue.Add(node.Name)
	}
}

func (nc *nodeLifecycle) doNoScheduleTaintingPass(p *sim.Proc, name string) {
	node, ok := nc.nodes.Named("", name)
	if !ok {
		return
	}
	add, remove := noScheduleDiff(node)
	if len(add)+len(remove) == 0 {
		return
	}
	if nc.swapTaints(p, node, corev1.TaintEffectNoSchedule, add, remove) {
		nc.tellTaints(sim.Event{Level: sim.Detail, Object: nodeObject(name)}, corev1.TaintEffectNoSchedule, add, remove)
	}
}

// tellTaints emits what was done to a node's taints.
func (nc *nodeLifecycle) tellTaints(e sim.Event, effect corev1.TaintEffect, add, remove []string) {
	for _, key := range add {
		e.Reason = "TaintAdded"
		text := fmt.Sprintf("taint %s:%s added", key, effect)
		if e.Message != "" {
			text += ": " + e.Message
		}
		with := e
		with.Message = text
		nc.scope.Emit(with)
	}
	for _, key := range remove {
		nc.scope.Emit(sim.Event{Level: e.Level, Object: e.Object, Cause: e.Cause, Reason: "TaintRemoved",
			Message: fmt.Sprintf("taint %s:%s removed", key, effect)})
	}
}

// processTaintBaseEviction queues a lost node for its NoExecute taint, or takes it off one that is back.
func (nc *nodeLifecycle) processTaintBaseEviction(p *sim.Proc, h *nodeHealth, node *corev1.Node,
	ready corev1.ConditionStatus) {
	wanted, opposite := noExecuteTaint(ready)
	switch {
	case wanted == "":
		nc.markNodeAsReachable(p, node, "the node is Ready again")
	case hasTaint(node, opposite, corev1.TaintEffectNoExecute):
		if nc.swapTaints(p, node, corev1.TaintEffectNoExecute, []string{wanted}, []string{opposite}) {
			nc.tellTaints(sim.Event{Level: sim.Story, Object: nodeObject(h.name)}, corev1.TaintEffectNoExecute,
				[]string{wanted}, []string{opposite})
		}
	default:
		if !hasTaint(node, wanted, corev1.TaintEffectNoExecute) && nc.release.TaintRestored {
			h.zone.queue.remove(h.name)
		}
		nc.enqueueForEviction(h)
	}
}

// noExecuteTaint returns the taint that a Ready status asks for, and the one that excludes it; "" for True.
func noExecuteTaint(ready corev1.ConditionStatus) (wanted, opposite string) {
	switch ready {
	case corev1.ConditionFalse:
		return corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable
	case corev1.ConditionUnknown:
		return corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady
	}
	return "", ""
}

func (nc *nodeLifecycle) enqueueForEviction(h *nodeHealth) {
	if !h.zone.queue.add(h.name, nc.kernel.Now()) {
		return
	}
	if h.queuedBy == 0 {
		h.queuedBy, h.queuedAt = nc.kernel.Cause(), nc.kernel.Now()
	}
	nc.tainting.schedule()
}

// markNodeAsReachable takes both NoExecute taints off a node and out of the queue.
func (nc *nodeLifecycle) markNodeAsReachable(p *sim.Proc, node *corev1.Node, why string) {
	var remove []string
	for _, key := range noExecuteKeys {
		if hasTaint(node, key, corev1.TaintEffectNoExecute) {
			remove = append(remove, key)
		}
	}
	for _, key := range remove {
		nc.because(node)
		if !nc.removeTaints(p, node, corev1.TaintEffectNoExecute, []string{key}) {
			return // tried again in the next tick
		}
		nc.scope.Emit(sim.Event{Level: sim.Story, Reason: "TaintRemoved", Object: nodeObject(node.Name),
			Message: fmt.Sprintf("taint %s:NoExecute removed: %s", key, why)})
	}
	if h := nc.health[node.Name]; h != nil && h.zone != nil {
		h.zone.queue.remove(node.Name)
		h.queuedBy = 0
	}
}

// taintingPass works off the zones' queues each 100 ms. Passes that would find nothing to do are not run.
type taintingPass struct {
	nc      *nodeLifecycle
	phase   sim.Time
	timer   sim.Timer
	at      sim.Time
	running bool
}

func (t *taintingPass) start(nc *nodeLifecycle) { t.nc, t.phase = nc, nc.kernel.Now() }

// schedule sets the timer for the first pass that has something to do.
func (t *taintingPass) schedule() {
	if t.nc == nil || t.running {
		return
	}
	now := t.nc.kernel.Now()
	at := sim.Time(-1)
	for _, z := range t.nc.zones {
		if len(z.queue.order) == 0 || z.limiter.rate <= 0 {
			continue
		}
		if due := max(now, z.limiter.next, z.queue.order[0].processAt); at < 0 || due < at {
			at = due
		}
	}
	if at < 0 || t.timer.Pending() && t.at <= at {
		return
	}
	t.timer.Stop()
	period := sim.Time(noExecutePeriod)
	at = t.phase + (at-t.phase+period-1)/period*period
	t.at = at
	t.timer = t.nc.scope.At(at, "NoExecute pass", func() {
		t.running = true
		t.nc.scope.Go("noexecute-taints", func(p *sim.Proc) {
			t.nc.doNoExecuteTaintingPass(p)
			t.running, t.phase = false, p.Now()
			t.schedule()
		})
	})
}

// doNoExecuteTaintingPass taints the nodes that are first in their zones' queues, as far as the rate allows.
func (nc *nodeLifecycle) doNoExecuteTaintingPass(p *sim.Proc) {
	for _, z := range slices.Clone(nc.zones) {
		for len(z.queue.order) > 0 {
			first := z.queue.order[0]
			if !z.limiter.tryAccept(p.Now()) || p.Now() < first.processAt {
				break
			}
			if nc.evictFromQueue(p, first.name) {
				z.queue.done(first.name)
			} else if len(z.queue.order) > 0 && z.queue.order[0].name == first.name {
				z.queue.retryLater(p.Now() + 1)
			}
		}
	}
}

// evictFromQueue taints one node, or deletes its pods where that is how it is done; false: try again.
func (nc *nodeLifecycle) evictFromQueue(p *sim.Proc, name string) bool {
	node, ok := nc.nodes.Named("", name)
	h := nc.health[name]
	if !ok || h == nil {
		return true
	}
	if nc.evictByTimeout {
		h.evicted = nc.deletePods(p, h, nc.podsByNode.Get(name))
		return h.evicted
	}
	ready := nodeCondition(node, corev1.NodeReady)
	if ready == nil {
		return false
	}
	wanted, opposite := noExecuteTaint(ready.Status)
	if wanted == "" {
		return true // it is ready now
	}
	nc.kernel.Because(h.queuedBy)
	if !nc.swapTaints(p, node, corev1.TaintEffectNoExecute, []string{wanted}, []string{opposite}) {
		return false
	}
	e := sim.Event{Level: sim.Story, Object: nodeObject(name), Message: "the patience of its pods starts to run"}
	if waited := p.Now().Sub(h.queuedAt); waited > time.Second {
		e.Since, e.Wait, e.Setting = h.queuedBy, waited, "node-eviction-rate"
		e.Message = fmt.Sprintf("%s after %s in the queue of its zone (node-eviction-rate)", e.Message, seconds(waited))
	}
	h.queuedBy = 0
	nc.tellTaints(e, corev1.TaintEffectNoExecute, []string{wanted}, nil)
	return true
}
