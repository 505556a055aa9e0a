package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the expected outputs anew; read the difference before keeping it")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ksim": main})
}

// TestScripts runs what a person types, in testdata/script: a script's first word is the command that it is about.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("COLUMNS", "80")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   cmdStatus,
			"timeless": cmdTimeless,
			"grow":     cmdGrow,
		},
	})
}

// cmdStatus runs a command and wants that exit status: status 2 ksim run nothing.
func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// cmdTimeless copies a report without what differs from run to run, its wall time: timeless stdout report.txt.
func cmdTimeless(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(timeless(ts.ReadFile(args[0]))), 0o644))
}

// timeless takes the wall time out of a report's verdict.
func timeless(report string) string {
	lines := strings.Split(report, "\n")
	for i, line := range lines {
		if before, after, ok := strings.Cut(line, " of cluster in "); ok {
			_, _, _ = strings.Cut(after, ",")
			lines[i] = before + " of cluster"
		}
	}
	return strings.Join(lines, "\n")
}

// cmdGrow makes a file of that many bytes: grow big.yaml 10000000.
func cmdGrow(ts *testscript.TestScript, _ bool, args []string) {
	const line = "# a line of forty characters, and again.\n"
	size := 0
	for _, digit := range args[1] {
		size = size*10 + int(digit-'0')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat(line, size/len(line)+1)), 0o644))
}
