package crd

import (
	"regexp"
	"strconv"
	"strings"
)

// Models the JSON paths of printer columns (client-go util/jsonpath, v0.36): fields, indices, [*], and filters that
// compare a field with a text, [?(@.type=="Ready")]. Leaves out: recursive descent, slices, unions, other comparisons.

var pathStep = regexp.MustCompile(`^(?:\.((?:\\.|[^.\[\]\\])+)|\['([^']*)'\]|\[(-?\d+|\*)\]|` +
	`\[\?\(@((?:\.(?:\\.|[^.\[\]\\=!<>() ])+)+)\s*==\s*["']([^"']*)["']\)\])`)

// Lookup returns the values that a path leads to, none for a path that is not understood.
func Lookup(value any, path string) []any {
	values := []any{value}
	for path = strings.TrimSpace(path); path != "" && path != "."; {
		m := pathStep.FindStringSubmatch(path)
		if m == nil {
			return nil
		}
		var next []any
		for _, v := range values {
			next = append(next, step(v, m)...)
		}
		values, path = next, path[len(m[0]):]
	}
	return values
}

// step follows one step from a value; m are the parts of pathStep.
func step(value any, m []string) []any {
	list, _ := value.([]any)
	switch {
	case m[1] != "" || m[2] != "":
		fields, _ := value.(map[string]any)
		if below, there := fields[strings.ReplaceAll(m[1], `\`, "")+m[2]]; there {
			return []any{below}
		}
	case m[3] == "*":
		return list
	case m[3] != "":
		i, err := strconv.Atoi(m[3])
		if i < 0 {
			i += len(list)
		}
		if err == nil && i >= 0 && i < len(list) {
			return list[i : i+1]
		}
	case m[4] != "":
		var kept []any
		for _, item := range list {
			if found := Lookup(item, m[4]); len(found) == 1 && found[0] == m[5] {
				kept = append(kept, item)
			}
		}
		return kept
	}
	return nil
}
