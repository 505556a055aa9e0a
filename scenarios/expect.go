package scenarios

import (
	"fmt"
	"time"

	"ksim/scenarios/condition"
)

// tracker follows one expectation through a run.
type tracker struct {
	*Expectation
	points  int
	verb    string
	cond    *condition.Condition
	window  Window
	endless bool // the window ends with the run
	open    bool // the condition is being watched
	decided bool
	result  ExpectationResult
	since   time.Duration // when the condition became what it is
	holds   bool
}

func newTracker(e *Expectation, points int, language *condition.Language) (*tracker, error) {
	t := &tracker{Expectation: e, points: points, endless: true,
		result: ExpectationResult{Name: e.Name, Points: points, Verdict: Open}}
	for _, v := range e.verbs() {
		if *v.condition == "" {
			continue
		}
		cond, issues := language.Compile(string(*v.condition))
		if issues != nil {
			return nil, fmt.Errorf("%s: %s", e.Name, issues[0].Message)
		}
		t.verb, t.cond = v.name, cond
	}
	if e.Between != nil {
		t.window, t.endless = *e.Between, false
	}
	if t.verb == "that" {
		t.window, t.endless = Window{*e.At, *e.At}, false
	}
	t.open = t.verb == "eventually" // from the start: it must not be true before its window
	return t, nil
}

func (t *tracker) decide(verdict string, at time.Duration, format string, args ...any) {
	t.decided, t.open = true, false
	t.result.Verdict, t.result.T, t.result.Detail = verdict, seconds(at), fmt.Sprintf(format, args...)
}

// look evaluates the condition after something has changed.
func (t *tracker) look(o *condition.Observer, now time.Duration) {
	value, changed := t.cond.Evaluate(o)
	if !changed {
		return
	}
	if value.Holds != t.holds {
		t.holds, t.since = value.Holds, now
	}
	switch {
	case t.verb == "eventually" && value.Holds:
		t.becameTrue(now)
	case t.verb == "always" && !value.Holds:
		t.decide(Fail, now, "not any more at %s%s, wanted %s", Clock(now), t.why(o), t.span())
	case t.verb == "never" && value.Holds:
		t.decide(Fail, now, "held at %s%s, wanted never%s", Clock(now), t.why(o), t.inside())
	}
}

func (t *tracker) becameTrue(now time.Duration) {
	switch {
	case t.Between == nil:
		t.decide(Pass, now, "%s", Clock(now))
	case now < t.window.From:
		t.decide(Fail, now, "already at %s, wanted %s", Clock(now), t.span())
	default:
		t.decide(Pass, now, "%s, wanted %s", Clock(now), t.span())
	}
	t.result.Becoming = t.result.Verdict == Pass
}

func (t *tracker) span() string {
	if t.endless {
		return "to the end"
	}
	return Clock(t.window.From) + " to " + Clock(t.window.To)
}

func (t *tracker) inside() string {
	if t.endless {
		return ""
	}
	return " from " + t.span()
}

// why is the value that made the condition what it is, for details.
func (t *tracker) why(o *condition.Observer) string {
	if text := t.cond.Explain(o); text != "" {
		return " (" + text + ")"
	}
	return ""
}

// opens begins to watch, after all events of the window's first instant.
func (t *tracker) opens(o *condition.Observer, now time.Duration) {
	if t.decided {
		return
	}
	t.open = true
	value, _ := t.cond.Evaluate(o)
	t.holds = value.Holds
	switch {
	case t.verb == "always" && !value.Holds:
		t.decide(Fail, now, "not at %s%s, wanted %s", Clock(now), t.why(o), t.span())
	case t.verb == "never" && value.Holds:
		t.decide(Fail, now, "held at %s%s, wanted never%s", Clock(now), t.why(o), t.inside())
	}
}

// closes decides at the end of the window, or of the run.
func (t *tracker) closes(o *condition.Observer, now time.Duration) {
	if t.decided {
		return
	}
	value, _ := t.cond.Evaluate(o)
	switch t.verb {
	case "eventually":
		if value.Holds {
			t.becameTrue(now)
			return
		}
		t.decide(Fail, now, "not by %s%s%s", Clock(now), t.why(o), map[bool]string{false: ", wanted " + t.span()}[t.endless])
	case "always":
		t.decide(Pass, now, "from %s to %s%s", Clock(t.window.From), Clock(now), t.why(o))
	case "never":
		t.decide(Pass, now, "not once by %s", Clock(now))
	default: // finally, that
		if value.Holds {
			t.decide(Pass, now, "%s%s", Clock(now), t.why(o))
		} else {
			t.decide(Fail, now, "not at %s%s", Clock(now), t.why(o))
		}
	}
}

// boundary is a time at which a window opens or closes. One that is before looks at the state as it was when that time
// came, else all events of that time have happened.
type boundary struct {
	at     time.Duration
	before bool
	fire   func(now time.Duration)
}

// boundaries of a tracker; those of windows that end with the run are the runner's.
func (t *tracker) boundaries(o *condition.Observer) []boundary {
	var list []boundary
	if t.verb == "always" || t.verb == "never" {
		list = append(list, boundary{at: t.window.From, fire: func(now time.Duration) { t.opens(o, now) }})
	}
	if !t.endless {
		// An act at the very end of an always' or never's window is not in it any more: always up until the crash at
		// 1m.
		before := (t.verb == "always" || t.verb == "never") && t.window.To > t.window.From
		list = append(list, boundary{at: t.window.To, before: before, fire: func(now time.Duration) { t.closes(o, now) }})
	}
	return list
}
