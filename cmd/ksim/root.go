package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses, as the contract with scripts has them; exitInterrupted is a shell's 128 + SIGINT.
const (
	exitOK          = 0
	exitFailed      = 1 // an expectation did not hold
	exitUsage       = 2 // the request is wrong; nothing was run
	exitInternal    = 3 // ksim itself failed
	exitInterrupted = 130
)

// statusError ends the program with that status; an empty message has been said already.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

// errVerdict ends a command whose report has told already that an expectation did not hold.
var errVerdict = &statusError{status: exitFailed}

func usageErrorf(format string, args ...any) error {
	return &statusError{exitUsage, fmt.Sprintf(format, args...)}
}

func internalError(err error) error { return &statusError{exitInternal, "ksim failed: " + err.Error()} }

// Main runs one command line and returns the exit status.
func Main(args []string, s *streams) (status int) {
	defer func() {
		if r := recover(); r != nil {
			s.note("ksim failed: %v\n%s", r, debug.Stack())
			status = exitInternal
		}
	}()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	go func() {
		if _, ok := <-interrupted; ok {
			s.note("interrupted")
			os.Exit(exitInterrupted)
		}
	}()
	root := newRootCmd(s)
	root.SetArgs(args)
	err := root.Execute()
	var known *statusError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &known):
		if known.message != "" {
			s.note("%s", known.message)
		}
		return known.status
	}
	s.note("ksim: %v", err) // cobra's: an unknown command or flag
	return exitUsage
}

func newRootCmd(s *streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "ksim",
		Short: "Simulate Kubernetes clusters under failure",
		Long: paragraphs(`
ksim runs whole Kubernetes clusters - machines, disks, network, etcd, control plane, kubelets, pods - in one process and
in virtual time, and shows what happens when parts of them fail: who notices when, which setting decided it, and what
moves where.

All times and durations are the cluster's own, not the wall's: ten minutes of it take a fraction of a second.`),
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetVersionTemplate("ksim {{.Version}}\n")
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run scenarios:"}, &cobra.Group{ID: "write", Title: "Write scenarios:"})
	in := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	in("run", newRunCmd(s, runRun), newListCmd(s), newWhyCmd(s, runWhy))
	in("write", newShowCmd(s), newLintCmd(s), newSchemaCmd(s))
	root.AddCommand(newVersionCmd(s))
	root.AddCommand(newTopics()...)
	return root
}

// paragraphs unwraps the paragraphs of a help text, and wraps them at 80 columns.
func paragraphs(text string) string {
	var out []string
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		line := ""
		var lines []string
		for _, word := range strings.Fields(p) {
			if line != "" && len(line)+1+len(word) > 80 {
				lines = append(lines, line)
				line = ""
			}
			line = strings.TrimSpace(line + " " + word)
		}
		out = append(out, strings.Join(append(lines, line), "\n"))
	}
	return strings.Join(out, "\n\n")
}

// examples sets out pairs of a sentence and a command.
func examples(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "  # %s\n  $ %s\n", pairs[i], pairs[i+1])
	}
	return strings.TrimRight(b.String(), "\n")
}

// wants checks the number of arguments, and says by name which are wanted: `<scenario> <object>`.
func wants(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		_, names, _ := strings.Cut(c.Use, " ")
		if names == "" {
			return usageErrorf("%s takes no arguments, and got %q", c.CommandPath(), args)
		}
		path := c.CommandPath()
		return usageErrorf("%s wants %s, and got %d arguments (see %s --help)", path, names, len(args), path)
	}
}
