package condition

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// value makes a CEL value of a Go value. Structs and maps are looked into only when an expression does.
func (r *registry) value(v reflect.Value) ref.Val {
	switch v.Type() {
	case metaTime:
		return types.Timestamp{Time: v.Interface().(metav1.Time).UTC()}
	case metaMicroTime:
		return types.Timestamp{Time: v.Interface().(metav1.MicroTime).UTC()}
	case timeType:
		return types.Timestamp{Time: v.Interface().(time.Time).UTC()}
	case metaDuration:
		return types.Duration{Duration: v.Interface().(metav1.Duration).Duration}
	case durationType:
		return types.Duration{Duration: time.Duration(v.Int())}
	case quantityType:
		q := v.Interface().(resource.Quantity)
		return types.String(q.String())
	case intOrString:
		if i := v.Interface().(intstr.IntOrString); i.Type == intstr.Int {
			return types.Int(i.IntVal)
		} else {
			return types.String(i.StrVal)
		}
	}
	switch v.Kind() {
	case reflect.String:
		return types.String(v.String())
	case reflect.Bool:
		return types.Bool(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return types.Int(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return types.Int(v.Uint())
	case reflect.Float32, reflect.Float64:
		return types.Double(v.Float())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return types.NullValue
		}
		return r.value(v.Elem())
	case reflect.Slice:
		return r.list(v)
	case reflect.Map:
		return newMapping(r, v)
	case reflect.Struct:
		return &object{r, r.structOf(v.Type()), v}
	}
	return types.NewErr("a value of type %s cannot be used in a condition", v.Type())
}

func (r *registry) list(v reflect.Value) ref.Val {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return types.Bytes(v.Bytes())
	}
	items := make([]ref.Val, v.Len())
	for i := range items {
		items[i] = r.value(v.Index(i))
	}
	return types.NewRefValList(r, items)
}

// object is a struct as a CEL value.
type object struct {
	registry *registry
	typ      *structType
	v        reflect.Value
}

func (o *object) field(name ref.Val) (*field, ref.Val) {
	text, ok := name.(types.String)
	if !ok {
		return nil, types.MaybeNoSuchOverloadErr(name)
	}
	o.registry.fill(o.typ)
	f := o.typ.fields[string(text)]
	if f == nil {
		return nil, types.NewErr("no such key: %s", text)
	}
	return f, nil
}

// Get implements traits.Indexer.
func (o *object) Get(name ref.Val) ref.Val {
	f, problem := o.field(name)
	if problem != nil {
		return problem
	}
	value, err := o.registry.get(o, f)
	if err != nil {
		return types.WrapErr(err)
	}
	return o.registry.NativeToValue(value)
}

// IsSet implements traits.FieldTester.
func (o *object) IsSet(name ref.Val) ref.Val {
	f, problem := o.field(name)
	if problem != nil {
		return problem
	}
	return types.Bool(f.cel.IsSet(o))
}

// ConvertToNative implements ref.Val.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	if o.v.Type().AssignableTo(t) {
		return o.v.Interface(), nil
	}
	return nil, fmt.Errorf("%s cannot be converted to %s", o.typ.name, t)
}

// ConvertToType implements ref.Val.
func (o *object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.typ.cel
	}
	return types.NewErr("%s cannot be converted to %s", o.typ.name, t.TypeName())
}

// Equal implements ref.Val.
func (o *object) Equal(other ref.Val) ref.Val {
	that, ok := other.(*object)
	return types.Bool(ok && that.v.Type() == o.v.Type() && reflect.DeepEqual(o.v.Interface(), that.v.Interface()))
}

// Type implements ref.Val.
func (o *object) Type() ref.Type { return o.typ.cel }

// Value implements ref.Val.
func (o *object) Value() any { return o }

// mapping is a Go map with string keys, or any set of named values, as a CEL map in the order of its keys.
type mapping struct {
	registry *registry
	keys     []string
	get      func(key string) (ref.Val, bool)
}

func newMapping(r *registry, v reflect.Value) *mapping {
	m := &mapping{registry: r, get: func(key string) (ref.Val, bool) {
		item := v.MapIndex(reflect.ValueOf(key).Convert(v.Type().Key()))
		if !item.IsValid() {
			return nil, false
		}
		return r.value(item), true
	}}
	for _, key := range v.MapKeys() { // any order: sorted below
		m.keys = append(m.keys, key.String())
	}
	slices.Sort(m.keys)
	return m
}

// mapOf makes a CEL map of Go values.
func mapOf[T any](r *registry, of map[string]T) *mapping {
	return &mapping{r, slices.Sorted(maps.Keys(of)), func(key string) (ref.Val, bool) {
		item, ok := of[key]
		if !ok {
			return nil, false
		}
		return r.value(reflect.ValueOf(item)), true
	}}
}

// Find implements traits.Mapper.
func (m *mapping) Find(key ref.Val) (ref.Val, bool) {
	text, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return m.get(string(text))
}

// Get implements traits.Indexer.
func (m *mapping) Get(key ref.Val) ref.Val {
	if v, found := m.Find(key); found {
		return v
	}
	return types.NewErr("no such key: %v", key.Value())
}

// Contains implements traits.Container.
func (m *mapping) Contains(key ref.Val) ref.Val {
	_, found := m.Find(key)
	return types.Bool(found)
}

// Size implements traits.Sizer.
func (m *mapping) Size() ref.Val { return types.Int(len(m.keys)) }

// Iterator implements traits.Iterable.
func (m *mapping) Iterator() traits.Iterator {
	return types.NewStringList(m.registry, m.keys).Iterator()
}

// ConvertToNative implements ref.Val.
func (m *mapping) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a map cannot be converted to %s", t)
}

// ConvertToType implements ref.Val.
func (m *mapping) ConvertToType(t ref.Type) ref.Val {
	if t == types.MapType {
		return m
	}
	return types.NewErr("a map cannot be converted to %s", t.TypeName())
}

// Equal implements ref.Val.
func (m *mapping) Equal(other ref.Val) ref.Val {
	that, ok := other.(traits.Mapper)
	if !ok || that.Size() != m.Size() {
		return types.False
	}
	for _, key := range m.keys {
		mine, _ := m.get(key)
		theirs, found := that.Find(types.String(key))
		if !found || mine.Equal(theirs) != types.True {
			return types.False
		}
	}
	return types.True
}

// Type implements ref.Val.
func (m *mapping) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (m *mapping) Value() any { return m }

// write puts a value in words, for the details of verdicts.
func write(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		return fmt.Sprintf("%q", string(v))
	case types.Bool, types.Int, types.Uint, types.Double:
		return fmt.Sprint(v.Value())
	case types.Duration:
		return v.String()
	case types.Timestamp:
		return v.Format(time.RFC3339)
	case types.Null:
		return "null"
	case *object:
		return v.String()
	case traits.Lister:
		var items []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			if len(items) == 8 {
				items = append(items, "...")
				break
			}
			items = append(items, write(it.Next()))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *mapping:
		return "{" + strings.Join(v.keys, ", ") + "}"
	}
	return v.Type().TypeName()
}

// String names the object.
func (o *object) String() string {
	if v := o.v; v.CanAddr() {
		if meta, ok := v.Addr().Interface().(metav1.Object); ok {
			return meta.GetName()
		}
	}
	if name := o.v.FieldByName("Name"); name.IsValid() && name.Kind() == reflect.String {
		return name.String()
	}
	return o.typ.name
}
