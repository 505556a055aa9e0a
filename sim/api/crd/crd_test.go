package crd

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

func schemaOf(t require.TestingT, text string) *Schema {
	s := &Schema{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), s))
	return s
}

func valueOf(t require.TestingT, text string) any {
	var v any
	require.NoError(t, yaml.Unmarshal([]byte(text), &v))
	return v
}

func TestASchemaSaysWhatIsWrongInTheWordsOfTheServer(t *testing.T) {
	s := schemaOf(t, `
type: object
required: [a]
properties:
  a: {type: integer, minimum: 1, maximum: 3, exclusiveMaximum: true}
  b: {type: string, minLength: 2, maxLength: 4, pattern: "^x"}
  c: {type: array, minItems: 1, items: {type: boolean}}
  d: {x-kubernetes-int-or-string: true}
  e: {type: object, additionalProperties: {type: number}}
  f: {type: string, nullable: true, enum: [p, z]}`)
	for text, want := range map[string]string{ // any order: each is checked alone
		"{a: 1, b: xyz, c: [true], d: 5%, e: {k: 1.5}, f: null}": "",
		"{a: 2, d: 5, e: {k: 1}, f: p}":                          "",
		"{}":                                                     "a: Required value",

		"{a: 0}": "a: Invalid value: 0: a in body should be greater than or equal to 1",

		"{a: 3}":            "a: Invalid value: 3: a in body should be less than 3",
		"{a: 1.5}":          `a: Invalid value: 1.5: a in body must be of type integer: "number"`,
		"{a: '1'}":          `a: Invalid value: "1": a in body must be of type integer: "string"`,
		"{a: 1, b: x}":      `b: Invalid value: "x": b in body should be at least 2 chars long`,
		"{a: 1, b: yy}":     `b: Invalid value: "yy": b in body should match '^x'`,
		"{a: 1, c: []}":     "c: Invalid value: 0: c in body should have at least 1 items",
		"{a: 1, c: [1]}":    `c[0]: Invalid value: 1: c[0] in body must be of type boolean: "integer"`,
		"{a: 1, d: [1]}":    `d: Invalid value: [1]: d in body must be of type integer,string: "array"`,
		"{a: 1, e: {k: x}}": `e.k: Invalid value: "x": e.k in body must be of type number: "string"`,
		"{a: 1, f: w}":      `f: Unsupported value: "w": supported values: "p", "z"`,
	} {
		errs := s.Validate(valueOf(t, text), nil)
		said := ""
		if len(errs) > 0 {
			said = errs[0].Error()
		}
		assert.Equal(t, want, said, text)
	}
}

func TestWhatASchemaDoesNotHaveIsTakenOffAndItsDefaultsAreFilledIn(t *testing.T) {
	s := schemaOf(t, `
type: object
properties:
  spec:
    type: object
    default: {size: 1}
    properties:
      size: {type: integer, default: 2}
      free: {type: object, x-kubernetes-preserve-unknown-fields: true}
      list: {type: array, items: {type: object, properties: {k: {type: string, default: x}}}}
      labels: {type: object, additionalProperties: {type: string}}`)
	value := valueOf(t, `
apiVersion: a/v1
kind: K
metadata: {name: one}
other: 1
spec: {sizee: 3, free: {any: [1]}, list: [{m: 1}, {k: z}], labels: {a: b}}`)
	assert.Equal(t, []string{"other", "spec.list[0].m", "spec.sizee"}, s.Prune(value, true, ""))
	s.Fill(value)
	text, err := json.Marshal(value.(map[string]any)["spec"])
	require.NoError(t, err)
	assert.Equal(t, `{"free":{"any":[1]},"labels":{"a":"b"},"list":[{"k":"x"},{"k":"z"}],"size":2}`, string(text))
	empty := valueOf(t, "{kind: K}")
	s.Fill(empty)
	assert.Equal(t, map[string]any{"kind": "K", "spec": map[string]any{"size": float64(1)}}, empty)
}

func TestClientsTakeTheNewestStableVersion(t *testing.T) {
	served := func(names ...string) *Definition {
		d := &Definition{}
		for _, name := range names {
			d.Spec.Versions = append(d.Spec.Versions, Version{Name: name, Served: true})
		}
		return d
	}
	assert.Equal(t, "v2", served("v1", "v2", "v3beta1", "v10alpha1", "foo").Preferred().Name)
	assert.Equal(t, "v1beta2", served("v1alpha9", "v1beta1", "v1beta2", "foo").Preferred().Name)
	assert.Equal(t, "bar", served("foo", "bar").Preferred().Name)
	assert.Nil(t, served().Preferred())
}

func TestNoValueMakesASchemaPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"null", "1", "[1, {a: {}}]", "{a: {b: [null]}}", "{metadata: 3}", "x", "1e30"})
		s := schemaOf(t, rapid.SampledFrom([]string{"type: object", "type: array", "{type: object, properties: {a: {}}}",
			"{type: integer, minimum: 1}", "{type: array, items: {type: object, properties: {a: {default: [1]}}}}"}).
			Draw(t, "schema"))
		value := valueOf(t, text.Draw(t, "value"))
		s.Fill(value)
		s.Prune(value, true, "")
		_ = s.Validate(value, nil)
	})
}

func TestColumnsLeadToWhatTheyName(t *testing.T) {
	object := valueOf(t, `
spec: {size: 3, "a.b": c}
status: {conditions: [{type: Synced, status: "False"}, {type: Ready, status: "True"}], list: [1, 2]}`)
	for path, want := range map[string][]any{ // any order: each is checked alone
		".spec.size":       {float64(3)},
		`.spec.a\.b`:       {"c"},
		".spec['a.b']":     {"c"},
		".status.list[-1]": {float64(2)},
		".status.list[*]":  {float64(1), float64(2)},
		`.status.conditions[?(@.type=="Ready")].status`: {"True"},
		".status.nothing[0].here":                       nil,
		"..size":                                        nil,
	} {
		assert.Equal(t, want, Lookup(object, path), path)
	}
}
