package source

import (
	"reflect"
	"strings"
)

// Schema returns the JSON Schema of a Go type as Decode reads it.
func Schema(t reflect.Type) map[string]any {
	if own, ok := reflect.New(t).Interface().(Decodable); ok {
		return own.Schema()
	}
	switch {
	case t == durationType:
		return DurationSchema()
	case t.Kind() == reflect.Pointer:
		return Schema(t.Elem())
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": Schema(t.Elem())}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": Schema(t.Elem())}
	case t.Kind() == reflect.Struct:
		return structSchema(t)
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return map[string]any{"type": "integer"}
	case t.Kind() == reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	}
	return map[string]any{"type": "string"}
}

// DurationSchema is the schema of a duration.
func DurationSchema() map[string]any {
	return map[string]any{"type": []string{"string", "integer"}, "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^0$|\$\{`,
		"description": "a duration as 90s, 1m30s, 500ms"}
}

func structSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	var required []string
	for _, f := range reflect.VisibleFields(t) {
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		schema := Schema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			schema["description"] = doc
		}
		if choices := f.Tag.Get("oneof"); choices != "" {
			schema["enum"] = strings.Split(choices, "|")
		}
		if f.Tag.Get("must") != "" {
			required = append(required, key)
		}
		properties[key] = schema
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		schema["required"] = required
	}
	return schema
}
