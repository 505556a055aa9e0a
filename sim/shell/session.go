package shell

import (
	"bytes"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"ksim/sim"
	"ksim/sim/hardware"
)

// Home is the home directory of who types, on every machine.
const Home = "/root"

// Session is a shell on a machine: its variables and its directory last from one Run to the next, and over reboots.
type Session struct {
	cluster Cluster
	machine *hardware.Machine
	vars    map[string]expand.Variable
	dir     string
	status  int // $?
}

// Result is how a script ended.
type Result struct {
	Exit           int
	Stdout, Stderr string
}

// NewSession opens a shell on a machine that exists.
func NewSession(cluster Cluster, machine string) *Session {
	m := cluster.Machine(machine)
	sim.Assert(m != nil, "no machine %q for a shell", machine)
	s := &Session{cluster: cluster, machine: m, vars: map[string]expand.Variable{}, dir: Home}
	s.set("HOME", Home)
	s.set("PWD", Home)
	s.set("HOSTNAME", machine)
	s.set("USER", "root")
	return s
}

func (s *Session) set(name, value string) {
	s.vars[name] = expand.Variable{Set: true, Exported: true, Kind: expand.String, Str: value}
}

// Machine returns the name of the session's machine.
func (s *Session) Machine() string { return s.machine.Name }

// noRoute is what ssh says of a machine that is off; 255 is its exit status for errors of its own (openssh ssh(1)).
const sshFailed = 255

// Run starts a script of one or more lines; the future resolves when it has ended. It runs in the lifetime of the
// session's machine: if that is off, or ends before the script, the script has failed as a lost ssh connection does.
func (s *Session) Run(text string) *sim.Future[Result] {
	done := sim.NewFuture[Result]()
	file, err := parse(text)
	switch {
	case err != nil:
		done.Resolve(Result{Exit: 2, Stderr: "bash: " + err.Error() + "\n"}, nil)
		return done
	case !s.machine.Up() && !onlyFaults(file):
		done.Resolve(Result{Exit: sshFailed,
			Stderr: "ssh: connect to host " + s.machine.Name + " port 22: No route to host\n"}, nil)
		return done
	}
	scope := s.machine.Scope().Child("shell").Label(s.machine.Name, "shell")
	if !s.machine.Up() {
		scope = s.cluster.Kernel().Root().Child("shell").Label(s.machine.Name, "shell")
	}
	var out, errs bytes.Buffer
	removeHook := scope.OnKill(func() {
		errs.WriteString("Connection to " + s.machine.Name + " closed by remote host.\n")
		done.Resolve(Result{sshFailed, out.String(), errs.String()}, nil)
	})
	scope.Go("script", func(p *sim.Proc) {
		r := &runner{session: s, proc: p}
		r.statements(file.Stmts, streams{stdout: &out, stderr: &errs})
		removeHook()
		done.Resolve(Result{s.status, out.String(), errs.String()}, nil)
		scope.Kill("the script ended")
	})
	return done
}

// onlyFaults reports whether a script asks nothing of the machine that it is typed on.
func onlyFaults(file *syntax.File) bool {
	for _, stmt := range file.Stmts {
		call, ok := stmt.Cmd.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 || call.Args[0].Lit() != "fault" || len(stmt.Redirs) > 0 {
			return false
		}
	}
	return true
}

func parse(text string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
}

// path makes a file name absolute.
func (s *Session) path(name string) string {
	if name == "~" || strings.HasPrefix(name, "~/") {
		name = Home + name[1:]
	}
	if !strings.HasPrefix(name, "/") {
		name = s.dir + "/" + name
	}
	var parts []string
	for _, part := range strings.Split(name, "/") {
		switch part {
		case "", ".":
		case "..":
			if len(parts) > 0 {
				parts = parts[:len(parts)-1]
			}
		default:
			parts = append(parts, part)
		}
	}
	return "/" + strings.Join(parts, "/")
}

// Lookup returns a variable of the session, "" if it is not set.
func (s *Session) Lookup(name string) string { return s.vars[name].Str }
