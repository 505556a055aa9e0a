package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models pkg/controller/namespace/deletion, v1.36: a namespace's contents are deleted, from v1.33 on its pods first,
// and its finalizer taken off when nothing is left. Resources are gone through in one order, where upstream takes them
// as a map gives them.

// leftovers is what a pass over a namespace has not got rid of.
type leftovers struct {
	estimate   time.Duration  // how long pods may take, 0: their grace is over
	objects    map[string]int // by resource, as in pods.
	finalizers map[string]int
	failures   []string
}

// deleteNamespace deletes everything in a namespace that is being deleted, and takes its finalizer off when nothing
// is left.
func (nm *namespaceController) deleteNamespace(p *sim.Proc, name string) error {
	if _, ok := nm.namespaces.Named("", name); !ok {
		return nil
	}
	ns, err := api.GetObject[*corev1.Namespace](p, nm.client, "", name)
	if api.IsNotFound(err) || err == nil && (ns.DeletionTimestamp == nil || len(ns.Spec.Finalizers) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	nm.because(ns)
	left := &leftovers{objects: map[string]int{}, finalizers: map[string]int{}}
	podsFirst := nm.deleteContent(p, ns, left)
	if ns, err = nm.noteLeftovers(p, ns, left, podsFirst); err != nil {
		return err
	}
	switch {
	case len(left.failures) > 0:
		return errors.New(strings.Join(left.failures, ", "))
	case left.estimate > 0:
		return &remaining{left.estimate}
	}
	copied := ns.DeepCopy()
	copied.Spec.Finalizers = nil
	nm.because(ns)
	_, err = nm.client.Do(p, &api.Request{Verb: api.Update, Resource: api.Namespaces, Subresource: "finalize", Name: name,
		Object: copied})
	return err
}

// deleteContent deletes what is in a namespace. It reports whether only pods were deleted, because some remain.
func (nm *namespaceController) deleteContent(p *sim.Proc, ns *corev1.Namespace, left *leftovers) (podsFirst bool) {
	cause := nm.kernel.Cause()
	ordered := nm.release.OrderedNamespaceDeletion
	if ordered {
		nm.deleteAll(p, ns, api.Pods, left)
		if left.objects[api.Pods.Plural+"."] > 0 {
			return true
		}
	}
	resources, err := nm.discover(p)
	if err != nil { // what is known is deleted all the same
		left.failures = append(left.failures, err.Error())
	}
	for _, resource := range resources {
		if !ordered || resource != api.Pods {
			nm.kernel.Because(cause)
			nm.deleteAll(p, ns, resource, left)
		}
	}
	return false
}

// discover returns the resources that a namespace may hold objects of: those of the release, and custom ones.
func (nm *namespaceController) discover(p *sim.Proc) ([]*api.Resource, error) {
	var all []*api.Resource
	for _, resource := range api.Resources() {
		if resource.Namespaced && nm.release.Serves(resource) {
			all = append(all, resource)
		}
	}
	custom, err := api.CustomResources(p, nm.client)
	for _, resource := range custom {
		if resource.Namespaced {
			all = append(all, resource)
		}
	}
	return all, err
}

// deleteAll deletes the objects of one resource in a namespace and notes what is left.
func (nm *namespaceController) deleteAll(p *sim.Proc, ns *corev1.Namespace, resource *api.Resource, left *leftovers) {
	cause := nm.kernel.Cause()
	items, err := nm.contents(p, ns, resource)
	estimate := nm.estimate(ns, items)
	for _, obj := range items {
		if obj.GetDeletionTimestamp() != nil || err != nil {
			continue
		}
		nm.kernel.Because(cause)
		_, err = nm.client.Do(p, &api.Request{Verb: api.Delete, Resource: resource, Namespace: ns.Name, Name: obj.GetName()})
		if api.IsNotFound(err) {
			err = nil
		}
	}
	if err == nil && len(items) > 0 {
		items, err = nm.contents(p, ns, resource)
	}
	if err != nil {
		left.failures = append(left.failures, err.Error())
		return
	}
	if len(items) == 0 {
		return
	}
	left.objects[resource.Plural+"."+resource.GVK.Group] = len(items)
	finalizers := false
	for _, obj := range items {
		for _, f := range obj.GetFinalizers() {
			left.finalizers[f]++
			finalizers = true
		}
	}
	switch {
	case estimate > 0:
	case finalizers:
		estimate = finalizerEstimate
	default:
		failure := fmt.Sprintf("unexpected items still remain in namespace: %s for gvr: %s/%s, Resource=%s", ns.Name,
			resource.GVK.Group, resource.GVK.Version, resource.Plural)
		if resource == api.Pods && nm.release.OrderedNamespaceDeletion {
			failure = fmt.Sprintf("failed to delete pods for namespace: %s, err: %s", ns.Name, failure)
		}
		left.failures = append(left.failures, failure)
	}
	left.estimate = max(left.estimate, estimate)
}

func (nm *namespaceController) contents(p *sim.Proc, ns *corev1.Namespace, r *api.Resource) ([]api.Object, error) {
	list, err := nm.client.Do(p, &api.Request{Verb: api.List, Resource: r, Namespace: ns.Name})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// estimate is how long the pods among objects may take to end, 0 when that time has passed since the deletion.
func (nm *namespaceController) estimate(ns *corev1.Namespace, objects []api.Object) time.Duration {
	longest := time.Duration(0)
	for _, obj := range objects {
		pod, ok := obj.(*corev1.Pod)
		if ok && !isTerminal(pod) && pod.Spec.TerminationGracePeriodSeconds != nil {
			longest = max(longest, time.Duration(*pod.Spec.TerminationGracePeriodSeconds)*time.Second)
		}
	}
	if nm.process.Machine().Clock().Now().Sub(ns.DeletionTimestamp.Time) >= longest {
		return 0
	}
	return longest
}

// noteLeftovers brings the namespace's conditions up to date (status_condition_utils.go). While pods are waited for,
// nothing is said of what remains.
func (nm *namespaceController) noteLeftovers(p *sim.Proc, ns *corev1.Namespace, left *leftovers,
	podsFirst bool) (*corev1.Namespace, error) {
	if !nm.release.NamespaceConditions {
		return ns, nil
	}
	said := map[corev1.NamespaceConditionType][2]string{}
	if n := len(left.failures); n > 0 {
		said[corev1.NamespaceDeletionContentFailure] = [2]string{"ContentDeletionFailed",
			fmt.Sprintf("Failed to delete all resource types, %d remaining: %s", n, strings.Join(left.failures, ", "))}
	}
	if len(left.objects) > 0 && !podsFirst {
		said[corev1.NamespaceContentRemaining] = [2]string{"SomeResourcesRemain", "Some resources are remaining: " +
			counted(left.objects, "%s has %d resource instances")}
	}
	if len(left.finalizers) > 0 && !podsFirst {
		said[corev1.NamespaceFinalizersRemaining] = [2]string{"SomeFinalizersRemain",
			"Some content in the namespace has finalizers remaining: " + counted(left.finalizers, "%s in %d resource instances")}
	}
	copied := ns.DeepCopy()
	changed := false
	for _, c := range [...]corev1.NamespaceCondition{
		{Type: corev1.NamespaceDeletionDiscoveryFailure, Reason: "ResourcesDiscovered",
			Message: "All resources successfully discovered"},
		{Type: corev1.NamespaceDeletionGVParsingFailure, Reason: "ParsedGroupVersions",
			Message: "All legacy kube types successfully parsed"},
		{Type: corev1.NamespaceDeletionContentFailure, Reason: "ContentDeleted",
			Message: "All content successfully deleted, may be waiting on finalization"},
		{Type: corev1.NamespaceContentRemaining, Reason: "ContentRemoved", Message: "All content successfully removed"},
		{Type: corev1.NamespaceFinalizersRemaining, Reason: "ContentHasNoFinalizers",
			Message: "All content-preserving finalizers finished"},
	} {
		c.Status, c.LastTransitionTime = corev1.ConditionFalse, nm.now()
		if bad, ok := said[c.Type]; ok {
			c.Status, c.Reason, c.Message = corev1.ConditionTrue, bad[0], bad[1]
		}
		changed = setNamespaceCondition(&copied.Status, c) || changed
	}
	if !changed {
		return ns, nil
	}
	updated, err := api.UpdateStatus(p, nm.client, copied)
	if err != nil {
		return nil, err
	}
	return updated, nil
}

func setNamespaceCondition(status *corev1.NamespaceStatus, c corev1.NamespaceCondition) (changed bool) {
	for i := range status.Conditions {
		old := &status.Conditions[i]
		if old.Type != c.Type {
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		changed = old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message
		*old = c
		return changed
	}
	status.Conditions = append(status.Conditions, c)
	return true
}

// counted writes numbers of things, sorted.
func counted(numbers map[string]int, format string) string {
	var all []string
	for name, n := range numbers { // any order: sorted below
		all = append(all, fmt.Sprintf(format, name, n))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
