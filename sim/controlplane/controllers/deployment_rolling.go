package controllers

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models pkg/controller/deployment rolling.go, recreate.go and progress.go, v1.36.

// Reasons of the conditions (util/deployment_util.go).
const (
	reasonTimedOut  = "ProgressDeadlineExceeded"
	reasonPaused    = "DeploymentPaused"
	reasonResumed   = "DeploymentResumed"
	reasonAvailable = "NewReplicaSetAvailable"
)

// rolling replaces old pods by new ones within the limits of surge and unavailability.
func (r *rollout) rolling(p *sim.Proc) error {
	if err := r.findSets(p, true); err != nil {
		return err
	}
	changed, err := r.reconcileNew(p)
	if err != nil {
		return err
	}
	if !changed {
		if changed, err = r.reconcileOld(p); err != nil {
			return err
		}
	}
	if !changed && r.complete(&r.d.Status) {
		if err := r.cleanup(p); err != nil {
			return err
		}
	}
	return r.syncRolloutStatus(p)
}

func (r *rollout) reconcileNew(p *sim.Proc) (bool, error) {
	size := *r.new.Spec.Replicas
	switch {
	case size == r.replicas():
		return false, nil
	case size > r.replicas():
		return r.scaleSet(p, r.new, r.replicas(), false)
	}
	return r.scaleSet(p, r.new, r.newReplicas(r.old, size), false)
}

// reconcileOld scales old ReplicaSets down: unhealthy replicas first, they cost no availability.
func (r *rollout) reconcileOld(p *sim.Proc) (bool, error) {
	old := active(r.old)
	if len(old) == 0 {
		return false, nil
	}
	_, maxUnavailable := r.fenceposts()
	minAvailable := r.replicas() - maxUnavailable
	newUnavailable := *r.new.Spec.Replicas - r.new.Status.AvailableReplicas
	budget := specReplicas(r.all()) - minAvailable - newUnavailable
	if budget <= 0 {
		return false, nil
	}
	cleaned := int32(0)
	for _, rs := range old {
		n := min(budget-cleaned, *rs.Spec.Replicas-rs.Status.AvailableReplicas)
		switch {
		case budget <= cleaned || n == 0:
			continue
		case n < 0: // its status still counts pods that it was told to delete: nothing is done before it is up to date
			return false, nil
		}
		if _, err := r.scaleSet(p, rs, *rs.Spec.Replicas-n, false); err != nil {
			return false, nil // as upstream: the next sync sees to it
		}
		cleaned += n
	}
	down, spare := int32(0), availableReplicas(r.all())-minAvailable
	for _, rs := range active(r.old) {
		if down >= spare {
			break
		}
		n := min(*rs.Spec.Replicas, spare-down)
		if _, err := r.scaleSet(p, rs, *rs.Spec.Replicas-n, false); err != nil {
			return false, nil // as upstream: the next sync sees to it
		}
		down += n
	}
	return cleaned+down > 0, nil
}

// recreate ends all old pods before it makes new ones.
func (r *rollout) recreate(p *sim.Proc) error {
	if err := r.findSets(p, false); err != nil {
		return err
	}
	scaledDown := false
	for _, rs := range active(r.old) {
		done, err := r.scaleSet(p, rs, 0, false)
		if err != nil {
			return err
		}
		scaledDown = scaledDown || done
	}
	if scaledDown || r.oldPodsRunning() {
		return r.syncRolloutStatus(p)
	}
	if r.new == nil {
		if err := r.findSets(p, true); err != nil {
			return err
		}
	}
	if _, err := r.scaleSet(p, r.new, r.replicas(), false); err != nil {
		return err
	}
	if r.complete(&r.d.Status) {
		if err := r.cleanup(p); err != nil {
			return err
		}
	}
	return r.syncRolloutStatus(p)
}

// oldPodsRunning reports whether a pod of an old ReplicaSet may still run; one that is stuck on a dead node may.
func (r *rollout) oldPodsRunning() bool {
	for _, rs := range r.old {
		if rs.Status.Replicas > 0 {
			return true
		}
		for _, pod := range r.podsByOwner.Get(string(rs.UID)) {
			if !isTerminal(pod) {
				return true
			}
		}
	}
	return false
}

func (r *rollout) complete(status *appsv1.DeploymentStatus) bool {
	n := r.replicas()
	return status.UpdatedReplicas == n && status.Replicas == n && status.AvailableReplicas == n &&
		status.ObservedGeneration >= r.d.Generation
}

func (r *rollout) hasProgressDeadline() bool {
	return r.d.Spec.ProgressDeadlineSeconds != nil && *r.d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func deploymentCondition(status *appsv1.DeploymentStatus,
	kind appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range status.Conditions {
		if status.Conditions[i].Type == kind {
			return &status.Conditions[i]
		}
	}
	return nil
}

func removeCondition(status *appsv1.DeploymentStatus, kind appsv1.DeploymentConditionType) {
	status.Conditions = slices.DeleteFunc(slices.Clone(status.Conditions),
		func(c appsv1.DeploymentCondition) bool { return c.Type == kind })
}

// setCondition sets a condition; one with the same status and reason stays as it is.
func (r *rollout) setCondition(status *appsv1.DeploymentStatus, kind appsv1.DeploymentConditionType,
	is corev1.ConditionStatus, reason, message string) {
	c := appsv1.DeploymentCondition{Type: kind, Status: is, Reason: reason, Message: message, LastUpdateTime: r.now(),
		LastTransitionTime: r.now()}
	if old := deploymentCondition(status, kind); old != nil {
		if old.Status == is && old.Reason == reason {
			return
		}
		if old.Status == is {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	removeCondition(status, kind)
	status.Conditions = append(status.Conditions, c)
}

// calculateStatus sums up the ReplicaSets.
func (r *rollout) calculateStatus() *appsv1.DeploymentStatus {
	all := r.all()
	status := &appsv1.DeploymentStatus{ObservedGeneration: r.d.Generation, AvailableReplicas: availableReplicas(all),
		CollisionCount: r.d.Status.CollisionCount, Conditions: slices.Clone(r.d.Status.Conditions)}
	status.UnavailableReplicas = max(specReplicas(all)-status.AvailableReplicas, 0)
	terminating, known := int32(0), true
	for _, rs := range all {
		status.Replicas += rs.Status.Replicas
		status.ReadyReplicas += rs.Status.ReadyReplicas
		if rs.Status.TerminatingReplicas == nil {
			known = false
		} else {
			terminating += *rs.Status.TerminatingReplicas
		}
	}
	if r.new != nil {
		status.UpdatedReplicas = r.new.Status.Replicas
	}
	if r.release.TerminatingReplicas && known {
		status.TerminatingReplicas = &terminating
	}
	if _, maxUnavailable := r.fenceposts(); status.AvailableReplicas >= r.replicas()-maxUnavailable {
		r.setCondition(status, appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable",
			"Deployment has minimum availability.")
	} else {
		r.setCondition(status, appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable",
			"Deployment does not have minimum availability.")
	}
	return status
}

// syncRolloutStatus writes the status with how the rollout goes, and looks again when its deadline would pass.
func (r *rollout) syncRolloutStatus(p *sim.Proc) error {
	status := r.calculateStatus()
	if !r.hasProgressDeadline() {
		removeCondition(status, appsv1.DeploymentProgressing)
	}
	c := deploymentCondition(&r.d.Status, appsv1.DeploymentProgressing)
	finished := status.Replicas == status.UpdatedReplicas && c != nil && c.Reason == reasonAvailable
	if r.hasProgressDeadline() && !finished {
		r.setProgress(status, c)
	}
	if f := r.replicaFailure(); f != nil {
		r.setCondition(status, appsv1.DeploymentReplicaFailure, f.Status, f.Reason, f.Message)
	} else {
		removeCondition(status, appsv1.DeploymentReplicaFailure)
	}
	if reflect.DeepEqual(&r.d.Status, status) || equalStatus(&r.d.Status, status) {
		r.requeueStuck(status)
		return nil
	}
	r.d.Status = *status
	return r.saveStatus(p)
}

// replicaFailure returns the condition of a ReplicaSet that could not create or delete pods, nil if there is none: the
// new one's before the old ones'.
func (r *rollout) replicaFailure() *appsv1.ReplicaSetCondition {
	all := r.all()
	if r.new != nil {
		all = append([]*appsv1.ReplicaSet{r.new}, r.old...)
	}
	for _, rs := range all {
		for i := range rs.Status.Conditions {
			if c := &rs.Status.Conditions[i]; c.Type == appsv1.ReplicaSetReplicaFailure {
				return c
			}
		}
	}
	return nil
}

// equalStatus is reflect.DeepEqual that takes no and empty conditions as the same.
func equalStatus(a, b *appsv1.DeploymentStatus) bool {
	if len(a.Conditions)+len(b.Conditions) > 0 {
		return false
	}
	x, y := *a, *b
	x.Conditions, y.Conditions = nil, nil
	return reflect.DeepEqual(x, y)
}

func (r *rollout) setProgress(status *appsv1.DeploymentStatus, current *appsv1.DeploymentCondition) {
	subject := fmt.Sprintf("Deployment %q", r.d.Name)
	if r.new != nil {
		subject = fmt.Sprintf("ReplicaSet %q", r.new.Name)
	}
	switch {
	case r.complete(status):
		r.setCondition(status, appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonAvailable,
			subject+" has successfully progressed.")
	case r.progressing(status):
		c := appsv1.DeploymentCondition{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue,
			Reason:  "ReplicaSetUpdated",
			Message: subject + " is progressing.", LastUpdateTime: r.now(), LastTransitionTime: r.now()}
		if current != nil && current.Status == corev1.ConditionTrue {
			c.LastTransitionTime = current.LastTransitionTime
		}
		removeCondition(status, appsv1.DeploymentProgressing)
		status.Conditions = append(status.Conditions, c)
	case r.timedOut(status):
		r.setCondition(status, appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonTimedOut,
			subject+" has timed out progressing.")
	}
}

func (r *rollout) progressing(status *appsv1.DeploymentStatus) bool {
	before := &r.d.Status
	return status.UpdatedReplicas > before.UpdatedReplicas ||
		status.Replicas-status.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		status.ReadyReplicas > before.ReadyReplicas || status.AvailableReplicas > before.AvailableReplicas
}

func (r *rollout) timedOut(status *appsv1.DeploymentStatus) bool {
	c := deploymentCondition(status, appsv1.DeploymentProgressing)
	if c == nil || c.Reason == reasonAvailable {
		return false
	}
	return c.Reason == reasonTimedOut || c.LastUpdateTime.Add(r.deadline()).Before(r.process.Machine().Clock().Now())
}

func (r *rollout) deadline() time.Duration {
	return time.Duration(*r.d.Spec.ProgressDeadlineSeconds) * time.Second
}

func (r *rollout) requeueStuck(status *appsv1.DeploymentStatus) {
	c := deploymentCondition(&r.d.Status, appsv1.DeploymentProgressing)
	if !r.hasProgressDeadline() || c == nil || r.complete(status) || c.Reason == reasonTimedOut {
		return
	}
	left := c.LastUpdateTime.Add(r.deadline()).Sub(r.process.Machine().Clock().Now())
	if left < time.Second {
		r.queue.AddRateLimited(api.KeyOf(r.d))
		return
	}
	r.later(left + time.Second)
}

// writeStatus writes a status that differs.
func (r *rollout) writeStatus(p *sim.Proc, status *appsv1.DeploymentStatus) error {
	if reflect.DeepEqual(&r.d.Status, status) {
		return nil
	}
	r.d.Status = *status
	return r.saveStatus(p)
}
