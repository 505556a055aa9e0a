package controllers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models pkg/controller/deployment/sync.go and util/deployment_util.go, v1.36: revisions, the new ReplicaSet, scaling,
// cleaning up.

// The annotations of util/deployment_util.go.
const (
	revisionAnnotation        = "deployment.kubernetes.io/revision"
	revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	maxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"
)

// notCopied are annotations of a Deployment that its ReplicaSets do not get (util annotationsToSkip).
var notCopied = [...]string{corev1.LastAppliedConfigAnnotation, revisionAnnotation, revisionHistoryAnnotation,
	desiredReplicasAnnotation, maxReplicasAnnotation, "deprecated.deployment.rollback.to"}

func intOrPercent(text string) intstr.IntOrString { return intstr.Parse(text) }

// scaled returns a number, or that percentage of total rounded up or down.
func scaled(value *intstr.IntOrString, total int32, roundUp bool) int32 {
	if value == nil {
		return 0
	}
	if value.Type == intstr.Int {
		return value.IntVal
	}
	percent, err := strconv.ParseInt(strings.TrimSuffix(value.StrVal, "%"), 10, 32)
	if err != nil {
		return 0
	}
	product := percent * int64(total)
	if roundUp {
		product += 99
	}
	return int32(product / 100)
}

func annotatedNumber(rs *appsv1.ReplicaSet, key string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[key], 10, 32)
	return int32(n), err == nil && n >= 0
}

func revisionOf(obj api.Object) int64 {
	n, err := strconv.ParseInt(obj.GetAnnotations()[revisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// findSets sorts the ReplicaSets into the new one and the old ones, brings the revision up to date, and makes the new
// one if it is wanted.
func (r *rollout) findSets(p *sim.Proc, create bool) error {
	r.new, r.old = nil, nil
	for _, rs := range r.sets {
		if r.new == nil && r.hasTemplate(r.d, rs) {
			r.new = rs // the oldest: in rare cases there is more than one
		} else {
			r.old = append(r.old, rs)
		}
	}
	revision := int64(0)
	for _, rs := range r.old {
		revision = max(revision, revisionOf(rs))
	}
	revision++
	switch {
	case r.new != nil:
		return r.refreshNew(p, revision)
	case create:
		return r.createNew(p, revision)
	}
	return nil
}

// refreshNew brings the new ReplicaSet's annotations and the Deployment's revision up to date.
func (r *rollout) refreshNew(p *sim.Proc, revision int64) error {
	rs := withOwnAnnotations(r.new)
	changed := r.annotate(rs, revision, true)
	if changed || rs.Spec.MinReadySeconds != r.d.Spec.MinReadySeconds {
		rs.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
		updated, err := api.UpdateObject(p, r.client, rs)
		if err == nil {
			r.replaceSet(updated)
		}
		return err
	}
	changed = r.setRevision(rs.Annotations[revisionAnnotation])
	if r.hasProgressDeadline() && deploymentCondition(&r.d.Status, appsv1.DeploymentProgressing) == nil {
		r.setCondition(&r.d.Status, appsv1.DeploymentProgressing, corev1.ConditionTrue, "FoundNewReplicaSet",
			fmt.Sprintf("Found new replica set %q", rs.Name))
		changed = true
	}
	if changed {
		return r.saveWhole(p)
	}
	return nil
}

// withOwnAnnotations copies a ReplicaSet so that its annotations and the fields of its spec can be set.
func withOwnAnnotations(rs *appsv1.ReplicaSet) *appsv1.ReplicaSet {
	copied := *rs
	copied.Annotations = maps.Clone(rs.Annotations)
	return &copied
}

// replaceSet makes an updated ReplicaSet the one that the rest of the sync sees.
func (r *rollout) replaceSet(updated *appsv1.ReplicaSet) {
	for _, list := range [][]*appsv1.ReplicaSet{r.sets, r.old} {
		for i := range list {
			if list[i].UID == updated.UID {
				list[i] = updated
			}
		}
	}
	if r.new != nil && r.new.UID == updated.UID {
		r.new = updated
	}
}

// saveWhole writes status and annotations: UpdateStatus of a Deployment also takes its metadata
// (pkg/registry/apps/deployment).
func (r *rollout) saveWhole(p *sim.Proc) error { return r.saveStatus(p) }

func (r *rollout) setRevision(revision string) bool {
	if r.d.Annotations[revisionAnnotation] == revision {
		return false
	}
	annotations := maps.Clone(r.d.Annotations) // they are also others'
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[revisionAnnotation] = revision
	r.d.Annotations = annotations
	return true
}

// annotate copies the Deployment's annotations to a ReplicaSet and sets its revision; it reports whether anything
// changed.
func (r *rollout) annotate(rs *appsv1.ReplicaSet, revision int64, exists bool) (changed bool) {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	for key, value := range r.d.Annotations { // any order: fills a map
		if old, has := rs.Annotations[key]; !slices.Contains(notCopied[:], key) && (!has || old != value) {
			rs.Annotations[key] = value
			changed = true
		}
	}
	old, had := rs.Annotations[revisionAnnotation]
	if before, err := strconv.ParseInt(old, 10, 64); err != nil && old != "" {
		return changed
	} else if before < revision {
		rs.Annotations[revisionAnnotation] = strconv.FormatInt(revision, 10)
		changed = true
		if had {
			history := rs.Annotations[revisionHistoryAnnotation]
			if history != "" {
				history += ","
			}
			rs.Annotations[revisionHistoryAnnotation] = history + old
		}
	}
	if !exists {
		changed = r.annotateReplicas(rs) || changed
	}
	return changed
}

// annotateReplicas notes what the ReplicaSet was sized for.
func (r *rollout) annotateReplicas(rs *appsv1.ReplicaSet) (changed bool) {
	surge, _ := r.fenceposts()
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	for key, value := range map[string]int32{ // any order: fills a map
		desiredReplicasAnnotation: r.replicas(), maxReplicasAnnotation: r.replicas() + surge} {
		if text := strconv.Itoa(int(value)); rs.Annotations[key] != text {
			rs.Annotations[key], changed = text, true
		}
	}
	return changed
}

// createNew makes the ReplicaSet of the current template.
func (r *rollout) createNew(p *sim.Proc, revision int64) error {
	hash := api.ComputeHash(&r.d.Spec.Template, r.d.Status.CollisionCount)
	template := *r.d.Spec.Template.DeepCopy()
	template.Labels = withLabel(template.Labels, hash)
	selector := r.d.Spec.Selector.DeepCopy()
	selector.MatchLabels = withLabel(selector.MatchLabels, hash)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.d.Namespace, Name: r.d.Name + "-" + hash,
			OwnerReferences: []metav1.OwnerReference{*ownerReference(r.d)}, Labels: template.Labels},
		Spec: appsv1.ReplicaSetSpec{MinReadySeconds: r.d.Spec.MinReadySeconds, Selector: selector, Template: template},
	}
	count := r.newReplicas(r.old, 0)
	rs.Spec.Replicas = &count
	r.annotate(rs, revision, false)
	created, err := api.CreateObject(p, r.client, rs)
	switch {
	case api.IsAlreadyExists(err):
		return r.collided(p, rs.Name, err)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return err
	case err != nil:
		message := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
		if r.hasProgressDeadline() {
			r.setCondition(&r.d.Status, appsv1.DeploymentProgressing, corev1.ConditionFalse, "ReplicaSetCreateError", message)
			_ = r.saveStatus(p) // the error of the creation counts
		}
		r.events.Record(controlplane.Event{Resource: api.Deployments, Object: r.d, Type: corev1.EventTypeWarning,
			Reason: "ReplicaSetCreateError", Message: message})
		return err
	}
	r.new = created
	r.sets = append(r.sets, created)
	if count > 0 {
		r.because(created)
		r.recordScaling(created, 0, count)
	}
	changed := r.setRevision(strconv.FormatInt(revision, 10))
	if r.hasProgressDeadline() {
		r.setCondition(&r.d.Status, appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetCreated",
			fmt.Sprintf("Created new replica set %q", created.Name))
		changed = true
	}
	if changed {
		return r.saveWhole(p)
	}
	return nil
}

// collided handles that the name is taken: by our own ReplicaSet that the cache did not show yet, or by a hash
// collision.
func (r *rollout) collided(p *sim.Proc, name string, failure error) error {
	rs, ok := r.replicaSets.Named(r.d.Namespace, name)
	if !ok {
		return failure
	}
	if controllerUID(rs) == string(r.d.UID) && r.hasTemplate(r.d, rs) {
		r.new = rs
		return nil
	}
	count := int32(1)
	if r.d.Status.CollisionCount != nil {
		count += *r.d.Status.CollisionCount
	}
	r.d.Status.CollisionCount = &count
	_ = r.saveStatus(p) // tried again with the next sync
	return failure
}

func withLabel(set map[string]string, hash string) map[string]string {
	with := maps.Clone(set)
	if with == nil {
		with = map[string]string{}
	}
	with[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	return with
}

// newReplicas returns how many replicas the new ReplicaSet, which has current, may have beside the old ones.
func (r *rollout) newReplicas(old []*appsv1.ReplicaSet, current int32) int32 {
	if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return r.replicas()
	}
	surge, _ := r.fenceposts()
	room := r.replicas() + surge - specReplicas(old) - current
	if room <= 0 {
		return current
	}
	return current + min(room, r.replicas()-current)
}

// scaleSet resizes a ReplicaSet; it reports whether the size changed.
func (r *rollout) scaleSet(p *sim.Proc, rs *appsv1.ReplicaSet, size int32, force bool) (bool, error) {
	from := replicasOf(rs.Spec.Replicas)
	if !force && from == size {
		return false, nil
	}
	copied := withOwnAnnotations(rs)
	if annotated := r.annotateReplicas(copied); from == size && !annotated {
		return false, nil
	}
	copied.Spec.Replicas = &size
	cause := r.kernel.Cause()
	updated, err := api.UpdateObject(p, r.client, copied)
	if err != nil {
		return false, err
	}
	r.replaceSet(updated)
	if from != size {
		r.because(updated)
		r.recordScaling(updated, from, size)
	}
	r.kernel.Because(cause)
	return from != size, nil
}

// scale brings the ReplicaSets to a changed number of replicas, in proportion when several are active.
func (r *rollout) scale(p *sim.Proc) error {
	if one := r.activeOrLatest(); one != nil {
		_, err := r.scaleSet(p, one, r.replicas(), false)
		return err
	}
	if r.saturated() {
		for _, rs := range active(r.old) {
			if _, err := r.scaleSet(p, rs, 0, false); err != nil {
				return err
			}
		}
		return nil
	}
	if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return nil
	}
	sets := active(r.all())
	allowed := int32(0)
	if surge, _ := r.fenceposts(); r.replicas() > 0 {
		allowed = r.replicas() + surge
	}
	sizes := r.proportions(sets, allowed-specReplicas(sets))
	for i, rs := range sets {
		if _, err := r.scaleSet(p, rs, sizes[i], true); err != nil {
			return err
		}
	}
	return nil
}

// proportions distributes toAdd replicas (negative: takes away) over ReplicaSets, which it sorts: the largest first;
// what is left over by rounding goes to the first.
func (r *rollout) proportions(sets []*appsv1.ReplicaSet, toAdd int32) []int32 {
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		if x, y := *a.Spec.Replicas, *b.Spec.Replicas; x != y {
			return int(y - x)
		}
		if toAdd > 0 {
			return byCreation(b, a)
		}
		return byCreation(a, b)
	})
	sizes := make([]int32, len(sets))
	added := int32(0)
	for i, rs := range sets {
		share := int32(0)
		if toAdd != 0 && added != toAdd {
			if share = r.fraction(rs); toAdd > 0 {
				share = min(share, toAdd-added)
			} else {
				share = max(share, toAdd-added)
			}
		}
		sizes[i] = *rs.Spec.Replicas + share
		added += share
	}
	if len(sizes) > 0 && toAdd != 0 {
		sizes[0] = max(sizes[0]+toAdd-added, 0)
	}
	return sizes
}

// fraction is by how much a ReplicaSet would grow if all grew alike.
func (r *rollout) fraction(rs *appsv1.ReplicaSet) int32 {
	size := *rs.Spec.Replicas
	if r.replicas() == 0 {
		return -size
	}
	surge, _ := r.fenceposts()
	before, ok := annotatedNumber(rs, maxReplicasAnnotation)
	if !ok || before == 0 {
		if before = r.d.Status.Replicas; before == 0 {
			return 0
		}
	}
	wanted := int64(size) * int64(r.replicas()+surge)
	return int32((2*wanted+int64(before))/(2*int64(before))) - size // rounded half up
}

// activeOrLatest returns the only active ReplicaSet, or the latest when none is; nil when there are several.
func (r *rollout) activeOrLatest() *appsv1.ReplicaSet {
	switch sets := active(r.all()); len(sets) {
	case 0:
		if r.new != nil || len(r.old) == 0 {
			return r.new
		}
		return r.old[len(r.old)-1]
	case 1:
		return sets[0]
	}
	return nil
}

// saturated reports whether the new ReplicaSet has all replicas, available.
func (r *rollout) saturated() bool {
	if r.new == nil {
		return false
	}
	desired, ok := annotatedNumber(r.new, desiredReplicasAnnotation)
	return ok && *r.new.Spec.Replicas == r.replicas() && desired == r.replicas() &&
		r.new.Status.AvailableReplicas == r.replicas()
}

// cleanup deletes old ReplicaSets beyond the history limit.
func (r *rollout) cleanup(p *sim.Proc) error {
	limit := int32(10) // pkg/apis/apps/v1/defaults.go
	if r.d.Spec.RevisionHistoryLimit != nil {
		limit = *r.d.Spec.RevisionHistoryLimit
	}
	old := slices.DeleteFunc(slices.Clone(r.old), func(rs *appsv1.ReplicaSet) bool { return rs.DeletionTimestamp != nil })
	excess := len(old) - int(limit)
	slices.SortStableFunc(old, func(a, b *appsv1.ReplicaSet) int { return int(revisionOf(a) - revisionOf(b)) })
	for i := 0; i < excess; i++ {
		rs := old[i]
		if rs.Status.Replicas != 0 || *rs.Spec.Replicas != 0 || rs.Generation > rs.Status.ObservedGeneration {
			continue
		}
		err := api.DeleteObject[*appsv1.ReplicaSet](p, r.client, api.KeyOf(rs), api.DeleteOptions{})
		if err != nil && !api.IsNotFound(err) {
			return err
		}
	}
	return nil
}
