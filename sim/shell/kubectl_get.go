package shell

import (
	"encoding/json"
	"io"
	"strings"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"ksim/sim/api"
)

func getVerb() kubectlVerb {
	return kubectlVerb{name: "get", run: runGet, flags: func(f *pflag.FlagSet) {
		f.BoolP("all-namespaces", "A", false, "")
		f.StringP("output", "o", "", "")
		f.StringP("selector", "l", "", "")
		f.String("field-selector", "", "")
		f.Bool("no-headers", false, "")
		f.Bool("show-labels", false, "")
		f.Bool("ignore-not-found", false, "")
	}}
}

func (k *kubectl) text(flag string) string {
	value, _ := k.flags.GetString(flag) // cannot fail: the verb has the flag
	return value
}

func (k *kubectl) is(flag string) bool {
	value, _ := k.flags.GetBool(flag) // cannot fail: the verb has the flag
	return value
}

// selectors reads -l and --field-selector.
func (k *kubectl) selectors() (labels.Selector, fields.Selector, error) {
	var byLabel labels.Selector
	var byField fields.Selector
	var err error
	if text := k.text("selector"); text != "" {
		if byLabel, err = labels.Parse(text); err != nil {
			return nil, nil, usagef("%v", err)
		}
	}
	if k.flags.Lookup("field-selector") != nil && k.text("field-selector") != "" {
		if byField, err = fields.ParseSelector(k.text("field-selector")); err != nil {
			return nil, nil, usagef("%v", err)
		}
	}
	return byLabel, byField, nil
}

func runGet(k *kubectl, args []string) error {
	if len(args) == 0 {
		k.failf(
			1,
			"You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported "+
				"resources.\n\nerror: Required resource not specified.\nUse \"kubectl explain <resource>\" for a "+
				"detailed description of "+
				"that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples",
		)
		return errSilent
	}
	switch output := k.text("output"); output {
	case "", "wide", "yaml", "json", "name":
	default:
		return usagef(
			"unable to match a printer suitable for the output format %q, allowed formats are: json,name,wide,yaml",
			output,
		)
	}
	list, err := k.targets(args)
	if err != nil {
		return err
	}
	if k.is("all-namespaces") && list[0].name != "" {
		return usagef("a resource cannot be retrieved by name across all namespaces")
	}
	var groups []group
	var problems []error
	for _, t := range list {
		objects, err := k.fetch(t)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if n := len(groups); n > 0 && groups[n-1].resource == t.resource {
			groups[n-1].objects = append(groups[n-1].objects, objects...)
			continue
		}
		groups = append(groups, group{t.resource, objects})
	}
	k.show(groups, len(list) == 1 && list[0].name != "", len(problems) > 0)
	if len(problems) == 0 {
		return nil
	}
	for _, err := range problems[:len(problems)-1] {
		k.failf(1, "%s", k.message(err, ""))
	}
	return problems[len(problems)-1]
}

// group is objects of one resource.
type group struct {
	resource *api.Resource
	objects  []api.Object
}

func (k *kubectl) fetch(t target) ([]api.Object, error) {
	if t.name != "" {
		resp, err := k.do(&api.Request{Verb: api.Get, Resource: t.resource, Name: t.name})
		if api.IsNotFound(err) && k.is("ignore-not-found") {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []api.Object{resp.Object}, nil
	}
	byLabel, byField, err := k.selectors()
	if err != nil {
		return nil, err
	}
	return k.list(t.resource, byLabel, byField)
}

func (k *kubectl) list(res *api.Resource, byLabel labels.Selector, byField fields.Selector) ([]api.Object, error) {
	namespace := k.namespace
	if !res.Namespaced || k.flags.Lookup("all-namespaces") != nil && k.is("all-namespaces") {
		namespace = metav1.NamespaceAll
	}
	resp, err := k.do(&api.Request{Verb: api.List, Resource: res, Namespace: namespace, LabelSelector: byLabel,
		FieldSelector: byField})
	if err != nil {
		return nil, err
	}
	return resp.Items, nil
}

// show prints what was found. single: one object was asked for by name.
func (k *kubectl) show(groups []group, single, failed bool) {
	var all []api.Object
	for _, g := range groups {
		all = append(all, g.objects...)
	}
	switch k.text("output") {
	case "name":
		for _, g := range groups {
			for _, obj := range g.objects {
				k.printf("%s/%s\n", typeName(g.resource), obj.GetName())
			}
		}
		return
	case "yaml", "json":
		if len(all) > 0 || !failed {
			k.printObjects(all, single, k.text("output") == "yaml")
		}
		return
	}
	if len(all) == 0 {
		switch {
		case failed || k.is("ignore-not-found"):
		case len(groups) > 0 && groups[0].resource.Namespaced && !k.is("all-namespaces"):
			k.failf(0, "No resources found in %s namespace.", k.namespace)
		default:
			k.failf(0, "No resources found")
		}
		return
	}
	printTables(k, groups)
}

// printObjects writes objects as YAML or JSON: one, or a List.
func (k *kubectl) printObjects(objects []api.Object, single, asYAML bool) {
	var documents []json.RawMessage
	for _, obj := range objects {
		shown := obj.DeepCopyObject().(api.Object)
		if res := api.ResourceOf(obj); res != nil {
			shown.GetObjectKind().SetGroupVersionKind(
				schema.FromAPIVersionAndKind(k.release().Shown(res), res.GVK.Kind))
		}
		documents = append(documents, encodeJSON(shown))
	}
	var document any = map[string]any{"apiVersion": "v1", "kind": "List",
		"items":    append([]json.RawMessage{}, documents...),
		"metadata": map[string]any{"resourceVersion": ""}}
	if single && len(documents) == 1 {
		document = documents[0]
	}
	text, err := json.MarshalIndent(document, "", "    ")
	if err == nil && asYAML {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		panic(err) // cannot fail: API objects have a form in JSON
	}
	io.WriteString(k.stdout, strings.TrimSuffix(string(text), "\n")+"\n")
}

// encodeJSON returns an object with its apiVersion and kind, without managedFields, as kubectl shows it.
func encodeJSON(obj api.Object) json.RawMessage {
	shown := obj.DeepCopyObject().(api.Object)
	shown.SetManagedFields(nil)
	if res := api.ResourceOf(obj); res != nil && shown.GetObjectKind().GroupVersionKind().Empty() {
		shown.GetObjectKind().SetGroupVersionKind(res.GVK)
	}
	text, err := json.Marshal(shown)
	if err != nil {
		panic(err) // cannot fail: API objects have a form in JSON
	}
	var tidy map[string]any
	if json.Unmarshal(text, &tidy) == nil { // keys in alphabetical order, as the server's unstructured objects print
		if meta, ok := tidy["metadata"].(map[string]any); ok && meta["creationTimestamp"] == nil {
			delete(meta, "creationTimestamp")
		}
		text, _ = json.Marshal(tidy) // cannot fail: it was JSON
	}
	return text
}
