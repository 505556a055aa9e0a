package source

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decoder fills Go values from Nodes, strictly: what the value has no place for is a problem.
//
// Struct fields are named by their tag `yaml`. Further tags: `must:"be there"`, `oneof:"a|b"`, and `doc` for the
// schema. A type may decode itself (Decodable).
type Decoder struct {
	Problems *Problems
	places   map[any]*Node
}

// Decodable is a type with a form of its own. Schema returns its JSON Schema.
type Decodable interface {
	DecodeNode(d *Decoder, n *Node)
	Schema() map[string]any
}

// NewDecoder makes a decoder that reports to problems.
func NewDecoder(problems *Problems) *Decoder {
	return &Decoder{Problems: problems, places: map[any]*Node{}}
}

// Place returns the node that the value behind a pointer was decoded from, nil if the file does not have it.
func (d *Decoder) Place(pointer any) *Node { return d.places[pointer] }

// Decode fills what pointer points to.
func (d *Decoder) Decode(n *Node, pointer any) { d.value(n, reflect.ValueOf(pointer).Elem(), "") }

var durationType = reflect.TypeFor[time.Duration]()

// value decodes n into v; what names it for messages: `duration`, `workers`.
func (d *Decoder) value(n *Node, v reflect.Value, what string) {
	if v.Kind() == reflect.Pointer {
		if n.Kind == Null {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), what)
		return
	}
	pointer := v.Addr().Interface()
	d.places[pointer] = n
	if own, ok := pointer.(Decodable); ok {
		own.DecodeNode(d, n)
		return
	}
	switch {
	case v.Type() == durationType:
		if length, ok := d.ReadDuration(n, what); ok {
			v.SetInt(int64(length))
		}
	case v.Kind() == reflect.Struct:
		d.structure(n, v, what)
	case v.Kind() == reflect.Slice:
		d.list(n, v, what)
	case v.Kind() == reflect.Map:
		d.mapping(n, v, what)
	default:
		d.scalar(n, v, what)
	}
}

func (d *Decoder) structure(n *Node, v reflect.Value, what string) {
	if !d.Want(n, Map, what, "a map of "+strings.Join(Keys(v.Type()), ", ")) {
		return
	}
	fields := reflect.VisibleFields(v.Type())
	for _, p := range n.Pairs {
		i := slices.IndexFunc(fields, func(f reflect.StructField) bool { return f.Tag.Get("yaml") == p.Key.Text })
		if i < 0 || fields[i].Tag.Get("yaml") == "" {
			keys := Keys(v.Type())
			d.Problems.At(p.Key, "unknown key %q%s; %s", clip(p.Key.Text), Suggest(p.Key.Text, keys), allowed(keys))
			continue
		}
		field := fields[i]
		d.value(p.Value, v.FieldByIndex(field.Index), p.Key.Text)
		if choices := field.Tag.Get("oneof"); choices != "" && p.Value.Kind == Scalar {
			list := strings.Split(choices, "|")
			if !slices.Contains(list, p.Value.Text) {
				d.Problems.At(p.Value, "%s: %s%s; %s", p.Key.Text, p.Value.Describe(), Suggest(p.Value.Text, list), allowed(list))
			}
		}
	}
	for _, field := range fields {
		if field.Tag.Get("must") != "" && n.Get(field.Tag.Get("yaml")) == nil {
			d.Problems.At(n, "%s is missing: %s", field.Tag.Get("yaml"), field.Tag.Get("doc"))
		}
	}
}

func allowed(words []string) string { return "allowed: " + strings.Join(words, ", ") }

// Keys returns the keys of a struct type, in its order.
func Keys(t reflect.Type) []string {
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		if key := f.Tag.Get("yaml"); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

func (d *Decoder) list(n *Node, v reflect.Value, what string) {
	if n.Kind == Null {
		return
	}
	if !d.Want(n, List, what, "a list") {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
	for i, item := range n.Items {
		d.value(item, v.Index(i), what)
	}
}

// mapping decodes maps with scalar or struct values; their places are those of the keys: see MapPlace.
func (d *Decoder) mapping(n *Node, v reflect.Value, what string) {
	if n.Kind == Null {
		return
	}
	if !d.Want(n, Map, what, "a map") {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range n.Pairs {
		item := reflect.New(v.Type().Elem())
		d.value(p.Value, item.Elem(), p.Key.Text)
		v.SetMapIndex(reflect.ValueOf(p.Key.Text), item.Elem())
	}
}

func (d *Decoder) scalar(n *Node, v reflect.Value, what string) {
	wanted := map[reflect.Kind]string{reflect.String: "text", reflect.Bool: "true or false", reflect.Int: "a whole number",
		reflect.Int64: "a whole number", reflect.Uint64: "a whole number, 0 or more"}[v.Kind()]
	if !d.Want(n, Scalar, what, wanted) {
		return
	}
	ok := true
	switch v.Kind() {
	case reflect.String:
		if ok = n.IsText(); ok {
			v.SetString(n.Text)
		} else {
			d.Problems.At(n, "%s: %s, want text: put it in quotes", what, n.Describe())
			return
		}
	case reflect.Bool:
		ok = n.Style == Plain && (n.Text == "true" || n.Text == "false")
		v.SetBool(n.Text == "true")
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Text, 10, 64)
		if ok = err == nil && (n.Style == Plain || n.Substituted()); ok {
			v.SetInt(i)
		}
	case reflect.Uint64:
		i, err := strconv.ParseUint(n.Text, 10, 64)
		if ok = err == nil && (n.Style == Plain || n.Substituted()); ok {
			v.SetUint(i)
		}
	}
	if !ok {
		d.Problems.At(n, "%s: %s, want %s", what, n.Describe(), wanted)
	}
}

// Want reports whether n is of that kind, and a problem if not.
func (d *Decoder) Want(n *Node, kind Kind, what, wanted string) bool {
	if n.Kind == kind {
		return true
	}
	if what == "" {
		d.Problems.At(n, "%s, want %s", n.Describe(), wanted)
	} else {
		d.Problems.At(n, "%s: %s, want %s", what, n.Describe(), wanted)
	}
	return false
}

// ReadDuration reads a duration that is not negative.
func (d *Decoder) ReadDuration(n *Node, what string) (length time.Duration, ok bool) {
	const wanted = "want a duration as 90s, 1m30s, 500ms"
	if n.Kind != Scalar {
		d.Problems.At(n, "%s: %s, %s", what, n.Describe(), wanted)
		return 0, false
	}
	if n.Text == "0" {
		return 0, true
	}
	length, err := time.ParseDuration(n.Text)
	if err != nil {
		d.Problems.At(n, "%s: %s, %s", what, n.Describe(), wanted)
		return 0, false
	}
	if length < 0 {
		d.Problems.At(n, "%s: %s is before the start; times are 0 or later", what, n.Text)
		return 0, false
	}
	return length, true
}

// AnyScalar reads text, a number or a boolean as text.
func (d *Decoder) AnyScalar(n *Node, what string) (text string, ok bool) {
	if !d.Want(n, Scalar, what, "text or a number") {
		return "", false
	}
	return n.Text, true
}
