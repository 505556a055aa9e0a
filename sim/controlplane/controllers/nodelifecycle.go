package controllers

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's node lifecycle controller
// (pkg/controller/nodelifecycle/node_lifecycle_controller.go, v1.36, and what differs back to v1.11):
// monitorNodeHealth, both kinds of taints, marking pods not ready, eviction by pod-eviction-timeout. Leaves out:
// reconciliation of the beta labels.

const (
	// nodelifecycle/scheduler NodeHealthUpdateRetry and retrySleepTime.
	healthUpdateTries = 5
	healthUpdateRetry = 20 * time.Millisecond
	// nodelifecycle nodeUpdateWorkerSize and podUpdateWorkerSize.
	nodeWorkers = 8
	podWorkers  = 4
	// passTime is how long a pass over the nodes takes. The next begins a period after its end, and so a grace period
	// that is a multiple of the period has passed at the very tick that many periods after the heartbeat was seen:
	// Unknown was measured 50.3 to 55.1 s after the last renewal. chosen.
	passTime = time.Millisecond
)

// nodeLifecycle is the controller.
type nodeLifecycle struct {
	*manager
	events         *controlplane.Recorder
	health         map[string]*nodeHealth
	zones          []*zone
	zoneOf         map[string]*zone
	nodeQueue      *controlplane.WorkQueue[string]
	podQueue       *controlplane.WorkQueue[api.Key]
	registered     int             // how many nodes are
	retry          map[string]bool // nodes whose pods could not all be marked
	generation     int             // of the tick, to find nodes that are gone
	tainting       taintingPass
	evictByTimeout bool // --pod-eviction-timeout decides, not taints
}

// nodeHealth is what the controller remembers of a node, also of one that was deleted. All times are its own clock's:
// what the kubelet writes is only compared with what it wrote before.
type nodeHealth struct {
	name            string
	node            *corev1.Node // the last state that was looked at
	excluded        bool         // node is excluded from disruption checks
	zone            *zone        // nil: it is not registered
	known           bool         // it was looked at
	probe           sim.Time     // when a new heartbeat was last seen
	readyTransition sim.Time
	ready           readyCondition // of the last state, saved
	hasReady        bool
	lease           *coordinationv1.Lease // that was looked at last
	renewed         time.Time             // renewTime of the lease that counted last; zero: none has since the last status
	heartbeat       sim.EventID           // the write that was the last heartbeat
	queuedBy        sim.EventID           // what put it into the taint queue, and when
	queuedAt        sim.Time
	evicted         bool // its pods were deleted, by --pod-eviction-timeout
	seenIn          int
}

// readyCondition is what is compared of a Ready condition.
type readyCondition struct {
	status     corev1.ConditionStatus
	heartbeat  time.Time
	transition time.Time
}

func newNodeLifecycle(m *manager) *nodeLifecycle {
	nc := &nodeLifecycle{manager: m, events: m.recorder("node-controller"), health: map[string]*nodeHealth{},
		zoneOf: map[string]*zone{}, retry: map[string]bool{},
		nodeQueue: controlplane.NewWorkQueue[string](m.scope, controlplane.DefaultRateLimits()),
		podQueue:  controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits())}
	nc.evictByTimeout = !m.release.TaintBasedEvictions || m.release.PodEvictionTimeoutFlag && !m.options.EnableTaintManager
	if m.release.TaintNodesByCondition {
		m.nodes.Handle(controlplane.Handler[*corev1.Node]{
			OnAdd:    nc.enqueueNode,
			OnUpdate: func(_, node *corev1.Node) { nc.enqueueNode(node) },
		})
	}
	m.nodes.Handle(controlplane.Handler[*corev1.Node]{
		OnDelete: func(node *corev1.Node, _ bool) { delete(nc.retry, node.Name) },
	})
	if m.release.LateNodePods {
		m.pods.Handle(controlplane.Handler[*corev1.Pod]{
			OnAdd:    func(pod *corev1.Pod) { nc.podUpdated(nil, pod) },
			OnUpdate: nc.podUpdated,
		})
	}
	return nc
}

func (nc *nodeLifecycle) run() {
	nc.whenSynced("nodelifecycle", func(p *sim.Proc) {
		nc.nodeQueue.Run("node-taints", nodeWorkers, nc.doNoScheduleTaintingPass)
		nc.podQueue.RunRetrying("node-pods", podWorkers, 0, nc.processPod)
		nc.tainting.start(nc)
		for {
			nc.monitorNodeHealth(p)
			p.Sleep(nc.options.NodeMonitorPeriod + passTime)
		}
	}, nc.leases, nc.nodes, nc.pods, nc.daemonSets)
}

// monitorNodeHealth is one tick. Only nodes that something is to be done about cost more than a few comparisons.
func (nc *nodeLifecycle) monitorNodeHealth(p *sim.Proc) {
	tick := nc.kernel.Cause()
	nc.generation++
	added := 0
	for i := range nc.nodes.Len() {
		if nc.classify(nc.nodes.At(i)) {
			added++
		}
	}
	if nc.registered+added != nc.nodes.Len() {
		nc.forgetDeleted()
	}
	nc.registerAdded(p)

	for _, z := range nc.zones {
		z.reset()
	}
	var work []*nodeHealth
	for i := range nc.nodes.Len() {
		node := nc.nodes.At(i)
		h := nc.health[node.Name]
		if h == nil {
			continue // it appeared while others were registered: the next tick's
		}
		if h.node == node && nc.unremarkable(h) {
			h.zone.count(h.excluded, true)
			continue
		}
		h.node, h.excluded = node, nc.isExcludedFromDisruption(node)
		work = append(work, h)
	}
	nc.inParallel(p, work, nc.updateNode)
	nc.kernel.Because(tick)
	nc.handleDisruption(p)
}

// inParallel calls fn for each node, nodeWorkers of them at a time.
func (nc *nodeLifecycle) inParallel(p *sim.Proc, work []*nodeHealth, fn func(*sim.Proc, *nodeHealth)) {
	cause := nc.kernel.Cause()
	next := 0
	_, _ = controlplane.Parallel(p, min(nodeWorkers, len(work)), func(p *sim.Proc,
		_ int) error { // cannot fail: fn has no error
		for next < len(work) {
			h := work[next]
			next++
			p.Because(cause)
			fn(p, h)
		}
		return nil
	})
}

// unremarkable reports whether the node, which has not changed since the last tick, is Ready, has a live heartbeat and
// none of our taints: nothing is to be done. It notes a new heartbeat.
func (nc *nodeLifecycle) unremarkable(h *nodeHealth) bool {
	if !h.hasReady || h.ready.status != corev1.ConditionTrue || len(h.node.Spec.Taints) > 0 || nc.retry[h.name] ||
		nc.evictByTimeout {
		return false
	}
	nc.observeLease(h)
	return nc.kernel.Now() <= h.probe.Add(nc.options.NodeMonitorGracePeriod) && !h.zone.queue.has(h.name)
}

// classify finds nodes that are new, for which it returns true, and zones that are.
func (nc *nodeLifecycle) classify(node *corev1.Node) (added bool) {
	h := nc.health[node.Name]
	if h == nil {
		h = &nodeHealth{name: node.Name}
		nc.health[node.Name] = h
	}
	h.seenIn = nc.generation
	if h.zone == nil {
		return true
	}
	if h.node != node {
		if key := zoneKey(node); key != h.zone.key {
			h.zone = nc.zoneNamed(key)
		}
	}
	return false
}

// registerAdded introduces new nodes: that takes their NoExecute taints off, also of one that the controller before
// this one had tainted. The patience of pods there starts anew.
func (nc *nodeLifecycle) registerAdded(p *sim.Proc) {
	for i := 0; i < nc.nodes.Len(); i++ {
		node := nc.nodes.At(i)
		h := nc.health[node.Name]
		if h == nil || h.zone != nil {
			continue
		}
		h.zone = nc.zoneNamed(zoneKey(node))
		nc.registered++
		nc.recordNode(node.Name, "RegisteredNode", fmt.Sprintf("Node %s event: Registered Node %s in Controller",
			node.Name, node.Name))
		if nc.evictByTimeout {
			nc.cancelPodEviction(h)
			continue
		}
		nc.markNodeAsReachable(p, node, "a controller that has just started knows nothing of its past")
	}
}

// forgetDeleted ends the registration of nodes that are gone. What is known of their health stays, as upstream keeps
// it: a node that is made anew under the same name goes on with it.
func (nc *nodeLifecycle) forgetDeleted() {
	var gone []string
	for name, h := range nc.health { // any order: sorted below
		if h.zone != nil && h.seenIn != nc.generation {
			gone = append(gone, name)
		}
	}
	for _, name := range sorted(gone) {
		nc.recordNode(name, "RemovingNode", fmt.Sprintf("Node %s event: Removing Node %s from Controller", name, name))
		h := nc.health[name]
		h.zone, h.queuedBy, h.evicted = nil, 0, false
		nc.registered--
	}
}

// updateNode does what a tick does with one node.
func (nc *nodeLifecycle) updateNode(p *sim.Proc, h *nodeHealth) {
	cause := nc.kernel.Cause()
	var observed, current *corev1.NodeCondition
	node := h.node
	for try := 0; ; try++ {
		var err error
		if observed, current, err = nc.tryUpdateNodeHealth(p, h, node); err == nil {
			break
		}
		if try == healthUpdateTries {
			return
		}
		fresh, err := api.GetObject[*corev1.Node](p, nc.client, "", node.Name)
		if err != nil {
			return // skipping: no pods will be evicted
		}
		node = fresh
		p.Sleep(healthUpdateRetry)
		nc.kernel.Because(cause)
	}
	h.zone.count(nc.isExcludedFromDisruption(node), current != nil && current.Status == corev1.ConditionTrue)
	if current == nil {
		delete(nc.retry, h.name)
		return
	}
	decisive := current
	if nc.release.TaintOneTickLate {
		decisive = observed
	}
	if nc.evictByTimeout {
		nc.processTimeoutEviction(p, h, decisive.Status)
	} else {
		nc.processTaintBaseEviction(p, h, node, decisive.Status)
	}
	lost := current.Status != corev1.ConditionTrue && observed.Status == corev1.ConditionTrue
	if lost {
		nc.recordNotReady(h, current)
	}
	if lost || nc.retry[h.name] && observed.Status != corev1.ConditionTrue {
		if !nc.markPodsNotReady(p, nc.podsByNode.Get(h.name), h.name) && nc.release.LateNodePods {
			nc.retry[h.name] = true
			return
		}
	}
	delete(nc.retry, h.name)
}

// tryUpdateNodeHealth compares the node with what is remembered of it, and sets its conditions to Unknown when no new
// heartbeat was seen for the grace period. It returns the Ready condition before and after.
func (nc *nodeLifecycle) tryUpdateNodeHealth(p *sim.Proc, h *nodeHealth, node *corev1.Node) (observed,
	current *corev1.NodeCondition, err error) {
	now := nc.kernel.Now()
	current = nodeCondition(node, corev1.NodeReady)
	grace := nc.options.NodeMonitorGracePeriod
	observed = current
	if current == nil {
		// It never posted a status: it gets the start-up grace from its creation on.
		observed = &corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionUnknown,
			LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: node.CreationTimestamp}
		grace = nc.options.NodeStartupGracePeriod
	}
	if !nc.observeStatus(h, node, current) {
		nc.observeLease(h)
	}
	if now <= h.probe.Add(grace) {
		return observed, current, nil
	}
	copied := *node // its status is all that is written
	copied.Status.Conditions = slices.Clone(node.Status.Conditions)
	changed := setUnknown(&copied, nc.now())
	current = nodeCondition(&copied, corev1.NodeReady)
	if !changed {
		return observed, current, nil
	}
	cause := nc.kernel.Cause()
	nc.kernel.Because(nc.kernel.Trace().Silence(h.name, h.heartbeat))
	updated, err := api.UpdateStatus(p, nc.client, &copied)
	if err != nil {
		nc.kernel.Because(cause)
		return observed, current, err
	}
	h.node, h.ready, h.hasReady = node, readyOf(current), true
	h.readyTransition, h.renewed = nc.kernel.Now(), time.Time{}
	if h.lease != nil && h.lease.Spec.RenewTime != nil {
		h.renewed = h.lease.Spec.RenewTime.Time
	}
	nc.because(updated)
	return observed, current, nil
}

// observeStatus notes a heartbeat by node status: its time is only compared with the one before. A new one makes the
// record anew, without the Lease that counted last: unless a newer one counts now, which it sees to and reports, that
// one counts once more in the next tick.
func (nc *nodeLifecycle) observeStatus(h *nodeHealth, node *corev1.Node, current *corev1.NodeCondition) (anew bool) {
	now := nc.kernel.Now()
	first, had := !h.known, h.hasReady
	h.known, h.hasReady = true, current != nil
	switch {
	case current == nil && first:
		h.probe = nc.virtual(node.CreationTimestamp.Time)
		h.readyTransition, h.heartbeat = h.probe, api.CauseOf(nc.kernel, node)
		return false
	case current == nil || had && current.LastHeartbeatTime.Time.Equal(h.ready.heartbeat):
		return false
	case !had || !current.LastTransitionTime.Time.Equal(h.ready.transition):
		h.readyTransition = now
	}
	h.probe, h.heartbeat, h.ready = now, api.CauseOf(nc.kernel, node), readyOf(current)
	if !nc.observeLease(h) {
		h.lease, h.renewed = nil, time.Time{}
	}
	return true
}

// virtual is when the machine's clock showed t.
func (nc *nodeLifecycle) virtual(t time.Time) sim.Time {
	return nc.kernel.Now().Add(-nc.process.Machine().Clock().Now().Sub(t))
}

func readyOf(c *corev1.NodeCondition) readyCondition {
	return readyCondition{c.Status, c.LastHeartbeatTime.Time, c.LastTransitionTime.Time}
}

// observeLease notes a heartbeat by Lease, and reports it: its renewTime has moved forward.
func (nc *nodeLifecycle) observeLease(h *nodeHealth) bool {
	lease, ok := nc.leases.Named(corev1.NamespaceNodeLease, h.name)
	if !ok || lease == h.lease {
		return false
	}
	h.lease = lease
	if lease.Spec.RenewTime == nil || !h.renewed.Before(lease.Spec.RenewTime.Time) {
		return false
	}
	h.renewed = lease.Spec.RenewTime.Time
	h.probe, h.heartbeat = nc.kernel.Now(), api.CauseOf(nc.kernel, lease)
	return true
}

// recordNotReady tells that a node was lost, and why.
func (nc *nodeLifecycle) recordNotReady(h *nodeHealth, current *corev1.NodeCondition) {
	message := fmt.Sprintf("Node %s status is now: NodeNotReady", h.name)
	trace := sim.Event{Level: sim.Story, Object: nodeObject(h.name), Message: message}
	if current.Status == corev1.ConditionUnknown {
		trace.Cause = nc.kernel.Trace().Silence(h.name, h.heartbeat)
		trace.Since, trace.Wait, trace.Setting = h.heartbeat, nc.options.NodeMonitorGracePeriod, "node-monitor-grace-period"
		silent := nc.kernel.Now().Sub(h.probe)
		if h.heartbeat != 0 {
			silent = nc.kernel.Now().Sub(nc.kernel.Trace().Event(h.heartbeat).T)
		}
		trace.Message = fmt.Sprintf("%s: no heartbeat for %s; this controller has waited %s (node-monitor-grace-period)",
			message, seconds(silent), seconds(trace.Wait))
	} else if h.node != nil {
		trace.Cause = api.CauseOf(nc.kernel, h.node)
	}
	nc.kernel.Because(nc.events.Record(controlplane.Event{Resource: api.Nodes, Object: nodeReference(h.name, h.node),
		Reason: "NodeNotReady", Message: message, Trace: trace}))
}

// recordNode writes an event about a node, as a detail of the trace.
func (nc *nodeLifecycle) recordNode(name, reason, message string) {
	node, _ := nc.nodes.Named("", name)
	nc.events.Record(controlplane.Event{Resource: api.Nodes, Object: nodeReference(name, node), Reason: reason,
		Message: message, Trace: sim.Event{Level: sim.Detail}})
}

// markPodsNotReady sets the Ready condition of pods on a lost node to False; nothing else of them changes. It reports
// whether all could be written.
func (nc *nodeLifecycle) markPodsNotReady(p *sim.Proc, pods []*corev1.Pod, node string) bool {
	cause, marked, all := nc.kernel.Cause(), 0, true
	for _, pod := range pods {
		ready := podCondition(pod, corev1.PodReady)
		if pod.Spec.NodeName != node || ready == nil || ready.Status == corev1.ConditionFalse {
			continue
		}
		copied := withOwnConditions(pod)
		condition := *ready
		condition.Status, condition.LastTransitionTime = corev1.ConditionFalse, nc.now()
		setPodCondition(copied, condition)
		nc.kernel.Because(cause)
		if _, err := api.UpdateStatus(p, nc.client, copied); err != nil {
			if api.IsNotFound(err) {
				continue
			}
			all = false
		} else {
			marked++
		}
		if nc.release.NodeNotReadyPodEvents {
			nc.events.Record(controlplane.Event{Resource: api.Pods, Object: pod, Type: corev1.EventTypeWarning,
				Reason: "NodeNotReady", Message: "Node is not ready",
				Trace: sim.Event{Level: sim.Detail, Related: nodeObject(node), Cause: cause}})
		}
	}
	nc.kernel.Because(cause)
	if marked > 0 {
		nc.scope.Emit(sim.Event{Level: sim.Story, Reason: "PodsMarkedNotReady", Object: nodeObject(node),
			Message: fmt.Sprintf("%s on %s no longer counted as ready; phase and containers still read Running",
				plural(marked, "pod"), node)})
	}
	return all
}

// setUnknown sets the four conditions that the kubelet reports to Unknown; it reports whether Ready changed.
func setUnknown(node *corev1.Node, now metav1.Time) (changed bool) {
	for _, kind := range [...]corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure,
		corev1.NodeDiskPressure,
		corev1.NodePIDPressure} {
		c := nodeCondition(node, kind)
		if c == nil {
			node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: kind,
				Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: node.CreationTimestamp, LastTransitionTime: now})
			changed = changed || kind == corev1.NodeReady
			continue
		}
		if c.Status != corev1.ConditionUnknown {
			c.Status, c.Reason = corev1.ConditionUnknown, "NodeStatusUnknown"
			c.Message, c.LastTransitionTime = "Kubelet stopped posting node status.", now
			changed = changed || kind == corev1.NodeReady
		}
	}
	return changed
}
