package kubelet

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models the kubelet's node status (pkg/kubelet/kubelet_node_status.go, nodestatus/setters.go, v1.36): registration,
// reconciliation of an existing Node, the status computed every 10 s, compared with the cached Node, posted when it
// changed or has not been for 5 minutes. Leaves out: images, volumes in use, cloud providers, pressure that is not
// told from outside.

const (
	nodeStatusJitter      = 40  // per mille: wait.JitterUntil(syncNodeStatus, ..., 0.04)
	nodeStatusUpdateRetry = 5   // pkg/kubelet/kubelet.go
	registerBackoffInit   = 100 // ms (registerWithAPIServer)
	registerBackoffMax    = 7 * time.Second
	fastStatusPoll        = 100 * time.Millisecond // fastStatusUpdateOnce
	runtimeUpPeriod       = 5 * time.Second        // updateRuntimeUp
	runtimeDownAfter      = 30 * time.Second       // maxWaitForContainerRuntime, runtimeState's threshold
	nodeReadyGracePeriod  = 120 * time.Second      // pkg/kubelet/kubelet.go
	plegUnhealthyAfter    = 3 * time.Minute        // pleg.relistThreshold
)

// nodeStatus posts the Node's status.
type nodeStatus struct {
	kl         *Kubelet
	random     *sim.Stream
	registered bool
	seen       *corev1.Node // as the watch has it
	checked    *corev1.Node // the cached Node that was last found to need no change
	checkedFor string       // and the runtime's state then
	lastReport sim.Time
	delay      time.Duration // of the next report of an unchanged status
	reported   bool
	posting    bool
	rebooted   bool
	ready      corev1.ConditionStatus // as last written
	backoff    time.Duration

	// What does not change while the kubelet runs. They are compared with, and copied to where they are sent.
	info      corev1.NodeSystemInfo
	addresses [2]corev1.NodeAddress
	capacity  corev1.ResourceList
}

func (n *nodeStatus) init(kl *Kubelet) {
	n.kl, n.random = kl, kl.kernel.Rand("kubelet/node/"+kl.machine.Name)
	n.info = corev1.NodeSystemInfo{
		MachineID: "ksim-" + kl.machine.Name, SystemUUID: "ksim-" + kl.machine.Name, BootID: kl.machine.BootID(),
		KernelVersion: "6.12.0-ksim", OSImage: "ksim", ContainerRuntimeVersion: "containerd://2.2.0",
		KubeletVersion: kl.options.Release.Version(), OperatingSystem: "linux", Architecture: "amd64",
	}
	if kl.options.Release.Minor < 33 { // removed in v1.33 (pkg/kubelet/nodestatus/setters.go)
		n.info.KubeProxyVersion = n.info.KubeletVersion
	}
	n.addresses = [2]corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: kl.hostIP()},
		{Type: corev1.NodeHostName, Address: kl.config.nodeName}}
	n.capacity = kl.options.capacity(kl.config.maxPods)
}

func (n *nodeStatus) start() {
	if n.kl.config.registerNode {
		n.backoff = registerBackoffInit * time.Millisecond
		n.register()
		return
	}
	n.registered = true
	n.Run()
}

// cached returns the Node as the kubelet's watch has it, nil if it has none.
func (n *nodeStatus) cached() *corev1.Node { return n.seen }

// watch has the informer tell of the Node.
func (n *nodeStatus) watch(nodes *controlplane.Informer[*corev1.Node]) {
	nodes.Handle(controlplane.Handler[*corev1.Node]{
		OnAdd:    func(node *corev1.Node) { n.seen = node },
		OnUpdate: func(_, node *corev1.Node) { n.seen = node },
		OnDelete: func(*corev1.Node, bool) { n.seen = nil },
	})
}

// register creates the Node, or reconciles the one that is there, until it works (registerWithAPIServer).
func (n *nodeStatus) register() {
	node := n.initialNode()
	n.kl.client.Start(&api.Request{Verb: api.Create, Resource: api.Nodes, Name: node.Name, Object: node},
		func(answer *api.Response, err error) {
			switch {
			case err == nil:
				n.kl.scope.Emit(sim.Event{Level: sim.Story, Reason: "RegisteredNode", Object: "node/" + n.kl.config.nodeName,
					Message: "the kubelet registered its node"})
				n.registeredNow()
			case api.IsAlreadyExists(err):
				n.reconcileExisting()
			default:
				n.registerLater()
			}
		})
}

func (n *nodeStatus) registerLater() {
	n.backoff = min(2*n.backoff, registerBackoffMax)
	n.kl.scope.After(n.backoff, "register node", n.register)
}

// reconcileExisting updates labels and capacity of a Node of that name (tryRegisterWithAPIServer).
func (n *nodeStatus) reconcileExisting() {
	n.kl.client.Start(&api.Request{Verb: api.Get, Resource: api.Nodes, Name: n.kl.config.nodeName},
		func(answer *api.Response, err error) {
			if err != nil {
				n.registerLater()
				return
			}
			existing := answer.Object.(*corev1.Node)
			node := existing.DeepCopy()
			changed := false
			wanted := n.initialNode()
			for key, value := range wanted.Labels { // any order: sets keys of a map
				if node.Labels[key] != value {
					if node.Labels == nil {
						node.Labels = map[string]string{}
					}
					node.Labels[key], changed = value, true
				}
			}
			if !changed {
				n.registeredNow()
				return
			}
			n.kl.client.Start(&api.Request{Verb: api.Update, Resource: api.Nodes, Name: node.Name, Object: node},
				func(_ *api.Response, err error) {
					if err != nil {
						n.registerLater()
						return
					}
					n.registeredNow()
				})
		})
}

// registeredNow goes on with the status: at once for what is known, and again when the runtime has been asked.
func (n *nodeStatus) registeredNow() {
	n.registered = true
	n.Run()
	n.fast()
}

// fast posts the status as soon as the node is ready, instead of 10 s later (fastStatusUpdateOnce).
func (n *nodeStatus) fast() {
	if n.ready == corev1.ConditionTrue || n.kl.kernel.Now().Sub(n.kl.loop) > nodeReadyGracePeriod {
		return
	}
	if node := n.cached(); node != nil && conditionOf(node, corev1.NodeReady) == corev1.ConditionTrue {
		return
	}
	if n.problem() == "" && !n.posting {
		n.update()
	}
	n.kl.scope.After(fastStatusPoll, "fast node status", n.fast)
}

// Run is syncNodeStatus, every 10 s.
func (n *nodeStatus) Run() {
	n.kl.scope.AfterRun(n.random.Jitter(n.kl.config.statusUpdate, nodeStatusJitter), "node status", n)
	if !n.posting {
		n.update()
	}
}

// update compares with the cached Node first; later tries read the API.
func (n *nodeStatus) update() {
	if node := n.cached(); node != nil {
		n.tryUpdate(node, 0)
		return
	}
	n.posting = true
	n.retry(1)
}

func (n *nodeStatus) retry(try int) {
	if try >= nodeStatusUpdateRetry {
		n.posting = false
		return
	}
	n.posting = true
	n.kl.heartbeat.Start(&api.Request{Verb: api.Get, Resource: api.Nodes, Name: n.kl.config.nodeName,
		Within: heartbeatTimeout},
		func(answer *api.Response, err error) {
			if err != nil {
				n.retry(try + 1)
				return
			}
			n.tryUpdate(answer.Object.(*corev1.Node), try)
		})
}

func (n *nodeStatus) tryUpdate(current *corev1.Node, try int) {
	due := !n.reported || n.kl.kernel.Now().Sub(n.lastReport) >= n.kl.config.statusReport+n.delay
	problem := n.problem()
	if current == n.checked && problem == n.checkedFor && !due {
		n.posting = false
		return
	}
	status, changed := n.compute(current, problem)
	if !changed && !due {
		n.checked, n.checkedFor, n.posting = current, problem, false
		return
	}
	n.posting = true
	node := *current
	node.Status = *status
	n.kl.heartbeat.Start(&api.Request{Verb: api.Update, Resource: api.Nodes, Subresource: "status", Name: node.Name,
		Object: &node, Within: heartbeatTimeout}, func(answer *api.Response, err error) {
		if err != nil {
			n.retry(try + 1)
			return
		}
		n.posted(answer.Object.(*corev1.Node), changed)
	})
}

func (n *nodeStatus) posted(node *corev1.Node, changed bool) {
	n.posting, n.reported, n.lastReport, n.delay = false, true, n.kl.kernel.Now(), 0
	if changed {
		// -50 % to +50 % of the report frequency (calculateDelay, pkg/kubelet/kubelet.go).
		n.delay = n.random.Between(-n.kl.config.statusReport/2, n.kl.config.statusReport/2)
	}
	ready := conditionOf(node, corev1.NodeReady)
	if ready == corev1.ConditionTrue && n.ready != ready {
		n.kl.scope.Emit(sim.Event{Level: sim.Detail, Reason: "KubeletReady", Object: "node/" + node.Name,
			Message: "kubelet is posting ready status"})
	}
	n.ready = ready
}

// problem is what makes the node not ready, "" when nothing does (runtimeState).
func (n *nodeStatus) problem() string {
	up, since := n.kl.runtime.Up()
	now := n.kl.kernel.Now()
	switch {
	case n.kl.shutdown.active:
		return "node is shutting down"
	case up:
		return ""
	case since < n.kl.loop && now.Sub(n.kl.loop) < runtimeDownAfter && !n.reported:
		return "container runtime status check may not have completed yet"
	case now.Sub(since) >= plegUnhealthyAfter:
		return fmt.Sprintf("[container runtime is down, "+
			"PLEG is not healthy: pleg was last seen active %s ago; threshold is 3m0s]",
			now.Sub(since).Round(time.Second))
	case now.Sub(since) >= runtimeDownAfter:
		return "container runtime is down"
	}
	return ""
}

// compute makes the status out of what the Node has; changed ignores heartbeat times (nodeStatusHasChanged).
func (n *nodeStatus) compute(current *corev1.Node, problem string) (*corev1.NodeStatus, bool) {
	status := new(corev1.NodeStatus)
	*status = current.Status // what is changed below is replaced, but for the conditions
	status.Conditions = append(make([]corev1.NodeCondition, 0, max(4, len(current.Status.Conditions))),
		current.Status.Conditions...)
	changed := n.setMachineInfo(status)
	now := n.kl.now()
	healthy := []struct {
		kind            corev1.NodeConditionType
		reason, message string
		event           string
	}{
		{corev1.NodeMemoryPressure, "KubeletHasSufficientMemory", "kubelet has sufficient memory available",
			"NodeHasSufficientMemory"},
		{corev1.NodeDiskPressure, "KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"},
		{corev1.NodePIDPressure, "KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"},
	}
	for _, c := range healthy {
		set := n.setCondition(status, now, corev1.NodeCondition{Type: c.kind, Status: corev1.ConditionFalse, Reason: c.reason,
			Message: c.message})
		if (set || !n.reported) && n.registered {
			n.recordStatus(c.event)
		}
		changed = changed || set
	}
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
		Message: "kubelet is posting ready status"}
	if problem != "" {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "KubeletNotReady", problem
	}
	was := conditionOfStatus(status, corev1.NodeReady)
	if n.setCondition(status, now, ready) {
		changed = true
		if was != "" && was != ready.Status {
			n.recordReady(ready)
		}
	}
	return status, changed
}

func (n *nodeStatus) recordReady(ready corev1.NodeCondition) {
	event := sim.Event{Level: sim.Story, Message: "node " + n.kl.config.nodeName + " is ready: " + ready.Message}
	reason := "NodeReady"
	if ready.Status != corev1.ConditionTrue {
		reason = "NodeNotReady"
		event.Message = "node " + n.kl.config.nodeName + " is not ready: " + ready.Message
	}
	n.kl.recordNode(corev1.EventTypeNormal, reason, "Node "+n.kl.config.nodeName+" status is now: "+reason, event)
}

func (n *nodeStatus) recordStatus(event string) {
	n.kl.recordNode(corev1.EventTypeNormal, event, "Node "+n.kl.config.nodeName+" status is now: "+event,
		sim.Event{Level: sim.Detail})
}

// setCondition sets a condition and reports whether it differs in more than its heartbeat time.
func (n *nodeStatus) setCondition(status *corev1.NodeStatus, now metav1.Time, want corev1.NodeCondition) bool {
	want.LastHeartbeatTime, want.LastTransitionTime = now, now
	for i := range status.Conditions {
		have := &status.Conditions[i]
		if have.Type != want.Type {
			continue
		}
		if have.Status == want.Status {
			want.LastTransitionTime = have.LastTransitionTime
		}
		changed := have.Status != want.Status || have.Reason != want.Reason || have.Message != want.Message
		*have = want
		return changed
	}
	status.Conditions = append(status.Conditions, want)
	return true
}

func conditionOf(node *corev1.Node, kind corev1.NodeConditionType) corev1.ConditionStatus {
	return conditionOfStatus(&node.Status, kind)
}

func conditionOfStatus(status *corev1.NodeStatus, kind corev1.NodeConditionType) corev1.ConditionStatus {
	for i := range status.Conditions {
		if status.Conditions[i].Type == kind {
			return status.Conditions[i].Status
		}
	}
	return ""
}

// setMachineInfo sets what the machine is: addresses, capacity, boot ID, versions. It tells of a reboot.
func (n *nodeStatus) setMachineInfo(status *corev1.NodeStatus) (changed bool) {
	if old := status.NodeInfo.BootID; old != "" && old != n.info.BootID && !n.rebooted {
		n.rebooted = true
		n.kl.recordNode(corev1.EventTypeWarning, "Rebooted",
			fmt.Sprintf("Node %s has been rebooted, boot id: %s", n.kl.config.nodeName, n.info.BootID),
			sim.Event{Level: sim.Detail})
	}
	if status.NodeInfo != n.info {
		status.NodeInfo, changed = n.info, true
	}
	if !slices.Equal(status.Addresses, n.addresses[:]) {
		status.Addresses, changed = slices.Clone(n.addresses[:]), true
	}
	if !sameResources(status.Capacity, n.capacity) {
		status.Capacity, changed = n.capacity.DeepCopy(), true
		status.Allocatable = n.capacity.DeepCopy()
	}
	if status.DaemonEndpoints.KubeletEndpoint.Port != kubeletPort {
		status.DaemonEndpoints.KubeletEndpoint.Port, changed = kubeletPort, true
	}
	return changed
}

const kubeletPort = 10250

// hostIP is the machine's address, or what --node-ip says.
func (kl *Kubelet) hostIP() string {
	if kl.config.nodeIP != "" {
		return kl.config.nodeIP
	}
	return kl.machine.IP()
}

func sameResources(a, b corev1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, quantity := range b { // any order: all must be equal
		have, ok := a[name]
		if !ok || have.Cmp(quantity) != 0 {
			return false
		}
	}
	return true
}

// initialNode is what the kubelet registers (initialNode).
func (n *nodeStatus) initialNode() *corev1.Node {
	name := n.kl.config.nodeName
	labels := map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
	}
	if zone := n.kl.machine.Zone; zone != "" {
		labels[corev1.LabelTopologyZone] = zone
		// chosen: all zones of a cluster lie in one region.
		labels[corev1.LabelTopologyRegion] = "region-1"
	}
	for key, value := range n.kl.config.labels { // any order: fills a map
		labels[key] = value
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels,
		Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}},
		Spec: corev1.NodeSpec{Taints: append([]corev1.Taint(nil), n.kl.config.taints...)}}
	// The first status is made before the runtime was asked for its own.
	status, _ := n.compute(node, errRuntimeUnknown.Error())
	node.Status = *status
	return node
}

var errRuntimeUnknown = errors.New("container runtime status check may not have completed yet")
