package scenarios

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ksim/scenarios/source"
	"ksim/sim/api"
	"ksim/sim/api/crd"
	"ksim/sim/api/fields"
	"ksim/sim/cluster/containerd"
)

// checkObject checks the object of a document, or each of a List.
func (m *manifestChecker) checkObject(raw map[string]any) {
	apiVersion, kind := m.root.Get("apiVersion"), m.root.Get("kind")
	if apiVersion == nil || kind == nil {
		m.atNode(m.root, "apiVersion or kind is missing, want a Kubernetes object")
		return
	}
	if kind.Text == "List" && apiVersion.Text == "v1" {
		m.checkItems(raw)
		return
	}
	gvk := schema.FromAPIVersionAndKind(apiVersion.Text, kind.Text)
	mapping := m.release.Mapping(gvk)
	if mapping == nil {
		mapping = m.release.CustomMapping(m.custom, gvk)
	}
	if mapping == nil {
		m.unknownKind(apiVersion, kind)
		return
	}
	m.checkBehaviours()
	m.checkHooks(mapping.GVK.Kind)
	obj := m.decode(mapping, raw)
	if obj == nil {
		return
	}
	if why := mapping.Resource.Note(); why != "" {
		m.note("kind "+kind.Text, kind, "%s is stored and listed: %s", kind.Text, why)
	}
	m.validate(mapping.Resource, obj)
	if service, ok := obj.(*corev1.Service); ok {
		*m.services = append(*m.services, service)
	}
	if u, ok := obj.(*unstructured.Unstructured); ok && crd.Is(u) {
		m.define(u, kind)
	}
}

// define notes which kinds a definition makes for the manifests that follow.
func (m *manifestChecker) define(u *unstructured.Unstructured, kind *source.Node) {
	d, _, err := crd.Read(u)
	if err != nil || d.Preferred() == nil {
		return
	}
	m.defined = append(m.defined, api.CustomResource(d, d.Preferred()))
	for i := range d.Spec.Versions {
		v := &d.Spec.Versions[i]
		if v.Schema == nil {
			continue
		}
		if unchecked := v.Schema.OpenAPIV3Schema.Unchecked(); len(unchecked) > 0 {
			m.note("schema of "+d.Name+" "+v.Name, kind, "of the schema of %s in %s nothing looks at %s", d.Spec.Names.Kind,
				v.Name, strings.Join(unchecked, ", "))
		}
	}
}

func (m *manifestChecker) checkItems(raw map[string]any) {
	list := m.root
	items := list.Get("items")
	values, _ := raw["items"].([]any)
	if items == nil || items.Kind != source.List || len(items.Items) != len(values) {
		m.atNode(list, "items is missing, want a list of Kubernetes objects")
		return
	}
	for i, item := range items.Items {
		value, ok := values[i].(map[string]any)
		if m.root = item; !ok {
			m.atNode(item, "%s, want a Kubernetes object", item.Describe())
			continue
		}
		m.checkObject(value)
	}
	m.root = list
}

// note tells people of what is sound and has no effect.
func (m *manifestChecker) note(key string, at *source.Node, format string, args ...any) {
	line, column := m.position(at.Line, at.Column)
	m.notes.add(key, source.Problem{File: m.problems.File, Line: line, Column: column,
		Message: fmt.Sprintf(format, args...)})
}

// decode reads the object strictly and returns nil if that fails. A value of the wrong type is reported and left out,
// so that what is wrong behind it is found too.
func (m *manifestChecker) decode(mapping *api.Mapping, raw map[string]any) api.Object {
	mapping.Convert(raw)
	good := true
	for {
		text, err := json.Marshal(raw)
		if err != nil {
			m.atNode(m.root, "%v", err)
			return nil
		}
		read, err := mapping.Decode(text)
		if err == nil {
			good = good && len(read.Unknown) == 0
			for _, problem := range read.Unknown {
				m.strictProblem(problem.Error())
			}
			for i := range read.Findings {
				good = m.finding(mapping, &read.Findings[i]) && good
			}
			if good {
				return read.Object
			}
			return nil
		}
		good = false
		path := m.typeProblem(err.Error())
		if path == "" || !remove(raw, path) {
			return nil
		}
	}
}

var indices = regexp.MustCompile(`\[\d+\]`)

// finding tells of a field that does not do what it says; false: the release does not know it.
func (m *manifestChecker) finding(mapping *api.Mapping, f *fields.Finding) bool {
	node := m.root
	parent, last := "", f.Path
	if i := strings.LastIndexByte(f.Path, '.'); i >= 0 {
		parent, last = f.Path[:i], f.Path[i+1:]
	}
	if above := m.root.Find(parent); above != nil {
		node = above
		if key := above.Key(last); key != nil {
			node = key
		}
	}
	if f.Kind == fields.Unknown {
		m.atNode(node, "%s", f.String())
		return false
	}
	m.note(mapping.GVK.Kind+" "+indices.ReplaceAllString(f.Path, "[]")+" "+f.Why, node, "%s", f.String())
	return true
}

// remove takes the value at a path out of nested maps; false if it is not there.
func remove(raw map[string]any, path string) bool {
	above, below, nested := strings.Cut(path, ".")
	if !nested {
		_, there := raw[path]
		delete(raw, path)
		return there
	}
	inner, ok := raw[above].(map[string]any)
	return ok && remove(inner, below)
}

// unknownKind says why a kind cannot be stored, and what can.
func (m *manifestChecker) unknownKind(apiVersion, kind *source.Node) {
	var elsewhere, kinds, siblings []string // versions that have the kind, all kinds, those of the version
	for _, r := range api.Resources() {
		versions := m.release.Versions(r)
		if r.GVK.Kind == kind.Text {
			elsewhere = append(elsewhere, versions...)
		}
		if len(versions) > 0 {
			kinds = append(kinds, r.GVK.Kind)
		}
		if slices.Contains(versions, apiVersion.Text) {
			siblings = append(siblings, r.GVK.Kind)
		}
	}
	what := fmt.Sprintf("no kind %q in version %q", kind.Text, apiVersion.Text)
	gvk := schema.FromAPIVersionAndKind(apiVersion.Text, kind.Text)
	if m.release.CustomMapping(m.defined, gvk) != nil {
		m.atNode(kind, "%s yet: kubectl looks for the kinds of a manifest before it creates any of it; its "+
			"CustomResourceDefinition belongs into a manifest before this one", what)
		return
	}
	first, last, known := api.Since(gvk)
	if known {
		what += " in " + m.release.MinorVersion() + ": " + span(first, last)
	}
	switch {
	case len(elsewhere) > 0:
		m.atNode(apiVersion, "%s; it is in %s", what, strings.Join(elsewhere, ", "))
	case known:
		m.atNode(apiVersion, "%s", what)
	case len(siblings) > 0:
		m.atNode(kind, "%s%s; there are: %s", what, source.Suggest(kind.Text, kinds), strings.Join(siblings, ", "))
	default:
		hint := source.Suggest(kind.Text, kinds)
		for _, gvk := range m.release.Kinds() {
			if strings.Contains(hint, strconv.Quote(gvk.Kind)) {
				hint += "; " + gvk.Kind + " is in " + gvk.GroupVersion().String()
			}
		}
		m.atNode(kind, "%s%s; allowed: the kinds of %s, and those that a CustomResourceDefinition in a manifest before "+
			"this one defines", what, hint, m.release.MinorVersion())
	}
}

// span words the releases that have something.
func span(first, last int) string {
	switch {
	case last == 0:
		return fmt.Sprintf("it came with v1.%d", first)
	case first == api.OldestMinor:
		return fmt.Sprintf("it went with v1.%d", last+1)
	}
	return fmt.Sprintf("it came with v1.%d and went with v1.%d", first, last+1)
}

var (
	quotedPath = regexp.MustCompile(`"([^"]+)"$`)
	typePath   = regexp.MustCompile(`Go struct field \S+?\.([a-zA-Z.]+) of type (\S+)`)
)

// strictProblem reports an unknown or duplicate field where it stands.
func (m *manifestChecker) strictProblem(message string) {
	node := m.root
	if path := quotedPath.FindStringSubmatch(message); path != nil {
		parent, last := "", path[1]
		if i := strings.LastIndexByte(last, '.'); i >= 0 {
			parent, last = last[:i], last[i+1:]
		}
		if above := m.root.Find(parent); above != nil && above.Key(last) != nil {
			node = above.Key(last)
		}
	}
	m.atNode(node, "%s", message)
}

// typeProblem reports a value of the wrong type and returns its path, "" if that is not known.
func (m *manifestChecker) typeProblem(message string) (path string) {
	node := m.root
	if found := typePath.FindStringSubmatch(message); found != nil {
		node = m.root.Find(found[1])
		path = found[1]
		message = fmt.Sprintf("%s: %s, want %s", found[1], node.Describe(), found[2])
	}
	m.atNode(node, "%s", strings.TrimPrefix(message, "json: "))
	return path
}

func (m *manifestChecker) validate(res *api.Resource, obj api.Object) {
	switch {
	case res == api.Namespaces:
		*m.namespaces = append(*m.namespaces, obj.GetName())
	case !res.Namespaced:
	case obj.GetNamespace() == "":
		obj.SetNamespace(corev1.NamespaceDefault)
	case !slices.Contains(*m.namespaces, obj.GetNamespace()):
		m.atNode(m.root.Find("metadata.namespace"), "no namespace %q%s; there are: %s, or one from a Namespace above",
			obj.GetNamespace(), source.Suggest(obj.GetNamespace(), *m.namespaces), listed(*m.namespaces))
	}
	api.PrepareForCreate(obj)
	api.SetDefaults(obj)
	errs := api.Validate(obj)
	if res.Definition != nil {
		errs = api.ValidateCustom(res, obj)
	}
	if len(errs) == 0 {
		errs = api.ValidateMeta(res, obj)
	}
	for _, e := range errs {
		node := m.root.Find(e.Field)
		if node == nil {
			node = m.root
		}
		m.atNode(node, "%s", e.Error())
	}
}

// checkBehaviours reads the annotations container.ksim.dev/NAME of a pod or pod template.
func (m *manifestChecker) checkBehaviours() {
	for _, path := range []string{"", "spec.template.", "spec.jobTemplate.spec.template."} {
		annotations := m.lookup(path + "metadata.annotations")
		if annotations == nil {
			continue
		}
		var containers []string
		for _, list := range []string{"containers", "initContainers"} {
			if found := m.lookup(path + "spec." + list); found != nil {
				for _, container := range found.Items {
					if name := container.Get("name"); name != nil {
						containers = append(containers, name.Text)
					}
				}
			}
		}
		for _, pair := range annotations.Pairs {
			name, ours := strings.CutPrefix(pair.Key.Text, containerd.AnnotationPrefix)
			if !ours {
				continue
			}
			if !slices.Contains(containers, name) {
				m.atNode(pair.Key, "no container %q%s; there are: %s", name, source.Suggest(name, containers), listed(containers))
			}
			if _, err := containerd.ParseBehaviour(pair.Value.Text); err != nil {
				m.atNode(pair.Value, "%v", err)
			}
		}
	}
}

// checkHooks tells of lifecycle hooks whose command is not played.
func (m *manifestChecker) checkHooks(kind string) {
	for _, path := range []string{"", "spec.template.", "spec.jobTemplate.spec.template."} {
		for _, list := range []string{"containers", "initContainers"} {
			containers := m.lookup(path + "spec." + list)
			if containers == nil {
				continue
			}
			for i, container := range containers.Items {
				for _, hook := range []string{"postStart", "preStop"} {
					m.checkHook(fmt.Sprintf("%sspec.%s[%d].lifecycle.%s.exec.command", path, list, i, hook),
						container.Get("lifecycle").Get(hook).Get("exec").Get("command"), kind)
				}
			}
		}
	}
}

func (m *manifestChecker) checkHook(path string, command *source.Node, kind string) {
	if command == nil || command.Kind != source.List {
		return
	}
	var argv []string
	for _, word := range command.Items {
		argv = append(argv, word.Text)
	}
	if _, played := containerd.ParseCommand(argv); !played {
		m.note(kind+" "+indices.ReplaceAllString(path, "[]"), command,
			"%s is not played: the hook takes no time and succeeds", path)
	}
}

// lookup returns the node at exactly that path, nil if there is none.
func (m *manifestChecker) lookup(path string) *source.Node {
	n := m.root
	for _, key := range strings.Split(path, ".") {
		if n = n.Get(key); n == nil {
			return nil
		}
	}
	return n
}
