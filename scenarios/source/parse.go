package source

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file; chosen: a hundred times what a long scenario needs, and little enough to be read in no time.
const (
	MaxBytes  = 1 << 20
	maxTokens = 40_000  // the parser's time grows with their square in one map
	maxNodes  = 100_000 // aliases count with what they stand for
	maxDepth  = 100
)

// Parse reads one YAML document. It returns nil when there is none or when it is not YAML; problems then say why.
func Parse(data []byte, problems *Problems) (root *Node) {
	if len(data) > MaxBytes {
		problems.Add(1, 1, "the file has %d bytes; a scenario has at most %d", len(data), MaxBytes)
		return nil
	}
	if !utf8.Valid(data) {
		line, column := invalidAt(data)
		problems.Add(line, column, "not UTF-8 text: a scenario is written in UTF-8")
		return nil
	}
	text := strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\ufeff"))), "\r\n", "\n")
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if at := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); at >= 0 {
			problems.Add(i+1, utf8.RuneCountInString(line[:at])+1, "control character %q; allowed is printable text", line[at])
			return nil
		}
	}
	if line, column, deep := tooDeep(text); deep {
		problems.Add(line, column, "nested more than %d levels deep", maxDepth)
		return nil
	}
	return parse(text, lines, problems)
}

func parse(text string, lines []string, problems *Problems) (root *Node) {
	// goccy/go-yaml has panicked on malformed input before; for a user it is still a mistake of the file.
	defer func() {
		if v := recover(); v != nil {
			problems.Add(1, 1, "not YAML: %v", v)
			root = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if len(tokens) > maxTokens {
		problems.Add(tokens[maxTokens].Position.Line, tokens[maxTokens].Position.Column,
			"more than %d words and marks; a scenario has fewer", maxTokens)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
			message := syntax.Message
			if strings.HasPrefix(message, "found character '\t'") {
				message = "a tab; YAML is indented with spaces"
			}
			problems.Add(syntax.Token.Position.Line, syntax.Token.Position.Column, "not YAML: %s", message)
		} else {
			problems.Add(1, 1, "not YAML: %s", firstLine(err.Error()))
		}
		return nil
	}
	var bodies []*ast.DocumentNode
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType && doc.Body.Type() != ast.NullType {
			bodies = append(bodies, doc)
		}
	}
	if len(bodies) == 0 {
		problems.Add(1, 1, "the file is empty; a scenario begins with ksim: 1 and name:")
		return nil
	}
	b := &builder{problems: problems, anchors: map[string]ast.Node{}, document: &document{lines: lines}}
	if len(bodies) > 1 {
		start := bodies[1].Body.GetToken().Position
		problems.Add(start.Line, start.Column, "a second document; a file holds one scenario")
	}
	return b.build(bodies[0].Body, 0)
}

// builder makes Nodes of goccy's tree.
type builder struct {
	problems *Problems
	anchors  map[string]ast.Node
	open     []string // aliases being resolved
	count    int
	full     bool
	document *document
}

func (b *builder) build(from ast.Node, depth int) *Node {
	n := &Node{document: b.document}
	if from == nil {
		return n
	}
	place(n, from.GetToken())
	if b.count++; b.count > maxNodes || depth > maxDepth {
		if !b.full {
			b.full = true
			b.problems.At(n, "more than %d values, or more than %d levels deep, once aliases are resolved", maxNodes, maxDepth)
		}
		return n
	}
	switch from := from.(type) {
	case *ast.MappingNode:
		n.Kind = Map
		for _, value := range from.Values {
			b.pair(n, value, depth)
		}
		if len(n.Pairs) > 0 && !from.IsFlowStyle {
			n.Line, n.Column = n.Pairs[0].Key.Line, n.Pairs[0].Key.Column
		}
	case *ast.MappingValueNode:
		n.Kind = Map
		b.pair(n, from, depth)
	case *ast.SequenceNode:
		n.Kind = List
		for _, value := range from.Values {
			n.Items = append(n.Items, b.build(value, depth+1))
		}
	case *ast.AnchorNode:
		name := from.Name.GetToken().Value
		b.anchors[name] = from.Value
		return b.build(from.Value, depth+1)
	case *ast.AliasNode:
		return b.alias(n, from, depth)
	case *ast.TagNode:
		b.problems.At(n, "the tag %s: tags are not part of the format", from.Start.Value)
		return b.build(from.Value, depth+1)
	case *ast.NullNode:
	case *ast.LiteralNode:
		n.Kind, n.Style, n.Text = Scalar, Block, from.Value.Value
	case *ast.StringNode:
		n.Kind, n.Text = Scalar, from.Value
		if t := from.Token.Type; t == token.SingleQuoteType || t == token.DoubleQuoteType {
			n.Style = Quoted
		}
	case *ast.CommentGroupNode:
	default:
		n.Kind, n.Text = Scalar, from.GetToken().Value
	}
	return n
}

func (b *builder) alias(n *Node, from *ast.AliasNode, depth int) *Node {
	name := from.Value.GetToken().Value
	target, ok := b.anchors[name]
	if !ok {
		b.problems.At(n, "no anchor &%s stands above this alias", name)
		return n
	}
	for _, open := range b.open {
		if open == name {
			b.problems.At(n, "the alias *%s contains itself", name)
			return n
		}
	}
	b.open = append(b.open, name)
	n = b.build(target, depth+1)
	b.open = b.open[:len(b.open)-1]
	return n
}

func (b *builder) pair(n *Node, value *ast.MappingValueNode, depth int) {
	if b.full {
		return
	}
	var key *Node
	if inner, ok := value.Key.(*ast.MappingKeyNode); ok {
		key = b.build(inner.Value, depth+1)
	} else {
		key = b.build(value.Key, depth+1)
	}
	if key.Kind != Scalar {
		b.problems.At(key, "%s as a key; keys are words", key.Describe())
		return
	}
	if n.Get(key.Text) != nil {
		b.problems.At(key, "the key %q stands here twice", clip(key.Text))
		return
	}
	item := b.build(value.Value, depth+1)
	if item.Line == 0 || item.Kind == Null {
		item.Line, item.Column = key.Line, key.Column
	}
	n.Pairs = append(n.Pairs, Pair{key, item})
}

func place(n *Node, t *token.Token) {
	n.Line, n.Column = 1, 1
	if t != nil && t.Position != nil {
		n.Line, n.Column = t.Position.Line, t.Position.Column
	}
}

// tooDeep looks for nesting that would make a recursive reader use memory out of proportion: brackets of flow style,
// and `- - -` or `? ? ?` chains in block style. What it counts inside quoted text does no harm up to the limit.
func tooDeep(text string) (line, column int, deep bool) {
	depth := 0
	for i, l := range strings.Split(text, "\n") {
		marks := 0
		for j, r := range l {
			switch r {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			case '-', '?', ':', '&', '*', '!', '>', '|':
				if j+1 < len(l) && l[j+1] == ' ' {
					marks++
				}
			}
			if depth > 20*maxDepth || marks > 20*maxDepth {
				return i + 1, j + 1, true
			}
		}
	}
	return 0, 0, false
}

func invalidAt(data []byte) (line, column int) {
	line, column = 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size <= 1 {
			return line, column
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return line, column
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
