package fields

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Kind says what is the matter with a field.
type Kind uint8

// The kinds.
const (
	Unknown Kind = iota + 1 // the release's API does not have it
	Dropped                 // the release's API server takes it off: its feature is not on by default
	Idle                    // nothing acts on it, where a real cluster would behave differently
)

// Finding is a field that is set and does not do what it says.
type Finding struct {
	Path string // spec.containers[0].lifecycle.stopSignal
	Kind Kind
	Why  string // what people are told, after the path
}

// String tells people of a field.
func (f *Finding) String() string { return f.Path + " " + f.Why }

// Check finds the fields of an object, as it was written, that do not do what they say in a release, in the order of
// the types' fields.
func Check(obj runtime.Object, minor int) []Finding {
	c := &checker{minor: minor}
	c.object(obj)
	return c.found
}

// Drop takes off what the release's API server takes off (pkg/registry/*/strategy.go dropDisabledFields): fields whose
// feature is not on by default.
func Drop(obj runtime.Object, minor int) {
	c := &checker{minor: minor, drop: true}
	c.object(obj)
}

type checker struct {
	minor int
	drop  bool
	found []Finding
}

func (c *checker) object(obj runtime.Object) {
	v := reflect.ValueOf(obj)
	if v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct && table[v.Elem().Type().Name()] != nil {
		c.fields(v.Elem(), "")
	}
}

// fields looks at the fields of a struct that lies at a path.
func (c *checker) fields(v reflect.Value, path string) {
	rows := table[v.Type().Name()]
	for i := range v.NumField() {
		name, inline, skip := nameOf(v.Type().Field(i))
		switch {
		case skip:
		case inline:
			c.fields(v.Field(i), path)
		default:
			if name == "runAsNonRoot" && isUser(v.FieldByName("RunAsUser")) {
				continue // the image's user does not matter
			}
			c.field(v.Field(i), rows[name], join(path, name))
		}
	}
}

// isUser reports whether a runAsUser is set, to another than root.
func isUser(v reflect.Value) bool { return v.IsValid() && !v.IsNil() && v.Elem().Int() != 0 }

// nameOf returns the JSON name of a field; inline is a struct whose fields are those of the outer one. TypeMeta and
// statuses are skipped.
func nameOf(f reflect.StructField) (name string, inline, skip bool) {
	name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case !f.IsExported(), name == "-", name == "status", f.Name == "TypeMeta":
		return "", false, true
	case name == "" && f.Type.Kind() == reflect.Struct:
		return "", true, false
	}
	return name, false, false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (c *checker) field(v reflect.Value, r row, path string) {
	if empty(v) {
		return
	}
	r = inContext(r, v, path)
	switch {
	case c.minor < r.known:
		c.tell(path, Unknown, "is unknown in %s: it came with %s", release(c.minor), release(r.known))
		return
	case c.minor < r.on && c.drop:
		v.SetZero()
		return
	case c.minor < r.on && r.on == never:
		c.tell(path, Dropped, "has no effect: no release has its feature on, and the API server drops it")
		return
	case c.minor < r.on:
		c.tell(path, Dropped, "has no effect: its feature is on from %s, and the API server of %s drops it",
			release(r.on), release(c.minor))
		return
	case r.verdict == warns && !c.drop && c.minor >= r.from && !usual(v, r.unless):
		c.tell(path, Idle, "is not modelled: %s", r.why)
		return
	case r.verdict == acts:
		c.below(v, path)
	}
}

func (c *checker) tell(path string, kind Kind, format string, args ...any) {
	if !c.drop {
		c.found = append(c.found, Finding{path, kind, fmt.Sprintf(format, args...)})
	}
}

func release(minor int) string { return "v1." + strconv.Itoa(minor) }

// below looks at what a field holds: structs whose types have rows.
func (c *checker) below(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		c.below(v.Elem(), path)
	case reflect.Slice:
		for i := range v.Len() {
			c.below(v.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	case reflect.Struct:
		if table[v.Type().Name()] != nil {
			c.fields(v, path)
		}
	}
}

// empty reports whether a field is not set.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Struct:
		return v.IsZero()
	}
	return v.IsZero()
}

// usual reports whether a value, or each of a list, is one that means what happens anyway.
func usual(v reflect.Value, values []string) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return usual(v.Elem(), values)
	case reflect.Slice:
		for i := range v.Len() {
			if !usual(v.Index(i), values) {
				return false
			}
		}
		return true
	}
	var text string
	switch value := v.Interface().(type) {
	case intstr.IntOrString:
		text = value.String()
	default:
		text = fmt.Sprint(value)
	}
	return slices.Contains(values, text)
}

// inContext is the row of a field where that depends on what stands around it.
func inContext(r row, v reflect.Value, path string) row {
	if strings.HasSuffix(path, "].restartPolicy") {
		always := v.Kind() == reflect.Pointer && v.Elem().String() == "Always"
		if !always || !strings.Contains(path, "initContainers[") { // else a sidecar
			return row{verdict: warns, known: 28, on: 35, why: "the restart policy of the pod decides"}
		}
	}
	return r
}
