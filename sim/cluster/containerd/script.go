package containerd

import (
	"path"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"
)

// Script is a command that ksim plays: a tree of sleep, true, false, exit, echo and trap, joined by ;, && and ||.
type Script struct {
	steps   []step
	OnTerm  int  // exit status of the trap for SIGTERM
	HasTrap bool // a trap for SIGTERM stands in it; without, PID 1 ignores the signal
}

// step is one instruction of a compiled script: commands set the status, jumps look at it.
type step struct {
	op     stepOp
	wait   time.Duration // sleep
	status int           // what it leaves behind; exit: the exit status, lastStatus for a bare exit
	text   string        // echo
	to     int           // jumps
}

type stepOp uint8

const (
	opStatus stepOp = iota // true, false
	opSleep
	opEcho
	opExit
	opJumpIfFailed // &&
	opJumpIfOK     // ||
)

const lastStatus = -1

// shells are the names under which "sh -c TEXT" is understood.
func isShell(name string) bool {
	switch path.Base(name) {
	case "sh", "bash", "ash", "dash":
		return true
	}
	return false
}

// ParseCommand reads a container's command and arguments; ok is false when they are none that ksim plays, which makes
// the container a server.
func ParseCommand(argv []string) (script *Script, ok bool) {
	if len(argv) == 0 {
		return nil, false
	}
	if isShell(argv[0]) {
		for i, arg := range argv[1:] {
			if strings.HasPrefix(arg, "-") && strings.HasSuffix(arg, "c") && i+2 < len(argv) {
				return parseShell(argv[i+2])
			}
			if !strings.HasPrefix(arg, "-") {
				return nil, false
			}
		}
		return nil, false
	}
	s := &Script{}
	words := append([]string{path.Base(argv[0])}, argv[1:]...)
	if !s.command(words) {
		return nil, false
	}
	return s, true
}

func parseShell(text string) (*Script, bool) {
	file, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil || len(file.Stmts) == 0 {
		return nil, false
	}
	s := &Script{}
	for _, stmt := range file.Stmts {
		if !s.statement(stmt) {
			return nil, false
		}
	}
	return s, true
}

func (s *Script) statement(stmt *syntax.Stmt) bool {
	if stmt.Background || stmt.Negated || len(stmt.Redirs) > 0 {
		return false
	}
	switch cmd := stmt.Cmd.(type) {
	case *syntax.CallExpr:
		if len(cmd.Assigns) > 0 || len(cmd.Args) == 0 {
			return false
		}
		words := make([]string, len(cmd.Args))
		for i, arg := range cmd.Args {
			words[i] = wordText(arg)
		}
		words[0] = path.Base(words[0])
		if words[0] == "exec" && len(words) > 1 {
			words = words[1:]
		}
		return s.command(words)
	case *syntax.BinaryCmd:
		var jump stepOp
		switch cmd.Op {
		case syntax.AndStmt:
			jump = opJumpIfFailed
		case syntax.OrStmt:
			jump = opJumpIfOK
		default:
			return false
		}
		if !s.statement(cmd.X) {
			return false
		}
		at := len(s.steps)
		s.steps = append(s.steps, step{op: jump})
		if !s.statement(cmd.Y) {
			return false
		}
		s.steps[at].to = len(s.steps)
		return true
	}
	return false
}

// wordText is a word as the shell would pass it; what it would expand stays as it is written.
func wordText(w *syntax.Word) string {
	var b strings.Builder
	var part func(parts []syntax.WordPart)
	part = func(parts []syntax.WordPart) {
		for _, p := range parts {
			switch p := p.(type) {
			case *syntax.Lit:
				b.WriteString(strings.ReplaceAll(p.Value, `\`, ""))
			case *syntax.SglQuoted:
				b.WriteString(p.Value)
			case *syntax.DblQuoted:
				part(p.Parts)
			default:
				_ = syntax.NewPrinter().Print(&b, p) // cannot fail: a strings.Builder takes everything
			}
		}
	}
	part(w.Parts)
	return b.String()
}

func (s *Script) command(words []string) bool {
	switch words[0] {
	case "true", ":":
		s.steps = append(s.steps, step{op: opStatus})
	case "false":
		s.steps = append(s.steps, step{op: opStatus, status: 1})
	case "sleep":
		if len(words) < 2 {
			return false
		}
		var total time.Duration
		for _, word := range words[1:] {
			d, ok := sleepTime(word)
			if !ok {
				return false
			}
			if d == Never {
				total = Never
				break
			}
			total += d
		}
		s.steps = append(s.steps, step{op: opSleep, wait: total})
	case "exit":
		status := lastStatus
		if len(words) > 1 {
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return false
			}
			status = n & 255
		}
		s.steps = append(s.steps, step{op: opExit, status: status})
	case "echo":
		s.steps = append(s.steps, step{op: opEcho, text: strings.Join(words[1:], " ")})
	case "trap":
		return s.trap(words[1:])
	default:
		return false
	}
	return true
}

// trap understands trap 'exit N' TERM; any other action than an exit makes a command that ksim does not play.
func (s *Script) trap(words []string) bool {
	if len(words) < 2 {
		return false
	}
	forTerm := false
	for _, signal := range words[1:] {
		switch strings.ToUpper(signal) {
		case "TERM", "SIGTERM", "15":
			forTerm = true
		}
	}
	s.steps = append(s.steps, step{op: opStatus})
	if !forTerm || words[0] == "" {
		return true
	}
	action := strings.Fields(strings.TrimRight(words[0], "; "))
	switch {
	case len(action) == 1 && action[0] == "exit":
	case len(action) == 2 && action[0] == "exit":
		n, err := strconv.Atoi(action[1])
		if err != nil {
			return false
		}
		s.OnTerm = n & 255
	default:
		return false
	}
	s.HasTrap = true
	return true
}

func sleepTime(word string) (time.Duration, bool) {
	if word == "infinity" || word == "inf" {
		return Never, true
	}
	if word == "" {
		return 0, false
	}
	unit := time.Second
	switch word[len(word)-1] {
	case 's':
		word = word[:len(word)-1]
	case 'm':
		unit, word = time.Minute, word[:len(word)-1]
	case 'h':
		unit, word = time.Hour, word[:len(word)-1]
	case 'd':
		unit, word = 24*time.Hour, word[:len(word)-1]
	}
	d, err := time.ParseDuration(word + "s")
	if err != nil || d < 0 {
		return 0, false
	}
	return d * (unit / time.Second), true
}

// Run plays the script from step at with the status left so far, up to the next wait or the end.
func (s *Script) run(at, status int, echo func(string)) (next, left int, wait time.Duration, ended bool) {
	for at < len(s.steps) {
		st := &s.steps[at]
		at++
		switch st.op {
		case opStatus:
			status = st.status
		case opSleep:
			return at, 0, st.wait, false
		case opEcho:
			echo(st.text)
			status = 0
		case opExit:
			if st.status != lastStatus {
				status = st.status
			}
			return at, status, 0, true
		case opJumpIfFailed:
			if status != 0 {
				at = st.to
			}
		case opJumpIfOK:
			if status == 0 {
				at = st.to
			}
		}
	}
	return at, status, 0, true
}

// Outcome plays the script in one go, as a probe or hook: how long it takes, its exit status and its output.
func (s *Script) Outcome() (takes time.Duration, status int, output string) {
	var out strings.Builder
	echo := func(text string) { out.WriteString(text + "\n") }
	at := 0
	for {
		next, left, wait, ended := s.run(at, status, echo)
		at, status = next, left
		if ended {
			return takes, status, out.String()
		}
		if wait == Never {
			return Never, 0, out.String()
		}
		takes += wait
	}
}
