package scenarios

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"ksim/scenarios/source"
	"ksim/sim/cluster/spec"
	"ksim/sim/shell"
)

var paramName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// DecodeNode reads {name: value}.
func (p *Params) DecodeNode(d *source.Decoder, n *source.Node) {
	if n.Kind == source.Null || !d.Want(n, source.Map, "params", "a map of names and values") {
		return
	}
	for _, pair := range n.Pairs {
		if !paramName.MatchString(pair.Key.Text) {
			d.Problems.At(
				pair.Key,
				"params: %q is not a name; allowed are letters, digits, - and _, a letter first",
				pair.Key.Text,
			)
			continue
		}
		if text, ok := d.AnyScalar(pair.Value, pair.Key.Text); ok {
			*p = append(*p, Param{pair.Key.Text, text})
		}
	}
}

// Schema returns the JSON Schema.
func (p *Params) Schema() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": scalarSchema()}
}

func scalarSchema() map[string]any {
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

// DecodeNode reads a number or a list.
func (w *Workers) DecodeNode(d *source.Decoder, n *source.Node) {
	if n.Kind == source.List {
		w.Given = true
		d.Decode(n, &w.List)
		return
	}
	count, err := strconv.Atoi(n.Text)
	if n.Kind != source.Scalar || err != nil {
		d.Problems.At(
			n,
			"workers: %s, want a number, or a list of {name, zone, cpu, memory, pods, labels, taints}",
			n.Describe(),
		)
		return
	}
	if count < 0 || count > maxWorkers {
		d.Problems.At(n, "workers: %d, want 0 to %d", count, maxWorkers)
		return
	}
	w.Given, w.Count = true, count
}

// Schema returns the JSON Schema.
func (w *Workers) Schema() map[string]any {
	list := source.Schema(reflect.TypeFor[[]Worker]())
	return map[string]any{"oneOf": []any{map[string]any{"type": "integer", "minimum": 0, "maximum": maxWorkers}, list,
		parameter()}}
}

// parameter is the schema of a ${name} where something else than text is wanted.
func parameter() map[string]any { return map[string]any{"type": "string", "pattern": `\$\{`} }

// DecodeNode reads a quantity.
func (q *Quantity) DecodeNode(d *source.Decoder, n *source.Node) {
	text, ok := d.AnyScalar(n, "quantity")
	if !ok {
		return
	}
	if parsed, err := resource.ParseQuantity(text); err != nil || parsed.Sign() <= 0 {
		d.Problems.At(n, "%s is not a quantity above 0, as 4, 500m, 8Gi", n.Describe())
		return
	}
	*q = Quantity(text)
}

// Schema returns the JSON Schema.
func (q *Quantity) Schema() map[string]any {
	return map[string]any{"type": []string{"string", "number"}}
}

// DecodeNode reads any scalar as text.
func (s *Scalar) DecodeNode(d *source.Decoder, n *source.Node) {
	text, _ := d.AnyScalar(n, "value")
	*s = Scalar(text)
}

// Schema returns the JSON Schema.
func (s *Scalar) Schema() map[string]any { return scalarSchema() }

var taintForm = regexp.MustCompile(`^([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$`)

// DecodeNode reads key=value:Effect or a map.
func (t *Taint) DecodeNode(d *source.Decoder, n *source.Node) {
	const wanted = "want key=value:Effect or {key, value, effect}; effects: NoSchedule, PreferNoSchedule, NoExecute"
	text := n.Text
	if n.Kind == source.Map {
		parts := map[string]string{}
		for _, pair := range n.Pairs {
			switch pair.Key.Text {
			case "key", "value", "effect":
				parts[pair.Key.Text] = pair.Value.Text
			default:
				d.Problems.At(pair.Key, "unknown key %q; %s", pair.Key.Text, wanted)
				return
			}
		}
		text = parts["key"] + "=" + parts["value"] + ":" + parts["effect"]
	}
	m := taintForm.FindStringSubmatch(text)
	if m == nil {
		d.Problems.At(n, "taints: %s, %s", n.Describe(), wanted)
		return
	}
	t.Key, t.Value, t.Effect = m[1], m[2], m[3]
}

// Schema returns the JSON Schema.
func (t *Taint) Schema() map[string]any {
	return map[string]any{"type": []string{"string", "object"}, "description": "key=value:Effect or {key, value, effect}"}
}

// loadBalancerFields is LoadBalancer as a plain struct.
type loadBalancerFields LoadBalancer

// DecodeNode reads true, false or settings.
func (b *LoadBalancer) DecodeNode(d *source.Decoder, n *source.Node) {
	switch {
	case n.Kind == source.Scalar && (n.Text == "true" || n.Text == "false"):
		b.Off = n.Text == "false"
	case n.Kind == source.Map:
		d.Decode(n, (*loadBalancerFields)(b))
		for what, count := range map[string]*int{"fall": b.Fall, "rise": b.Rise} { // any order: problems are sorted
			if count != nil && *count < 1 {
				d.Problems.At(n.Get(what), "%s: %d, want 1 or more", what, *count)
			}
		}
		if b.Inter != nil && *b.Inter == 0 {
			d.Problems.At(n.Get("inter"), "inter: 0, want more than 0")
		}
		if b.Timeout != nil && *b.Timeout == 0 {
			d.Problems.At(n.Get("timeout"), "timeout: 0, want more than 0")
		}
	default:
		d.Problems.At(n, "loadBalancer: %s, want true, false or {check, inter, fall, rise, timeout}", n.Describe())
	}
}

// Schema returns the JSON Schema.
func (b *LoadBalancer) Schema() map[string]any {
	return map[string]any{
		"oneOf": []any{map[string]any{"type": "boolean"}, source.Schema(reflect.TypeFor[loadBalancerFields]())},
	}
}

// DecodeNode reads 0.01 or 1%.
func (s *Share) DecodeNode(d *source.Decoder, n *source.Node) {
	millionths, err := shell.ParseShare(n.Text)
	if n.Kind != source.Scalar || err != nil {
		d.Problems.At(n, "loss: %s, want a share as 0.01 or 1%%", n.Describe())
		return
	}
	*s = Share(millionths)
}

// Schema returns the JSON Schema.
func (s *Share) Schema() map[string]any { return map[string]any{"type": []string{"string", "number"}} }

// DecodeNode reads {component: {flag: value}}.
func (f *Flags) DecodeNode(d *source.Decoder, n *source.Node) {
	if n.Kind == source.Null || !d.Want(n, source.Map, "flags", "a map of components, each with a map of flags") {
		return
	}
	*f = Flags{}
	for _, pair := range n.Pairs {
		if pair.Value.Kind == source.Null {
			continue
		}
		if !d.Want(pair.Value, source.Map, pair.Key.Text, "a map of flags, without dashes") {
			continue
		}
		for _, flag := range pair.Value.Pairs {
			if value, ok := d.AnyScalar(flag.Value, flag.Key.Text); ok {
				(*f)[pair.Key.Text] = append((*f)[pair.Key.Text], spec.Flag{Name: flag.Key.Text, Value: value})
			}
		}
	}
}

// Schema returns the JSON Schema.
func (f *Flags) Schema() map[string]any {
	components := map[string]any{}
	for _, c := range Components() {
		components[c] = map[string]any{"type": "object", "additionalProperties": scalarSchema()}
	}
	return map[string]any{"type": "object", "properties": components, "additionalProperties": false}
}

// DecodeNode reads text, or {from: path}.
func (f *FileText) DecodeNode(d *source.Decoder, n *source.Node) {
	switch n.Kind {
	case source.Map:
		for _, pair := range n.Pairs {
			if pair.Key.Text != "from" || pair.Value.Kind != source.Scalar {
				d.Problems.At(pair.Key, "unknown key %q; allowed: from, with a path beside the scenario", pair.Key.Text)
				return
			}
			f.From = pair.Value.Text
		}
	case source.List:
		d.Problems.At(n, "files: a list, want text or {from: path}")
	default:
		f.Text = n.Text
	}
}

// Schema returns the JSON Schema.
func (f *FileText) Schema() map[string]any {
	from := map[string]any{"type": "object", "properties": map[string]any{"from": map[string]any{"type": "string"}},
		"required": []string{"from"}, "additionalProperties": false}
	return map[string]any{"oneOf": []any{map[string]any{"type": "string"}, from}}
}

// DecodeNode reads an exit status or any.
func (e *Exit) DecodeNode(d *source.Decoder, n *source.Node) {
	if n.Kind == source.Scalar && n.Text == "any" {
		e.Any = true
		return
	}
	status, err := strconv.Atoi(n.Text)
	if n.Kind != source.Scalar || err != nil || status < 0 || status > 255 {
		d.Problems.At(n, "exit: %s, want an exit status from 0 to 255, or any", n.Describe())
		return
	}
	e.Status = status
}

// Schema returns the JSON Schema.
func (e *Exit) Schema() map[string]any {
	return map[string]any{"oneOf": []any{map[string]any{"type": "integer", "minimum": 0, "maximum": 255},
		map[string]any{"const": "any"}, parameter()}}
}

// DecodeNode reads the text of an expression; true and false are expressions too.
func (c *Condition) DecodeNode(d *source.Decoder, n *source.Node) {
	if n.Kind != source.Scalar || strings.TrimSpace(n.Text) == "" {
		d.Problems.At(n, "%s, want a condition in CEL, as  nodes[\"worker-1\"].ready == \"True\"", n.Describe())
		return
	}
	*c = Condition(n.Text)
}

// Schema returns the JSON Schema.
func (c *Condition) Schema() map[string]any {
	return map[string]any{"type": []string{"string", "boolean"}, "description": "a condition in CEL"}
}

// DecodeNode reads [from, to].
func (w *Window) DecodeNode(d *source.Decoder, n *source.Node) {
	if n.Kind != source.List || len(n.Items) != 2 {
		d.Problems.At(n, "between: %s, want two times: [1m, 2m30s]", n.Describe())
		return
	}
	from, ok := d.ReadDuration(n.Items[0], "between")
	to, also := d.ReadDuration(n.Items[1], "between")
	if ok && also && from > to {
		d.Problems.At(n, "between: %s is after %s; the earlier time comes first", duration(from), duration(to))
	}
	*w = Window{from, to}
}

// Schema returns the JSON Schema.
func (w *Window) Schema() map[string]any {
	return map[string]any{"type": "array", "items": source.DurationSchema(), "minItems": 2, "maxItems": 2}
}

// duration writes a duration without its zero parts: 1m, not 1m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
