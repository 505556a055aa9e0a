package scenarios

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"ksim/scenarios/source"
)

// The schema is made from the types that the parser fills, so every key has its place in it, and every section is
// strict.
func TestSchemaKnowsEveryKeyOfTheFormat(t *testing.T) {
	schema := Schema()
	_, err := json.Marshal(schema)
	require.NoError(t, err)
	properties := schema["properties"].(map[string]any)
	for _, key := range source.Keys(reflect.TypeFor[Scenario]()) {
		require.Contains(t, properties, key)
		require.NotEmpty(t, properties[key].(map[string]any)["description"], key)
	}
	require.Equal(t, []string{"ksim", "name"}, schema["required"])
	require.Equal(t, false, schema["additionalProperties"])
	grade := properties["grade"].(map[string]any)["items"].(map[string]any)
	require.Contains(t, grade["properties"], "finally")
	require.Contains(t, grade["required"], "points")
}
