package scenarios

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"ksim/scenarios/condition"
	"ksim/sim"
	"ksim/sim/shell"
)

// sequence runs the steps of a scenario, one after the other.
type sequence struct {
	run      *Run
	next     int // index of the step to come or under way
	list     []*stepRun
	waiting  *condition.Condition // of a step with when
	timeout  sim.Timer
	problems []ExpectationResult
	last     time.Duration // when the last step began
	done     bool          // all steps have begun, and those to wait for have ended
	fixedEnd time.Duration // the end, if it is known before the run and has been asked for; else 0
}

// stepRun is a step that has begun.
type stepRun struct {
	*Step
	result StepResult
	ended  bool
}

// begin arranges for the next step; it is called at time zero and when a step has ended.
func (q *sequence) begin() {
	r := q.run
	if q.next >= len(r.Scenario.Steps) {
		q.done = true
		return
	}
	s := &r.Scenario.Steps[q.next]
	r.Kernel.Outside(func() {
		switch {
		case s.At != nil:
			r.scope.At(r.Start.Add(*s.At), "step", q.start)
		case s.When != "":
			q.await(s)
		default:
			r.scope.After(or(s.After, 0), "step", q.start)
		}
	})
}

// await waits for a step's condition.
func (q *sequence) await(s *Step) {
	r := q.run
	cond, issues := r.language.Compile(string(s.When))
	sim.Assert(issues == nil, "a checked condition does not compile: %v", issues)
	q.waiting = cond
	within := or(s.Timeout, whenTimeout)
	q.timeout = r.scope.After(within, "step timeout", func() {
		q.waiting = nil
		q.problem(s.Name, "did not begin: its condition did not hold within %s%s", duration(within), explained(cond, r))
		q.last = r.Now()
		q.next++
		q.begin()
	})
	q.look(true)
}

func explained(cond *condition.Condition, r *Run) string {
	if text := cond.Explain(r.observer); text != "" {
		return " (" + text + ")"
	}
	return ""
}

// look begins the step that waits, if its condition holds.
func (q *sequence) look(changed bool) {
	if q.waiting == nil || !changed && !q.waiting.Clock {
		return
	}
	if value, _ := q.waiting.Evaluate(q.run.observer); !value.Holds {
		return
	}
	q.waiting = nil
	q.timeout.Stop()
	q.run.Kernel.Outside(func() { q.run.scope.After(0, "step", q.start) })
}

// start runs the step.
func (q *sequence) start() {
	r := q.run
	s := &r.Scenario.Steps[q.next]
	q.next++
	q.last = r.Now()
	id := r.scope.Emit(sim.Event{Level: sim.Fault, Reason: "Step", Object: "step/" + s.Name, Machine: s.On,
		Component: "shell", Message: strings.TrimSpace(s.Run)})
	run := &stepRun{
		Step:   s,
		result: StepResult{Name: s.Name, T: seconds(q.last), Command: strings.TrimSpace(s.Run), Exit: -1, Event: id},
	}
	q.list = append(q.list, run)
	r.Kernel.Because(id)
	session := r.Session(s.On)
	if s.Background {
		session = shell.NewSession(r.Cluster, s.On)
	}
	session.Run(s.Run).Then(r.scope, func(result shell.Result, _ error) {
		q.finish(run, result)
		if !s.Background {
			q.begin()
		}
	})
	if s.Background {
		q.begin()
	}
}

// finish records how a step ended and whether that was wanted.
func (q *sequence) finish(run *stepRun, result shell.Result) {
	run.ended = true
	run.result.Ended = q.run.Now()
	run.result.Exit, run.result.Stdout, run.result.Stderr = result.Exit, result.Stdout, result.Stderr
	said := strings.TrimSpace(result.Stdout + result.Stderr)
	if !run.Exit.Any && result.Exit != run.Exit.Status {
		q.problem(run.Name, "exited %d, wanted %d: %s", result.Exit, run.Exit.Status, firstLine(said))
	}
	if run.Output == "" {
		return
	}
	// (?m): ^ and $ are the ends of lines, as for grep; no output ends without a newline.
	if re, err := regexp.Compile("(?m)" + run.Output); err != nil || !re.MatchString(result.Stdout+result.Stderr) {
		q.problem(run.Name, "its output does not match %q: %s", run.Output, firstLine(said))
	}
}

func (q *sequence) problem(step, format string, args ...any) {
	now := q.run.Now()
	q.problems = append(q.problems, ExpectationResult{Name: "step " + step, Verdict: Fail, T: seconds(now),
		Detail: Clock(now) + " " + fmt.Sprintf(format, args...)})
}

// end returns when the run ends by the scenario: its duration, or two minutes after its last step began.
func (q *sequence) end() (time.Duration, bool) {
	s := q.run.Scenario
	switch {
	case q.fixedEnd > 0:
		return q.fixedEnd, true
	case s.Duration != nil:
		q.fixedEnd = *s.Duration
		return q.fixedEnd, true
	case s.allTimed():
		for i := range s.Steps {
			q.fixedEnd = max(q.fixedEnd, *s.Steps[i].At)
		}
		q.fixedEnd += afterLastStep
		return q.fixedEnd, true
	case !q.done:
		return 0, false
	}
	end := q.last + afterLastStep
	for _, run := range q.list {
		end = max(end, run.result.Ended)
	}
	return end, true
}

// results lists the steps that began; one that has not ended when the run does has exit status -1.
func (q *sequence) results() []StepResult {
	list := []StepResult{}
	for _, run := range q.list {
		if !run.ended && !run.Background {
			q.problem(run.Name, "had not ended when the run did")
		}
		list = append(list, run.result)
	}
	for _, s := range q.run.Scenario.Steps[q.next:] {
		if q.run.options.Until == 0 {
			q.problem(s.Name, "had not begun when the run ended")
		}
	}
	return list
}
