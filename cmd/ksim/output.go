package main

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// formats of answers.
var (
	runFormats  = []string{"text", "json", "jsonl", "yaml"}
	textOrJSON  = []string{"text", "json"}
	colorValues = []string{"auto", "always", "never"}
)

func checkFormat(format string, allowed []string) error {
	if !slices.Contains(allowed, format) {
		return usageErrorf("-o: unknown format %q (allowed: %s)", format, strings.Join(allowed, ", "))
	}
	return nil
}

// writeDocuments writes documents as JSON or YAML (one alone, several as an array) or as JSON lines.
func writeDocuments[T any](w io.Writer, format string, documents []T) error {
	if format == "jsonl" {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		for _, d := range documents {
			if err := encoder.Encode(d); err != nil {
				return err
			}
		}
		return nil
	}
	var all any = documents
	if len(documents) == 1 {
		all = documents[0]
	}
	if format == "yaml" {
		out, err := yaml.Marshal(all)
		if err == nil {
			_, err = w.Write(out)
		}
		return err
	}
	return writeJSON(w, all)
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
