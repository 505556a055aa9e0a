package apiserver

import (
	"fmt"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"ksim/sim/api"
)

// Models selection by labels and fields (pkg/registry/*/strategy.go and pkg/apis/*/v1/conversion.go, v1.36).

// filter is what of a resource a list or watch wants to see, beyond the scope that finds it.
type filter struct {
	labels labels.Selector // nil: everything
	fields []fieldRequirement
}

type fieldRequirement struct {
	value  func(api.Object) string
	wanted string
	not    bool
}

// newFilter takes a request's selectors apart. What names one namespace, object or node narrows the scope instead.
// Errors: 400 for a field that cannot be selected by.
func newFilter(r *api.Request) (f filter, scope scopeKey, err error) {
	scope = scopeKey{namespace: r.Namespace, name: r.Name}
	if r.LabelSelector != nil && !r.LabelSelector.Empty() {
		f.labels = r.LabelSelector
	}
	if r.FieldSelector == nil || r.FieldSelector.Empty() {
		return f, scope, nil
	}
	for _, req := range r.FieldSelector.Requirements() {
		if req.Operator != selection.NotEquals && narrow(&scope, r.Resource, req) {
			continue
		}
		value := fieldOf(r.Resource, req.Field)
		if value == nil {
			return f, scope, unknownField(r.Resource, req.Field)
		}
		f.fields = append(f.fields, fieldRequirement{value, req.Value, req.Operator == selection.NotEquals})
	}
	if scope.node != "" && scope.name != "" { // one object: no group is for both
		f.fields = append(f.fields, fieldRequirement{value: podField("spec.nodeName"), wanted: scope.node})
		scope.node = ""
	}
	return f, scope, nil
}

// narrow puts a requirement into the scope if it has a place there that is free.
func narrow(scope *scopeKey, r *api.Resource, req fields.Requirement) bool {
	var place *string
	switch {
	case req.Field == "metadata.name":
		place = &scope.name
	case req.Field == "metadata.namespace" && r.Namespaced:
		place = &scope.namespace
	case req.Field == "spec.nodeName" && r == api.Pods && scope.name == "":
		place = &scope.node
	default:
		return false
	}
	if *place != "" || req.Value == "" {
		return *place == req.Value && req.Value != ""
	}
	*place = req.Value
	return true
}

func (f *filter) empty() bool { return f.labels == nil && len(f.fields) == 0 }

// matches reports whether a version is wanted.
func (f *filter) matches(c *watchCache, v *version) bool {
	return f.empty() || f.matchesObject(c.object(v))
}

func (f *filter) matchesObject(obj api.Object) bool {
	if f.labels != nil && !f.labels.Matches(labels.Set(obj.GetLabels())) {
		return false
	}
	for i := range f.fields {
		if req := &f.fields[i]; (req.value(obj) == req.wanted) == req.not {
			return false
		}
	}
	return true
}

func unknownField(r *api.Resource, field string) error {
	switch r {
	case api.Pods, api.Nodes, api.Events, api.Namespaces, api.Secrets, api.Services, api.ReplicationControllers:
		return apierrors.NewBadRequest("field label not supported: " + field)
	}
	return apierrors.NewBadRequest(fmt.Sprintf("%q is not a known field selector: only %q, %q", field, "metadata.name",
		"metadata.namespace"))
}

// fieldOf returns how to read a field that one may select by, nil if one may not.
func fieldOf(r *api.Resource, field string) func(api.Object) string {
	switch field {
	case "metadata.name":
		return func(o api.Object) string { return o.GetName() }
	case "metadata.namespace":
		return func(o api.Object) string { return o.GetNamespace() }
	}
	switch r {
	case api.Pods:
		return podField(field)
	case api.Events:
		return eventField(field)
	case api.Nodes:
		if field == "spec.unschedulable" {
			return func(o api.Object) string { return strconv.FormatBool(o.(*corev1.Node).Spec.Unschedulable) }
		}
	case api.Namespaces:
		if field == "status.phase" {
			return func(o api.Object) string { return string(o.(*corev1.Namespace).Status.Phase) }
		}
	case api.Secrets:
		if field == "type" {
			return func(o api.Object) string { return string(o.(*corev1.Secret).Type) }
		}
	case api.Services:
		switch field {
		case "spec.clusterIP":
			return func(o api.Object) string { return o.(*corev1.Service).Spec.ClusterIP }
		case "spec.type":
			return func(o api.Object) string { return string(o.(*corev1.Service).Spec.Type) }
		}
	case api.Jobs:
		if field == "status.successful" {
			return func(o api.Object) string { return strconv.Itoa(int(o.(*batchv1.Job).Status.Succeeded)) }
		}
	}
	return nil
}

func podField(field string) func(api.Object) string {
	get := func(read func(*corev1.Pod) string) func(api.Object) string {
		return func(o api.Object) string { return read(o.(*corev1.Pod)) }
	}
	switch field {
	case "spec.nodeName":
		return get(func(p *corev1.Pod) string { return p.Spec.NodeName })
	case "spec.restartPolicy":
		return get(func(p *corev1.Pod) string { return string(p.Spec.RestartPolicy) })
	case "spec.schedulerName":
		return get(func(p *corev1.Pod) string { return p.Spec.SchedulerName })
	case "spec.serviceAccountName":
		return get(func(p *corev1.Pod) string { return p.Spec.ServiceAccountName })
	case "spec.hostNetwork":
		return get(func(p *corev1.Pod) string { return strconv.FormatBool(p.Spec.HostNetwork) })
	case "status.phase":
		return get(func(p *corev1.Pod) string { return string(p.Status.Phase) })
	case "status.podIP":
		return get(func(p *corev1.Pod) string { return p.Status.PodIP })
	case "status.nominatedNodeName":
		return get(func(p *corev1.Pod) string { return p.Status.NominatedNodeName })
	}
	return nil
}

func eventField(field string) func(api.Object) string {
	get := func(read func(*corev1.Event) string) func(api.Object) string {
		return func(o api.Object) string { return read(o.(*corev1.Event)) }
	}
	switch field {
	case "involvedObject.kind":
		return get(func(e *corev1.Event) string { return e.InvolvedObject.Kind })
	case "involvedObject.namespace":
		return get(func(e *corev1.Event) string { return e.InvolvedObject.Namespace })
	case "involvedObject.name":
		return get(func(e *corev1.Event) string { return e.InvolvedObject.Name })
	case "involvedObject.uid":
		return get(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })
	case "involvedObject.apiVersion":
		return get(func(e *corev1.Event) string { return e.InvolvedObject.APIVersion })
	case "involvedObject.resourceVersion":
		return get(func(e *corev1.Event) string { return e.InvolvedObject.ResourceVersion })
	case "involvedObject.fieldPath":
		return get(func(e *corev1.Event) string { return e.InvolvedObject.FieldPath })
	case "reason":
		return get(func(e *corev1.Event) string { return e.Reason })
	case "reportingComponent", "reportingController":
		return get(func(e *corev1.Event) string { return e.ReportingController })
	case "source":
		return get(func(e *corev1.Event) string {
			if e.Source.Component != "" {
				return e.Source.Component
			}
			return e.ReportingController
		})
	case "type":
		return get(func(e *corev1.Event) string { return e.Type })
	}
	return nil
}

// splitKey returns the namespace and name that an etcd key of a resource stands for.
func splitKey(r *api.Resource, key string) (namespace, name string) {
	rest := key[len(r.Prefix):]
	if !r.Namespaced {
		return "", rest
	}
	namespace, name, _ = strings.Cut(rest, "/")
	return namespace, name
}

// prefixEnd returns the end of the range of all keys that begin with prefix (clientv3.GetPrefixRangeEnd).
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	end[len(end)-1]++ // prefixes end in a slash: no carry
	return end
}
