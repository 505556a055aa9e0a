package scenarios

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/scenarios/condition"
	"ksim/scenarios/source"
	"ksim/sim/cluster/spec"
)

// Source is a scenario file: its name for messages, its bytes, and how to read a file beside it (nil: there is none).
type Source struct {
	Name string
	Data []byte
	Open func(path string) ([]byte, error)
}

// Parse reads and checks a scenario, with parameters replaced by set. Its error is a *source.Problems with every
// mistake of the file, or says which parameter does not exist.
func Parse(from Source, set ...Param) (*Scenario, error) {
	problems := &source.Problems{File: from.Name}
	root := source.Parse(from.Data, problems)
	if root == nil {
		return nil, problems.Err()
	}
	c := &checker{Decoder: source.NewDecoder(problems), Scenario: &Scenario{Text: string(from.Data)}, from: from}
	if root.Kind != source.Map {
		problems.At(root, "%s, want a map that begins with ksim: 1 and name:", root.Describe())
		return nil, problems.Err()
	}
	if err := c.parameters(root, set); err != nil {
		return nil, err
	}
	c.Decode(root, c.Scenario)
	problems.Settle()
	c.check()
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return c.Scenario, nil
}

// checker looks for everything that is wrong with a scenario.
type checker struct {
	*source.Decoder
	*Scenario
	from     Source
	language *condition.Language
	machines []spec.Machine
	notes    notes             // of what manifests and files ask for, and nothing does
	services []*corev1.Service // of the manifests
	later    []*corev1.Service // of files, which a step may apply
	end      time.Duration     // 0: not known
}

// wrong reports a mistake of the field behind a pointer.
func (c *checker) wrong(field any, format string, args ...any) {
	c.Problems.At(c.Place(field), format, args...)
}

// parameters reads params and puts their values into everything else.
func (c *checker) parameters(root *source.Node, set []Param) error {
	values := map[string]string{}
	var names []string
	if node := root.Get("params"); node != nil && node.Kind == source.Map {
		for _, p := range node.Pairs {
			values[p.Key.Text] = p.Value.Text
			names = append(names, p.Key.Text)
		}
		for _, p := range set {
			if _, ok := values[p.Name]; ok {
				node.Get(p.Name).Text, values[p.Name] = p.Value, p.Value
			}
		}
	}
	for _, p := range set {
		if _, ok := values[p.Name]; !ok {
			return fmt.Errorf("scenario %s has no parameter %q%s; it has: %s", c.from.Name, p.Name,
				source.Suggest(p.Name, names), listed(names))
		}
	}
	value := func(name string) (string, bool) {
		text, ok := values[name]
		return text, ok
	}
	unknown := func(n *source.Node, offset int, name string) {
		c.Problems.Within(n, offset, "no parameter %q%s; params has: %s", name, source.Suggest(name, names), listed(names))
	}
	for _, p := range root.Pairs {
		switch p.Key.Text {
		case "params":
		case "manifests", "files", "lesson", "task", "questions", "hints": // ${x} may mean something else there
			p.Value.Substitute(value, nil)
		case "steps":
			for _, step := range p.Value.Items {
				for _, field := range step.Pairs {
					if field.Key.Text == "run" { // the shell has variables of its own
						field.Value.Substitute(value, nil)
					}
				}
			}
			c.substituteSteps(p.Value, value, unknown)
		default:
			p.Value.Substitute(value, unknown)
		}
	}
	return nil
}

func (c *checker) substituteSteps(steps *source.Node, value func(string) (string, bool),
	unknown func(*source.Node, int, string)) {
	for _, step := range steps.Items {
		for _, field := range step.Pairs {
			if field.Key.Text != "run" {
				field.Value.Substitute(value, unknown)
			}
		}
	}
}

func listed(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

var (
	scenarioName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	claimNumber  = regexp.MustCompile(`^C[0-9]{2,3}$`)
)

func (c *checker) check() {
	if place := c.Place(&c.Format); place != nil && c.Format != 1 && place.Text != "" {
		c.wrong(&c.Format, "ksim: %s, this ksim reads format 1", c.Place(&c.Format).Text)
	}
	if c.Name != "" && !scenarioName.MatchString(c.Name) {
		c.wrong(&c.Name, "name: %q; allowed are lower-case letters, digits and dashes", c.Name)
	}
	if strings.Contains(c.Title, "\n") {
		c.wrong(&c.Title, "title: more than one line")
	}
	for i := range c.Claims {
		if !claimNumber.MatchString(c.Claims[i]) {
			c.wrong(&c.Claims[i], "claims: %q, want a number as C01", c.Claims[i])
		}
	}
	if c.Duration != nil && *c.Duration == 0 && strings.HasPrefix(c.Place(c.Duration).Text, "0") {
		c.wrong(c.Duration, "duration: 0, want more than 0")
	}
	c.checkCluster()
	c.machines = c.Spec.Machines()
	c.language = condition.New(c.names())
	c.checkManifests()
	c.checkFiles()
	c.Warnings = append(c.Warnings, c.notes.warnings()...)
	c.checkTraffic()
	c.checkSteps()
	c.checkExpectations()
	c.checkQuestions()
}

// names are what conditions of this scenario may speak of.
func (s *Scenario) names() condition.Names {
	names := condition.Names{Machines: []string{}, Nodes: []string{}, Traffic: []string{}, Servers: []string{}}
	for _, m := range s.Spec.Machines() {
		names.Machines = append(names.Machines, m.Name)
		if m.Role == spec.RoleControlPlane {
			names.Servers = append(names.Servers, m.Name)
		}
		if s.isNode(m) {
			names.Nodes = append(names.Nodes, m.Name)
		}
	}
	for _, t := range s.Traffic {
		names.Traffic = append(names.Traffic, t.Name)
	}
	return names
}

// isNode reports whether a machine is a Node: it runs containers and a kube-proxy.
func (s *Scenario) isNode(m spec.Machine) bool {
	return m.Role == spec.RoleWorker || m.Role == spec.RoleControlPlane && s.Spec.Install == spec.Kubeadm
}

// unique reports the second and later of equal names.
func (c *checker) unique(seen map[string]bool, name *string, what string) {
	if *name == "" {
		return
	}
	if seen[*name] {
		c.wrong(name, "%s %q: the name is taken; each needs one of its own", what, *name)
	}
	seen[*name] = true
}

// machine reports a name that no machine has.
func (c *checker) machine(name *string, what string) {
	var names []string
	for _, m := range c.machines {
		names = append(names, m.Name)
	}
	if *name != "" && !slices.Contains(names, *name) {
		c.wrong(name, "%s: no machine %q%s; there are: %s", what, *name, source.Suggest(*name, names), shortList(names))
	}
}

func shortList(words []string) string {
	if len(words) > 16 {
		return strings.Join(words[:12], ", ") + ", ... " + words[len(words)-1]
	}
	return strings.Join(words, ", ")
}

// checkCondition compiles a condition and reports what is wrong with it, where it is wrong.
func (c *checker) checkCondition(text *Condition) {
	if *text == "" {
		return
	}
	_, issues := c.language.Compile(string(*text))
	for _, issue := range issues {
		c.Problems.Within(c.Place(text), issue.Offset, "%s", issue.Message)
	}
}
