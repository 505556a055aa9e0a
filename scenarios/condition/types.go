package condition

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// registry gives CEL the types of Go structs with their JSON names, and the values of such structs without converting
// them.
type registry struct {
	*types.Registry
	structs map[string]*structType
	byType  map[reflect.Type]*structType
}

// structType is a Go struct as CEL sees it.
type structType struct {
	name   string
	cel    *types.Type
	goType reflect.Type
	fields map[string]*field
	names  []string
	filled bool
}

type field struct {
	name      string
	index     []int
	omitEmpty bool
	cel       *types.FieldType
	compute   func(v reflect.Value) any // instead of index: a field that is not in the Go type
}

var (
	timeType      = reflect.TypeFor[time.Time]()
	metaTime      = reflect.TypeFor[metav1.Time]()
	metaMicroTime = reflect.TypeFor[metav1.MicroTime]()
	metaDuration  = reflect.TypeFor[metav1.Duration]()
	durationType  = reflect.TypeFor[time.Duration]()
	quantityType  = reflect.TypeFor[resource.Quantity]()
	intOrString   = reflect.TypeFor[intstr.IntOrString]()
)

func newRegistry() (*registry, error) {
	base, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return &registry{base, map[string]*structType{}, map[reflect.Type]*structType{}}, nil
}

// structOf returns the type of a Go struct, known to CEL from then on.
func (r *registry) structOf(t reflect.Type) *structType {
	if known := r.byType[t]; known != nil {
		return known
	}
	name := strings.ReplaceAll(t.String(), "condition.", "ksim.")
	if other := r.structs[name]; other != nil {
		name = t.PkgPath() + "." + t.Name()
	}
	s := &structType{name: name, goType: t, fields: map[string]*field{}}
	s.cel = types.NewObjectType(name)
	r.structs[name], r.byType[t] = s, s
	return s
}

// fill makes the fields of a struct type when somebody asks for the first.
func (r *registry) fill(s *structType) {
	if s.filled {
		return
	}
	s.filled = true
	r.addFields(s, s.goType, nil)
	slices.Sort(s.names)
}

func (r *registry) addFields(s *structType, t reflect.Type, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := append(slices.Clone(index), i)
		if !f.IsExported() || tag == "-" || f.Tag.Get("json") == "" && !f.Anonymous {
			continue
		}
		if tag == "" {
			if f.Type.Kind() == reflect.Struct {
				r.addFields(s, f.Type, at)
			}
			continue
		}
		omit := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		r.addField(s, &field{name: tag, index: at, omitEmpty: omit}, r.celType(f.Type, omit))
	}
}

func (r *registry) addField(s *structType, f *field, t *types.Type) {
	f.cel = &types.FieldType{Type: t,
		IsSet: func(target any) bool {
			_, err := r.get(target, f)
			return err == nil
		},
		GetFrom: func(target any) (any, error) { return r.get(target, f) },
	}
	s.fields[f.name] = f
	s.names = append(s.names, f.name)
}

// get reads a field; one that JSON would leave out is not there.
func (r *registry) get(target any, f *field) (any, error) {
	obj, ok := target.(*object)
	if !ok {
		return nil, fmt.Errorf("no such key: %s", f.name)
	}
	if f.compute != nil {
		return f.compute(obj.v), nil
	}
	v := obj.v.FieldByIndex(f.index)
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, fmt.Errorf("no such key: %s", f.name)
		}
		v = v.Elem()
	} else if f.omitEmpty && empty(v) {
		return nil, fmt.Errorf("no such key: %s", f.name)
	}
	return r.value(v), nil
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	case reflect.Struct:
		return v.Type() == metaTime && v.IsZero() || v.Type() == metaMicroTime && v.IsZero()
	}
	return v.IsZero()
}

// celType is the static type of a Go type. What may be missing may be compared with null.
func (r *registry) celType(t reflect.Type, mayMiss bool) *types.Type {
	if t.Kind() == reflect.Pointer {
		return r.celType(t.Elem(), true)
	}
	switch t {
	case timeType, metaTime, metaMicroTime:
		return types.TimestampType
	case metaDuration, durationType:
		return types.DurationType
	case quantityType:
		return types.StringType
	case intOrString:
		return types.DynType
	}
	switch t.Kind() {
	case reflect.String:
		return nullable(types.StringType, mayMiss)
	case reflect.Bool:
		return nullable(types.BoolType, mayMiss)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nullable(types.IntType, mayMiss)
	case reflect.Float32, reflect.Float64:
		return nullable(types.DoubleType, mayMiss)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return types.BytesType
		}
		return types.NewListType(r.celType(t.Elem(), false))
	case reflect.Map:
		return types.NewMapType(types.StringType, r.celType(t.Elem(), false))
	case reflect.Struct:
		return r.structOf(t).cel
	}
	return types.DynType
}

func nullable(t *types.Type, mayMiss bool) *types.Type {
	if mayMiss {
		return types.NewNullableType(t)
	}
	return t
}

// FindStructType implements types.Provider.
func (r *registry) FindStructType(name string) (*types.Type, bool) {
	if s := r.structs[name]; s != nil {
		return types.NewTypeTypeWithParam(s.cel), true
	}
	return r.Registry.FindStructType(name)
}

// FindStructFieldNames implements types.Provider.
func (r *registry) FindStructFieldNames(name string) ([]string, bool) {
	if s := r.structs[name]; s != nil {
		r.fill(s)
		return s.names, true
	}
	return r.Registry.FindStructFieldNames(name)
}

// FindStructFieldType implements types.Provider.
func (r *registry) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	if s := r.structs[name]; s != nil {
		r.fill(s)
		if f := s.fields[fieldName]; f != nil {
			return f.cel, true
		}
		return nil, false
	}
	return r.Registry.FindStructFieldType(name, fieldName)
}

// NativeToValue implements types.Adapter.
func (r *registry) NativeToValue(value any) ref.Val {
	switch value := value.(type) {
	case ref.Val:
		return value
	case reflect.Value:
		return r.value(value)
	}
	return r.Registry.NativeToValue(value)
}
