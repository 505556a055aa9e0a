package report

import (
	"time"

	"ksim/sim"
)

// Run is one finished run of a scenario, with all that reports tell of it.
type Run struct {
	Name, Title string
	Source      string // what to type to mean this scenario: its name, or a file; "": the name
	Lesson      string // Markdown
	Cluster     string // v1.36, 3 stacked control planes, 4 workers in zones a b c
	Seed        uint64
	Duration    time.Duration // virtual, since the start
	Wall        time.Duration // what it took to run; never part of anything that must be repeatable
	Passed      bool

	Trace  []sim.Event
	Start  sim.Time  // of the scenario, in the trace's time
	Before *Snapshot // at the start; nil if unknown
	After  *Snapshot // at the end; nil if unknown
	// Pods are all that were there from the start on, in the order in which they appeared, and Changes how machines,
	// nodes and leaders changed; times in the trace's.
	Pods    []*PodLife
	Changes []Change

	Steps        []Step
	Expectations []Expectation
	Traffic      []Traffic
}

// Step is one step as it ran. Times are since the start.
type Step struct {
	Name, Command  string
	T              time.Duration
	Exit           int
	Stdout, Stderr string
	Failed         string // why the step is not as wanted; "" if it is
	Skipped        bool   // the run ended before it
}

// Expectation is one expectation and what became of it.
type Expectation struct {
	Name   string
	Passed bool          // or not decided, when Open
	Open   bool          // the run was ended before it was decided
	T      time.Duration // when it was decided
	Detail string        // the evidence
	// Measured says that T is a figure: when something became true.
	Measured bool
}

// Traffic is what a probe met.
type Traffic struct {
	Name          string
	Service       bool // it asks a Service, not the API
	OK, Failed    int64
	LongestOutage time.Duration
	Spells        []Spell
}

// Spell is a time when requests of a probe failed, all of them or some: from when the first of those was sent until
// the first was sent that went well again, or, if Open, the end of the run.
type Spell struct {
	From, To     time.Duration
	Open         bool
	Sent, Failed int
	Gap          time.Duration // the longest time between two requests that went well
	Failures     []Failure
}

// Failure is a way in which requests failed.
type Failure struct {
	What    string
	Machine string // that they were sent to; "" if unknown
	Count   int
}
