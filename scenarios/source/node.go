package source

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is the shape of a Node.
type Kind int

// The kinds.
const (
	Null Kind = iota
	Scalar
	List
	Map
)

// Style is how a scalar is written.
type Style int

// The styles.
const (
	Plain Style = iota
	Quoted
	Block // | or >
)

// Node is a value of the document and where it stands.
type Node struct {
	Kind         Kind
	Line, Column int
	Text         string // of a scalar, after substitution
	Style        Style
	Items        []*Node // of a list
	Pairs        []Pair  // of a map, in the order of the file

	document *document
	edits    []edit // substitutions made in Text
}

// Pair is a key of a map and its value.
type Pair struct{ Key, Value *Node }

type edit struct{ at, was, is int } // at: offset in the text as written; lengths before and after

type document struct {
	lines []string
}

// Get returns the value of a key, nil if the map has none, or is none.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, p := range n.Pairs {
		if p.Key.Text == key {
			return p.Value
		}
	}
	return nil
}

// Describe names what the node is, for messages: `the number 5`, `a list`.
func (n *Node) Describe() string {
	switch n.Kind {
	case Null:
		return "nothing"
	case List:
		return "a list"
	case Map:
		return "a map"
	}
	switch text := clip(n.Text); {
	case n.Style != Plain:
		return "the text " + quote(text)
	case IsNumber(n.Text):
		return "the number " + text
	case n.Text == "true" || n.Text == "false":
		return text
	default:
		return quote(text)
	}
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, "\n", `\n`) + `"` }

func clip(s string) string {
	if utf8.RuneCountInString(s) <= 40 {
		return s
	}
	return string([]rune(s)[:40]) + "..."
}

// IsNumber reports whether YAML reads a plain scalar as a number.
func IsNumber(s string) bool {
	digits := false
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9':
			digits = true
		case (r == '-' || r == '+') && i == 0, r == '.' || r == '_' || r == 'e' && digits:
		default:
			return false
		}
	}
	return digits
}

// IsText reports whether YAML reads the scalar as text.
func (n *Node) IsText() bool {
	return n.Kind == Scalar && (n.Style != Plain || n.Substituted() ||
		!IsNumber(n.Text) && n.Text != "true" && n.Text != "false")
}

// Substituted reports whether parameters were put into the text.
func (n *Node) Substituted() bool { return len(n.edits) > 0 }

// Place returns the line and column of a byte offset of the scalar's text; where that cannot be told exactly, as in
// folded text, the place where the scalar begins.
func (n *Node) Place(offset int) (line, column int) {
	offset = n.asWritten(offset)
	text := n.document.writtenText(n)
	if offset < 0 || offset > len(text) {
		offset = 0
	}
	before := text[:offset]
	if n.Style == Block {
		return n.placeInBlock(before)
	}
	column = n.Column + utf8.RuneCountInString(before)
	if n.Style == Quoted {
		column++
	}
	if !n.document.standsAt(n, text) {
		return n.Line, n.Column
	}
	return n.Line, column
}

func (n *Node) placeInBlock(before string) (line, column int) {
	first := n.Line // lines[n.Line] is the line below the indicator
	indent := -1
	for i := first; i < len(n.document.lines); i++ {
		if trimmed := strings.TrimLeft(n.document.lines[i], " "); trimmed != "" {
			indent = len(n.document.lines[i]) - len(trimmed)
			break
		}
	}
	if indent < 0 {
		return n.Line, n.Column
	}
	down := strings.Count(before, "\n")
	last := before[strings.LastIndexByte(before, '\n')+1:]
	return first + 1 + down, indent + 1 + utf8.RuneCountInString(last)
}

// asWritten translates an offset of the text after substitution to one of the text before.
func (n *Node) asWritten(offset int) int {
	shift := 0
	for _, e := range n.edits {
		start := e.at + shift // in the new text
		if offset < start {
			break
		}
		if offset < start+e.is {
			return e.at
		}
		shift += e.is - e.was
	}
	return offset - shift
}

// writtenText is the text before substitution, as far as lengths are concerned.
func (d *document) writtenText(n *Node) string {
	if len(n.edits) == 0 {
		return n.Text
	}
	var b strings.Builder
	from := 0
	written := 0
	for _, e := range n.edits {
		b.WriteString(n.Text[from : from+e.at-written])
		b.WriteString(strings.Repeat("$", e.was))
		from += e.at - written + e.is
		written = e.at + e.was
	}
	b.WriteString(n.Text[from:])
	return b.String()
}

// standsAt reports whether the text stands in the file in one line, character by character.
func (d *document) standsAt(n *Node, text string) bool {
	if n.Line < 1 || n.Line > len(d.lines) {
		return false
	}
	line := []rune(d.lines[n.Line-1])
	start := n.Column - 1
	if n.Style == Quoted {
		start++
	}
	if start < 0 || start > len(line) {
		return false
	}
	there := string(line[start:])
	if len(n.edits) > 0 {
		return len(there) >= len(text)
	}
	return strings.HasPrefix(there, text)
}

// Substitute replaces ${name} in the text of every scalar at and below n by what value returns; unknown is told of
// names for which it returns false, and these are left as they are.
func (n *Node) Substitute(value func(name string) (string, bool), unknown func(n *Node, offset int, name string)) {
	switch n.Kind {
	case Scalar:
		n.substitute(value, unknown)
	case List:
		for _, item := range n.Items {
			item.Substitute(value, unknown)
		}
	case Map:
		for _, p := range n.Pairs {
			p.Key.Substitute(value, unknown)
			p.Value.Substitute(value, unknown)
		}
	}
}

func (n *Node) substitute(value func(name string) (string, bool), unknown func(n *Node, offset int, name string)) {
	if n.edits != nil || !strings.Contains(n.Text, "${") {
		return
	}
	var b strings.Builder
	text := n.Text
	for i := 0; i < len(text); {
		end := strings.IndexByte(text[i:], '}')
		if !strings.HasPrefix(text[i:], "${") || end < 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		name := text[i+2 : i+end]
		if is, ok := value(name); ok {
			n.edits = append(n.edits, edit{i, end + 1, len(is)})
			b.WriteString(is)
		} else {
			if unknown != nil {
				unknown(n, i, name)
			}
			b.WriteString(text[i : i+end+1])
		}
		i += end + 1
	}
	n.Text = b.String()
}

// Offset returns the byte offset in text of a line and column, both from 1.
func Offset(text string, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[offset:], '\n')
		if i < 0 {
			return len(text)
		}
		offset += i + 1
	}
	for i := range text[offset:] {
		if column--; column <= 0 {
			return offset + i
		}
	}
	return len(text)
}

// Find returns the node at a path as field errors write it: spec.containers[0].image, metadata.labels[app]. Where the
// path leads to nothing it is the nearest node above.
func (n *Node) Find(path string) *Node {
	for path != "" && n != nil {
		var key string
		switch {
		case path[0] == '[':
			end := strings.IndexByte(path, ']')
			if end < 0 {
				return n
			}
			key, path = path[1:end], path[end+1:]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			key, path = path[:end], path[end:]
		}
		path = strings.TrimPrefix(path, ".")
		below := n.child(key)
		if below == nil {
			return n
		}
		n = below
	}
	return n
}

func (n *Node) child(key string) *Node {
	if n.Kind == List {
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(n.Items) {
			return nil
		}
		return n.Items[i]
	}
	return n.Get(key)
}

// Key returns the key node of a map's entry, nil if there is none.
func (n *Node) Key(key string) *Node {
	for _, p := range n.Pairs {
		if p.Key.Text == key {
			return p.Key
		}
	}
	return nil
}
