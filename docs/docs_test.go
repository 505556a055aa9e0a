// Package docs holds no code: its tests keep the documents true.
package docs

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/scenarios"
)

var update = flag.Bool("update", false, "write the generated parts of the documents anew")

// documents are all of them, from this folder.
func documents(t *testing.T) []string {
	t.Helper()
	here, err := filepath.Glob("*.md")
	require.NoError(t, err)
	return append([]string{"../README.md"}, here...)
}

// TestDocumentsNameWhatExists: a path in backticks or in a link leads to a file or folder of the project.
func TestDocumentsNameWhatExists(t *testing.T) {
	for _, document := range documents(t) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, path := range pathsIn(string(text)) {
			_, fromRoot := os.Stat(filepath.Join("..", path))
			_, beside := os.Stat(filepath.Join(filepath.Dir(document), path))
			assert.True(t, fromRoot == nil || beside == nil, "%s names %s, which does not exist", document, path)
		}
	}
}

var (
	ticked = regexp.MustCompile("`([^` \n]+)`")
	linked = regexp.MustCompile(`\]\(([^)# \n]+)`)
	ours   = regexp.MustCompile(`^(\./)?(cmd|sim|scenarios|docs|\.ci)(/[\w.*-]+)*/?$|^[\w-]+\.(md|mod)$`)
)

// pathsIn returns what looks like a path of this project: in backticks if it begins like one, in links always.
func pathsIn(text string) []string {
	var paths []string
	for _, match := range ticked.FindAllStringSubmatch(text, -1) {
		if ours.MatchString(match[1]) && strings.ContainsAny(match[1], "/.") && !strings.Contains(match[1], "*") {
			paths = append(paths, match[1])
		}
	}
	for _, match := range linked.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(match[1], "://") {
			paths = append(paths, match[1])
		}
	}
	return paths
}

func TestPathsAreFoundInDocuments(t *testing.T) {
	assert.Equal(t, []string{"sim/kernel.go", "docs/", "fidelity.md"},
		pathsIn("see `sim/kernel.go`, `docs/`, `kubectl get`, `nodes`, `web/x`, [facts](fidelity.md#top), [k](https://k8s.io)"))
}

// TestDocumentsSpeakOfTheProjectAlone: no path of one machine, nothing left to be filled in.
func TestDocumentsSpeakOfTheProjectAlone(t *testing.T) {
	for _, document := range documents(t) {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, banned := range []string{"/wo" + "rk/", "/tm" + "p/ksim", "TO" + "DO", "FIX" + "ME", "TBD"} {
			assert.NotContains(t, string(text), banned, document)
		}
	}
}

// component is what a provenance comment says.
type component struct {
	file, name, source, modelled, left string
}

const (
	begin = "<!-- begin: from the provenance comments; go test ./docs -update -->\n"
	end   = "<!-- end -->"
)

// TestFidelityListsEveryComponent: the table of docs/fidelity.md is what the comments "Models ..." in the source say.
func TestFidelityListsEveryComponent(t *testing.T) {
	table := fidelityTable(components(t))
	text, err := os.ReadFile("fidelity.md")
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found, "fidelity.md has no place for the table")
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := before + begin + table + end + after
	if *update {
		require.NoError(t, os.WriteFile("fidelity.md", []byte(want), 0o644))
		return
	}
	assert.True(t, want == string(text), "docs/fidelity.md is not what the source says: go test ./docs -update")
}

// components collects the provenance comments of the simulator, in order of their files.
func components(t *testing.T) []component {
	t.Helper()
	var all []component
	require.NoError(t, filepath.WalkDir("../sim", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, group := range file.Comments {
			for _, c := range provenance(group) {
				c.file = filepath.ToSlash(strings.TrimPrefix(path, "../"))
				all = append(all, c)
			}
		}
		return nil
	}))
	slices.SortStableFunc(all, func(a, b component) int {
		return cmp.Or(strings.Compare(filepath.Dir(a.file), filepath.Dir(b.file)), strings.Compare(a.file, b.file))
	})
	return all
}

// provenance reads the paragraphs of a comment that begin with "Models": a name, its source in parentheses, what is
// modelled, and what is left out.
func provenance(group *ast.CommentGroup) []component {
	var all []component
	for _, paragraph := range strings.Split(group.Text(), "\n\n") {
		text, ok := strings.CutPrefix(strings.Join(strings.Fields(paragraph), " "), "Models ")
		if !ok {
			continue
		}
		var c component
		c.name, text, ok = strings.Cut(text, " (")
		if ok {
			depth, i := 1, 0
			for ; i < len(text) && depth > 0; i++ {
				switch text[i] {
				case '(':
					depth++
				case ')':
					depth--
				}
			}
			c.source, text = strings.TrimSuffix(text[:i], ")"), text[i:]
		} else {
			c.name, text, _ = strings.Cut(c.name, ": ")
		}
		c.modelled, c.left, _ = strings.Cut(text, "Leaves out: ")
		c.modelled = strings.Trim(c.modelled, " :.,")
		c.left = strings.Trim(c.left, " .")
		c.name = strings.Trim(c.name, " .:")
		all = append(all, c)
	}
	return all
}

func fidelityTable(all []component) string {
	var b strings.Builder
	dir := ""
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for _, c := range all {
		if d := filepath.Dir(c.file); d != dir {
			dir = d
			fmt.Fprintf(&b, "\n### %s\n\n| component | modelled | left out | source | file |\n|---|---|---|---|---|\n", dir)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | `%s` |\n", cell(c.name), cell(c.modelled), cell(c.left), cell(c.source),
			c.file)
	}
	return b.String() + "\n"
}

// TestClaimsNameTheirScenarios: the last column of docs/claims.md is what the scenarios' files say, and no scenario
// names a claim that does not exist.
func TestClaimsNameTheirScenarios(t *testing.T) {
	shown := map[string][]string{}
	for _, name := range scenarios.Builtins() {
		from, err := scenarios.Builtin(name)
		require.NoError(t, err)
		scenario, err := scenarios.Parse(from)
		require.NoError(t, err)
		for _, claim := range scenario.Claims {
			shown[claim] = append(shown[claim], name)
		}
	}
	text, err := os.ReadFile("claims.md")
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	row := regexp.MustCompile(`^\| (C\d+) \| .* \| `)
	for i, line := range lines {
		match := row.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		lines[i] = match[0] + cmp.Or(strings.Join(shown[match[1]], ", "), "-") + " |"
		delete(shown, match[1])
	}
	assert.Empty(t, shown, "claims that do not exist")
	want := strings.Join(lines, "\n")
	if *update {
		require.NoError(t, os.WriteFile("claims.md", []byte(want), 0o644))
		return
	}
	assert.True(t, want == string(text), "docs/claims.md is not what the scenarios say: go test ./docs -update")
}

func TestProvenanceIsRead(t *testing.T) {
	group := &ast.CommentGroup{List: []*ast.Comment{
		{Text: "// Models etcd's raft loop (server/etcdserver (raft.go), v3.6): persists, sends,"},
		{Text: "// applies. Leaves out: auth."}, {Text: "//"}, {Text: "// More."}}}
	assert.Equal(t, []component{{name: "etcd's raft loop", source: "server/etcdserver (raft.go), v3.6",
		modelled: "persists, sends, applies", left: "auth"}}, provenance(group))
}
