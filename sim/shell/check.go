package shell

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"ksim/sim/cluster/spec"
)

// Issue is something wrong with a script, at a byte offset of its text.
type Issue struct {
	Offset  int
	Message string
}

// Check says what is wrong with a script as far as that can be known before it runs: syntax, what is not part of the
// language, unknown commands, and what commands say of arguments that have no variables in them.
func Check(text string, s *spec.Cluster) []Issue {
	file, err := parse(text)
	if err != nil {
		var wrong syntax.ParseError
		if errors.As(err, &wrong) {
			return []Issue{{int(wrong.Pos.Offset()), wrong.Text}}
		}
		return []Issue{{0, err.Error()}}
	}
	var issues []Issue
	syntax.Walk(file, func(node syntax.Node) bool {
		switch node := node.(type) {
		case *syntax.Stmt:
			if what := unsupported(node); what != "" {
				issues = append(issues, Issue{int(node.Pos().Offset()), what})
				return false
			}
		case *syntax.CallExpr:
			issues = append(issues, checkCall(node, s)...)
		}
		return true
	})
	return issues
}

func checkCall(node *syntax.CallExpr, s *spec.Cluster) []Issue {
	if len(node.Args) == 0 {
		return nil
	}
	name, known := literal(node.Args[0])
	if !known {
		return nil
	}
	at := func(i int) int { return int(node.Args[min(i, len(node.Args)-1)].Pos().Offset()) }
	command := find(name)
	switch {
	case command == nil && slices.Contains(later(), name):
		return []Issue{{at(0), fmt.Sprintf("%s is not available yet; there are: %s", name, strings.Join(Names(), ", "))}}
	case command == nil:
		return []Issue{{at(0), fmt.Sprintf("unknown command %q%s; there are: %s", name, nearest(name, Names()),
			strings.Join(Names(), ", "))}}
	case command.check == nil:
		return nil
	}
	var args []string
	for _, word := range node.Args {
		text, known := literal(word)
		if !known {
			return nil
		}
		args = append(args, text)
	}
	var issues []Issue
	for _, issue := range command.check(args, s) {
		issues = append(issues, Issue{at(issue.arg), issue.message})
	}
	return issues
}

// literal returns the text of a word without variables.
func literal(w *syntax.Word) (text string, known bool) {
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			text += strings.ReplaceAll(part.Value, `\`, "")
		case *syntax.SglQuoted:
			text += part.Value
		case *syntax.DblQuoted:
			inner, known := literal(&syntax.Word{Parts: part.Parts})
			if !known {
				return "", false
			}
			text += inner
		default:
			return "", false
		}
	}
	return text, true
}

// nearest returns ` (did you mean "x"?)` for the word that shares most with name, "" when none does.
func nearest(name string, words []string) string {
	best, score := "", 0
	for _, w := range words {
		if s := common(name, w); s > score && 2*s > max(len(name), len(w)) {
			best, score = w, s
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// common is the length of the longest common subsequence.
func common(a, b string) int {
	row := make([]int, len(b)+1)
	for i := range len(a) {
		diagonal := 0
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(row[j+1], row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}
