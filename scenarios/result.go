package scenarios

import (
	"fmt"
	"time"

	"ksim/sim"
)

// The verdicts.
const (
	Pass = "pass"
	Fail = "fail"
	// Open is the verdict of an expectation that a run which was ended early did not decide.
	Open = "open"
)

// Result is how a run went. Its JSON is the interface of ksim run -o json.
type Result struct {
	Scenario     string              `json:"scenario"`
	Seed         uint64              `json:"seed"`
	Kubernetes   string              `json:"kubernetes"`
	Duration     Seconds             `json:"duration"`
	Verdict      string              `json:"verdict"`
	Digest       string              `json:"digest"`
	Steps        []StepResult        `json:"steps"`
	Expectations []ExpectationResult `json:"expectations"`
	Traffic      []TrafficResult     `json:"traffic"`
	Events       []EventResult       `json:"events"`
}

// Seconds is a time or length of virtual time; in JSON a number with at most microseconds.
type Seconds float64

// MarshalJSON writes the number with one decimal at least and six at most.
func (s Seconds) MarshalJSON() ([]byte, error) {
	text := fmt.Sprintf("%.6f", float64(s))
	for text[len(text)-1] == '0' && text[len(text)-2] != '.' {
		text = text[:len(text)-1]
	}
	if text == "-0.0" {
		text = "0.0"
	}
	return []byte(text), nil
}

func seconds(d time.Duration) Seconds {
	return Seconds(float64(d.Round(time.Microsecond)) / float64(time.Second))
}

// StepResult is a step that was run.
type StepResult struct {
	Name    string  `json:"name"`
	T       Seconds `json:"t"`
	Command string  `json:"command"`
	Exit    int     `json:"exit"` // -1: it had not ended when the run did
	Stdout  string  `json:"stdout"`
	Stderr  string  `json:"stderr"`
	// Event is the step's event in the trace; Ended when it ended.
	Event sim.EventID   `json:"-"`
	Ended time.Duration `json:"-"`
}

// ExpectationResult is the verdict on an expectation.
type ExpectationResult struct {
	Name    string  `json:"name"`
	Verdict string  `json:"verdict"`
	T       Seconds `json:"t"` // when it was decided
	Detail  string  `json:"detail"`
	Points  int     `json:"points,omitempty"` // of a grade
	// Becoming is set where T is a measured figure: when an eventually became true.
	Becoming bool `json:"-"`
}

// TrafficResult is what a probe met.
type TrafficResult struct {
	Name          string  `json:"name"`
	OK            int     `json:"ok"`
	Failed        int     `json:"failed"`
	LongestOutage Seconds `json:"longestOutage"`
	Service       bool    `json:"-"` // it asks a Service, not the API
	// Spells are the times when requests failed.
	Spells []Spell `json:"-"`
}

// Spell is a time when requests of a probe failed, all of them or some.
type Spell struct {
	From time.Duration // when the first that failed was sent
	// To is when the first of those was sent that went well again; the end of the run if it was not seen to end (Open).
	To           time.Duration
	Open         bool
	Sent, Failed int
	Gap          time.Duration // the longest time between two requests that went well
	Failures     []Failure     // in the order in which they came first

	began, ended sim.EventID // causes
}

// Failure is a way in which requests failed.
type Failure struct {
	What    string // connection refused
	Machine string // that it was sent to, "" if that is not known or says nothing
	Count   int
}

// EventResult is an event of the trace.
type EventResult struct {
	Seq       uint64  `json:"seq"`
	T         Seconds `json:"t"`
	Cause     uint64  `json:"cause"`
	Machine   string  `json:"machine"`
	Component string  `json:"component"`
	Reason    string  `json:"reason"`
	Object    string  `json:"object"`
	Message   string  `json:"message"`
}

// Events converts a trace: all of it, or all but what repeats while all is well (heartbeats, renewals) unless that
// caused something else, so that every cause named is there. Times are since start.
func Events(trace *sim.Trace, start sim.Time, all bool) []EventResult {
	events := trace.Events()
	keep := make([]bool, len(events)+1)
	for i := len(events) - 1; i >= 0; i-- { // causes come before their effects
		e := &events[i]
		if all || e.Level != sim.Routine {
			keep[e.Seq] = true
		}
		if keep[e.Seq] {
			keep[e.Cause], keep[e.Since] = true, true
		}
	}
	kept := []EventResult{}
	for i := range events {
		e := &events[i]
		if !keep[e.Seq] {
			continue
		}
		kept = append(kept, EventResult{uint64(e.Seq), seconds(e.T.Sub(start)), uint64(e.Cause), e.Machine, e.Component,
			e.Reason, e.Object, e.Message})
	}
	return kept
}

// Clock writes a time since the start as minutes and seconds: 1:50, 6:50.5 where tenths tell something.
func Clock(t time.Duration) string {
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	tenths := int64((t + 50*time.Millisecond) / (100 * time.Millisecond))
	text := fmt.Sprintf("%s%d:%02d", sign, tenths/600, tenths/10%60)
	if tenths%10 != 0 {
		text += fmt.Sprintf(".%d", tenths%10)
	}
	return text
}
