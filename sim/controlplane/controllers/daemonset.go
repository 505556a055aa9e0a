package controllers

import (
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's DaemonSet controller (pkg/controller/daemon, v1.36): which nodes get a pod, its
// tolerations, adoption, failed pods' back-off, OnDelete and RollingUpdate by maxUnavailable or maxSurge.

const (
	// pkg/controller/daemon BurstReplicas.
	daemonBurst = 250
	// cmd/kube-controller-manager/app/apps.go: failedPodsBackoff 1 s to 15 min.
	failedDaemonBackoff    = time.Second
	failedDaemonBackoffMax = 15 * time.Minute
)

// daemonSetController is the controller.
type daemonSetController struct {
	*manager
	control      *podControl
	history      *revisionHistory
	queue        *controlplane.WorkQueue[api.Key]
	nodeQueue    *controlplane.WorkQueue[string]
	expectations *controlplane.Expectations
	failures     map[string]*podBackoff // by DaemonSet's UID and node
}

type podBackoff struct {
	delay time.Duration
	last  sim.Time
}

func newDaemonSetController(m *manager) *daemonSetController {
	dsc := &daemonSetController{manager: m, control: newPodControl(m, "daemonset-controller"),
		history:      newRevisionHistory(m),
		queue:        controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits()),
		nodeQueue:    controlplane.NewWorkQueue[string](m.scope, controlplane.DefaultRateLimits()),
		expectations: controlplane.NewExpectations(m.kernel), failures: map[string]*podBackoff{}}
	m.daemonSets.Handle(controlplane.Handler[*appsv1.DaemonSet]{
		OnAdd:    func(ds *appsv1.DaemonSet) { dsc.queue.Add(api.KeyOf(ds)) },
		OnUpdate: func(_, ds *appsv1.DaemonSet) { dsc.queue.Add(api.KeyOf(ds)) },
		OnDelete: func(ds *appsv1.DaemonSet, _ bool) { dsc.queue.Add(api.KeyOf(ds)) },
	})
	m.nodes.Handle(controlplane.Handler[*corev1.Node]{
		OnAdd:    dsc.addNode,
		OnUpdate: dsc.updateNode,
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{
		OnAdd:    dsc.addPod,
		OnUpdate: dsc.updatePod,
		OnDelete: func(pod *corev1.Pod, _ bool) { dsc.deletePod(pod) },
	})
	return dsc
}

func (dsc *daemonSetController) run() {
	dsc.whenSynced("daemonset", func(*sim.Proc) {
		dsc.nodeQueue.Run("daemonset-nodes", int(dsc.options.ConcurrentDaemonSetSyncs), dsc.syncNode)
		dsc.queue.RunRetrying("daemonset", int(dsc.options.ConcurrentDaemonSetSyncs), 0, dsc.sync)
	}, dsc.daemonSets, dsc.pods, dsc.nodes, dsc.history.revisions)
}

func (dsc *daemonSetController) addNode(node *corev1.Node) {
	if dsc.release.DaemonSetNodeQueue {
		dsc.nodeQueue.Add(node.Name)
		return
	}
	for i := range dsc.daemonSets.Len() {
		ds := dsc.daemonSets.At(i)
		if run, _ := shouldRunDaemonPod(node, ds); run {
			dsc.queue.Add(api.KeyOf(ds))
		}
	}
}

func (dsc *daemonSetController) updateNode(old, node *corev1.Node) {
	same := func(a, b corev1.Taint) bool { return a.Key == b.Key && a.Value == b.Value && a.Effect == b.Effect }
	if maps.Equal(old.Labels, node.Labels) && slices.EqualFunc(old.Spec.Taints, node.Spec.Taints, same) {
		return
	}
	if dsc.release.DaemonSetNodeQueue {
		dsc.nodeQueue.Add(node.Name)
		return
	}
	for i := range dsc.daemonSets.Len() {
		ds := dsc.daemonSets.At(i)
		runBefore, stayBefore := shouldRunDaemonPod(old, ds)
		if run, stay := shouldRunDaemonPod(node, ds); run != runBefore || stay != stayBefore {
			dsc.queue.Add(api.KeyOf(ds))
		}
	}
}

// syncNode queues the DaemonSets for which a node that was added or changed makes a difference.
func (dsc *daemonSetController) syncNode(_ *sim.Proc, name string) {
	node, ok := dsc.nodes.Named("", name)
	if !ok {
		return
	}
	scheduled := map[string]bool{}
	for _, pod := range dsc.podsByNode.Get(name) {
		if ref := controllerOf(pod); ref != nil && ref.Kind == "DaemonSet" {
			scheduled[pod.Namespace+"/"+ref.Name] = true
		}
	}
	for i := range dsc.daemonSets.Len() {
		ds := dsc.daemonSets.At(i)
		run, stay := shouldRunDaemonPod(node, ds)
		has := scheduled[ds.Namespace+"/"+ds.Name]
		if run && !has || !stay && has || has && ds.Status.NumberMisscheduled > 0 {
			dsc.queue.Add(api.KeyOf(ds))
		}
	}
}

func (dsc *daemonSetController) ownerOf(pod *corev1.Pod) *appsv1.DaemonSet {
	ref := controllerOf(pod)
	if ref == nil || ref.Kind != "DaemonSet" {
		return nil
	}
	if ds, ok := dsc.daemonSets.Named(pod.Namespace, ref.Name); ok && ds.UID == ref.UID {
		return ds
	}
	return nil
}

func (dsc *daemonSetController) addPod(pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil {
		dsc.deletePod(pod)
	} else if ds := dsc.ownerOf(pod); ds != nil {
		dsc.expectations.CreationObserved(api.KeyOf(ds))
		dsc.queue.Add(api.KeyOf(ds))
	} else if controllerOf(pod) == nil {
		dsc.enqueueMatching(pod)
	}
}

// enqueueMatching queues the DaemonSets that might adopt an orphan.
func (dsc *daemonSetController) enqueueMatching(pod *corev1.Pod) {
	for i := range dsc.daemonSets.Len() {
		if ds := dsc.daemonSets.At(i); ds.Namespace == pod.Namespace && selects(ds.Spec.Selector, pod.Labels) {
			dsc.queue.Add(api.KeyOf(ds))
		}
	}
}

func (dsc *daemonSetController) updatePod(old, pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil {
		dsc.deletePod(pod)
		return
	}
	if before := dsc.ownerOf(old); before != nil && controllerUID(old) != controllerUID(pod) {
		dsc.queue.Add(api.KeyOf(before))
	}
	ds := dsc.ownerOf(pod)
	if ds == nil {
		if controllerOf(pod) == nil && relabelledOrReleased(old, pod) {
			dsc.enqueueMatching(pod)
		}
		return
	}
	dsc.queue.Add(api.KeyOf(ds))
	if !isPodReady(old) && isPodReady(pod) && ds.Spec.MinReadySeconds > 0 {
		dsc.queue.AddAfter(api.KeyOf(ds), time.Duration(ds.Spec.MinReadySeconds)*time.Second+time.Second)
	}
}

func (dsc *daemonSetController) deletePod(pod *corev1.Pod) {
	if ds := dsc.ownerOf(pod); ds != nil {
		dsc.expectations.DeletionObserved(api.KeyOf(ds), api.KeyOf(pod))
		dsc.queue.Add(api.KeyOf(ds))
	}
}

// daemonTolerations are what every pod of a DaemonSet tolerates (util/daemonset_util.go
// AddOrUpdateDaemonPodTolerations).
func daemonTolerations(spec *corev1.PodSpec) []corev1.Toleration {
	all := slices.Clone(spec.Tolerations)
	add := func(key string, effect corev1.TaintEffect) {
		all = append(all, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: effect})
	}
	add(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)
	add(corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule)
	add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	if spec.HostNetwork {
		add(corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule)
	}
	return all
}

// shouldRunDaemonPod reports whether a node should get a pod of the DaemonSet, and whether one that is there may stay.
func shouldRunDaemonPod(node *corev1.Node, ds *appsv1.DaemonSet) (run, stay bool) {
	spec := &ds.Spec.Template.Spec
	if spec.NodeName != "" && spec.NodeName != node.Name || !matchesNode(spec, node) {
		return false, false
	}
	if len(node.Spec.Taints) == 0 {
		return true, true
	}
	run, stay = true, true
	tolerations := daemonTolerations(spec)
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect == corev1.TaintEffectPreferNoSchedule || slices.ContainsFunc(tolerations,
			func(t corev1.Toleration) bool { return toleratesTaint(&t, taint) }) {
			continue
		}
		run = false
		stay = stay && taint.Effect != corev1.TaintEffectNoExecute
	}
	return run, stay
}

func (dsc *daemonSetController) sync(p *sim.Proc, key api.Key) error {
	ds, ok := dsc.daemonSets.Get(key)
	if !ok {
		dsc.expectations.Delete(key)
		return nil
	}
	if ds.DeletionTimestamp != nil {
		return nil
	}
	hash, err := dsc.history.daemonSetRevision(p, ds)
	if err != nil {
		return err
	}
	mine := func(pod *corev1.Pod) bool { return selects(ds.Spec.Selector, pod.Labels) }
	if _, err = dsc.claimPods(p, ds, mine); err != nil {
		return err
	}
	if !dsc.expectations.Satisfied(key) {
		return dsc.updateStatus(p, ds, hash, false)
	}
	err = dsc.manage(p, ds, hash)
	if err == nil && ds.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType &&
		dsc.expectations.Satisfied(key) {
		err = dsc.rollingUpdate(p, ds, hash)
	}
	if err == nil {
		err = dsc.cleanupHistory(p, ds, hash)
	}
	if statusErr := dsc.updateStatus(p, ds, hash, true); err == nil {
		err = statusErr
	}
	return err
}

// podsByTarget returns the DaemonSet's pods by the node that they run on or are meant for.
func (dsc *daemonSetController) podsByTarget(ds *appsv1.DaemonSet) map[string][]*corev1.Pod {
	byNode := map[string][]*corev1.Pod{}
	for _, pod := range dsc.podsByOwner.Get(string(ds.UID)) {
		if isTerminal(pod) && pod.DeletionTimestamp != nil && dsc.release.DaemonSetForgetsEnded {
			continue // it has ended and is only waited for
		}
		name := targetNode(pod)
		byNode[name] = append(byNode[name], pod)
	}
	return byNode
}

// targetNode is the node that a daemon pod is bound to or pinned to by its affinity.
func targetNode(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" || pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil {
		return pod.Spec.NodeName
	}
	required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return ""
	}
	for _, term := range required.NodeSelectorTerms {
		for _, field := range term.MatchFields {
			if field.Key == "metadata.name" && field.Operator == corev1.NodeSelectorOpIn && len(field.Values) == 1 {
				return field.Values[0]
			}
		}
	}
	return ""
}

// manage gives each node that should have one its pod, and deletes pods where none should be.
func (dsc *daemonSetController) manage(p *sim.Proc, ds *appsv1.DaemonSet, hash string) error {
	byNode := dsc.podsByTarget(ds)
	var needing []string
	var victims []*corev1.Pod
	for i := range dsc.nodes.Len() {
		node := dsc.nodes.At(i)
		run, stay := shouldRunDaemonPod(node, ds)
		pods := byNode[node.Name]
		switch {
		case run && len(pods) == 0:
			needing = append(needing, node.Name)
		case stay:
			excess, none := dsc.excess(ds, node.Name, pods, hash)
			victims = append(victims, excess...)
			if none && run && dsc.surges(ds) {
				needing = append(needing, node.Name)
			}
		default:
			for _, pod := range pods {
				if pod.DeletionTimestamp == nil {
					victims = append(victims, pod)
				}
			}
		}
		delete(byNode, node.Name)
	}
	for name, pods := range byNode { // any order: sorted below
		for _, pod := range pods {
			if name != "" && pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil {
				victims = append(victims, pod) // never scheduled, and its node is gone
			}
		}
	}
	slices.SortFunc(victims, func(a, b *corev1.Pod) int { return boolFirst(a.Name < b.Name) })
	return dsc.syncNodes(p, ds, victims, needing, hash)
}

// excess returns those of a node's pods that are to be deleted: ended ones, within their back-off, and all but the
// oldest, or what surging does not need. none: no pod of the node runs or is to run.
func (dsc *daemonSetController) excess(ds *appsv1.DaemonSet, node string, pods []*corev1.Pod,
	hash string) (victims []*corev1.Pod, none bool) {
	var running []*corev1.Pod
	for _, pod := range pods {
		switch {
		case pod.DeletionTimestamp != nil:
		case pod.Status.Phase == corev1.PodFailed:
			if wait := dsc.failedBackoff(ds, node); wait > 0 {
				dsc.queue.AddAfter(api.KeyOf(ds), wait)
				continue
			}
			dsc.control.record(ds, corev1.EventTypeWarning, "FailedDaemonPod", fmt.Sprintf(
				"Found failed daemon pod %s/%s on node %s, will try to kill it", pod.Namespace, pod.Name, node), pod)
			victims = append(victims, pod)
		case pod.Status.Phase == corev1.PodSucceeded:
			dsc.control.record(ds, corev1.EventTypeNormal, "SucceededDaemonPod", fmt.Sprintf(
				"Found succeeded daemon pod %s/%s on node %s, will try to delete it", pod.Namespace, pod.Name, node), pod)
			victims = append(victims, pod)
		default:
			running = append(running, pod)
		}
	}
	if len(running) > 1 {
		slices.SortStableFunc(running, byPlaceAndAge)
		if dsc.surges(ds) {
			return append(victims, dsc.notSurging(ds, running, hash)...), false
		}
		victims = append(victims, running[1:]...)
	}
	return victims, len(running) == 0
}

// failedBackoff returns after how long a failed pod of a node, which must wait to be replaced, is looked at again; 0
// starts the next, doubled, wait.
func (dsc *daemonSetController) failedBackoff(ds *appsv1.DaemonSet, node string) time.Duration {
	key := fmt.Sprintf("%s/%d/%s", ds.UID, ds.Status.ObservedGeneration, node)
	now := dsc.kernel.Now()
	b := dsc.failures[key]
	switch {
	case b == nil || now.Sub(b.last) > 2*failedDaemonBackoffMax:
		dsc.failures[key] = &podBackoff{failedDaemonBackoff, now}
		return 0
	case now < b.last.Add(b.delay):
		return b.delay // as upstream: all of it
	}
	b.delay, b.last = min(2*b.delay, failedDaemonBackoffMax), now
	return 0
}

// syncNodes deletes pods and creates pods for nodes, both at most daemonBurst.
func (dsc *daemonSetController) syncNodes(p *sim.Proc, ds *appsv1.DaemonSet, victims []*corev1.Pod,
	needing []string, hash string) error {
	victims, needing = victims[:min(len(victims), daemonBurst)], needing[:min(len(needing), daemonBurst)]
	if len(victims)+len(needing) == 0 {
		return nil
	}
	key, cause := api.KeyOf(ds), dsc.kernel.Cause()
	keys := make([]api.Key, len(victims))
	for i, pod := range victims {
		keys[i] = api.KeyOf(pod)
	}
	dsc.expectations.Expect(key, len(needing), keys)
	created, createErr := controlplane.SlowStartBatch(p, len(needing), func(p *sim.Proc, i int) error {
		p.Because(cause)
		err := dsc.control.create(p, dsc.podFor(ds, needing[i], hash), ds)
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return nil
		}
		return err
	})
	for range len(needing) - created {
		dsc.expectations.CreationObserved(key)
	}
	_, err := controlplane.Parallel(p, len(victims), func(p *sim.Proc, i int) error {
		p.Because(cause)
		err := dsc.control.delete(p, victims[i], ds)
		if err != nil {
			dsc.expectations.DeletionObserved(key, keys[i])
		}
		if api.IsNotFound(err) {
			return nil
		}
		return err
	})
	if createErr != nil {
		return createErr
	}
	return err
}

// podFor makes the pod of a node: pinned to it by its affinity and left to the scheduler, or, in old releases, bound.
func (dsc *daemonSetController) podFor(ds *appsv1.DaemonSet, node, hash string) *corev1.Pod {
	pod := podFromTemplate(&ds.Spec.Template, ds, ownerReference(ds))
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] = hash
	pod.Spec.Tolerations = daemonTolerations(&pod.Spec)
	if !dsc.release.SchedulesDaemonSetPods {
		pod.Spec.NodeName = node
		return pod
	}
	field := []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn,
		Values: []string{node}}}
	if pod.Spec.Affinity == nil {
		pod.Spec.Affinity = &corev1.Affinity{}
	}
	if pod.Spec.Affinity.NodeAffinity == nil {
		pod.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	// The terms that were there have been checked already; they are replaced.
	pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: field}}}
	return pod
}
