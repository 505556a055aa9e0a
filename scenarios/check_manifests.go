package scenarios

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"ksim/scenarios/source"
	"ksim/sim/api"
)

// checkManifests reads every manifest as the API server will: known kinds, known fields, valid objects.
func (c *checker) checkManifests() {
	namespaces := []string{"default", "kube-node-lease", "kube-public", "kube-system"} // those that every cluster has
	var custom []*api.Resource
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
		m := &manifestChecker{problems: &source.Problems{File: c.from.Name}, notes: &c.notes, place: node.Place,
			namespaces: &namespaces, release: release, services: &c.services, custom: custom}
		if isPath(text) {
			data, ok := c.beside(node, text)
			if !ok {
				continue
			}
			m.problems.File, m.place = text, nil
			name, text = text, string(data)
		}
		m.check(text)
		custom = append(custom, m.defined...)
		c.Problems.Merge(m.problems)
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
	notes    *notes // what is sound, and has no effect
	release  *api.Release
	place    func(offset int) (line, column int) // of an offset of the text; nil: the text is a file of its own
	text     string
	root     *source.Node // of the document
	start    int          // offset of the document in the text
	document string
	// namespaces are those that exist when the document is applied.
	namespaces *[]string
	services   *[]*corev1.Service // that were found
	custom     []*api.Resource    // that manifests before this one define
	defined    []*api.Resource    // that this one defines
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
	var raw map[string]any
	if err := yaml.Unmarshal([]byte(m.document), &raw); err != nil {
		m.atNode(m.root, "%v", err)
		return
	}
	m.checkObject(raw)
}

// noteFile tells of what has no effect in a file that a step may apply. Whether all of it is sound is for that step to
// find out: it may be meant to be refused.
func (c *checker) noteFile(name string, at *source.Node, text FileText) {
	release, err := api.ParseRelease(c.Spec.Kubernetes)
	if err != nil || !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") ||
		!strings.Contains(text.Text, "apiVersion:") {
		return
	}
	m := &manifestChecker{problems: &source.Problems{File: c.from.Name}, notes: &c.notes, place: at.Place,
		namespaces: &[]string{}, release: release, services: &c.later}
	if text.From != "" {
		m.problems.File, m.place = text.From, nil
	}
	m.check(text.Text)
}
