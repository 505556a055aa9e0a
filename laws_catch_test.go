package ksim_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLawsCatchViolations gives each law one sin and its nearest virtue: the first is found, the second is not.
func TestLawsCatchViolations(t *testing.T) {
	long := strings.Repeat("\n", 500)
	caught := map[string]bool{}
	for _, c := range []struct {
		law, path, sin, virtue string
	}{
		{"imports", "sim/raft/a.go", `import _ "ksim/sim/api"`, `import _ "ksim/sim/hardware"`},
		{"imports", "sim/hardware/a.go", `import _ "ksim/sim/cluster"`, `import _ "ksim/sim"`},
		{"imports", "scenarios/a.go", `import _ "ksim/cmd/ksim/report"`, `import _ "ksim/sim/cluster/kubelet"`},
		{"imports", "sim/controlplane/scheduler/a.go", `import _ "ksim/sim/raft"`, `import _ "ksim/sim/controlplane"`},
		{"imports", "sim/api/a.go", `import _ "k8s.io/client-go/tools/cache"`, `import _ "k8s.io/api/core/v1"`},
		{"imports", "drawer/a.go", `import _ "ksim/sim"`, `import _ "fmt"`},
		{"virtual-time", "sim/a.go", `import "time"; var _ = time.Now()`, `import "time"; var _ = time.Second`},
		{"virtual-time", "sim/a.go", `import "time"; var _ = time.AfterFunc`, `import "time"; var _ time.Duration`},
		{"virtual-time", "scenarios/a.go", `import _ "os"`, `import _ "io/fs"`},
		{"virtual-time", "sim/a.go", `import _ "math/rand"`, `import _ "math/bits"`},
		{"no-concurrency", "sim/a.go", `func f() { go f() }`, `func f() { f() }`},
		{"no-concurrency", "sim/a.go", `var c chan int`, `var c []int`},
		{"no-concurrency", "sim/a.go", `func f() { select {} }`, `func f() { switch {} }`},
		{"no-mutable-state", "sim/a.go", `var n int; func f() { n++ }`, `func f() { n := 0; n++ }`},
		{"no-mutable-state", "sim/a.go", `var m = map[int]int{}; func f() { m[1] = 2 }`,
			`var m = map[int]int{1: 2}; func f() int { return m[1] }`},
		{"no-mutable-state", "sim/a.go", `var n int; func f() *int { return &n }`, `var n int; func f() int { return n }`},
		{"no-mutable-state", "sim/a.go", `var m = map[int]int{}; func f() { delete(m, 1) }`,
			`func f(m map[int]int) { delete(m, 1) }`},
		{"floats", "sim/a.go", `var score float64`, "// float: shown, never compared\nvar score float64"},
		{"map-order", "cmd/ksim/a.go", `func f(m map[int]int) { for range m { } }`,
			"func f(m map[int]int) {\n// any order: a sum\nfor range m { } }"},
		{"map-order", "sim/a.go", `import "maps"; var _ = maps.Keys(map[int]int{})`,
			`import ("maps"; "slices"); var _ = slices.Sorted(maps.Keys(map[int]int{}))`},
		{"map-order", "sim/a.go", "func f(m map[int]int) { for range m { // any order: \n} }",
			`func f(m []int) { for range m { } }`},
		{"file-length", "sim/a.go", long, ""},
		{"line-length", "sim/a.go", "// " + strings.Repeat("x", 118), "// " + strings.Repeat("ü", 117)},
		{"function-length", "sim/a.go", "func f() {" + strings.Repeat("\n", 70) + "}", "func f() {\n}"},
		{"parameters", "sim/a.go", `func f(a, b, c, d, e, g int) {}`, `func f(a, b, c, d, e int) {}`},
		{"leftovers", "sim/a_test.go", "// FIX" + "ME", "// fixed"},
		{"leftovers", "sim/a.go", "// TO" + "DO: later", "// TO" + "DO(ada): in the next release"},
		{"leftovers", "sim/a.go", `var dir = "/wo` + `rk/x"`, `var dir = "/var/lib/etcd"`},
	} {
		caught[c.law] = true
		t.Run(c.law, func(t *testing.T) {
			assert.NotEmpty(t, judge(t, c.law, c.path, c.sin), "the sin was not found: %s", c.sin)
			assert.Empty(t, judge(t, c.law, c.path, c.virtue), "the virtue was taken for a sin: %s", c.virtue)
		})
	}
	for _, l := range laws {
		assert.True(t, caught[l.name], "no example of what %s catches", l.name)
	}
}

// TestLawsHoldWhereTheyShould: wall time is for the command line, never for the simulation; tests may use goroutines.
func TestLawsHoldWhereTheyShould(t *testing.T) {
	clock := `import "time"; var _ = time.Now()`
	assert.NotEmpty(t, judge(t, "virtual-time", "scenarios/a.go", clock))
	assert.Empty(t, judge(t, "virtual-time", "cmd/ksim/a.go", clock))
	assert.Empty(t, judge(t, "no-concurrency", "sim/a_test.go", `func f() { go f() }`))
}

// TestExceptionsAreRatchets: an exception excuses what it names, up to its limit and no further.
func TestExceptionsAreRatchets(t *testing.T) {
	before := exceptions
	defer func() { exceptions = before }()
	exceptions = []exception{{"sim/a.go", "file-length", "", 510, "a table"}}
	used := map[int]bool{}
	assert.False(t, excused("sim/b.go", "file-length", finding{size: 505}, used))
	assert.Empty(t, used)
	assert.True(t, excused("sim/a.go", "file-length", finding{size: 510}, used))
	assert.False(t, excused("sim/a.go", "file-length", finding{size: 511}, used))
	assert.Len(t, used, 1)
}

// TestExceptionsNameLawsAndReasons: an exception without a reason, or of no law, is a mistake.
func TestExceptionsNameLawsAndReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, l := range laws {
		seen[l.name] = true
	}
	for _, e := range exceptions {
		assert.NotEmpty(t, e.reason, "%s of %s", e.law, e.path)
		assert.True(t, seen[e.law] || e.law == "package-size", "no law is called %s", e.law)
	}
}

// judge applies one law to a file made of the declarations given.
func judge(t *testing.T, name, path, declarations string) []finding {
	t.Helper()
	text := "package a\n" + declarations + "\n"
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
	require.NoError(t, err)
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = config.Check("a", fset, []*ast.File{file}, info) // cannot fail: imports are missing on purpose
	s := &source{path: path, fset: fset, file: file, info: info, lines: strings.Split(text, "\n")}
	for _, l := range laws {
		if l.name == name {
			return s.findings(l)
		}
	}
	t.Fatalf("no law is called %s", name)
	return nil
}

// noImports resolves nothing: the type checker then knows an import by its path alone, which is all that the laws need.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }
