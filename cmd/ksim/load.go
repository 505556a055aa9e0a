package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ksim/scenarios"
	"ksim/scenarios/source"
)

// find returns the file that a person means by a word: a built-in scenario's name, or a path. Its error is what is to
// be told, exit status included.
func find(word string) (scenarios.Source, error) {
	names := scenarios.Builtins()
	if slices.Contains(names, word) {
		return scenarios.Builtin(word)
	}
	info, err := os.Stat(word)
	looksLikePath := strings.ContainsRune(word, filepath.Separator) || strings.Contains(filepath.Base(word), ".")
	switch {
	case err != nil && (!looksLikePath || word == ""):
		return scenarios.Source{}, usageErrorf("unknown scenario %q%s; there are: %s (or name a file)", word,
			source.Suggest(word, names), strings.Join(names, ", "))
	case errors.Is(err, fs.ErrNotExist):
		return scenarios.Source{}, fileError(word, "no such file")
	case err != nil:
		return scenarios.Source{}, fileError(word, reason(err))
	case info.IsDir():
		return scenarios.Source{}, fileError(word, "a directory; want a scenario file")
	}
	data, err := readSome(word)
	if err != nil {
		return scenarios.Source{}, fileError(word, reason(err))
	}
	return scenarios.Source{Name: word, Data: data, Open: beside(word)}, nil
}

// readSome reads a file, and of one that is far too long just enough to say so.
func readSome(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, 64*source.MaxBytes))
}

// beside reads files of the scenario's folder, links followed, and none outside it.
func beside(scenario string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		root, err := os.OpenRoot(filepath.Dir(scenario))
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return root.ReadFile(filepath.FromSlash(path))
	}
}

// reason is an error of the file system without the path, which is said already.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func fileError(path, what string) error {
	problem := source.Problem{File: path, Line: 1, Column: 1, Message: what}
	return usageErrorf("%s", problem)
}

// load finds and parses all that is asked for, before anything runs; what is wrong with any of it is told at once.
func load(words []string, set ...scenarios.Param) ([]*scenarios.Scenario, error) {
	var loaded []*scenarios.Scenario
	var wrong []string
	for _, word := range words {
		from, err := find(word)
		if err == nil {
			var s *scenarios.Scenario
			if s, err = scenarios.Parse(from, set...); err == nil {
				loaded = append(loaded, s)
				continue
			}
		}
		wrong = append(wrong, err.Error())
	}
	if len(wrong) > 0 {
		return nil, usageErrorf("%s", strings.Join(wrong, "\n"))
	}
	return loaded, nil
}

// parseSet reads the values of --set, param=value.
func parseSet(values []string) ([]scenarios.Param, error) {
	var set []scenarios.Param
	for _, v := range values {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return nil, usageErrorf("--set: %q, want param=value", v)
		}
		set = append(set, scenarios.Param{Name: name, Value: value})
	}
	return set, nil
}
