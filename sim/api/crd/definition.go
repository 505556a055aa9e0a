package crd

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// Models CustomResourceDefinitions (apiextensions-apiserver pkg/apis/apiextensions, pkg/registry/
// customresourcedefinition, v0.36): names, versions, subresources, columns, validation of the definition itself. Leaves
// out: conversion webhooks, selectable fields, structural rules beyond types, defaults when an object is read.

// The conditions of a definition, and the finalizer that keeps it while its objects are deleted.
const (
	NamesAccepted = "NamesAccepted"
	Established   = "Established"
	Terminating   = "Terminating"
	Finalizer     = "customresourcecleanup.apiextensions.k8s.io"
)

// Definition is a CustomResourceDefinition.
type Definition struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status"`
}

// Spec is what a definition asks for.
type Spec struct {
	Group                 string          `json:"group"`
	Names                 Names           `json:"names"`
	Scope                 string          `json:"scope"` // Namespaced | Cluster
	Versions              []Version       `json:"versions"`
	Conversion            json.RawMessage `json:"conversion"`
	PreserveUnknownFields bool            `json:"preserveUnknownFields"`
}

// Names are the names of a kind.
type Names struct {
	Plural     string   `json:"plural"`
	Singular   string   `json:"singular"`
	ShortNames []string `json:"shortNames"`
	Kind       string   `json:"kind"`
	ListKind   string   `json:"listKind"`
	Categories []string `json:"categories"`
}

// Version is a version of a kind.
type Version struct {
	Name               string          `json:"name"`
	Served             bool            `json:"served"`
	Storage            bool            `json:"storage"`
	Deprecated         bool            `json:"deprecated"`
	DeprecationWarning *string         `json:"deprecationWarning"`
	Schema             *Validation     `json:"schema"`
	Subresources       *Subresources   `json:"subresources"`
	Columns            []Column        `json:"additionalPrinterColumns"`
	SelectableFields   json.RawMessage `json:"selectableFields"`
}

// Validation holds a schema.
type Validation struct {
	OpenAPIV3Schema *Schema `json:"openAPIV3Schema"`
}

// Subresources are what an object has besides itself.
type Subresources struct {
	Status *struct{}       `json:"status"`
	Scale  json.RawMessage `json:"scale"`
}

// Column is a column of kubectl get.
type Column struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Format      string `json:"format"`
	Description string `json:"description"`
	Priority    int32  `json:"priority"`
	JSONPath    string `json:"jsonPath"`
}

// Status is what servers say of a definition.
type Status struct {
	Conditions     []Condition     `json:"conditions"`
	AcceptedNames  Names           `json:"acceptedNames"`
	StoredVersions []string        `json:"storedVersions"`
	Generation     json.RawMessage `json:"observedGeneration"`
}

// Condition is a condition of a definition.
type Condition struct {
	Type               string          `json:"type"`
	Status             string          `json:"status"`
	LastTransitionTime *metav1.Time    `json:"lastTransitionTime"`
	Reason             string          `json:"reason"`
	Message            string          `json:"message"`
	Generation         json.RawMessage `json:"observedGeneration"`
}

// Is reports whether an object is a definition.
func Is(u *unstructured.Unstructured) bool {
	return u.GetKind() == "CustomResourceDefinition" && strings.HasPrefix(u.GetAPIVersion(), "apiextensions.k8s.io/")
}

// Read reads a definition. unknown are fields that it does not have. err: a value of a wrong type.
func Read(u *unstructured.Unstructured) (d *Definition, unknown []error, err error) {
	text, err := u.MarshalJSON()
	if err != nil {
		return nil, nil, err
	}
	d = &Definition{}
	unknown, err = kjson.UnmarshalStrict(text, d)
	return d, unknown, err
}

// True reports whether a condition is true.
func (d *Definition) True(condition string) bool {
	return slices.ContainsFunc(d.Status.Conditions, func(c Condition) bool {
		return c.Type == condition && c.Status == "True"
	})
}

// Served returns the served version of that name, nil if there is none.
func (d *Definition) Served(name string) *Version {
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Name == name && v.Served {
			return v
		}
	}
	return nil
}

// Stored returns the name of the version that objects are stored in.
func (d *Definition) Stored() string {
	for i := range d.Spec.Versions {
		if d.Spec.Versions[i].Storage {
			return d.Spec.Versions[i].Name
		}
	}
	return ""
}

// Preferred returns the served version that clients take: the newest stable one, else the newest
// (apimachinery pkg/version CompareKubeAwareVersionStrings).
func (d *Definition) Preferred() *Version {
	var best *Version
	for i := range d.Spec.Versions {
		v := &d.Spec.Versions[i]
		if v.Served && (best == nil || compareVersions(v.Name, best.Name) > 0) {
			best = v
		}
	}
	return best
}

// Complete fills in names that follow from others, and drops what only servers say; d is as it was before.
func Complete(u *unstructured.Unstructured) {
	names, ok, _ := unstructured.NestedMap(u.Object, "spec", "names")
	if !ok {
		return
	}
	kind, _ := names["kind"].(string)
	if names["singular"] == nil && kind != "" {
		names["singular"] = strings.ToLower(kind)
	}
	if names["listKind"] == nil && kind != "" {
		names["listKind"] = kind + "List"
	}
	_ = unstructured.SetNestedMap(u.Object, names, "spec", "names") // cannot fail: they were read from there
	spec := u.Object["spec"].(map[string]any)
	if spec["conversion"] == nil {
		spec["conversion"] = map[string]any{"strategy": "None"}
	}
}

// Validate checks a definition (apiextensions-apiserver pkg/apis/apiextensions/validation, v0.36).
func Validate(u *unstructured.Unstructured) field.ErrorList {
	d, unknown, err := Read(u)
	if err != nil {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), "", err.Error())}
	}
	var errs field.ErrorList
	for _, e := range unknown {
		errs = append(errs, field.Invalid(field.NewPath(""), "", e.Error()))
	}
	s, at := &d.Spec, field.NewPath("spec")
	if d.Name != s.Names.Plural+"."+s.Group {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), d.Name,
			`must be spec.names.plural+"."+spec.group`))
	}
	switch wrong := validation.IsDNS1123Subdomain(s.Group); {
	case s.Group == "":
		errs = append(errs, field.Required(at.Child("group"), ""))
	case len(wrong) > 0:
		errs = append(errs, field.Invalid(at.Child("group"), s.Group, strings.Join(wrong, ",")))
	case !strings.Contains(s.Group, "."):
		errs = append(errs, field.Invalid(at.Child("group"), s.Group, "should be a domain with at least one dot"))
	}
	switch s.Scope {
	case "":
		errs = append(errs, field.Required(at.Child("scope"), ""))
	case "Namespaced", "Cluster":
	default:
		errs = append(errs, field.NotSupported(at.Child("scope"), s.Scope, []string{"Cluster", "Namespaced"}))
	}
	errs = append(errs, s.Names.validate(at.Child("names"))...)
	return append(errs, s.validateVersions(at.Child("versions"))...)
}

func (n *Names) validate(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range [...]struct{ key, value string }{{"plural", n.Plural}, {"singular", n.Singular},
		{"kind", n.Kind}, {"listKind", n.ListKind}} {
		wrong := validation.IsDNS1035Label(strings.ToLower(name.value))
		switch {
		case name.value == "":
			errs = append(errs, field.Required(at.Child(name.key), ""))
		case len(wrong) > 0 && (name.key == "kind" || name.key == "listKind"):
			errs = append(errs, field.Invalid(at.Child(name.key), name.value,
				"may have mixed case, but should otherwise match: "+strings.Join(wrong, ",")))
		case len(wrong) > 0 || name.value != strings.ToLower(name.value) && (name.key == "plural" || name.key == "singular"):
			errs = append(errs, field.Invalid(at.Child(name.key), name.value,
				strings.Join(validation.IsDNS1035Label(name.value), ",")))
		}
	}
	for i, short := range n.ShortNames {
		if wrong := validation.IsDNS1035Label(short); len(wrong) > 0 {
			errs = append(errs, field.Invalid(at.Child("shortNames").Index(i), short, strings.Join(wrong, ",")))
		}
	}
	if n.Kind != "" && n.Kind == n.ListKind {
		errs = append(errs, field.Invalid(at.Child("listKind"), n.ListKind, "kind and listKind may not be the same"))
	}
	return errs
}

func (s *Spec) validateVersions(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	stored := 0
	seen := map[string]bool{}
	for i := range s.Versions {
		v, here := &s.Versions[i], at.Index(i)
		if v.Storage {
			stored++
		}
		if wrong := validation.IsDNS1035Label(v.Name); len(wrong) > 0 {
			errs = append(errs, field.Invalid(here.Child("name"), v.Name, strings.Join(wrong, ",")))
		}
		if seen[v.Name] {
			errs = append(errs, field.Invalid(at, v.Name, "must contain unique version names"))
		}
		seen[v.Name] = true
		schema := here.Child("schema").Child("openAPIV3Schema")
		switch {
		case v.Schema == nil || v.Schema.OpenAPIV3Schema == nil:
			errs = append(errs, field.Required(schema, "schemas are required"))
		case v.Schema.OpenAPIV3Schema.Type == "":
			errs = append(errs, field.Required(schema.Child("type"), "must not be empty at the root"))
		case v.Schema.OpenAPIV3Schema.Type != "object":
			errs = append(errs, field.Invalid(schema.Child("type"), v.Schema.OpenAPIV3Schema.Type,
				"must be object at the root"))
		default:
			errs = append(errs, v.Schema.OpenAPIV3Schema.sound(schema)...)
		}
		for j, c := range v.Columns {
			if c.JSONPath == "" {
				errs = append(errs, field.Required(here.Child("additionalPrinterColumns").Index(j).Child("jsonPath"), ""))
			}
		}
	}
	if stored != 1 {
		errs = append(errs, field.Invalid(at, len(s.Versions), "must have exactly one version marked as storage version"))
	}
	return errs
}
