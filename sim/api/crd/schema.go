package crd

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Models schemas of custom resources (apiextensions-apiserver pkg/apiserver/schema: pruning, defaulting, objectmeta;
// pkg/apiserver/validation and kube-openapi pkg/validation, v0.36).

// Schema is a structural schema.
type Schema struct {
	Type                 string             `json:"type"`
	Properties           map[string]*Schema `json:"properties"`
	AdditionalProperties *SchemaOrBool      `json:"additionalProperties"`
	Items                *Schema            `json:"items"`
	Required             []string           `json:"required"`
	Enum                 []any              `json:"enum"`
	Default              any                `json:"default"`
	Nullable             bool               `json:"nullable"`
	Minimum              *json.Number       `json:"minimum"`
	Maximum              *json.Number       `json:"maximum"`
	ExclusiveMinimum     bool               `json:"exclusiveMinimum"`
	ExclusiveMaximum     bool               `json:"exclusiveMaximum"`
	MinLength            *int               `json:"minLength"`
	MaxLength            *int               `json:"maxLength"`
	Pattern              string             `json:"pattern"`
	MinItems             *int               `json:"minItems"`
	MaxItems             *int               `json:"maxItems"`
	MinProperties        *int               `json:"minProperties"`
	MaxProperties        *int               `json:"maxProperties"`

	PreserveUnknownFields bool `json:"x-kubernetes-preserve-unknown-fields"`
	EmbeddedResource      bool `json:"x-kubernetes-embedded-resource"`
	IntOrString           bool `json:"x-kubernetes-int-or-string"`

	// What nothing looks at.
	Rules        []any           `json:"x-kubernetes-validations"`
	Title        string          `json:"title"`
	Description  string          `json:"description"`
	Format       string          `json:"format"`
	Example      json.RawMessage `json:"example"`
	ExternalDocs json.RawMessage `json:"externalDocs"`
	MultipleOf   json.RawMessage `json:"multipleOf"`
	UniqueItems  bool            `json:"uniqueItems"`
	AllOf        []*Schema       `json:"allOf"`
	AnyOf        []*Schema       `json:"anyOf"`
	OneOf        []*Schema       `json:"oneOf"`
	Not          *Schema         `json:"not"`
	ListMapKeys  []string        `json:"x-kubernetes-list-map-keys"`
	ListType     string          `json:"x-kubernetes-list-type"`
	MapType      string          `json:"x-kubernetes-map-type"`
}

// SchemaOrBool is a schema, or whether anything goes.
type SchemaOrBool struct {
	Schema *Schema
	Allows bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *SchemaOrBool) UnmarshalJSON(text []byte) error {
	if text := string(text); text == "true" || text == "false" {
		s.Allows = text == "true"
		return nil
	}
	s.Allows = true
	s.Schema = &Schema{}
	return json.Unmarshal(text, s.Schema)
}

// Unchecked lists what a schema asks for and nothing looks at: rules in CEL and combinations of schemas.
func (s *Schema) Unchecked() []string {
	found := map[string]bool{}
	s.each(func(s *Schema) {
		found["x-kubernetes-validations"] = found["x-kubernetes-validations"] || len(s.Rules) > 0
		found["allOf"] = found["allOf"] || len(s.AllOf) > 0
		found["anyOf"] = found["anyOf"] || len(s.AnyOf) > 0 && !s.IntOrString
		found["oneOf"] = found["oneOf"] || len(s.OneOf) > 0
		found["not"] = found["not"] || s.Not != nil
		found["format"] = found["format"] || s.Format != "" && s.Type == "string"
	})
	var list []string
	for _, name := range [...]string{"x-kubernetes-validations", "allOf", "anyOf", "oneOf", "not", "format"} {
		if found[name] {
			list = append(list, name)
		}
	}
	return list
}

func (s *Schema) each(do func(*Schema)) {
	if s == nil {
		return
	}
	do(s)
	for _, name := range sortedKeys(s.Properties) {
		s.Properties[name].each(do)
	}
	s.Items.each(do)
	if s.AdditionalProperties != nil {
		s.AdditionalProperties.Schema.each(do)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m { // any order: sorted below
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// sound checks what structural schemas must have: a type everywhere, and patterns that are some.
func (s *Schema) sound(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Type == "" && !s.IntOrString && !s.PreserveUnknownFields {
		errs = append(errs, field.Required(at.Child("type"), "must not be empty for specified object fields"))
	}
	if s.Type == "array" && s.Items == nil {
		errs = append(errs, field.Required(at.Child("items"), "must be specified"))
	}
	if _, err := regexp.Compile(s.Pattern); err != nil {
		errs = append(errs, field.Invalid(at.Child("pattern"), s.Pattern,
			fmt.Sprintf("must be a valid regular expression, but isn't: %v", err)))
	}
	for _, name := range sortedKeys(s.Properties) {
		if s.Properties[name] != nil {
			errs = append(errs, s.Properties[name].sound(at.Child("properties").Key(name))...)
		}
	}
	if s.Items != nil {
		errs = append(errs, s.Items.sound(at.Child("items"))...)
	}
	if a := s.AdditionalProperties; a != nil && a.Schema != nil {
		errs = append(errs, a.Schema.sound(at.Child("additionalProperties"))...)
	}
	return errs
}

// below returns the schema of a property; known is false for one that is pruned.
func (s *Schema) below(name string) (schema *Schema, known bool) {
	if p, ok := s.Properties[name]; ok {
		return p, true
	}
	if a := s.AdditionalProperties; a != nil && a.Allows {
		return a.Schema, true
	}
	return nil, s.PreserveUnknownFields
}

// ofEveryObject reports whether a field is one that every object has.
func ofEveryObject(name string) bool {
	return name == "apiVersion" || name == "kind" || name == "metadata"
}

// Prune takes off what a schema does not have, and returns the paths of that. root: value is a whole object.
func (s *Schema) Prune(value any, root bool, path string) []string {
	if s == nil {
		return nil
	}
	var gone []string
	switch value := value.(type) {
	case map[string]any:
		for _, name := range sortedKeys(value) {
			if (root || s.EmbeddedResource) && ofEveryObject(name) {
				continue
			}
			here := strings.TrimPrefix(path+"."+name, ".")
			schema, known := s.below(name)
			if !known {
				delete(value, name)
				gone = append(gone, here)
				continue
			}
			gone = append(gone, schema.Prune(value[name], false, here)...)
		}
	case []any:
		for i, item := range value {
			gone = append(gone, s.Items.Prune(item, false, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return gone
}

// Fill gives what is absent its default.
func (s *Schema) Fill(value any) {
	if s == nil {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		for _, name := range sortedKeys(s.Properties) {
			p := s.Properties[name]
			if p == nil {
				continue
			}
			if is, there := value[name]; p.Default != nil && (!there || is == nil && !p.Nullable) {
				value[name] = runtime.DeepCopyJSONValue(p.Default)
			}
		}
		for _, name := range sortedKeys(value) {
			if schema, _ := s.below(name); schema != nil {
				schema.Fill(value[name])
			}
		}
	case []any:
		for _, item := range value {
			s.Items.Fill(item)
		}
	}
}

// Validate checks a value that lies at a path.
func (s *Schema) Validate(value any, at *field.Path) field.ErrorList {
	if s == nil || value == nil && s.Nullable {
		return nil
	}
	name := at.String()
	if kind := typeOf(value); !s.takes(kind) {
		want := s.Type
		if s.IntOrString {
			want = "integer,string"
		}
		return field.ErrorList{field.TypeInvalid(at, value,
			fmt.Sprintf("%s in body must be of type %s: %q", name, want, kind))}
	}
	var errs field.ErrorList
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(v any) bool { return fmt.Sprint(v) == fmt.Sprint(value) }) {
		errs = append(errs, field.NotSupported(at, value, textsOf(s.Enum)))
	}
	switch v := value.(type) {
	case string:
		errs = append(errs, s.validateText(v, at)...)
	case map[string]any:
		errs = append(errs, s.validateMap(v, at)...)
	case []any:
		errs = append(errs, s.validateList(v, at)...)
	case bool:
	default:
		errs = append(errs, s.validateNumber(v, at)...)
	}
	return errs
}

func textsOf(values []any) []string {
	var texts []string
	for _, v := range values {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}

func typeOf(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case map[string]any:
		return "object"
	case []any:
		return "array"
	default:
		if n, ok := numberOf(value); ok && n.IsInt() {
			return "integer"
		}
		return "number"
	}
}

func numberOf(value any) (*big.Rat, bool) { return new(big.Rat).SetString(fmt.Sprint(value)) }

func (s *Schema) takes(kind string) bool {
	switch {
	case s.IntOrString:
		return kind == "integer" || kind == "string"
	case s.Type == "" || s.Type == kind:
		return true
	}
	return s.Type == "number" && kind == "integer"
}

func (s *Schema) validateText(v string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	length := len([]rune(v))
	if s.MinLength != nil && length < *s.MinLength {
		errs = append(errs, field.Invalid(at, v,
			fmt.Sprintf("%s in body should be at least %d chars long", at, *s.MinLength)))
	}
	if s.MaxLength != nil && length > *s.MaxLength {
		errs = append(errs, field.TooLong(at, v, *s.MaxLength))
	}
	if s.Pattern != "" {
		if re, err := regexp.Compile(s.Pattern); err == nil && !re.MatchString(v) {
			errs = append(errs, field.Invalid(at, v, fmt.Sprintf("%s in body should match '%s'", at, s.Pattern)))
		}
	}
	return errs
}

func (s *Schema) validateNumber(v any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	n, ok := numberOf(v)
	if !ok {
		return nil
	}
	bound := func(limit *json.Number, exclusive bool, wrong int, words string) {
		if limit == nil {
			return
		}
		l, ok := numberOf(*limit)
		if !ok {
			return
		}
		c := n.Cmp(l)
		if !exclusive {
			words += " or equal to"
		}
		if c == wrong || c == 0 && exclusive {
			errs = append(errs, field.Invalid(at, v, fmt.Sprintf("%s in body should be %s %s", at, words, *limit)))
		}
	}
	bound(s.Minimum, s.ExclusiveMinimum, -1, "greater than")
	bound(s.Maximum, s.ExclusiveMaximum, 1, "less than")
	return errs
}

func (s *Schema) validateMap(v map[string]any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range s.Required {
		if _, there := v[name]; !there {
			errs = append(errs, field.Required(at.Child(name), ""))
		}
	}
	if s.MinProperties != nil && len(v) < *s.MinProperties {
		errs = append(errs, field.Invalid(at, len(v),
			fmt.Sprintf("%s in body should have at least %d properties", at, *s.MinProperties)))
	}
	if s.MaxProperties != nil && len(v) > *s.MaxProperties {
		errs = append(errs, field.TooMany(at, len(v), *s.MaxProperties))
	}
	for _, name := range sortedKeys(v) {
		if schema, _ := s.below(name); schema != nil {
			errs = append(errs, schema.Validate(v[name], at.Child(name))...)
		}
	}
	return errs
}

func (s *Schema) validateList(v []any, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.MinItems != nil && len(v) < *s.MinItems {
		errs = append(errs, field.Invalid(at, len(v),
			fmt.Sprintf("%s in body should have at least %d items", at, *s.MinItems)))
	}
	if s.MaxItems != nil && len(v) > *s.MaxItems {
		errs = append(errs, field.TooMany(at, len(v), *s.MaxItems))
	}
	for i, item := range v {
		errs = append(errs, s.Items.Validate(item, at.Index(i))...)
	}
	return errs
}

// compareVersions orders versions as clients prefer them: v2, v1, v1beta2, v1beta1, v1alpha1, then all others by name.
func compareVersions(a, b string) int {
	x, y := rankOf(a), rankOf(b)
	if c := slices.Compare(x[:], y[:]); c != 0 {
		return c
	}
	return strings.Compare(b, a)
}

var versionName = regexp.MustCompile(`^v(\d+)(?:(alpha|beta)(\d+))?$`)

func rankOf(name string) [3]int {
	m := versionName.FindStringSubmatch(name)
	if m == nil {
		return [3]int{}
	}
	var major, minor int
	_, _ = fmt.Sscan(m[1], &major) // cannot fail: digits
	_, _ = fmt.Sscan(m[3], &minor) // absent: 0
	return [3]int{map[string]int{"": 3, "beta": 2, "alpha": 1}[m[2]], major, minor}
}
