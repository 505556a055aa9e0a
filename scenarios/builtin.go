package scenarios

import (
	"embed"
	"fmt"
	"strings"

	"ksim/scenarios/source"
)

//go:embed *.yaml
var embedded embed.FS // never written to

// Builtins returns the names of the built-in scenarios, sorted.
func Builtins() []string {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		panic(err) // cannot fail: the directory is embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Builtin returns the file of a built-in scenario. Its error names the nearest one.
func Builtin(name string) (Source, error) {
	data, err := embedded.ReadFile(name + ".yaml")
	if err != nil || strings.ContainsAny(name, "/\\") {
		return Source{}, fmt.Errorf("no scenario %q%s; there are: %s", name, source.Suggest(name, Builtins()),
			strings.Join(Builtins(), ", "))
	}
	return Source{Name: name + ".yaml", Data: data}, nil
}
