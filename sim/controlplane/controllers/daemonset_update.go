package controllers

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models pkg/controller/daemon update.go and the status of DaemonSets, v1.36: the rolling update, by deleting old pods
// first or, with maxSurge, new pods first. Nodes are gone through by name, where upstream takes them as a map gives
// them.

// surges reports whether new pods are made beside the old ones.
func (dsc *daemonSetController) surges(ds *appsv1.DaemonSet) bool {
	return dsc.maxSurge(ds, 1) > 0
}

func (dsc *daemonSetController) maxSurge(ds *appsv1.DaemonSet, desired int32) int32 {
	update := ds.Spec.UpdateStrategy.RollingUpdate
	if ds.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType || update == nil ||
		!dsc.release.DaemonSetMaxSurge {
		return 0
	}
	return scaled(update.MaxSurge, desired, true)
}

// limits returns how many new pods may be made beside old ones, and how many pods may be unavailable.
func (dsc *daemonSetController) limits(ds *appsv1.DaemonSet, desired int32) (surge, unavailable int32) {
	one := intOrPercent("1") // pkg/apis/apps/v1/defaults.go
	limit := &one
	if update := ds.Spec.UpdateStrategy.RollingUpdate; update != nil && update.MaxUnavailable != nil {
		limit = update.MaxUnavailable
	}
	surge, unavailable = dsc.maxSurge(ds, desired), scaled(limit, desired, true)
	if desired > 0 && surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// byPlaceAndAge sorts pods that have a node first, then older ones (podByCreationTimestampAndPhase).
func byPlaceAndAge(a, b *corev1.Pod) int {
	switch {
	case (a.Spec.NodeName != "") != (b.Spec.NodeName != ""):
		return boolFirst(a.Spec.NodeName != "")
	case a.CreationTimestamp.Equal(&b.CreationTimestamp):
		return boolFirst(a.Name < b.Name)
	}
	return boolFirst(a.CreationTimestamp.Before(&b.CreationTimestamp))
}

func hasHash(pod *corev1.Pod, hash string) bool {
	return pod.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == hash
}

// notSurging returns those of a node's running pods that surging does not need: at most one new and one old pod stay,
// and of both the old one goes when it is not ready, or the new one available.
func (dsc *daemonSetController) notSurging(ds *appsv1.DaemonSet, running []*corev1.Pod, hash string) []*corev1.Pod {
	var fresh, old *corev1.Pod
	var victims []*corev1.Pod
	for _, pod := range running {
		switch isNew := hasHash(pod, hash); {
		case isNew && fresh == nil:
			fresh = pod
		case !isNew && old == nil:
			old = pod
		default:
			victims = append(victims, pod)
		}
	}
	if fresh != nil && old != nil && (!isPodReady(old) || isPodAvailable(fresh, ds.Spec.MinReadySeconds, dsc.now())) {
		victims = append(victims, old)
	}
	return victims
}

// daemonNode is what a rolling update sees of a node.
type daemonNode struct {
	name       string
	fresh, old *corev1.Pod
	run        bool // it should have a pod
	excess     bool // it has more pods than one of each kind
}

// updateNodes returns the nodes that have pods of the DaemonSet or should have, by name, and how many should.
func (dsc *daemonSetController) updateNodes(ds *appsv1.DaemonSet, hash string) (nodes []daemonNode, desired int32) {
	byNode := dsc.podsByTarget(ds)
	add := func(name string, run bool) {
		n := daemonNode{name: name, run: run}
		for _, pod := range byNode[name] {
			if pod.DeletionTimestamp != nil {
				continue
			}
			slot := &n.old
			if hasHash(pod, hash) {
				slot = &n.fresh
			}
			n.excess = n.excess || *slot != nil
			*slot = pod
		}
		nodes = append(nodes, n)
		delete(byNode, name)
	}
	for i := range dsc.nodes.Len() {
		node := dsc.nodes.At(i)
		run, _ := shouldRunDaemonPod(node, ds)
		if run {
			desired++
		}
		if run || len(byNode[node.Name]) > 0 {
			add(node.Name, run)
		}
	}
	var gone []string
	for name := range byNode { // any order: sorted below
		gone = append(gone, name)
	}
	for _, name := range sorted(gone) {
		add(name, false)
	}
	return nodes, desired
}

// rollingUpdate replaces outdated pods as far as the limits allow.
func (dsc *daemonSetController) rollingUpdate(p *sim.Proc, ds *appsv1.DaemonSet, hash string) error {
	nodes, desired := dsc.updateNodes(ds, hash)
	surge, unavailable := dsc.limits(ds, desired)
	if surge == 0 {
		return dsc.syncNodes(p, ds, dsc.outdated(ds, nodes, unavailable), nil, hash)
	}
	victims, needing := dsc.surge(ds, nodes, desired, surge)
	return dsc.syncNodes(p, ds, victims, needing, hash)
}

// outdated returns the old pods that go now: those that are not available at once, others as far as so many may be
// unavailable. A node whose pod is missing, or terminating for ever, counts as unavailable.
func (dsc *daemonSetController) outdated(ds *appsv1.DaemonSet, nodes []daemonNode, limit int32) []*corev1.Pod {
	unavailable, now := int32(0), dsc.now()
	var broken, candidates []*corev1.Pod
	for _, n := range nodes {
		switch {
		case n.excess, (n.fresh == nil) == (n.old == nil):
			unavailable++
		case n.fresh != nil:
			if !isPodAvailable(n.fresh, ds.Spec.MinReadySeconds, now) {
				unavailable++
			}
		case !isPodAvailable(n.old, ds.Spec.MinReadySeconds, now):
			broken = append(broken, n.old)
			unavailable++
		case unavailable < limit:
			candidates = append(candidates, n.old)
		}
	}
	allowed := min(max(limit-unavailable, 0), int32(len(candidates)))
	return append(broken, candidates[:allowed]...)
}

// surge returns the old pods that go now, because a new one is available in their place or they have none to wait for,
// and the nodes that get a new pod beside an old one.
func (dsc *daemonSetController) surge(ds *appsv1.DaemonSet, nodes []daemonNode, desired,
	limit int32) (victims []*corev1.Pod, needing []string) {
	now := dsc.now()
	isAvailable := func(pod *corev1.Pod) bool {
		return pod != nil && isPodAvailable(pod, ds.Spec.MinReadySeconds, now)
	}
	var surging, available int32
	var candidates []string
	var misplaced []*corev1.Pod // of nodes that should have none
	for _, n := range nodes {
		if n.excess {
			surging++
			continue
		}
		if n.old != nil && isAvailable(n.old) || n.old == nil && isAvailable(n.fresh) {
			available++
		}
		switch {
		case n.old == nil:
		case n.fresh != nil && isAvailable(n.fresh):
			victims = append(victims, n.old)
		case n.fresh != nil:
			surging++
		case !isAvailable(n.old) && !n.run:
			victims = append(victims, n.old)
		case !isAvailable(n.old):
			needing = append(needing, n.name)
		case !n.run:
			misplaced = append(misplaced, n.old)
		case surging < limit:
			candidates = append(candidates, n.name)
		}
	}
	if spare := min(available-desired, int32(len(misplaced))); spare > 0 {
		victims = append(victims, misplaced[:spare]...)
	}
	allowed := min(max(limit-surging, 0), int32(len(candidates)))
	return victims, append(needing, candidates[:allowed]...)
}

// cleanupHistory deletes old revisions beyond the limit that no pod has.
func (dsc *daemonSetController) cleanupHistory(p *sim.Proc, ds *appsv1.DaemonSet, hash string) error {
	revisions, err := dsc.history.of(p, ds, ds.Spec.Selector)
	if err != nil || len(revisions) < 2 {
		return err
	}
	old := slices.DeleteFunc(revisions, func(r *appsv1.ControllerRevision) bool {
		return r.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == hash
	})
	pods := dsc.podsByOwner.Get(string(ds.UID))
	return dsc.history.truncate(p, old, ds.Spec.RevisionHistoryLimit, func(r *appsv1.ControllerRevision) bool {
		return slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
			return hasHash(pod, r.Labels[appsv1.DefaultDaemonSetUniqueLabelKey])
		})
	})
}

func (dsc *daemonSetController) updateStatus(p *sim.Proc, ds *appsv1.DaemonSet, hash string, observed bool) error {
	byNode := dsc.podsByTarget(ds)
	status := *ds.Status.DeepCopy()
	status.DesiredNumberScheduled, status.CurrentNumberScheduled, status.NumberMisscheduled = 0, 0, 0
	status.NumberReady, status.UpdatedNumberScheduled, status.NumberAvailable = 0, 0, 0
	now := dsc.now()
	for i := range dsc.nodes.Len() {
		node := dsc.nodes.At(i)
		run, _ := shouldRunDaemonPod(node, ds)
		pods := byNode[node.Name]
		switch {
		case run:
			status.DesiredNumberScheduled++
			if len(pods) == 0 {
				continue
			}
			status.CurrentNumberScheduled++
			slices.SortStableFunc(pods, byPlaceAndAge)
			if isPodReady(pods[0]) {
				status.NumberReady++
				if isPodAvailable(pods[0], ds.Spec.MinReadySeconds, now) {
					status.NumberAvailable++
				}
			}
			if pods[0].Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == hash {
				status.UpdatedNumberScheduled++
			}
		case len(pods) > 0:
			status.NumberMisscheduled++
		}
	}
	status.NumberUnavailable = status.DesiredNumberScheduled - status.NumberAvailable
	if observed {
		status.ObservedGeneration = ds.Generation
	}
	if ds.Spec.MinReadySeconds > 0 && status.NumberReady != status.NumberAvailable {
		dsc.queue.AddAfter(api.KeyOf(ds), time.Duration(ds.Spec.MinReadySeconds)*time.Second)
	}
	if equalDaemonStatus(&ds.Status, &status) {
		return nil
	}
	for try := 0; ; try++ {
		copied := ds.DeepCopy()
		copied.Status = status
		_, err := api.UpdateStatus(p, dsc.client, copied)
		if err == nil || try >= statusUpdateRetries {
			return err
		}
		if ds, err = api.GetObject[*appsv1.DaemonSet](p, dsc.client, ds.Namespace, ds.Name); err != nil {
			return err
		}
	}
}

func equalDaemonStatus(a, b *appsv1.DaemonSetStatus) bool {
	return a.DesiredNumberScheduled == b.DesiredNumberScheduled && a.CurrentNumberScheduled == b.CurrentNumberScheduled &&
		a.NumberMisscheduled == b.NumberMisscheduled && a.NumberReady == b.NumberReady &&
		a.UpdatedNumberScheduled == b.UpdatedNumberScheduled && a.NumberAvailable == b.NumberAvailable &&
		a.NumberUnavailable == b.NumberUnavailable && a.ObservedGeneration == b.ObservedGeneration
}
