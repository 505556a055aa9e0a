package apiserver

import (
	"fmt"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ksim/sim"
	"ksim/sim/api"
)

// bind assigns a pod to a node (pkg/registry/core/pod/storage/storage.go BindingREST, v1.36).
func (q *request) bind(p *sim.Proc) (*api.Response, error) {
	binding, ok := q.Object.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", q.Object))
	}
	if binding.Name != q.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	refuse := func(format string, args ...any) (change, error) {
		return change{}, apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, q.Name,
			fmt.Errorf(format, args...))
	}
	_, err := q.update(p, "Updated", func(existing api.Object) (change, error) {
		old := existing.(*corev1.Pod)
		switch {
		case binding.UID != "" && binding.UID != old.UID:
			return change{}, q.conflict(uidMismatch(binding.UID, old.UID))
		case old.DeletionTimestamp != nil:
			return refuse("pod %s is being deleted, cannot be assigned to a host", old.Name)
		case old.Spec.NodeName != "":
			return refuse("pod %v is already assigned to node %q", old.Name, old.Spec.NodeName)
		case len(old.Spec.SchedulingGates) > 0:
			return refuse("pod %v has non-empty .spec.schedulingGates", old.Name)
		}
		next := *old // what lies below its first level is shared, and replaced where it changes
		pod := &next
		pod.Spec.NodeName = binding.Target.Name
		if q.server.release.Minor >= podTopologyLabels { // ClearingNominatedNodeNameAfterBinding: beta 1.35
			pod.Status.NominatedNodeName = ""
		}
		if len(binding.Annotations) > 0 {
			annotations := maps.Clone(binding.Annotations)
			for key, value := range pod.Annotations { // any order: each key by itself
				if _, set := annotations[key]; !set {
					annotations[key] = value
				}
			}
			pod.Annotations = annotations
		}
		pod.Labels = q.withTopology(pod.Labels, pod.Spec.NodeName)
		pod.Status.Conditions = append(make([]corev1.PodCondition, 0, len(pod.Status.Conditions)+1), pod.Status.Conditions...)
		setPodCondition(pod, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, q.server.now())
		return change{object: pod}, nil
	})
	if err != nil {
		return nil, err
	}
	return &api.Response{Status: 201}, nil
}

// setPodCondition is podutil.UpdatePodCondition (pkg/api/v1/pod/util.go): the transition time changes with the status.
func setPodCondition(pod *corev1.Pod, c corev1.PodCondition, now metav1.Time) {
	c.LastTransitionTime = now
	for i := range pod.Status.Conditions {
		if old := &pod.Status.Conditions[i]; old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, c)
}

// scaleOf is the scale subresource of a workload (pkg/registry/apps/*/storage/storage.go ScaleREST).
func scaleOf(obj api.Object) (*autoscalingv1.Scale, error) {
	scale := &autoscalingv1.Scale{
		TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
		ObjectMeta: metav1.ObjectMeta{Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(),
			ResourceVersion: obj.GetResourceVersion(), CreationTimestamp: obj.GetCreationTimestamp()},
	}
	wanted, is, selector := scaleParts(obj)
	if wanted == nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T has no scale", obj))
	}
	if *wanted != nil {
		scale.Spec.Replicas = **wanted
	}
	scale.Status.Replicas = is
	if selector != nil {
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		scale.Status.Selector = s.String()
	}
	return scale, nil
}

func scaleParts(obj api.Object) (wanted **int32, is int32, selector *metav1.LabelSelector) {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	case *appsv1.ReplicaSet:
		return &o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	case *appsv1.StatefulSet:
		return &o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	case *corev1.ReplicationController:
		return &o.Spec.Replicas, o.Status.Replicas, metav1.SetAsLabelSelector(o.Spec.Selector)
	}
	return nil, 0, nil
}

// updateScale sets the number of replicas by way of the scale subresource.
func (q *request) updateScale(p *sim.Proc) (*api.Response, error) {
	var answer *autoscalingv1.Scale
	stored, err := q.update(p, "Updated", func(existing api.Object) (change, error) {
		scale, err := scaleOf(existing)
		if err != nil {
			return change{}, err
		}
		if q.Verb == api.Patch {
			of := *q
			r := *q.Request
			of.Request, r.Resource = &r, scaleResource()
			patched, err := of.patched(scale)
			if err != nil {
				return change{}, err
			}
			scale = patched.(*autoscalingv1.Scale)
		} else if body, ok := q.Object.(*autoscalingv1.Scale); ok {
			scale = body
		} else {
			return change{}, apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", q.Object))
		}
		if v := scale.ResourceVersion; v != "" && v != existing.GetResourceVersion() {
			return change{}, q.conflict(optimisticLock)
		}
		next := existing.DeepCopyObject().(api.Object)
		wanted, _, _ := scaleParts(next)
		replicas := scale.Spec.Replicas
		*wanted = &replicas
		return change{object: next}, api.BeforeUpdate(q.Resource, next, existing, "")
	})
	if err != nil {
		return nil, err
	}
	if answer, err = scaleOf(stored); err != nil {
		return nil, err
	}
	return &api.Response{Object: answer, Status: 200}, nil
}

// scaleResource is what a patch needs to know of Scale, which is not stored.
func scaleResource() *api.Resource {
	return &api.Resource{GVK: autoscalingv1.SchemeGroupVersion.WithKind("Scale"), Plural: "scales", Namespaced: true,
		New: func() api.Object { return &autoscalingv1.Scale{} }}
}
