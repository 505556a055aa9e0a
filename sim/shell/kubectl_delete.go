package shell

import (
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
)

func deleteVerb() kubectlVerb {
	return kubectlVerb{name: "delete", run: runDelete, flags: func(f *pflag.FlagSet) {
		fileFlags(f)
		f.StringP("selector", "l", "", "")
		f.StringP("output", "o", "", "")
		f.BoolP("all-namespaces", "A", false, "")
		f.Bool("all", false, "")
		f.Bool("force", false, "")
		f.Bool("now", false, "")
		f.Int64("grace-period", -1, "")
		f.Bool("wait", true, "")
		f.Bool("ignore-not-found", false, "")
		f.Duration("timeout", 0, "")
		f.String("cascade", "background", "")
	}}
}

// deletion is an object that was asked to go.
type deletion struct {
	resource        *api.Resource
	namespace, name string
	uid             types.UID
}

func runDelete(k *kubectl, args []string) error {
	grace, _ := k.flags.GetInt64("grace-period") // cannot fail: the verb has the flag
	if k.is("now") {
		grace = 1
	}
	if k.is("force") && grace < 0 {
		grace = 0
	}
	if grace == 0 && !k.is("force") { // 0 alone means 1, which is graceful (kubectl pkg/cmd/delete/delete.go)
		grace = 1
	}
	if k.is("force") && grace == 0 {
		k.failf(
			0,
			"Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The "+
				"resource may continue to run on the cluster indefinitely.",
		)
	}
	found, problem := k.toDelete(args)
	if problem != nil && len(found) == 0 {
		return problem
	}
	var gone []deletion
	for _, d := range found {
		if err := k.delete(&d, grace); err != nil {
			if !api.IsNotFound(err) || !k.is("ignore-not-found") {
				if problem != nil {
					k.failf(1, "%s", k.message(problem, ""))
				}
				problem = err
			}
			continue
		}
		gone = append(gone, d)
	}
	if k.is("wait") && !(k.is("force") && grace == 0) {
		if err := k.awaitDeletions(gone); err != nil {
			return err
		}
	}
	return problem
}

// toDelete finds what the arguments name.
func (k *kubectl) toDelete(args []string) ([]deletion, error) {
	var all []deletion
	if k.flags.Lookup("filename").Value.String() != "[]" {
		list, problems := k.documents()
		for i := range list {
			k.place(&list[i])
			all = append(all,
				deletion{list[i].mapping.Resource, list[i].object.GetNamespace(), list[i].object.GetName(), ""})
		}
		return all, k.aggregate(problems)
	}
	if len(args) == 0 {
		return nil, usagef("You must provide one or more resources by argument or filename.")
	}
	list, err := k.targets(args)
	if err != nil {
		return nil, err
	}
	byLabel, _, err := k.selectors()
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		switch {
		case t.name != "":
			all = append(all, deletion{t.resource, k.namespaceOf(t.resource), t.name, ""})
		case byLabel == nil && !k.is("all"):
			return nil, usagef("resource(s) were provided, but no name was specified")
		default:
			objects, err := k.list(t.resource, byLabel, nil)
			if err != nil {
				return nil, err
			}
			for _, obj := range objects {
				all = append(all, deletion{t.resource, obj.GetNamespace(), obj.GetName(), ""})
			}
		}
	}
	if len(all) == 0 {
		k.printf("No resources found\n")
	}
	return all, nil
}

func (k *kubectl) namespaceOf(res *api.Resource) string {
	if res.Namespaced {
		return k.namespace
	}
	return ""
}

func (k *kubectl) delete(d *deletion, grace int64) error {
	policy := metav1.DeletePropagationBackground
	switch k.text("cascade") {
	case "orphan":
		policy = metav1.DeletePropagationOrphan
	case "foreground":
		policy = metav1.DeletePropagationForeground
	}
	r := &api.Request{
		Verb:              api.Delete,
		Resource:          d.resource,
		Namespace:         d.namespace,
		Name:              d.name,
		PropagationPolicy: &policy,
	}
	if grace >= 0 {
		r.GracePeriodSeconds = &grace
	}
	resp, err := k.do(r)
	if err != nil {
		return err
	}
	if resp.Object != nil {
		d.uid = resp.Object.GetUID()
	}
	how := "deleted"
	if k.is("force") && grace == 0 {
		how = "force deleted"
	}
	switch {
	case k.text("output") == "name":
		k.printf("%s/%s\n", typeName(d.resource), d.name)
	case d.resource.Namespaced && k.minor() >= 34:
		k.printf("%s %q %s from %s namespace\n", typeName(d.resource), d.name, how, d.namespace)
	default:
		k.printf("%s %q %s\n", typeName(d.resource), d.name, how)
	}
	return nil
}

// minor is kubectl's own minor release.
func (k *kubectl) minor() int {
	release, err := api.ParseRelease(k.session.cluster.Spec().Kubernetes)
	if err != nil {
		return api.DefaultMinor
	}
	return release.Minor
}

// awaitDeletions waits until the objects are gone, or others by their names are there.
func (k *kubectl) awaitDeletions(list []deletion) error {
	within, _ := k.flags.GetDuration("timeout") // cannot fail: the verb has the flag
	if within <= 0 {
		within = 7 * 24 * time.Hour // kubectl's "a very long time" (pkg/cmd/delete/delete.go)
	}
	deadline := k.proc.Now().Add(within)
	for _, d := range list {
		for {
			gone, err := k.awaitDeletion(&d, deadline)
			if err != nil {
				return err
			}
			if gone {
				break
			}
		}
	}
	return nil
}

// awaitDeletion waits for one object until its watch ends; gone is false when it must be looked at again.
func (k *kubectl) awaitDeletion(d *deletion, deadline sim.Time) (gone bool, err error) {
	resp, err := k.do(&api.Request{Verb: api.Get, Resource: d.resource, Namespace: d.namespace, Name: d.name})
	if api.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if d.uid != "" && resp.Object.GetUID() != d.uid {
		return true, nil
	}
	ended := sim.NewFuture[bool]()
	cancel := k.client.Watch(&api.Request{Verb: api.Watch, Resource: d.resource, Namespace: d.namespace,
		FieldSelector: fields.OneTermEqualSelector(
			"metadata.name",
			d.name,
		), ResourceVersion: resp.Object.GetResourceVersion()},
		func(e api.WatchEvent) {
			if e.Type == api.Deleted {
				ended.Resolve(true, nil)
			}
		}, func(error) { ended.Resolve(false, nil) })
	defer cancel()
	gone, err = ended.Await(k.proc, max(deadline.Sub(k.proc.Now()), 0))
	if err != nil {
		return false, usagef("timed out waiting for the condition on %s/%s", d.resource.Plural, d.name)
	}
	if !gone {
		k.proc.Sleep(time.Second) // chosen: the watch broke; look again
	}
	return gone, nil
}
