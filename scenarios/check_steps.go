package scenarios

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"ksim/scenarios/source"
	"ksim/sim/cluster/spec"
	"ksim/sim/shell"
)

// Defaults of the format that contract.md names.
const (
	afterLastStep = 2 * time.Minute
	whenTimeout   = 10 * time.Minute
)

func (c *checker) checkFiles() {
	node := c.Place(&c.Files)
	if node == nil || node.Kind != source.Map {
		return
	}
	for _, machine := range node.Pairs {
		name := machine.Key.Text
		if !c.hasMachine(name) {
			c.Problems.At(machine.Key, "files: no machine %q%s; there are: %s", name, source.Suggest(name, c.machineNames()),
				shortList(c.machineNames()))
		}
		for _, file := range machine.Value.Pairs {
			text := c.Files[name][file.Key.Text]
			if text.From != "" {
				data, ok := c.beside(file.Value.Get("from"), text.From)
				if !ok {
					continue
				}
				text.Text = string(data)
				c.Files[name][file.Key.Text] = text
			}
			c.noteFile(file.Key.Text, file.Value, text)
		}
	}
}

// beside reads a file of the scenario's folder.
func (c *checker) beside(at *source.Node, path string) (data []byte, ok bool) {
	if !filepath.IsLocal(path) || strings.Contains(path, `\`) {
		c.Problems.At(at, "%q is outside the scenario's folder; paths are relative to it and stay in it", path)
		return nil, false
	}
	if c.from.Open == nil {
		c.Problems.At(at, "%q: there are no files beside this scenario", path)
		return nil, false
	}
	data, err := c.from.Open(path)
	if err != nil {
		c.Problems.At(at, "%q cannot be read: %v", path, err)
		return nil, false
	}
	if len(data) > source.MaxBytes {
		c.Problems.At(at, "%q has %d bytes; at most %d are read", path, len(data), source.MaxBytes)
		return nil, false
	}
	return data, true
}

func (c *checker) machineNames() []string {
	var names []string
	for _, m := range c.machines {
		names = append(names, m.Name)
	}
	return names
}

func (c *checker) hasMachine(name string) bool {
	for _, m := range c.machines {
		if m.Name == name {
			return true
		}
	}
	return false
}

func (c *checker) checkSteps() {
	seen := map[string]bool{}
	var last time.Duration // time of the last step with a time
	for i := range c.Steps {
		s := &c.Steps[i]
		c.unique(seen, &s.Name, "step")
		if s.Name == "" {
			s.Name = firstLine(s.Run)
		}
		c.checkStart(s, last)
		if s.At != nil {
			last = max(last, *s.At)
		}
		c.machine(&s.On, "on")
		if s.On == "" {
			s.On = spec.Admin
		}
		if s.Output != "" {
			if _, err := regexp.Compile(s.Output); err != nil {
				c.wrong(&s.Output, "output: %v", err)
			}
		}
		if strings.TrimSpace(s.Run) == "" {
			if c.Place(&s.Run) != nil && c.Place(&s.Run).Kind == source.Scalar {
				c.wrong(&s.Run, "run: nothing to run")
			}
			continue
		}
		for _, issue := range shell.Check(s.Run, c.Spec) {
			c.Problems.Within(c.Place(&s.Run), issue.Offset, "%s", issue.Message)
		}
	}
	c.end = or(c.Duration, 0)
	if c.Duration == nil && c.allTimed() {
		c.end = last + afterLastStep
	}
}

func (c *checker) checkStart(s *Step, last time.Duration) {
	starts := 0
	for _, given := range []bool{s.At != nil, s.After != nil, s.When != ""} {
		if given {
			starts++
		}
	}
	if starts > 1 {
		c.wrong(s, "step %q has more than one of at, after, when; allowed is one", s.Name)
	}
	c.checkCondition(&s.When)
	if s.Timeout != nil && s.When == "" {
		c.wrong(s.Timeout, "timeout: says how long when waits; this step has none")
	}
	if s.At == nil {
		return
	}
	if c.Duration != nil && *c.Duration > 0 && *s.At > *c.Duration {
		c.wrong(s.At, "at: %s is after the end (duration: %s)", duration(*s.At), duration(*c.Duration))
	}
	if *s.At < last {
		c.wrong(s.At, "at: %s is before the step above it (%s); steps run in the order of the file", duration(*s.At),
			duration(last))
	}
}

// allTimed reports whether the time of every step is known before the run.
func (s *Scenario) allTimed() bool {
	for _, step := range s.Steps {
		if step.At == nil {
			return false
		}
	}
	return true
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

func (c *checker) checkExpectations() {
	seen := map[string]bool{}
	for i := range c.Expect {
		c.checkExpectation(&c.Expect[i], seen, c.Place(&c.Expect[i]))
	}
	for i := range c.Grade {
		g := &c.Grade[i]
		c.checkExpectation(&g.Expectation, seen, c.Place(g))
		if g.Points < 0 {
			c.wrong(&g.Points, "points: %d, want 0 or more", g.Points)
		}
	}
}

// verb is one of the five verbs of an expectation.
type verb struct {
	name      string
	condition *Condition
}

func (e *Expectation) verbs() []verb {
	return []verb{{"eventually", &e.Eventually}, {"always", &e.Always}, {"never", &e.Never}, {"finally", &e.Finally},
		{"that", &e.That}}
}

func (c *checker) checkExpectation(e *Expectation, seen map[string]bool, at *source.Node) {
	if at == nil || at.Kind != source.Map {
		return
	}
	c.unique(seen, &e.Name, "expectation")
	given := ""
	for _, v := range e.verbs() {
		if c.Place(v.condition) == nil {
			continue
		}
		if given != "" {
			c.wrong(v.condition, "%s and %s: an expectation has one verb", given, v.name)
		}
		given = v.name
		c.checkCondition(v.condition)
	}
	switch given {
	case "":
		c.Problems.At(at, "no verb; allowed: eventually, always, never, finally, or at with that")
	case "that":
		if e.At == nil {
			c.wrong(&e.That, "that: needs at, the time when it must hold")
		}
	}
	if e.At != nil && given != "that" && given != "" {
		c.wrong(e.At, "at: goes with that; %s takes between: [from, to]", given)
	}
	if e.Between != nil && (given == "finally" || given == "that") {
		c.wrong(e.Between, "between: goes with eventually, always and never; %s has its own time", given)
	}
	if c.end == 0 {
		return
	}
	if e.At != nil && *e.At > c.end {
		c.wrong(e.At, "at: %s is after the end (%s)", duration(*e.At), duration(c.end))
	}
	if e.Between != nil && e.Between.To > c.end {
		c.wrong(e.Between, "between: %s is after the end (%s)", duration(e.Between.To), duration(c.end))
	}
}

func (c *checker) checkQuestions() {
	var steps []string
	for _, s := range c.Steps {
		steps = append(steps, s.Name)
	}
	for i := range c.Questions {
		q := &c.Questions[i]
		found := q.Before == ""
		for _, name := range steps {
			found = found || name == q.Before
		}
		if !found {
			c.wrong(&q.Before, "before: no step %q%s; there are: %s", q.Before, source.Suggest(q.Before, steps), listed(steps))
		}
		if c.Place(&q.Choices) != nil && len(q.Choices) < 2 {
			c.wrong(&q.Choices, "choices: %d, want 2 or more", len(q.Choices))
		}
		if c.Place(&q.Answer) != nil && len(q.Choices) >= 2 && (q.Answer < 1 || q.Answer > len(q.Choices)) {
			c.wrong(&q.Answer, "answer: %d, want the number of a choice, 1 to %d", q.Answer, len(q.Choices))
		}
	}
	if c.TimeLimit != nil && *c.TimeLimit == 0 {
		c.wrong(c.TimeLimit, "timeLimit: 0, want more than 0")
	}
}
