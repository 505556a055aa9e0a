package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commandLine finds what documents tell people to type.
var commandLine = regexp.MustCompile("(?m)(?:^go run [.]/cmd/ksim|(?:`|^ *[$] )ksim) ([a-z-]+[^`\n]*)")

// TestDocumentedCommandsExist: each command that a document shows is one that ksim has, with flags that it knows.
func TestDocumentedCommandsExist(t *testing.T) {
	for _, document := range []string{"README.md", "docs/architecture.md", "docs/scenarios.md", "docs/fidelity.md",
		"docs/performance.md", "docs/claims.md"} {
		text, err := os.ReadFile("../../" + document)
		require.NoError(t, err)
		for _, match := range commandLine.FindAllStringSubmatch(string(text), -1) {
			root := newRootCmd(quiet())
			root.InitDefaultHelpCmd()
			root.InitDefaultCompletionCmd()
			command, rest, err := root.Find(strings.Fields(match[1]))
			if assert.NoError(t, err, "%s: ksim %s", document, match[1]) && command != root {
				assert.NoError(t, command.ParseFlags(rest), "%s: ksim %s", document, match[1])
			}
		}
	}
}

// TestReadmeShowsWhatIsPrinted: the output in the README is the output, but for the wall time.
func TestReadmeShowsWhatIsPrinted(t *testing.T) {
	const begin = "<!-- begin: output of go run ./cmd/ksim run node-failure -->\n```\n"
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	shown, after, found := strings.Cut(rest, "```\n<!-- end -->")
	require.True(t, found)
	var out bytes.Buffer
	streams := quiet()
	streams.out = &out
	require.Equal(t, exitOK, Main([]string{"run", "node-failure"}, streams))
	if *update {
		readme := before + begin + out.String() + "```\n<!-- end -->" + after
		require.NoError(t, os.WriteFile("../../README.md", []byte(readme), 0o644))
		return
	}
	assert.Equal(t, timeless(out.String()), timeless(shown), "go test ./cmd/ksim -update")
}

// quiet are streams without a terminal, whose errors nobody reads.
func quiet() *streams {
	return &streams{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{},
		getenv: func(string) string { return "" }}
}
