package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"ksim/scenarios/source"
	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
)

// checkManifests reads every manifest as the API server will: known kinds, known fields, valid objects.
func (c *checker) checkManifests() {
	namespaces := []string{"default", "kube-node-lease", "kube-public", "kube-system"} // those that every cluster has
	release, err := api.ParseRelease(c.Spec.Kubernetes)
	if err != nil {
		return // told already
	}
	for i := range c.Manifests {
		text, name := c.Manifests[i], fmt.Sprintf("manifest-%d.yaml", i+1)
		node := c.Place(&c.Manifests[i])
		if text == "" {
			continue
		}
		m := &manifestChecker{problems: &source.Problems{File: c.from.Name}, warnings: &source.Problems{},
			place: node.Place, namespaces: &namespaces, release: release}
		if isPath(text) {
			data, ok := c.beside(node, text)
			if !ok {
				continue
			}
			m.problems.File, m.place = text, nil
			name, text = text, string(data)
		}
		m.check(text)
		c.Problems.Merge(m.problems)
		for _, w := range m.warnings.List() {
			w.File = m.problems.File
			c.Warnings = append(c.Warnings, w)
		}
		c.Bundle = append(c.Bundle, Manifest{Name: name, Text: text})
	}
}

// isPath reports whether a manifest is a path, not text.
func isPath(text string) bool {
	return !strings.Contains(text, "\n") && !strings.Contains(text, ": ") &&
		(strings.HasSuffix(text, ".yaml") || strings.HasSuffix(text, ".yml") || strings.HasSuffix(text, ".json"))
}

// manifestChecker checks the documents of one text of Kubernetes YAML.
type manifestChecker struct {
	problems *source.Problems
	warnings *source.Problems // what is sound, and nothing acts on
	release  *api.Release
	place    func(offset int) (line, column int) // of an offset of the text; nil: the text is a file of its own
	text     string
	root     *source.Node // of the document
	start    int          // offset of the document in the text
	document string
	// namespaces are those that exist when the document is applied.
	namespaces *[]string
}

var separator = regexp.MustCompile(`(?m)^---[ \t]*(#.*)?$`)

func (m *manifestChecker) check(text string) {
	m.text = text
	start := 0
	for _, cut := range append(separator.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
		m.start, m.document = start, text[start:cut[0]]
		if strings.TrimSpace(stripComments(m.document)) != "" {
			m.checkDocument()
		}
		start = cut[1]
	}
}

func stripComments(text string) string {
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// at reports a problem at a line and column of the document.
func (m *manifestChecker) at(line, column int, format string, args ...any) {
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	line, column = m.position(line, column)
	m.problems.Add(line, column, "%s", message)
}

// position turns a line and column of the document into those of the file.
func (m *manifestChecker) position(line, column int) (int, int) {
	offset := m.start + source.Offset(m.document, line, column)
	if m.place != nil {
		return m.place(offset)
	}
	before := m.text[:offset]
	return strings.Count(before, "\n") + 1, len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
}

func (m *manifestChecker) atNode(n *source.Node, format string, args ...any) {
	m.at(n.Line, n.Column, format, args...)
}

func (m *manifestChecker) checkDocument() {
	inner := &source.Problems{}
	m.root = source.Parse([]byte(m.document), inner)
	for _, p := range inner.List() {
		m.at(p.Line, p.Column, "%s", p.Message)
	}
	if m.root == nil || inner.Err() != nil {
		return
	}
	if m.root.Kind != source.Map {
		m.atNode(m.root, "%s, want a Kubernetes object", m.root.Describe())
		return
	}
	m.checkObject()
}

func (m *manifestChecker) checkObject() {
	apiVersion, kind := m.root.Get("apiVersion"), m.root.Get("kind")
	if apiVersion == nil || kind == nil {
		m.atNode(m.root, "apiVersion or kind is missing, want a Kubernetes object")
		return
	}
	gvk := schema.FromAPIVersionAndKind(apiVersion.Text, kind.Text)
	res := m.release.ResourceByGVK(gvk)
	if res == nil {
		m.unknownKind(apiVersion, kind)
		return
	}
	if !res.Modelled {
		m.atNode(kind, "%s is not modelled: nothing in the cluster would act on it; modelled: %s", kind.Text, modelledKinds())
		return
	}
	text, err := yaml.YAMLToJSON([]byte(m.document))
	if err != nil {
		m.atNode(m.root, "%v", err)
		return
	}
	m.checkBehaviours()
	if obj := m.decode(res, text); obj != nil {
		m.validate(res, obj)
	}
}

// decode reads the object strictly and returns nil if that fails. A value of the wrong type is reported and left out,
// so that what is wrong behind it is found too.
func (m *manifestChecker) decode(res *api.Resource, text []byte) api.Object {
	var raw map[string]any
	if err := yaml.Unmarshal(text, &raw); err != nil {
		m.atNode(m.root, "%v", err)
		return nil
	}
	good := true
	for {
		obj := res.New()
		strict, err := kjson.UnmarshalStrict(text, obj)
		if err == nil {
			for _, problem := range strict {
				m.strictProblem(problem.Error())
			}
			if good && len(strict) == 0 {
				return obj
			}
			return nil
		}
		good = false
		path := m.typeProblem(err.Error())
		if path == "" || !remove(raw, path) {
			return nil
		}
		if text, err = yaml.Marshal(raw); err == nil {
			text, err = yaml.YAMLToJSON(text)
		}
		if err != nil {
			return nil
		}
	}
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

func (m *manifestChecker) unknownKind(apiVersion, kind *source.Node) {
	var kinds []string
	for _, r := range api.Resources() {
		if r.GVK.Kind == kind.Text {
			version, _ := r.GVK.ToAPIVersionAndKind()
			m.atNode(apiVersion, "no kind %q in version %q; it is in %s", kind.Text, apiVersion.Text, version)
			return
		}
		kinds = append(kinds, r.GVK.Kind)
	}
	m.atNode(
		kind,
		"no kind %q in version %q%s; modelled: %s",
		kind.Text,
		apiVersion.Text,
		source.Suggest(kind.Text, kinds),
		modelledKinds(),
	)
}

func modelledKinds() string {
	var kinds []string
	for _, r := range api.Resources() {
		if r.Modelled {
			kinds = append(kinds, r.GVK.Kind)
		}
	}
	return strings.Join(kinds, ", ")
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
	m.dropped(api.DropDisabledFields(obj, m.release))
	api.PrepareForCreate(obj)
	api.SetDefaults(obj)
	for _, e := range api.Validate(obj) {
		node := m.root.Find(e.Field)
		if node == nil {
			node = m.root
		}
		m.atNode(node, "%s", e.Error())
	}
	m.warn(api.Unmodelled(obj), "is not modelled: it has no effect")
}

// dropped warns of fields that the release does not have.
func (m *manifestChecker) dropped(paths []string) {
	m.warn(paths, "is dropped by the API server of "+m.release.MinorVersion()+": a later release has it")
}

func (m *manifestChecker) warn(paths []string, what string) {
	for _, path := range paths {
		node := m.root.Find(path)
		if node == nil {
			node = m.root
		}
		line, column := m.position(node.Line, node.Column)
		m.warnings.Add(line, column, "%s %s", path, what)
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
