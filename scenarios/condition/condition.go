package condition

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"ksim/scenarios/source"
	"ksim/sim/cluster/truth"
)

type activation = interpreter.Activation

// Condition is a compiled expression.
type Condition struct {
	Text string
	// Inputs are the inputs that the expression looks at; Clock that it looks at t.
	Inputs []truth.Input
	Clock  bool

	program cel.Program
	left    func() cel.Program // left side of a comparison, for details; compiled when one is wanted
	seen    uint64             // sum of generations at the last evaluation, + 1
	last    Value
}

// Value is what a condition was found to be.
type Value struct {
	Holds bool
	Err   string // why it could not be evaluated; then it does not hold
}

// Issue is something wrong with an expression, at a byte offset of its text.
type Issue struct {
	Offset  int
	Message string
}

// Compile checks and compiles an expression.
func (l *Language) Compile(text string) (*Condition, []Issue) {
	ast, issues := l.env.Compile(text)
	if issues.Err() != nil {
		return nil, l.translate(text, issues)
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, []Issue{{0, fmt.Sprintf("the expression is %s, want a condition: true or false", typeName(out.String()))}}
	}
	c := &Condition{Text: text}
	var wrong []Issue
	checked := ast.NativeRep()
	celast.PostOrderVisit(celast.NavigateAST(checked), celast.NewExprVisitor(func(e celast.Expr) {
		switch e.Kind() {
		case celast.IdentKind:
			if !isLocal(e.(celast.NavigableExpr)) {
				c.uses(e.AsIdent())
			}
		case celast.CallKind:
			for _, input := range functionInputs(e.AsCall().FunctionName()) {
				c.look(input)
			}
			if name, message := l.unknownName(e.AsCall()); message != "" {
				at := checked.SourceInfo().GetStartLocation(name.ID())
				wrong = append(wrong, Issue{byteOffset(text, at.Line(), at.Column()), message})
			}
		}
	}))
	if wrong != nil {
		return nil, wrong
	}
	slices.Sort(c.Inputs)
	program, err := l.env.Program(ast)
	if err != nil {
		return nil, []Issue{{0, err.Error()}}
	}
	c.program = program
	c.left = func() cel.Program {
		side := l.leftSide(checked)
		c.left = func() cel.Program { return side }
		return side
	}
	return c, nil
}

// isLocal reports whether a name is the variable of a macro around it, as t in taints.exists(t, t.key == "x").
func isLocal(ident celast.NavigableExpr) bool {
	inner := ident
	for outer, ok := inner.Parent(); ok; outer, ok = inner.Parent() {
		if outer.Kind() == celast.ComprehensionKind {
			loop := outer.AsComprehension()
			bound := []string{loop.IterVar(), loop.IterVar2(), loop.AccuVar()}
			if inner.ID() != loop.IterRange().ID() && slices.Contains(bound, ident.AsIdent()) {
				return true
			}
		}
		inner = outer
	}
	return false
}

func (c *Condition) uses(name string) {
	if name == "t" {
		c.Clock = true
	}
	for _, v := range vocabulary {
		if v.name == name {
			c.look(v.input)
		}
	}
}

func (c *Condition) look(input truth.Input) {
	if !slices.Contains(c.Inputs, input) {
		c.Inputs = append(c.Inputs, input)
	}
}

// unknownName finds literals that name what the scenario does not have.
func (l *Language) unknownName(call celast.CallExpr) (at celast.Expr, message string) {
	args := call.Args()
	literal := func(i int) (string, bool) {
		if i < len(args) && args[i].Kind() == celast.LiteralKind {
			text, ok := args[i].AsLiteral().(types.String)
			return string(text), ok
		}
		return "", false
	}
	check := func(i int, what string, known []string) (celast.Expr, string) {
		name, ok := literal(i)
		if !ok || known == nil || slices.Contains(known, name) {
			return nil, ""
		}
		return args[i], fmt.Sprintf("no %s %q%s; there are: %s", what, name, source.Suggest(name, known), shorten(known))
	}
	switch call.FunctionName() {
	case "leaders", "holder":
		return check(1, "component with a lock", Components())
	case "on":
		if len(args) == 1 {
			return check(0, "machine", l.names.Nodes)
		}
	case operators.Index:
		of := args[0]
		switch {
		case of.Kind() == celast.IdentKind && of.AsIdent() == "nodes":
			return check(1, "node", l.names.Nodes)
		case of.Kind() == celast.IdentKind && of.AsIdent() == "machines":
			return check(1, "machine", l.names.Machines)
		case of.Kind() == celast.IdentKind && of.AsIdent() == "traffic":
			return check(1, "traffic", l.names.Traffic)
		case of.Kind() == celast.SelectKind && of.AsSelect().FieldName() == "ready" &&
			of.AsSelect().Operand().Kind() == celast.IdentKind && of.AsSelect().Operand().AsIdent() == "api":
			return check(1, "API server on", l.names.Servers)
		}
	}
	return nil, ""
}

func shorten(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	if len(words) > 12 {
		return strings.Join(words[:12], ", ") + ", ..."
	}
	return strings.Join(words, ", ")
}

// leftSide compiles the left operand of a comparison, nil if the expression is none.
func (l *Language) leftSide(checked *celast.AST) cel.Program {
	e := checked.Expr()
	if e.Kind() != celast.CallKind || len(e.AsCall().Args()) != 2 {
		return nil
	}
	switch e.AsCall().FunctionName() {
	case operators.Equals,
		operators.NotEquals,
		operators.Less,
		operators.LessEquals,
		operators.Greater,
		operators.GreaterEquals:
	default:
		return nil
	}
	text, err := cel.ExprToString(e.AsCall().Args()[0], checked.SourceInfo())
	if err != nil {
		return nil
	}
	ast, issues := l.env.Compile(text)
	if issues.Err() != nil {
		return nil
	}
	program, err := l.env.Program(ast)
	if err != nil {
		return nil
	}
	return program
}

// Evaluate returns what the condition is now; changed is false when nothing that it looks at has changed since it was
// last asked, and the value is that of then.
func (c *Condition) Evaluate(o *Observer) (value Value, changed bool) {
	sum := uint64(1)
	changes := o.World.Changes()
	for _, input := range c.Inputs {
		sum += changes.Of[input]
	}
	if sum == c.seen && !c.Clock {
		return c.last, false
	}
	c.seen = sum
	out, _, err := c.program.Eval(activation(o))
	switch {
	case err != nil:
		c.last = Value{Err: err.Error()}
	case out == types.True || out == types.False:
		c.last = Value{Holds: out == types.True}
	default:
		c.last = Value{Err: fmt.Sprintf("the expression is %s, not true or false", write(out))}
	}
	return c.last, true
}

// Explain says in a few words why the condition is what it is: the value of the left side of a comparison, or the
// error.
func (c *Condition) Explain(o *Observer) string {
	if c.last.Err != "" {
		return c.last.Err
	}
	left := c.left()
	if left == nil {
		return ""
	}
	out, _, err := left.Eval(activation(o))
	if err != nil {
		return err.Error()
	}
	return write(out)
}

// translate makes Issues of CEL's.
func (l *Language) translate(text string, issues *cel.Issues) []Issue {
	var list []Issue
	for _, e := range issues.Errors() {
		message := strings.TrimPrefix(e.Message, "Syntax error: ")
		message = strings.NewReplacer("(ksim.Observer, ", "(", "ksim.machineView", "machine",
			"ksim.containerView", "container",
			"ksim.memberView", "member", "ksim.etcdView", "etcd", "ksim.apiView", "api", "ksim.TrafficView", "traffic",
			" (in container '')", "", "wrapper(string)", "string", "wrapper(int)", "int", "wrapper(bool)", "bool").
			Replace(message)
		if !strings.Contains(message, "did you mean") {
			message += l.suggestion(message)
		}
		list = append(list, Issue{byteOffset(text, e.Location.Line(), e.Location.Column()), message})
	}
	return list
}

// suggestion names the nearest name or field for what is not known.
func (l *Language) suggestion(message string) string {
	if name, ok := between(message, "undefined field '", "'"); ok {
		var fields []string
		for _, s := range l.registry.structs { // any order: sorted below
			fields = append(fields, s.names...)
		}
		slices.Sort(fields)
		return source.Suggest(name, slices.Compact(fields))
	}
	if name, ok := between(message, "undeclared reference to '", "'"); ok {
		known := []string{
			"t",
			"podsOf",
			"leaders",
			"holder",
			"on",
			"ready",
			"running",
			"terminating",
			"pending",
			"size",
			"all",
			"exists",
			"exists_one",
			"map",
			"filter",
			"has",
			"duration",
			"timestamp",
			"startsWith",
			"contains",
			"matches",
		}
		for _, v := range vocabulary {
			known = append(known, v.name)
		}
		if hint := source.Suggest(name, known); hint != "" {
			return hint
		}
		return "; names: t, nodes, machines, pods, podsOf(...), etcd, leaders(...), holder(...), api.ready, " +
			"traffic and the lists of objects"
	}
	return ""
}

func between(s, before, after string) (string, bool) {
	_, rest, ok := strings.Cut(s, before)
	if !ok {
		return "", false
	}
	inner, _, ok := strings.Cut(rest, after)
	return inner, ok
}

func typeName(name string) string {
	switch {
	case strings.HasPrefix(name, "list("):
		return "a list"
	case strings.HasPrefix(name, "map("):
		return "a map"
	case name == "int" || name == "uint" || name == "double":
		return "a number"
	case name == "string" || name == "wrapper(string)":
		return "text"
	}
	return "of type " + name
}

// byteOffset translates CEL's line (from 1) and column (runes, from 0).
func byteOffset(text string, line, column int) int {
	offset := 0
	for ; line > 1; line-- {
		i := strings.IndexByte(text[offset:], '\n')
		if i < 0 {
			return offset
		}
		offset += i + 1
	}
	for i := range text[offset:] {
		if column == 0 {
			return offset + i
		}
		column--
	}
	return len(text)
}
