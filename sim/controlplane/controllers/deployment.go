package controllers

import (
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models kube-controller-manager's Deployment controller (pkg/controller/deployment, v1.36): rolling update,
// Recreate, pause, proportional scaling, revisions, history limit, progress deadline. Leaves out: rollbackTo of
// extensions/v1beta1.

// deploymentMaxRetries is after how many failures a Deployment is dropped (pkg/controller/deployment maxRetries).
const deploymentMaxRetries = 15

// deploymentController is the controller. It edits ReplicaSets only; pods are theirs.
type deploymentController struct {
	*manager
	deployments *controlplane.Informer[*appsv1.Deployment]
	events      *controlplane.Recorder
	queue       *controlplane.WorkQueue[api.Key]
	compared    map[types.UID]comparison // of ReplicaSets, by UID
}

// comparison remembers whether a ReplicaSet has its Deployment's template: looking costs much and changes seldom.
type comparison struct {
	deployment, replicaSet int64 // generations
	owner                  types.UID
	equal                  bool
}

func newDeploymentController(m *manager) *deploymentController {
	dc := &deploymentController{manager: m, deployments: informerFor[*appsv1.Deployment](m, api.Deployments),
		events:   m.recorder("deployment-controller"),
		queue:    controlplane.NewWorkQueue[api.Key](m.scope, controlplane.DefaultRateLimits()),
		compared: map[types.UID]comparison{}}
	dc.deployments.Handle(controlplane.Handler[*appsv1.Deployment]{
		OnAdd:    func(d *appsv1.Deployment) { dc.queue.Add(api.KeyOf(d)) },
		OnUpdate: func(_, d *appsv1.Deployment) { dc.queue.Add(api.KeyOf(d)) },
		OnDelete: func(d *appsv1.Deployment, _ bool) { dc.queue.Add(api.KeyOf(d)) },
	})
	m.replicaSets.Handle(controlplane.Handler[*appsv1.ReplicaSet]{
		OnAdd:    dc.replicaSetChanged,
		OnUpdate: dc.updateReplicaSet,
		OnDelete: func(rs *appsv1.ReplicaSet, _ bool) {
			delete(dc.compared, rs.UID)
			dc.enqueueOwner(rs)
		},
	})
	m.pods.Handle(controlplane.Handler[*corev1.Pod]{OnDelete: func(pod *corev1.Pod, _ bool) { dc.podDeleted(pod) }})
	return dc
}

func (dc *deploymentController) run() {
	dc.whenSynced("deployment", func(*sim.Proc) {
		dc.queue.RunRetrying("deployment", int(dc.options.ConcurrentDeploymentSyncs), deploymentMaxRetries, dc.sync)
	}, dc.deployments, dc.replicaSets, dc.pods)
}

func (dc *deploymentController) replicaSetChanged(rs *appsv1.ReplicaSet) {
	if controllerOf(rs) != nil {
		dc.enqueueOwner(rs)
		return
	}
	for i := range dc.deployments.Len() { // an orphan: whoever might adopt it
		if d := dc.deployments.At(i); d.Namespace == rs.Namespace && selects(d.Spec.Selector, rs.Labels) {
			dc.queue.Add(api.KeyOf(d))
		}
	}
}

func (dc *deploymentController) updateReplicaSet(old, rs *appsv1.ReplicaSet) {
	if controllerUID(old) != controllerUID(rs) {
		dc.enqueueOwner(old)
	}
	if controllerOf(rs) != nil || !maps.Equal(old.Labels, rs.Labels) || controllerOf(old) != nil {
		dc.replicaSetChanged(rs)
	}
}

func (dc *deploymentController) enqueueOwner(rs *appsv1.ReplicaSet) {
	if d := dc.ownerOf(rs); d != nil {
		dc.queue.Add(api.KeyOf(d))
	}
}

func (dc *deploymentController) ownerOf(rs *appsv1.ReplicaSet) *appsv1.Deployment {
	ref := controllerOf(rs)
	if ref == nil || ref.Kind != "Deployment" {
		return nil
	}
	if d, ok := dc.deployments.Named(rs.Namespace, ref.Name); ok && d.UID == ref.UID {
		return d
	}
	return nil
}

// podDeleted wakes a Recreate Deployment that waits for the last of its old pods.
func (dc *deploymentController) podDeleted(pod *corev1.Pod) {
	ref := controllerOf(pod)
	if ref == nil || ref.Kind != "ReplicaSet" {
		return
	}
	rs, ok := dc.replicaSets.Named(pod.Namespace, ref.Name)
	if !ok || rs.UID != ref.UID {
		return
	}
	d := dc.ownerOf(rs)
	if d == nil || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		return
	}
	for _, rs := range dc.rsByOwner.Get(string(d.UID)) {
		if dc.podsByOwner.Len(string(rs.UID)) > 0 {
			return
		}
	}
	dc.queue.Add(api.KeyOf(d))
}

func (dc *deploymentController) sync(p *sim.Proc, key api.Key) error {
	cached, ok := dc.deployments.Get(key)
	if !ok {
		return nil
	}
	d := withOwnStatus(cached)
	if selector := d.Spec.Selector; selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		dc.events.Record(controlplane.Event{Resource: api.Deployments, Object: d, Type: corev1.EventTypeWarning,
			Reason:  "SelectingAll",
			Message: "This deployment is selecting all pods. A non-empty selector is required."})
		return nil
	}
	sets, err := dc.replicaSetsOf(p, d)
	if err != nil {
		return err
	}
	r := &rollout{deploymentController: dc, d: d, sets: sets}
	switch {
	case d.DeletionTimestamp != nil:
		if err := r.findSets(p, false); err != nil {
			return err
		}
		return r.writeStatus(p, r.calculateStatus())
	default:
		if err := r.checkPaused(p); err != nil {
			return err
		}
	}
	if d.Spec.Paused {
		return r.syncScale(p)
	}
	if scaling, err := r.isScalingEvent(p); err != nil {
		return err
	} else if scaling {
		return r.syncScale(p)
	}
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return r.recreate(p)
	}
	return r.rolling(p)
}

// replicaSetsOf returns the Deployment's ReplicaSets by age: orphans that it selects are adopted, and its own that it
// no longer selects released.
func (dc *deploymentController) replicaSetsOf(p *sim.Proc, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	sets := dc.rsByOwner.Get(string(d.UID))
	for _, rs := range dc.rsByOwner.Get(orphansOf(d.Namespace)) {
		if selects(d.Spec.Selector, rs.Labels) {
			sets = append(sets, rs)
		}
	}
	c := claimer[*appsv1.ReplicaSet]{manager: dc.manager, owner: d,
		match: func(rs *appsv1.ReplicaSet) bool { return selects(d.Spec.Selector, rs.Labels) }}
	owned, err := c.claim(p, sets)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(owned, byCreation)
	return owned, nil
}

// byCreation sorts ReplicaSets by age, oldest first, then by name.
func byCreation(a, b *appsv1.ReplicaSet) int {
	if a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return boolFirst(a.Name < b.Name)
	}
	return boolFirst(a.CreationTimestamp.Before(&b.CreationTimestamp))
}

// hasTemplate reports whether a ReplicaSet has the Deployment's template, but for the hash label.
func (dc *deploymentController) hasTemplate(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	c, ok := dc.compared[rs.UID]
	if ok && c.owner == d.UID && c.deployment == d.Generation && c.replicaSet == rs.Generation {
		return c.equal
	}
	template := rs.Spec.Template.DeepCopy()
	if _, has := d.Spec.Template.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; !has {
		delete(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	}
	c = comparison{deployment: d.Generation, replicaSet: rs.Generation, owner: d.UID,
		equal: equality.Semantic.DeepEqual(template, &d.Spec.Template)}
	dc.compared[rs.UID] = c
	return c.equal
}

// rollout is one sync of one Deployment.
type rollout struct {
	*deploymentController
	d    *appsv1.Deployment   // status and metadata are our own, the rest is shared with the informer
	sets []*appsv1.ReplicaSet // oldest first
	new  *appsv1.ReplicaSet   // the one with the current template, nil: none yet
	old  []*appsv1.ReplicaSet
}

// all returns the old ReplicaSets and the new one.
func (r *rollout) all() []*appsv1.ReplicaSet {
	if r.new == nil {
		return r.old
	}
	return append(slices.Clone(r.old), r.new)
}

// active returns those that are to have replicas.
func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var found []*appsv1.ReplicaSet
	for _, rs := range sets {
		if replicasOf(rs.Spec.Replicas) > 0 {
			found = append(found, rs)
		}
	}
	return found
}

func specReplicas(sets []*appsv1.ReplicaSet) (n int32) {
	for _, rs := range sets {
		n += replicasOf(rs.Spec.Replicas)
	}
	return n
}

func availableReplicas(sets []*appsv1.ReplicaSet) (n int32) {
	for _, rs := range sets {
		n += rs.Status.AvailableReplicas
	}
	return n
}

func (r *rollout) replicas() int32 { return replicasOf(r.d.Spec.Replicas) }

// fenceposts returns how many pods there may be more, and how many fewer may be available, than replicas.
func (r *rollout) fenceposts() (surge, unavailable int32) {
	update := r.d.Spec.Strategy.RollingUpdate
	if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return 0, 0
	}
	quarter := intOrPercent("25%") // pkg/apis/apps/v1/defaults.go
	maxSurge, maxUnavailable := &quarter, &quarter
	if update != nil {
		if update.MaxSurge != nil {
			maxSurge = update.MaxSurge
		}
		if update.MaxUnavailable != nil {
			maxUnavailable = update.MaxUnavailable
		}
	}
	surge, unavailable = scaled(maxSurge, r.replicas(), true), scaled(maxUnavailable, r.replicas(), false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, r.replicas())
}

// checkPaused notes in the Progressing condition that the Deployment was paused or resumed.
func (r *rollout) checkPaused(p *sim.Proc) error {
	if !r.hasProgressDeadline() {
		return nil
	}
	c := deploymentCondition(&r.d.Status, appsv1.DeploymentProgressing)
	if c != nil && c.Reason == reasonTimedOut {
		return nil
	}
	noted := c != nil && c.Reason == reasonPaused
	switch {
	case r.d.Spec.Paused && !noted:
		r.setCondition(&r.d.Status, appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused,
			"Deployment is paused")
	case !r.d.Spec.Paused && noted:
		r.setCondition(&r.d.Status, appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonResumed,
			"Deployment is resumed")
	default:
		return nil
	}
	return r.saveStatus(p)
}

// withOwnStatus copies a Deployment as far as the controller, or the server that gets a status, changes it.
func withOwnStatus(d *appsv1.Deployment) *appsv1.Deployment {
	copied := *d
	copied.Status = *d.Status.DeepCopy()
	return &copied
}

// saveStatus writes the status of the copy and goes on with what the API answered.
func (r *rollout) saveStatus(p *sim.Proc) error {
	updated, err := api.UpdateStatus(p, r.client, withOwnStatus(r.d))
	if err == nil {
		r.d.ResourceVersion = updated.ResourceVersion
	}
	return err
}

// isScalingEvent reports whether replicas was changed since its ReplicaSets were sized.
func (r *rollout) isScalingEvent(p *sim.Proc) (bool, error) {
	if err := r.findSets(p, false); err != nil {
		return false, err
	}
	for _, rs := range active(r.all()) {
		if desired, ok := annotatedNumber(rs, desiredReplicasAnnotation); ok && desired != r.replicas() {
			return true, nil
		}
	}
	return false, nil
}

// syncScale resizes a Deployment without rolling it out: when it is paused or was scaled.
func (r *rollout) syncScale(p *sim.Proc) error {
	if err := r.findSets(p, false); err != nil {
		return err
	}
	if err := r.scale(p); err != nil {
		return err
	}
	if r.d.Spec.Paused {
		if err := r.cleanup(p); err != nil {
			return err
		}
	}
	return r.writeStatus(p, r.calculateStatus())
}

// recordScaling tells that a ReplicaSet was resized.
func (r *rollout) recordScaling(rs *appsv1.ReplicaSet, from, to int32) {
	direction := "down"
	if from < to {
		direction = "up"
	}
	r.events.Record(controlplane.Event{Resource: api.Deployments, Object: r.d, Reason: "ScalingReplicaSet",
		Message: fmt.Sprintf("Scaled %s replica set %s from %d to %d", direction, rs.Name, from, to),
		Trace:   sim.Event{Level: sim.Story, Related: api.ResourceEventName(api.ReplicaSets, rs.Namespace, rs.Name)}})
}

// later queues the Deployment for when its progress deadline passes.
func (r *rollout) later(after time.Duration) { r.queue.AddAfter(api.KeyOf(r.d), after) }
