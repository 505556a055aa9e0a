package fields

import (
	"strconv"
	"strings"
)

// verdict is what becomes of a field.
type verdict uint8

const (
	acts     verdict = iota + 1 // something acts on it; the fields below it have rows of their own
	harmless                    // no difference in a simulation: containers execute nothing, images are not pulled ...
	warns                       // a real cluster would behave differently for it
)

// never is the release of what no release has switched on by default.
const never = 1 << 30

// row is what is known of a field.
type row struct {
	verdict verdict
	known   int      // first minor whose API has the field; 0: all
	on      int      // first minor that takes it without a feature gate: others drop it; 0: known
	from    int      // first minor in which it warns: before, something acts on it
	unless  []string // values that mean what happens anyway
	why     string   // for people: what does not happen
}

// The table has a line for each type of k8s.io/api, and below it one for each field:
//
//	name  acts|harmless|warns  known=MINOR  on=MINOR  from=MINOR  unless=VALUE,...  why
//
// Fields of embedded types are those of the embedded type. Releases: api/openapi-spec/swagger.json and
// pkg/features/kube_features.go, v1.11 to v1.37.
var table = parse(pods + volumes + containers + scheduling + workloads + core)

func parse(text string) map[string]map[string]row {
	types := map[string]map[string]row{}
	var current map[string]row
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case line[0] != ' ':
			current = map[string]row{}
			types[words[0]] = current
		default:
			current[words[0]] = parseRow(words[1:])
		}
	}
	return types
}

func parseRow(words []string) row {
	var r row
	for i, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "acts":
			r.verdict = acts
		case "harmless":
			r.verdict = harmless
		case "warns":
			r.verdict = warns
		case "known":
			r.known = minor(value)
		case "on":
			r.on = minor(value)
		case "from":
			r.from = minor(value)
		case "unless":
			r.unless = strings.Split(value, ",")
		default:
			r.why = strings.Join(words[i:], " ")
			return r
		}
	}
	return r
}

func minor(text string) int {
	if text == "never" {
		return never
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err) // cannot fail: the table is constant, and tests read it
	}
	return n
}
