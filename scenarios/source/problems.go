package source

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File         string
	Line, Column int // from 1
	Message      string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems is everything that is wrong, in the order of the file. As an error it is one problem a line.
type Problems struct {
	File    string
	list    []Problem
	settled map[[2]int]bool // places where what comes later would only follow from what was said
}

// Settle says that reading has ended. What is found from now on at a place that has a problem is left out: it would
// judge a value that could not be read.
func (p *Problems) Settle() {
	p.settled = map[[2]int]bool{}
	for _, problem := range p.list {
		p.settled[[2]int{problem.Line, problem.Column}] = problem.Line > 1 || problem.Column > 1
	}
}

// maxShown is how many problems an error writes. chosen: more is no help.
const maxShown = 100

// Add records a problem at a place.
func (p *Problems) Add(line, column int, format string, args ...any) {
	if p.settled[[2]int{line, column}] {
		return
	}
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	p.list = append(p.list, Problem{p.File, max(line, 1), max(column, 1), message})
}

// At records a problem where a node begins.
func (p *Problems) At(n *Node, format string, args ...any) {
	if n == nil {
		p.Add(1, 1, format, args...)
		return
	}
	p.Add(n.Line, n.Column, format, args...)
}

// Within records a problem at a byte offset of a scalar's text.
func (p *Problems) Within(n *Node, offset int, format string, args ...any) {
	if n == nil {
		p.Add(1, 1, format, args...)
		return
	}
	line, column := n.Place(offset)
	p.Add(line, column, format, args...)
}

// List returns the problems in the order of the file, each once.
func (p *Problems) List() []Problem {
	sorted := slices.Clone(p.list)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.Compact(sorted)
}

// Err returns p as an error, nil when nothing is wrong.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	return p
}

// Error writes one problem a line.
func (p *Problems) Error() string {
	list := p.List()
	lines := make([]string, 0, min(len(list), maxShown)+1)
	for i, problem := range list {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("%s: and %d more", p.File, len(list)-maxShown))
			break
		}
		lines = append(lines, problem.String())
	}
	return strings.Join(lines, "\n")
}

// Suggest returns ` (did you mean "x"?)` for the allowed word nearest to got, or "" when none is near.
func Suggest(got string, allowed []string) string {
	best, distance := "", max(2, len(got)/3)+1
	for _, word := range allowed {
		if d := editDistance(strings.ToLower(got), strings.ToLower(word), distance); d < distance {
			best, distance = word, d
		}
	}
	if best == "" || len(got) > 60 {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance is Levenshtein's, given up at limit.
func editDistance(a, b string, limit int) int {
	if len(a) > 60 || len(b) > 60 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// In records a problem in another file, one that this file names.
func (p *Problems) In(file string, line, column int, message string) {
	p.list = append(p.list, Problem{file, max(line, 1), max(column, 1), message})
}

// Merge takes over the problems of another file.
func (p *Problems) Merge(other *Problems) { p.list = append(p.list, other.list...) }
