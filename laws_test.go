// Package ksim_test holds the laws of the source: what docs/architecture.md promises and a compiler does not see.
// TestLaws checks every file; TestLawsCatchViolations shows each law the sin that it is for.
// One package alone:  go test . -run 'TestLaws/sim/raft$'
package ksim_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/packages"
)

const module = "ksim"

// exceptions are the places that may break a law, each with its reason: a ratchet. One that is not needed must go.
var exceptions = []exception{
	{"sim/kernel.go", "virtual-time", "runtime/debug", 0, "the stack of a panic, for its message"},
	{"sim/proc.go", "virtual-time", "runtime/debug", 0, "the stack of a panic, for its message"},
	{"sim/raft/library.go", "virtual-time", "unsafe", 0, "the raft library's election timeouts are a private field"},
	{"sim/raft/mvcc/store.go", "virtual-time", "unsafe", 0, "keys as strings, values by their first byte; they never change"},
	{"sim/api", "package-size", "", 17, "what all parts know of the API: resources, codec, writes, releases, requests"},
	{"sim/raft", "package-size", "", 32, "etcd is one program: the loop, the peers, the front, the client"},
	{"sim/controlplane/apiserver", "package-size", "", 26, "one program, whose verbs, caches and hooks share its storage"},
	{"sim/controlplane/controllers", "package-size", "", 38, "a file for each controller, or each file of a large one"},
	{"sim/controlplane/scheduler/plugins", "package-size", "", 18, "one file per plugin, as upstream has one package"},
	{"sim/shell", "package-size", "", 24, "a file for each command"},
	{"sim/cluster/kubelet", "package-size", "", 25, "a file for each part of the real kubelet, under its name"},
	{"scenarios", "package-size", "", 21, "what a user writes: format, its checks by section, runner, verdicts"},
	{"cmd/ksim/report", "package-size", "", 20, "a file for each format, and for each stage of the story"},
}

type exception struct {
	path   string // of a file, or of a package for laws about packages
	law    string
	what   string // found in what is excused; "" for all of it
	max    int    // for limits: it may not grow beyond this
	reason string
}

// source is one Go file with what the laws look at.
type source struct {
	path  string // from the project's root
	fset  *token.FileSet
	file  *ast.File
	info  *types.Info
	lines []string
}

type finding struct {
	line int
	size int // of what exceeds a limit
	what string
}

type law struct {
	name  string
	under []string // the trees it holds in; none: everywhere
	tests bool     // holds in test files too
	check func(*source) []finding
}

// virtual is where only virtual time exists.
var virtual = []string{"sim", "scenarios"}

var laws = []law{
	{"imports", nil, false, checkImports},
	{"virtual-time", virtual, false, checkBannedCalls},
	{"no-concurrency", virtual, false, checkConcurrency},
	{"no-mutable-state", virtual, false, checkPackageState},
	{"floats", []string{"sim"}, false, checkFloats},
	{"map-order", nil, false, checkMapOrder},
	{"file-length", nil, true, checkFileLength},
	{"line-length", nil, true, checkLineLength},
	{"function-length", nil, false, checkFunctionLength},
	{"parameters", nil, false, checkParameters},
	{"leftovers", nil, true, checkLeftovers},
}

func TestLaws(t *testing.T) {
	sources := load(t)
	used := map[int]bool{}
	byPackage := map[string][]*source{}
	for _, s := range sources {
		dir := filepath.ToSlash(filepath.Dir(s.path))
		byPackage[dir] = append(byPackage[dir], s)
	}
	dirs := make([]string, 0, len(byPackage))
	for dir := range byPackage { // any order: sorted below
		dirs = append(dirs, dir)
	}
	sort.Strings(dirs)
	for _, dir := range dirs {
		t.Run(dir, func(t *testing.T) {
			count := 0
			for _, s := range byPackage[dir] {
				if !strings.HasSuffix(s.path, "_test.go") {
					count++
				}
				for _, l := range laws {
					for _, f := range s.findings(l) {
						if !excused(s.path, l.name, f, used) {
							t.Errorf("%s:%d: %s: %s", s.path, f.line, l.name, f.what)
						}
					}
				}
			}
			if count > 15 && !excused(dir, "package-size", finding{size: count}, used) {
				t.Errorf("%s: package-size: %d files; more than 15 want a reason among the exceptions", dir, count)
			}
		})
	}
	for i, e := range exceptions {
		if !used[i] && !testing.Short() {
			t.Errorf("exception %s of %s is not needed any more: remove it", e.law, e.path)
		}
	}
}

func excused(path, law string, f finding, used map[int]bool) bool {
	for i, e := range exceptions {
		if e.path == path && e.law == law && strings.Contains(f.what, e.what) {
			used[i] = true
			return e.max == 0 || f.size <= e.max
		}
	}
	return false
}

func (s *source) findings(l law) []finding {
	if strings.HasSuffix(s.path, "_test.go") && !l.tests {
		return nil
	}
	in := len(l.under) == 0
	for _, tree := range l.under {
		in = in || strings.HasPrefix(s.path, tree+"/")
	}
	if !in {
		return nil
	}
	return l.check(s)
}

// load parses and type-checks the project (test files are only parsed). Types of the libraries come from export data.
func load(t *testing.T) []*source {
	t.Helper()
	config := &packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes |
			packages.NeedTypesInfo | packages.NeedImports,
		Fset: token.NewFileSet(),
	}
	loaded, err := packages.Load(config, "./...")
	require.NoError(t, err)
	var sources []*source
	for _, p := range loaded {
		for _, e := range p.Errors {
			if !strings.Contains(e.Msg, "no non-test Go files") {
				t.Errorf("%s", e)
			}
		}
		for _, file := range p.Syntax {
			path := config.Fset.File(file.Pos()).Name()
			sources = append(sources, newSource(t, path, config.Fset, file, p.TypesInfo))
		}
	}
	var tests []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			tests = append(tests, path)
		}
		return err
	}))
	for _, path := range tests {
		file, err := parser.ParseFile(config.Fset, path, nil, parser.ParseComments)
		require.NoError(t, err)
		sources = append(sources, newSource(t, path, config.Fset, file, &types.Info{}))
	}
	slices.SortFunc(sources, func(a, b *source) int { return strings.Compare(a.path, b.path) })
	return slices.DeleteFunc(sources, func(s *source) bool { return s.path == "deps.go" })
}

func newSource(t *testing.T, path string, fset *token.FileSet, file *ast.File, info *types.Info) *source {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	if filepath.IsAbs(path) {
		root, err := os.Getwd()
		require.NoError(t, err)
		path, err = filepath.Rel(root, path)
		require.NoError(t, err)
	}
	s := &source{path: filepath.ToSlash(path), fset: fset, file: file, info: info}
	s.lines = strings.Split(string(text), "\n")
	return s
}

func (s *source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

// says reports whether the node's line, or the one above it, holds a comment that starts with the waiver and a reason.
func (s *source) says(n ast.Node, waiver string) bool {
	line := s.line(n)
	for _, i := range []int{line - 1, line - 2} {
		if i < 0 || i >= len(s.lines) {
			continue
		}
		_, after, found := strings.Cut(s.lines[i], "// "+waiver+": ")
		if found && strings.TrimSpace(after) != "" {
			return true
		}
	}
	return false
}

// packageOf returns the import path that an identifier stands for, "" when it is not a package.
func (s *source) packageOf(e ast.Expr) string {
	id, ok := e.(*ast.Ident)
	if !ok {
		return ""
	}
	if name, ok := s.info.Uses[id].(*types.PkgName); ok {
		return name.Imported().Path()
	}
	return ""
}

// layers, lowest first: a package may import what stands on a line above its own, or beside it.
var layers = []string{
	"sim", "sim/hardware", "sim/api", "sim/raft", "sim/controlplane", "sim/cluster", "sim/shell", "scenarios",
	"cmd/ksim/memory", "cmd/ksim/report", "cmd/ksim/tui", "cmd/ksim",
}

// apart names pairs that stand one above the other and still may not meet: the package, what it must not know, and why.
var apart = [][3]string{
	{"sim/raft", "sim/api", "etcd knows keys and bytes, nothing of Kubernetes"},
	{"sim/raft", "k8s.io/", "etcd knows keys and bytes, nothing of Kubernetes"},
	{"sim/hardware", "k8s.io/", "machines know nothing of Kubernetes"},
	{"sim/controlplane/controllers", "sim/raft", "only the API server talks to etcd"},
	{"sim/controlplane/scheduler", "sim/raft", "only the API server talks to etcd"},
	{"sim/controlplane/controllers", "sim/controlplane/scheduler", "they meet through the API only"},
	{"sim/controlplane/controllers", "sim/controlplane/apiserver", "they meet through the network only"},
	{"sim/controlplane/scheduler", "sim/controlplane/apiserver", "they meet through the network only"},
	{"sim/controlplane/scheduler", "sim/controlplane/controllers", "they meet through the API only"},
	{"sim/controlplane/apiserver", "sim/controlplane/controllers", "it is told by requests only"},
	{"sim/cluster/kubelet", "sim/raft", "only the API server talks to etcd"},
	{"sim", "github.com/spf13/cobra", "the simulator has no command line"},
	{"sim", "github.com/gdamore/tcell", "the simulator has no screen"},
	{"scenarios", "github.com/spf13/cobra", "use it without a command line"},
	{"cmd/ksim/report", "github.com/spf13/cobra", "reports work without a command line"},
	{"", "k8s.io/client-go", "its informers, queues and elections own goroutines and wall time"},
}

func layerOf(dir string) int {
	for i := len(layers) - 1; i > 0; i-- {
		if dir == layers[i] || strings.HasPrefix(dir, layers[i]+"/") && layers[i] != "cmd/ksim" {
			return i
		}
	}
	if dir == "sim" {
		return 0
	}
	return -1
}

func checkImports(s *source) (found []finding) {
	dir := filepath.ToSlash(filepath.Dir(s.path))
	for _, spec := range s.file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		inner, ours := strings.CutPrefix(path, module+"/")
		if ours {
			from, to := layerOf(dir), layerOf(inner)
			switch {
			case from < 0:
				found = append(found, finding{s.line(spec), 0, dir + " has no place in the layers"})
			case to < 0:
				found = append(found, finding{s.line(spec), 0, inner + " has no place in the layers"})
			case to > from:
				found = append(found, finding{s.line(spec), 0, dir + " must not know " + inner + ": imports point down"})
			}
		}
		for _, rule := range apart {
			below := rule[0] == "" || dir == rule[0] || strings.HasPrefix(dir, rule[0]+"/")
			if below && (inner == rule[1] || strings.HasPrefix(inner, rule[1]+"/") || strings.HasPrefix(path, rule[1])) {
				found = append(found, finding{s.line(spec), 0, dir + " must not know " + path + ": " + rule[2]})
			}
		}
	}
	return found
}

// bannedImports and what to use in their place.
var bannedImports = map[string]string{
	"context":       "a lifetime is a sim.Scope, a deadline is an argument",
	"sync":          "one event runs at a time",
	"sync/atomic":   "one event runs at a time",
	"os":            "a machine's files are on its hardware.Disk; the host's belong to cmd/",
	"os/exec":       "nothing outside is run",
	"os/signal":     "signals are hardware.Signal",
	"io/ioutil":     "a machine's files are on its hardware.Disk",
	"net":           "the network is sim/hardware's",
	"net/http":      "the network is sim/hardware's",
	"crypto/rand":   "Kernel.Rand",
	"math/rand":     "Kernel.Rand",
	"hash/maphash":  "its seed differs from run to run",
	"runtime":       "nothing depends on the machine that runs the simulation",
	"runtime/debug": "nothing depends on the machine that runs the simulation",
	"unsafe":        "nothing depends on addresses",
	"syscall":       "nothing outside is called",
}

// bannedCalls and what to use in their place.
var bannedCalls = map[string]string{
	"time.Now": "Scope.Now or Machine.Clock", "time.Since": "Time.Sub", "time.Until": "Time.Sub",
	"time.Sleep": "Proc.Sleep", "time.After": "Scope.After", "time.AfterFunc": "Scope.After",
	"time.Tick": "Scope.After", "time.NewTimer": "Scope.After", "time.NewTicker": "Scope.After",
	"time.LoadLocation": "UTC", "time.Local": "UTC",
	"path/filepath.Glob": "no host files", "path/filepath.Walk": "no host files", "path/filepath.WalkDir": "no host files",
	"path/filepath.Abs": "no host files", "path/filepath.EvalSymlinks": "no host files",
}

func checkBannedCalls(s *source) (found []finding) {
	for _, spec := range s.file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if instead, banned := bannedImports[path]; banned {
			found = append(found, finding{s.line(spec), 0, fmt.Sprintf("%s is banned here: %s", path, instead)})
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		path := s.packageOf(sel.X)
		if instead, banned := bannedCalls[path+"."+sel.Sel.Name]; banned {
			found = append(found, finding{s.line(sel), 0,
				fmt.Sprintf("%s.%s is banned here: use %s", path, sel.Sel.Name, instead)})
		}
		global := path == "math/rand/v2" && !strings.HasPrefix(sel.Sel.Name, "New")
		if fn, isFunc := s.info.Uses[sel.Sel].(*types.Func); global && isFunc && fn != nil {
			found = append(found, finding{s.line(sel), 0, "the global source is banned here: use Kernel.Rand"})
		}
		return true
	})
	return found
}

func checkConcurrency(s *source) (found []finding) {
	add := func(n ast.Node, what string) {
		found = append(found, finding{s.line(n), 0, what + " is banned here: use Scope.Go, sim.Future, sim.Queue"})
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			add(n, "a goroutine")
		case *ast.ChanType:
			add(n, "a channel")
		case *ast.SelectStmt:
			add(n, "select")
		case *ast.SendStmt:
			add(n, "a channel")
		}
		return true
	})
	return found
}

// checkPackageState finds writes to package-level variables: tables are fine, memory is not.
func checkPackageState(s *source) (found []finding) {
	written := func(e ast.Expr, how string) {
		if v := s.packageVariable(e); v != "" {
			found = append(found, finding{s.line(e), 0,
				fmt.Sprintf("package-level variable %s is %s: two simulations would see each other", v, how)})
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				written(e, "assigned")
			}
		case *ast.IncDecStmt:
			written(n.X, "changed")
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				written(n.X, "pointed to")
			}
		case *ast.CallExpr:
			id, ok := n.Fun.(*ast.Ident)
			if ok && slices.Contains([]string{"delete", "clear", "copy"}, id.Name) && len(n.Args) > 0 {
				written(n.Args[0], "changed")
			}
		}
		return true
	})
	return found
}

// packageVariable returns the name of the package-level variable that an expression is, or is a part of.
func (s *source) packageVariable(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if s.packageOf(x.X) != "" {
				e = x.Sel
				continue
			}
			e = x.X
		case *ast.Ident:
			v, ok := s.info.Uses[x].(*types.Var)
			if ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
				return x.Name
			}
			return ""
		default:
			return ""
		}
	}
}

func checkFloats(s *source) (found []finding) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if (n.Name == "float64" || n.Name == "float32") && !s.says(n, "float") {
				found = append(found, finding{s.line(n), 0,
					"a float decides nothing here; if it must be one, say `// float: reason`"})
			}
		}
		return true
	})
	return found
}

func checkMapOrder(s *source) (found []finding) {
	sorted := map[ast.Node]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			sel, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			path := s.packageOf(sel.X)
			if path == "slices" && strings.HasPrefix(sel.Sel.Name, "Sorted") {
				sorted[n.Args[0]] = true
			}
			iterates := path == "maps" && slices.Contains([]string{"Keys", "Values", "All"}, sel.Sel.Name) && !sorted[n]
			if (iterates || sel.Sel.Name == "MapKeys" || sel.Sel.Name == "MapRange") && !s.says(n, "any order") {
				found = append(found, finding{s.line(n), 0,
					"this iterates in no order: wrap it in slices.Sorted, or say `// any order: reason`"})
			}
		case *ast.RangeStmt:
			kind := s.info.TypeOf(n.X)
			if kind == nil {
				return true
			}
			if _, isMap := kind.Underlying().(*types.Map); isMap && !s.says(n, "any order") {
				found = append(found, finding{s.line(n), 0,
					"a map has no order: range over sorted keys, or say `// any order: reason`"})
			}
		}
		return true
	})
	return found
}

func checkFileLength(s *source) []finding {
	most := 500
	if strings.HasSuffix(s.path, "_test.go") {
		most = 800
	}
	if n := len(s.lines) - 1; n > most {
		return []finding{{n, n, fmt.Sprintf("%d lines; a file has at most %d", n, most)}}
	}
	return nil
}

// longLiteral is a string that fills most of a line; in a test it may be as long as the text that it quotes.
var longLiteral = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.){60,}\"|`[^`]{60,}`")

func checkLineLength(s *source) (found []finding) {
	for i, line := range s.lines {
		if n := utf8.RuneCountInString(line); n > 120 {
			if strings.HasSuffix(s.path, "_test.go") && longLiteral.MatchString(line) {
				continue
			}
			found = append(found, finding{i + 1, n, fmt.Sprintf("%d columns; a line has at most 120", n)})
		}
	}
	return found
}

func checkFunctionLength(s *source) (found []finding) {
	for _, d := range s.file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			n := s.fset.Position(fn.End()).Line - s.line(fn) + 1
			if n > 70 {
				found = append(found, finding{s.line(fn), n,
					fmt.Sprintf("%s has %d lines; a function has at most 70", fn.Name.Name, n)})
			}
		}
	}
	return found
}

func checkParameters(s *source) (found []finding) {
	for _, d := range s.file.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Type.Params.NumFields() > 5 {
			n := fn.Type.Params.NumFields()
			found = append(found, finding{s.line(fn), n,
				fmt.Sprintf("%s has %d parameters; more than 5 are an options struct", fn.Name.Name, n)})
		}
	}
	return found
}

// checkLeftovers finds what must not be merged: notes to oneself without an owner, and paths of somebody's machine.
func checkLeftovers(s *source) (found []finding) {
	for i, line := range s.lines {
		_, comment, _ := strings.Cut(line, "//")
		switch {
		case strings.Contains(comment, "FIX"+"ME"), strings.Contains(comment, "XX"+"X"):
			found = append(found, finding{i + 1, 0, "mend it before it is merged"})
		case strings.Contains(comment, "TO"+"DO") && !strings.Contains(comment, "TO"+"DO("):
			found = append(found, finding{i + 1, 0, "a note of work to do names who will do it"})
		case strings.Contains(line, "/wo"+"rk/"), strings.Contains(line, "/tm"+"p/ksim"):
			found = append(found, finding{i + 1, 0, "a path of one machine"})
		}
	}
	return found
}
