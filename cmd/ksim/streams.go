package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"ksim/cmd/ksim/report"
)

// streams are where a command reads and writes: answers to out, progress and notes to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
	outTerm  bool // a person looks at out
	errTerm  bool
	width    int // of the terminal; 0 if there is none
	getenv   func(string) string
}

func systemStreams() *streams {
	s := &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	s.outTerm = term.IsTerminal(int(os.Stdout.Fd()))
	s.errTerm = term.IsTerminal(int(os.Stderr.Fd()))
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		s.width = width
	}
	return s
}

// style decides on width and colour: COLUMNS, then the terminal's width, then 80; colour as the flag says, and by
// itself only on a terminal that is not called dumb and when NO_COLOR is not set.
func (s *streams) style(color string) (report.Style, error) {
	style := report.Style{Width: 80}
	if s.outTerm && s.width > 0 {
		style.Width = min(s.width, 140) // chosen: longer lines are hard to read
	}
	if columns, err := strconv.Atoi(s.getenv("COLUMNS")); err == nil && columns > 0 {
		style.Width = columns
	}
	style.Width = max(style.Width, 40)
	switch color {
	case "always":
		style.Color = true
	case "never":
	case "auto":
		style.Color = s.outTerm && s.getenv("NO_COLOR") == "" && s.getenv("TERM") != "dumb"
	default:
		return style, usageErrorf("--color: unknown value %q (allowed: auto, always, never)", color)
	}
	return style, nil
}

// note writes a line for people beside the answer.
func (s *streams) note(format string, args ...any) { fmt.Fprintf(s.err, format+"\n", args...) }
