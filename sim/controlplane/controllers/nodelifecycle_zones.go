package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
)

// Models how the node lifecycle controller holds back when much is lost at once (pkg/controller/nodelifecycle
// handleDisruption, ComputeZoneState and setLimiterInZone, nodelifecycle/scheduler/rate_limited_queue.go, v1.36).

// zoneState says how much of a zone is lost.
type zoneState string

const (
	stateInitial           zoneState = "Initial"
	stateNormal            zoneState = "Normal"
	stateFullDisruption    zoneState = "FullDisruption"
	statePartialDisruption zoneState = "PartialDisruption"
)

// zone is a failure domain: nodes with the same region and zone labels.
type zone struct {
	key             string
	state           zoneState
	ready, notReady int // in this tick
	queue           nodeQueue
	limiter         limiter
}

func (z *zone) reset() { z.ready, z.notReady = 0, 0 }

// count takes a node into account, unless it is excluded from disruption checks.
func (z *zone) count(excluded, ready bool) {
	switch {
	case excluded:
	case ready:
		z.ready++
	default:
		z.notReady++
	}
}

// isExcludedFromDisruption reports whether a node is not counted in its zone: by its label or, in old releases, its
// name.
func (nc *nodeLifecycle) isExcludedFromDisruption(node *corev1.Node) bool {
	if nc.release.MasterNamesExcluded && isMasterName(node.Name) {
		return true
	}
	_, labelled := node.Labels["node.kubernetes.io/exclude-disruption"]
	return labelled && nc.release.DisruptionExclusionLabel
}

// isMasterName reports whether a name is that of a master: it ends in master, or in master- and three letters
// (K@1.20 legacyIsMasterNode).
func isMasterName(name string) bool {
	return strings.HasSuffix(name, "master") || len(name) >= 10 && strings.HasSuffix(name[:len(name)-3], "master-")
}

// computeZoneState says what state so many ready and not ready nodes make. threshold is --unhealthy-zone-threshold.
func computeZoneState(ready, notReady int, threshold perMillion) zoneState {
	switch {
	case ready == 0 && notReady > 0:
		return stateFullDisruption
	case notReady > 2 && int64(notReady)*1_000_000 >= int64(threshold)*int64(ready+notReady):
		return statePartialDisruption
	}
	return stateNormal
}

// zoneKey names a node's zone (component-helpers node/topology GetZoneKey).
func zoneKey(node *corev1.Node) string {
	first := func(keys ...string) string {
		for _, key := range keys {
			if value := node.Labels[key]; value != "" {
				return value
			}
		}
		return ""
	}
	z := first(corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone)
	region := first(corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaRegion)
	if z == "" && region == "" {
		return ""
	}
	return region + ":\x00:" + z
}

func (nc *nodeLifecycle) zoneNamed(key string) *zone {
	z := nc.zoneOf[key]
	if z == nil {
		z = &zone{key: key, state: stateInitial, limiter: newLimiter(nc.options.NodeEvictionRate)}
		nc.zoneOf[key] = z
		nc.zones = append(nc.zones, z)
	}
	return z
}

// handleDisruption slows evictions down in zones of which most is lost, and stops them when all zones are.
func (nc *nodeLifecycle) handleDisruption(p *sim.Proc) {
	allAre, allWere := true, true
	for _, z := range nc.zones {
		if z.ready+z.notReady == 0 { // no node of it was looked at: as if unseen
			z.state = stateInitial
			continue
		}
		if nc.stateNow(z) != stateFullDisruption {
			allAre = false
		}
		if z.state != stateFullDisruption {
			allWere = false
		}
	}
	switch {
	case allAre && allWere:
	case allAre:
		nc.enterMasterDisruption(p)
	case allWere:
		nc.leaveMasterDisruption()
	default:
		for _, z := range nc.zones {
			if state := nc.stateNow(z); z.ready+z.notReady > 0 && state != z.state {
				nc.tellZoneState(z, state)
				nc.setLimiter(z, state)
				z.state = state
			}
		}
	}
	nc.tainting.schedule()
}

func (nc *nodeLifecycle) stateNow(z *zone) zoneState {
	return computeZoneState(z.ready, z.notReady, nc.options.UnhealthyZoneThreshold)
}

// enterMasterDisruption stops all evictions: if nothing is heard of any node, the fault is more likely on this side.
func (nc *nodeLifecycle) enterMasterDisruption(p *sim.Proc) {
	nc.emit(sim.Event{Level: sim.Story, Reason: "FullDisruption", Object: "controller/node-lifecycle-controller",
		Message: "all nodes are NotReady: evictions stop, and NoExecute taints are taken off again"})
	cause := nc.kernel.Cause()
	for _, node := range nc.nodes.List() {
		nc.kernel.Because(cause)
		if h := nc.health[node.Name]; h != nil && h.zone != nil {
			if nc.evictByTimeout {
				nc.cancelPodEviction(h)
			} else {
				nc.markNodeAsReachable(p, node, "all nodes are NotReady, which no node's failure explains")
			}
		}
	}
	for _, z := range nc.zones {
		z.limiter.swap(nc.kernel.Now(), 0)
		z.state = stateFullDisruption
	}
}

// leaveMasterDisruption gives every node a whole grace period: while nobody was heard of nobody could be heard of.
func (nc *nodeLifecycle) leaveMasterDisruption() {
	nc.emit(sim.Event{Level: sim.Story, Reason: "FullDisruptionEnded", Object: "controller/node-lifecycle-controller",
		Message: fmt.Sprintf("some nodes are Ready again: every node gets a fresh %s (node-monitor-grace-period)",
			seconds(nc.options.NodeMonitorGracePeriod))})
	now := nc.kernel.Now()
	for _, node := range nc.nodes.List() {
		if h := nc.health[node.Name]; h != nil {
			h.probe, h.readyTransition = now, now
		}
	}
	for _, z := range nc.zones {
		state := nc.stateNow(z)
		nc.setLimiter(z, state)
		z.state = state
	}
}

func (nc *nodeLifecycle) setLimiter(z *zone, state zoneState) {
	now := nc.kernel.Now()
	switch state {
	case stateNormal, stateFullDisruption:
		z.limiter.swap(now, nc.options.NodeEvictionRate)
	case statePartialDisruption:
		rate := perMillion(0)
		if z.ready+z.notReady > int(nc.options.LargeClusterSizeThreshold) {
			rate = nc.options.SecondaryNodeEvictionRate
		}
		z.limiter.swap(now, rate)
	}
}

func (nc *nodeLifecycle) tellZoneState(z *zone, state zoneState) {
	if z.state == stateInitial && state == stateNormal {
		return
	}
	what := map[zoneState]string{
		stateNormal:         "taints and evictions go on at the normal rate",
		stateFullDisruption: "none of its nodes is Ready; other zones are, so evictions go on",
		statePartialDisruption: fmt.Sprintf("no more NoExecute taints in a zone of up to %d nodes",
			nc.options.LargeClusterSizeThreshold),
	}[state]
	if state == statePartialDisruption && z.ready+z.notReady > int(nc.options.LargeClusterSizeThreshold) {
		what = fmt.Sprintf("nodes are tainted at %s/s (secondary-node-eviction-rate)", &nc.options.SecondaryNodeEvictionRate)
	}
	nc.scope.Emit(sim.Event{Level: sim.Story, Reason: "ZoneStateChanged", Object: "controller/node-lifecycle-controller",
		Setting: "unhealthy-zone-threshold",
		Message: fmt.Sprintf("%s is in %s: %d of %d nodes NotReady; %s", z.name(), state, z.notReady,
			z.ready+z.notReady, what)})
}

func (z *zone) name() string {
	if z.key == "" {
		return "the only zone"
	}
	return "zone " + z.key[slices.Index([]byte(z.key), 0)+2:]
}

// nodeQueue holds the nodes that are to be tainted, in order. A node that was done stays known until it is removed, so
// that it is not done again (UniqueQueue with RemoveFromQueue and Remove).
type nodeQueue struct {
	order []queuedNode
	known map[string]bool
}

type queuedNode struct {
	name      string
	processAt sim.Time
}

func (q *nodeQueue) has(name string) bool { return q.known[name] }

func (q *nodeQueue) add(name string, now sim.Time) bool {
	if q.known[name] {
		return false
	}
	if q.known == nil {
		q.known = map[string]bool{}
	}
	q.known[name] = true
	q.order = append(q.order, queuedNode{name, now})
	return true
}

// done takes a node out of the order; it stays known.
func (q *nodeQueue) done(name string) {
	q.order = slices.DeleteFunc(q.order, func(n queuedNode) bool { return n.name == name })
}

func (q *nodeQueue) remove(name string) bool {
	if !q.known[name] {
		return false
	}
	delete(q.known, name)
	q.done(name)
	return true
}

// retryLater puts the first node behind those that are due before.
func (q *nodeQueue) retryLater(at sim.Time) {
	q.order[0].processAt = at
	slices.SortStableFunc(q.order, func(a, b queuedNode) int { return int(min(max(a.processAt-b.processAt, -1), 1)) })
}

// limiter is a token bucket with a burst of 1 (EvictionRateLimiterBurst).
type limiter struct {
	rate perMillion // per 1,000,000 s; 0: never
	next sim.Time   // when the next token is there
}

func newLimiter(rate perMillion) limiter { return limiter{rate: rate} }

func (l *limiter) every() time.Duration {
	return time.Duration(int64(time.Second) * 1000 / int64(l.rate) * 1000)
}

func (l *limiter) tryAccept(now sim.Time) bool {
	if l.rate <= 0 || now < l.next {
		return false
	}
	l.next = now.Add(l.every())
	return true
}

// swap changes the rate. A bucket that was empty stays empty.
func (l *limiter) swap(now sim.Time, rate perMillion) {
	if l.rate == rate {
		return
	}
	empty := !l.tryAccept(now)
	*l = limiter{rate: rate}
	if empty && rate > 0 {
		l.tryAccept(now)
	}
}

func sorted(names []string) []string { slices.Sort(names); return names }
