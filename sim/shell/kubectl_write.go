package shell

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/api/fields"
)

// document is an object of a manifest: as it was written, and of its type.
type document struct {
	file    string
	mapping *api.Mapping
	raw     map[string]any
	object  api.Object
	err     error    // what the server says of it, should it get that far
	notes   []string // what of it has no effect in a simulation
}

func fileFlags(f *pflag.FlagSet) {
	f.StringSliceP("filename", "f", nil, "")
}

// documents reads the files of -f: paths, directories, or - for standard input. Errors of one document do not keep the
// others from being read.
func (k *kubectl) documents() ([]document, []error) {
	files, _ := k.flags.GetStringSlice("filename") // cannot fail: the verb has the flag
	var list []document
	var problems []error
	for _, name := range files {
		text := k.stdin
		shown := name
		if name == "-" {
			shown = "STDIN"
		} else {
			data, err := k.session.machine.Disk().ReadFile(k.session.path(name))
			if err != nil {
				return nil, []error{usagef("the path %q does not exist", name)}
			}
			text = string(data)
		}
		for _, part := range splitDocuments(text) {
			d, err := k.readDocument(shown, part)
			list = append(list, d...)
			if err != nil {
				problems = append(problems, err)
			}
		}
	}
	if len(list) == 0 && len(problems) == 0 {
		problems = append(problems, usagef("no objects passed to %s", k.args[verbIndex(k.args)]))
	}
	return list, problems
}

func splitDocuments(text string) []string {
	var parts []string
	for _, part := range strings.Split("\n"+text, "\n---") {
		var meaning map[string]any
		if err := yaml.Unmarshal([]byte(part), &meaning); err != nil || len(meaning) > 0 {
			parts = append(parts, part)
		}
	}
	return parts
}

func (k *kubectl) readDocument(file, text string) ([]document, error) {
	d := document{file: file}
	if err := yaml.Unmarshal([]byte(text), &d.raw); err != nil {
		return nil, usagef("error parsing %s: %v", file, err)
	}
	apiVersion, _ := d.raw["apiVersion"].(string)
	kind, _ := d.raw["kind"].(string)
	var unset []string
	if apiVersion == "" {
		unset = append(unset, "apiVersion not set")
	}
	if kind == "" {
		unset = append(unset, "kind not set")
	}
	if unset != nil {
		message := strings.Join(unset, ", ")
		if len(unset) > 1 {
			message = "[" + message + "]"
		}
		return nil, usagef(
			"error validating %q: error validating data: %s; if you choose to ignore these errors, turn validation "+
				"off with --validate=false",
			file,
			message,
		)
	}
	if kind == "List" {
		return k.readItems(file, d.raw)
	}
	mapping, err := k.mapping(schema.FromAPIVersionAndKind(apiVersion, kind))
	if err != nil {
		return nil, err
	}
	if mapping == nil {
		meta, _ := d.raw["metadata"].(map[string]any)
		name, _ := meta["name"].(string)
		namespace, _ := meta["namespace"].(string)
		return nil, usagef(
			"resource mapping not found for name: %q namespace: %q from %q: no matches for kind %q in version %q\n"+
				"ensure CRDs are installed first",
			name,
			namespace,
			file,
			kind,
			apiVersion,
		)
	}
	d.mapping = mapping
	d.decode()
	return []document{d}, nil
}

// decode fills in the object. What the server would refuse is refused with its words (apimachinery
// pkg/runtime/serializer).
func (d *document) decode() {
	d.object = d.mapping.Resource.New()
	d.mapping.Convert(d.raw)
	text, err := json.Marshal(d.raw)
	if err != nil {
		d.err = d.badRequest(err.Error())
		return
	}
	read, err := d.mapping.Decode(text)
	if err != nil {
		d.err = d.badRequest(err.Error())
		var head struct{ Metadata metav1.ObjectMeta }
		if json.Unmarshal(text, &head) == nil {
			d.object.SetName(head.Metadata.Name)
			d.object.SetNamespace(head.Metadata.Namespace)
		}
		return
	}
	d.object = read.Object
	var wrong []string
	for _, problem := range read.Unknown {
		wrong = append(wrong, problem.Error())
	}
	for i := range read.Findings {
		if read.Findings[i].Kind == fields.Unknown {
			wrong = append(wrong, fmt.Sprintf("unknown field %q", read.Findings[i].Path))
		}
	}
	if wrong != nil {
		d.err = d.badRequest("strict decoding error: " + strings.Join(wrong, ", "))
	}
	d.notes = notesOf(d.mapping, read)
}

// notesOf says what of an object has no effect in a simulation.
func notesOf(m *api.Mapping, read *api.Decoded) []string {
	var notes []string
	if why := m.Resource.Note(); why != "" {
		notes = append(notes, m.GVK.Kind+" is stored and listed: "+why)
	}
	for i := range read.Findings {
		if read.Findings[i].Kind != fields.Unknown {
			notes = append(notes, read.Findings[i].String())
		}
	}
	return notes
}

func (k *kubectl) readItems(file string, list map[string]any) ([]document, error) {
	items, _ := list["items"].([]any)
	var all []document
	for _, item := range items {
		text, err := yaml.Marshal(item)
		if err != nil {
			return all, usagef("error parsing %s: %v", file, err)
		}
		d, err := k.readDocument(file, string(text))
		if err != nil {
			return all, err
		}
		all = append(all, d...)
	}
	return all, nil
}

func (d *document) badRequest(why string) error {
	kind, version := d.mapping.GVK.Kind, d.mapping.GVK.Version
	return inFile("creating", d.file, apierrors.NewBadRequest(
		fmt.Sprintf("%s in version %q cannot be handled as a %s: %s", kind, version, kind, why)))
}

// place gives the object its namespace.
func (k *kubectl) place(d *document) {
	if d.mapping.Resource.Namespaced && d.object.GetNamespace() == "" {
		d.object.SetNamespace(k.namespace)
		meta, _ := d.raw["metadata"].(map[string]any)
		if meta != nil {
			meta["namespace"] = k.namespace
		}
	}
}

// inFile says of an error which file it came from, as cmdutil.AddSourceToErr does.
func inFile(verb, file string, err error) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Reason == metav1.StatusReasonInvalid {
		return err
	}
	s := status.ErrStatus
	s.Message = fmt.Sprintf("error when %s %q: %s", verb, file, s.Message)
	return &apierrors.StatusError{ErrStatus: s}
}

// each does something with every document; errors of one do not keep the others from theirs.
func (k *kubectl) each(list []document, problems []error, do func(d *document) error) error {
	for i := range list {
		d := &list[i]
		k.place(d)
		err := d.err
		if err == nil {
			if err = do(d); err == nil {
				k.note(d)
			}
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	return k.aggregate(problems)
}

// aggregate reports several errors as one (kubectl pkg/cmd/util/helpers.go MultipleErrors).
func (k *kubectl) aggregate(problems []error) error {
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return problems[0]
	}
	for _, err := range problems {
		k.failf(1, "%s", strings.TrimPrefix(k.message(err, ""), "error: "))
	}
	return errSilent
}

// note leaves in the trace what of a written object has no effect.
func (k *kubectl) note(d *document) {
	for _, message := range d.notes {
		k.process.Scope().Emit(sim.Event{Level: sim.Detail, Machine: k.session.machine.Name, Component: "kubectl",
			Reason: "NotModelled", Message: message,
			Object: api.ResourceEventName(d.mapping.Resource, d.object.GetNamespace(), d.object.GetName())})
	}
}

func createVerb() kubectlVerb {
	return kubectlVerb{name: "create", run: runCreate, flags: func(f *pflag.FlagSet) {
		fileFlags(f)
		f.StringSlice("image", nil, "")
		f.Int32P("replicas", "r", 1, "")
		f.StringArray("from-literal", nil, "")
	}}
}

func runCreate(k *kubectl, args []string) error {
	if len(args) > 0 {
		return k.createNamed(args)
	}
	if k.flags.Lookup("filename").Value.String() == "[]" {
		return usagef("must specify one of -f and -k")
	}
	list, problems := k.documents()
	return k.each(list, problems, func(d *document) error {
		resp, err := k.do(&api.Request{Verb: api.Create, Resource: d.mapping.Resource, Namespace: d.object.GetNamespace(),
			Name: d.object.GetName(), Object: d.object, FieldManager: "kubectl-create"})
		if err != nil {
			return inFile("creating", d.file, err)
		}
		k.printf("%s/%s created\n", d.typeName(), resp.Object.GetName())
		return nil
	})
}

// createNamed is kubectl create KIND NAME.
func (k *kubectl) createNamed(args []string) error {
	images, _ := k.flags.GetStringSlice("image")          // cannot fail: the verb has the flag
	replicas, _ := k.flags.GetInt32("replicas")           // cannot fail
	literals, _ := k.flags.GetStringArray("from-literal") // cannot fail
	if len(args) != 2 {
		return usagef(
			"exactly one NAME is required, got %d\nSee 'kubectl create %s -h' for help and examples",
			len(args)-1,
			args[0],
		)
	}
	name := args[1]
	var object api.Object
	switch res := api.ResourceFor(args[0]); res {
	case api.Deployments:
		if len(images) == 0 {
			return usagef("required flag(s) \"image\" not set")
		}
		object = newDeployment(name, images, replicas)
	case api.Namespaces:
		object = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	case api.ConfigMaps:
		data := map[string]string{}
		for _, l := range literals {
			key, value, _ := strings.Cut(l, "=")
			data[key] = value
		}
		object = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	default:
		return usagef(
			"kubectl create %s is not modelled by ksim yet; there are: deployment, namespace, configmap, -f",
			args[0],
		)
	}
	res := api.ResourceOf(object)
	if res.Namespaced {
		object.SetNamespace(k.namespace)
	}
	_, err := k.do(&api.Request{Verb: api.Create, Resource: res, Namespace: object.GetNamespace(), Name: name,
		Object: object, FieldManager: "kubectl-create"})
	if err != nil {
		var status *apierrors.StatusError
		if errors.As(err, &status) && status.ErrStatus.Reason != metav1.StatusReasonInvalid {
			return usagef("failed to create %s: %s", res.Singular, status.ErrStatus.Message)
		}
		return err
	}
	k.printf("%s/%s created\n", typeName(res), name)
	return nil
}

func newDeployment(name string, images []string, replicas int32) *appsv1.Deployment {
	own := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: own}}
	d.Spec.Replicas = &replicas
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: own}
	d.Spec.Template.Labels = own
	for _, image := range images {
		container := image[strings.LastIndexByte(image, '/')+1:]
		container, _, _ = strings.Cut(container, ":")
		container, _, _ = strings.Cut(container, "@")
		d.Spec.Template.Spec.Containers = append(
			d.Spec.Template.Spec.Containers,
			corev1.Container{Name: container, Image: image},
		)
	}
	return d
}
