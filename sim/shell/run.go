package shell

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"ksim/sim"
)

// runner plays a script.
type runner struct {
	session *Session
	proc    *sim.Proc
	exiting bool
}

// streams are what a command reads and writes.
type streams struct {
	stdin          string
	stdout, stderr io.Writer
}

// Exit statuses of a shell (bash(1), EXIT STATUS).
const (
	exitUsage    = 2
	exitNotFound = 127
)

func (r *runner) statements(list []*syntax.Stmt, io streams) {
	for _, stmt := range list {
		if r.exiting {
			return
		}
		r.statement(stmt, io)
	}
}

func (r *runner) fail(io streams, status int, format string, args ...any) {
	fmt.Fprintf(io.stderr, "bash: "+format+"\n", args...)
	r.session.status = status
}

func (r *runner) statement(stmt *syntax.Stmt, io streams) {
	if what := unsupported(stmt); what != "" {
		r.fail(io, exitUsage, "%s", what)
		return
	}
	io, files, ok := r.redirect(stmt.Redirs, io)
	if !ok {
		return
	}
	switch cmd := stmt.Cmd.(type) {
	case *syntax.CallExpr:
		r.call(cmd, io)
	case *syntax.BinaryCmd:
		r.binary(cmd, io)
	case *syntax.Block:
		r.statements(cmd.Stmts, io)
	case *syntax.Subshell:
		r.statements(cmd.Stmts, io)
		r.exiting = false
	case *syntax.DeclClause:
		r.declare(cmd, io)
	}
	if stmt.Negated {
		r.session.status = map[bool]int{true: 1, false: 0}[r.session.status == 0]
	}
	for _, f := range files {
		if err := f.flush(r.session); err != nil {
			r.fail(io, 1, "%s: %v", f.path, err)
		}
	}
}

// unsupported names what a statement has that the language lacks; "" if nothing.
func unsupported(stmt *syntax.Stmt) string {
	if stmt.Background {
		return "& is not part of the command language; a scenario step has  background: true"
	}
	if stmt.Coprocess {
		return "|& with a coprocess is not part of the command language"
	}
	switch cmd := stmt.Cmd.(type) {
	case nil, *syntax.CallExpr, *syntax.BinaryCmd, *syntax.Block, *syntax.Subshell:
		return ""
	case *syntax.DeclClause:
		if cmd.Variant.Value == "export" {
			return ""
		}
		return cmd.Variant.Value + " is not part of the command language"
	case *syntax.IfClause:
		return "if is not part of the command language; use && and ||"
	case *syntax.ForClause, *syntax.WhileClause:
		return "loops are not part of the command language"
	case *syntax.FuncDecl:
		return "functions are not part of the command language"
	default:
		return "only commands, && || ; and pipes are part of the command language"
	}
}

func (r *runner) binary(cmd *syntax.BinaryCmd, io streams) {
	switch cmd.Op {
	case syntax.AndStmt:
		if r.statement(cmd.X, io); r.session.status == 0 && !r.exiting {
			r.statement(cmd.Y, io)
		}
	case syntax.OrStmt:
		if r.statement(cmd.X, io); r.session.status != 0 && !r.exiting {
			r.statement(cmd.Y, io)
		}
	default: // a pipe: the left side runs to its end, then the right side reads what it wrote
		var between bytes.Buffer
		left := streams{stdin: io.stdin, stdout: &between, stderr: io.stderr}
		if cmd.Op == syntax.PipeAll {
			left.stderr = &between
		}
		r.statement(cmd.X, left)
		io.stdin = between.String()
		r.statement(cmd.Y, io)
	}
}

// outFile collects what is redirected to a file of the machine.
type outFile struct {
	bytes.Buffer
	path   string
	append bool
}

func (f *outFile) flush(s *Session) error {
	data := f.Bytes()
	if f.append {
		if before, err := s.machine.Disk().ReadFile(f.path); err == nil {
			data = append(bytes.Clone(before), data...)
		}
	}
	return s.machine.Disk().WriteFile(f.path, bytes.Clone(data))
}

func (r *runner) redirect(redirs []*syntax.Redirect, io streams) (with streams, files []*outFile, ok bool) {
	for _, redir := range redirs {
		word := ""
		if redir.Hdoc == nil {
			fields, err := r.fields(io, redir.Word)
			if err != nil || len(fields) != 1 {
				r.fail(io, 1, "ambiguous redirect")
				return io, nil, false
			}
			word = fields[0]
		}
		switch redir.Op {
		case syntax.RdrOut, syntax.AppOut, syntax.RdrAll, syntax.AppAll:
			f := &outFile{path: r.session.path(word), append: redir.Op == syntax.AppOut || redir.Op == syntax.AppAll}
			if word == "/dev/null" {
				f = &outFile{}
			} else {
				files = append(files, f)
			}
			if redir.N == nil || redir.N.Value == "1" {
				io.stdout = f
			}
			if redir.N != nil && redir.N.Value == "2" || redir.Op == syntax.RdrAll || redir.Op == syntax.AppAll {
				io.stderr = f
			}
		case syntax.DplOut:
			if redir.N != nil && redir.N.Value == "2" && word == "1" {
				io.stderr = io.stdout
			} else if word == "2" {
				io.stdout = io.stderr
			}
		case syntax.RdrIn:
			data, err := r.session.machine.Disk().ReadFile(r.session.path(word))
			if err != nil {
				r.fail(io, 1, "%s: No such file or directory", word)
				return io, nil, false
			}
			io.stdin = string(data)
		case syntax.Hdoc, syntax.DashHdoc:
			text, err := expand.Document(r.config(io), redir.Hdoc)
			if err != nil {
				r.fail(io, 1, "%v", err)
				return io, nil, false
			}
			io.stdin = text
		case syntax.WordHdoc:
			io.stdin = word + "\n"
		default:
			r.fail(io, exitUsage, "the redirection %s is not part of the command language", redir.Op)
			return io, nil, false
		}
	}
	return io, files, true
}

func (r *runner) declare(cmd *syntax.DeclClause, io streams) {
	r.session.status = 0
	for _, a := range cmd.Args {
		if a.Name != nil {
			r.assign(a, io, true)
		}
	}
}

func (r *runner) assign(a *syntax.Assign, io streams, exported bool) {
	v := r.session.vars[a.Name.Value]
	if a.Value != nil || !a.Naked {
		text, err := expand.Literal(r.config(io), a.Value)
		if err != nil {
			r.fail(io, 1, "%v", err)
			return
		}
		if a.Append {
			text = v.Str + text
		}
		v = expand.Variable{Set: true, Kind: expand.String, Str: text, Exported: v.Exported}
	}
	v.Exported = v.Exported || exported
	r.session.vars[a.Name.Value] = v
}

func (r *runner) fields(io streams, words ...*syntax.Word) ([]string, error) {
	return expand.Fields(r.config(io), words...)
}

// config expands words with the session's variables and by running what stands in $(...). There is no globbing.
func (r *runner) config(io streams) *expand.Config {
	return &expand.Config{
		Env: environ{r.session},
		CmdSubst: func(w ioWriter, sub *syntax.CmdSubst) error {
			var out bytes.Buffer
			r.statements(sub.Stmts, streams{stdin: io.stdin, stdout: &out, stderr: io.stderr})
			_, err := w.Write(out.Bytes())
			return err
		},
	}
}

type ioWriter = io.Writer

func (r *runner) call(cmd *syntax.CallExpr, io streams) {
	args, err := r.fields(io, cmd.Args...)
	if err != nil {
		var unset expand.UnsetParameterError
		if errors.As(err, &unset) {
			r.fail(io, 1, "%s", unset.Error())
		} else {
			r.fail(io, 1, "%v", err)
		}
		return
	}
	if len(args) == 0 {
		r.session.status = 0
		for _, a := range cmd.Assigns {
			r.assign(a, io, false)
		}
		return
	}
	saved := map[string]expand.Variable{}
	for _, a := range cmd.Assigns {
		saved[a.Name.Value] = r.session.vars[a.Name.Value]
		r.assign(a, io, true)
	}
	c := &call{session: r.session, proc: r.proc, args: args, streams: io}
	if command := find(args[0]); command != nil {
		r.session.status = command.run(c)
	} else {
		r.fail(io, exitNotFound, "%s: command not found", args[0])
	}
	r.exiting = r.exiting || c.exit
	for name, before := range saved { // any order: each variable is restored by itself
		r.session.vars[name] = before
	}
}

// environ shows the session's variables to package expand.
type environ struct{ session *Session }

// Get implements expand.Environ.
func (e environ) Get(name string) expand.Variable {
	switch name {
	case "?":
		return expand.Variable{Set: true, Kind: expand.String, Str: strconv.Itoa(e.session.status)}
	case "#":
		return expand.Variable{Set: true, Kind: expand.String, Str: "0"}
	}
	return e.session.vars[name]
}

// Each implements expand.Environ.
func (e environ) Each(func(name string, v expand.Variable) bool) {}

// word joins arguments as they would be typed.
func word(args []string) string { return strings.Join(args, " ") }
