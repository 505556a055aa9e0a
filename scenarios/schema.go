package scenarios

import (
	"reflect"

	"ksim/scenarios/source"
)

// Schema returns the JSON Schema of the scenario format, for editors.
func Schema() map[string]any {
	schema := source.Schema(reflect.TypeFor[Scenario]())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "ksim scenario"
	return schema
}
