package shell

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"ksim/sim/api"
)

// document is an object of a manifest: as it was written, and of its type.
type document struct {
	file     string
	resource *api.Resource
	raw      map[string]any
	object   api.Object
}

func fileFlags(f *pflag.FlagSet) {
	f.StringSliceP("filename", "f", nil, "")
}

// documents reads the files of -f: paths, directories, or - for standard input.
func (k *kubectl) documents() ([]document, error) {
	files, _ := k.flags.GetStringSlice("filename") // cannot fail: the verb has the flag
	release, err := api.ParseRelease(k.session.cluster.Spec().Kubernetes)
	if err != nil {
		return nil, err
	}
	var list []document
	for _, name := range files {
		text := k.stdin
		shown := name
		if name == "-" {
			shown = "STDIN"
		} else {
			data, err := k.session.machine.Disk().ReadFile(k.session.path(name))
			if err != nil {
				return nil, usagef("the path %q does not exist", name)
			}
			text = string(data)
		}
		for _, part := range splitDocuments(text) {
			d, err := readDocument(release, shown, part)
			if err != nil {
				return nil, err
			}
			list = append(list, d...)
		}
	}
	if len(list) == 0 {
		return nil, usagef("no objects passed to %s", k.args[verbIndex(k.args)])
	}
	return list, nil
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

func readDocument(release *api.Release, file, text string) ([]document, error) {
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
		return readItems(release, file, d.raw)
	}
	d.resource = release.ResourceByGVK(schema.FromAPIVersionAndKind(apiVersion, kind))
	if d.resource == nil {
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
	d.object = d.resource.New()
	if err := d.decode(text); err != nil {
		return nil, inFile("creating", file, err)
	}
	return []document{d}, nil
}

// decode fills in the object. What the server would refuse is refused with its words (apimachinery
// pkg/runtime/serializer).
func (d *document) decode(text string) error {
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return badRequest(d.resource, err.Error())
	}
	strict, err := kjson.UnmarshalStrict(encoded, d.object)
	if err != nil {
		return badRequest(d.resource, err.Error())
	}
	if len(strict) == 0 {
		return nil
	}
	var wrong []string
	for _, problem := range strict {
		wrong = append(wrong, problem.Error())
	}
	return badRequest(d.resource, "strict decoding error: "+strings.Join(wrong, ", "))
}

func readItems(release *api.Release, file string, list map[string]any) ([]document, error) {
	items, _ := list["items"].([]any)
	var all []document
	for _, item := range items {
		text, err := yaml.Marshal(item)
		if err != nil {
			return nil, usagef("error parsing %s: %v", file, err)
		}
		d, err := readDocument(release, file, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, d...)
	}
	return all, nil
}

func badRequest(res *api.Resource, why string) error {
	return apierrors.NewBadRequest(
		fmt.Sprintf("%s in version %q cannot be handled as a %s: %s", res.GVK.Kind, res.GVK.Version,
			res.GVK.Kind, why),
	)
}

// place gives the object its namespace.
func (k *kubectl) place(d *document) {
	if d.resource.Namespaced && d.object.GetNamespace() == "" {
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
func (k *kubectl) each(list []document, do func(d *document) error) error {
	var last error
	for i := range list {
		k.place(&list[i])
		if err := do(&list[i]); err != nil {
			if last != nil {
				k.failf(1, "%s", k.message(last, ""))
			}
			last = err
		}
	}
	return last
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
	list, err := k.documents()
	if err != nil {
		return err
	}
	return k.each(list, func(d *document) error {
		resp, err := k.do(&api.Request{Verb: api.Create, Resource: d.resource, Namespace: d.object.GetNamespace(),
			Name: d.object.GetName(), Object: d.object, FieldManager: "kubectl-create"})
		if err != nil {
			return inFile("creating", d.file, err)
		}
		k.printf("%s/%s created\n", typeName(d.resource), resp.Object.GetName())
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
	d := document{resource: api.ResourceOf(object), object: object}
	k.place(&d)
	_, err := k.do(
		&api.Request{Verb: api.Create, Resource: d.resource, Namespace: object.GetNamespace(), Name: name, Object: object,
			FieldManager: "kubectl-create"},
	)
	if err != nil {
		var status *apierrors.StatusError
		if errors.As(err, &status) && status.ErrStatus.Reason != metav1.StatusReasonInvalid {
			return usagef("failed to create %s: %s", d.resource.Singular, status.ErrStatus.Message)
		}
		return err
	}
	k.printf("%s/%s created\n", typeName(d.resource), name)
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
