package validation

import (
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Nearly all that is written is sound, so it is first looked at in a way that costs little. What does not pass is
// checked as upstream does, which finds the words for what is wrong, or that nothing is: the checks here may be too
// strict, never too lax.

// place is where in an object one is: a field.Path that is made only when there is something to say of it. It is not
// kept by whoever it is given to, so it takes no memory.
type place struct {
	parent *place
	name   string
	index  int
	kind   placeKind
}

type placeKind uint8

const (
	child placeKind = iota
	element
	key
)

func root(name string) *place             { return &place{name: name} }
func (p *place) Child(name string) *place { return &place{parent: p, name: name} }
func (p *place) Index(i int) *place       { return &place{parent: p, index: i, kind: element} }
func (p *place) Key(name string) *place   { return &place{parent: p, name: name, kind: key} }

// path copies the names: if it kept them, the compiler would put every place on the heap.
func (p *place) path() *field.Path {
	name := strings.Clone(p.name)
	switch {
	case p.parent == nil:
		return field.NewPath(name)
	case p.kind == element:
		return p.parent.path().Index(p.index)
	case p.kind == key:
		return p.parent.path().Key(name)
	}
	return p.parent.path().Child(name)
}

// nameRule says what names the objects of a kind may have.
type nameRule struct {
	check  apivalidation.ValidateNameFunc
	dotted bool // a name of several labels with dots between them is sound
}

var (
	labelName     = nameRule{check: apivalidation.NameIsDNSLabel}
	subdomainName = nameRule{apivalidation.NameIsDNSSubdomain, true}
	segmentName   = nameRule{path.ValidatePathSegmentName, true}
)

// soundMeta reports whether surely nothing is wrong with metadata (apimachinery pkg/api/validation/objectmeta.go
// ValidateObjectMetaAccessor).
func soundMeta(obj metav1.Object, namespaced bool, name nameRule) bool {
	accessor, ok := obj.(metav1.ObjectMetaAccessor)
	if !ok {
		return false
	}
	m, ok := accessor.GetObjectMeta().(*metav1.ObjectMeta)
	if !ok || m.Name == "" || m.Generation < 0 || len(m.Finalizers) > 0 || len(m.ManagedFields) > 0 {
		return false
	}
	if m.GenerateName != "" && !isLabel(strings.TrimSuffix(m.GenerateName, "-")) {
		return false
	}
	if namespaced && !isLabel(m.Namespace) || !namespaced && m.Namespace != "" {
		return false
	}
	return (isLabel(m.Name) || name.dotted && isSubdomain(m.Name)) && soundLabels(m.Labels) &&
		soundAnnotations(m.Annotations) && soundOwners(m.OwnerReferences)
}

func soundOwners(list []metav1.OwnerReference) bool {
	if len(list) > 1 {
		return false
	}
	for i := range list {
		o := &list[i]
		if o.Kind == "" || o.Kind == "Event" || o.Name == "" || o.UID == "" {
			return false
		}
		group, version, grouped := strings.Cut(o.APIVersion, "/")
		if group == "" || grouped && (version == "" || strings.Contains(version, "/")) {
			return false
		}
	}
	return true
}

func soundLabels(labels map[string]string) bool {
	for key, value := range labels { // any order: one is wrong or none
		if !isQualified(key) || value != "" && !isWord(value) {
			return false
		}
	}
	return true
}

// soundAnnotations: far below the limit of 256 KiB no size matters.
func soundAnnotations(annotations map[string]string) bool {
	size := 0
	for key, value := range annotations { // any order: one is wrong or none
		size += len(key) + len(value)
		if !isQualified(key) {
			return false
		}
	}
	return size < 1<<16
}

// isLabel reports whether s is a label of DNS: also a sound name of any kind, namespace and path segment.
func isLabel(s string) bool {
	if s == "" || len(s) > validation.DNS1123LabelMaxLength || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// isWord reports whether s is a sound value of a label, or the name part of its key.
func isWord(s string) bool {
	if s == "" || len(s) > validation.LabelValueMaxLength || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isQualified reports whether s is a key of a label: a word, after a domain and a slash or alone.
func isQualified(s string) bool {
	prefix, name, prefixed := strings.Cut(s, "/")
	if !prefixed {
		return isWord(s)
	}
	return isSubdomain(prefix) && isWord(name)
}

// isSubdomain reports whether s is a name of DNS: labels with dots between them.
func isSubdomain(s string) bool {
	if len(s) > validation.DNS1123SubdomainMaxLength {
		return false
	}
	for {
		label, rest, more := strings.Cut(s, ".")
		if !isLabel(label) || !more {
			return isLabel(label)
		}
		s = rest
	}
}

func (f *found) labels(at *place, labels map[string]string) {
	if !soundLabels(labels) {
		f.add(metavalidation.ValidateLabels(labels, at.path())...)
	}
}

func (f *found) labelName(at *place, name string) {
	if !isQualified(name) {
		f.add(metavalidation.ValidateLabelName(name, at.path())...)
	}
}

func (f *found) annotations(at *place, annotations map[string]string) {
	if !soundAnnotations(annotations) {
		f.add(apivalidation.ValidateAnnotations(annotations, at.path())...)
	}
}

// soundSelector reports whether surely nothing is wrong with a selector.
func soundSelector(s *metav1.LabelSelector) bool {
	return s == nil || len(s.MatchExpressions) == 0 && soundLabels(s.MatchLabels)
}

// surelySelects reports whether a selector is sound and selects labels, as far as that is easily said.
func surelySelects(s *metav1.LabelSelector, labels map[string]string) bool {
	if s == nil || !soundSelector(s) {
		return false
	}
	for key, value := range s.MatchLabels { // any order: one differs or none
		if is, there := labels[key]; !there || is != value {
			return false
		}
	}
	return true
}
