package scenarios

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"ksim/scenarios/condition"
	"ksim/sim"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
	"ksim/sim/shell"
)

// Builder makes a cluster in a kernel: all machines powered on at virtual time 0. Errors: the spec cannot be built.
type Builder func(k *sim.Kernel, s *spec.Cluster) (shell.Cluster, error)

// Options say how to run a scenario.
type Options struct {
	Seed  *uint64       // nil: the scenario's
	Until time.Duration // ends the run early; 0: not
	Build Builder       // nil: Build
	// Progress is called every thousand events or so with the time since the start, negative before it; false ends the
	// run with ErrInterrupted. nil: none.
	Progress func(t time.Duration) bool
	// Quiet leaves the events out of the Result.
	Quiet bool
	// AllEvents puts every event of the trace into the Result, not only the story with its causes.
	AllEvents bool
}

// ErrInterrupted is the error of a run that Progress ended.
var ErrInterrupted = errors.New("interrupted")

// Run is a scenario being run. Its methods are for whoever drives it step by step; Play drives it to the end.
type Run struct {
	Scenario *Scenario
	Kernel   *sim.Kernel
	Cluster  shell.Cluster
	Start    sim.Time // time zero of the scenario, once Prepare has returned
	Seed     uint64

	options    Options
	scope      *sim.Scope
	world      truth.World
	language   *condition.Language
	observer   *condition.Observer
	trackers   []*tracker
	boundaries []boundary // in the order of time
	steps      *sequence
	probes     []*probe
	sessions   map[string]*shell.Session
	seen       uint64 // Changes.Total at the last look
	clocked    bool   // some condition looks at t
	floor      time.Duration
	counted    int
	started    bool
	bundle     []bundledName
}

// Play runs a scenario from power-on to its end. An error means that it could not be run or that the simulator failed;
// what expectations say is in the Result. The kernel stays readable in the Run.
func Play(s *Scenario, options Options) (*Run, *Result, error) {
	r, err := NewRun(s, options)
	if err != nil {
		return nil, nil, err
	}
	defer r.Kernel.Close()
	if err := r.Prepare(); err != nil {
		return r, nil, err
	}
	for !r.Ended() {
		if err := r.Step(); err != nil {
			return r, nil, err
		}
	}
	return r, r.Finish(), nil
}

// NewRun builds the cluster and puts the scenario's files on its machines. Nothing has run yet.
func NewRun(s *Scenario, options Options) (*Run, error) {
	seed := or(s.Seed, 1)
	if options.Seed != nil {
		seed = *options.Seed
	}
	build := options.Build
	if build == nil {
		build = Build
	}
	k := sim.New(seed)
	r := &Run{Scenario: s, Kernel: k, Seed: seed, options: options, sessions: map[string]*shell.Session{}}
	r.scope = k.Root().Child("scenario").Label("", "scenario")
	k.Because(r.scope.Emit(sim.Event{Level: sim.Story, Reason: "Starting", Object: "scenario/" + s.Name,
		Message: "all machines are powered on"}))
	var err error
	if r.Cluster, err = build(k, s.Spec); err != nil {
		return nil, err
	}
	r.world = r.Cluster.World()
	if err := r.placeFiles(); err != nil {
		return nil, err
	}
	return r, r.bind()
}

// bind compiles the conditions for this run.
func (r *Run) bind() error {
	s := r.Scenario
	r.language = condition.New(s.names())
	r.observer = r.language.Bind(&condition.Observer{World: r.world, Now: r.Now, Traffic: r.trafficViews})
	for i := range s.Expect {
		if err := r.track(&s.Expect[i], 0); err != nil {
			return err
		}
	}
	for i := range s.Grade {
		if err := r.track(&s.Grade[i].Expectation, s.Grade[i].Points); err != nil {
			return err
		}
	}
	slices.SortStableFunc(r.boundaries, func(a, b boundary) int {
		return cmp.Or(
			cmp.Compare(a.at, b.at),
			map[bool]int{true: -1, false: 1}[a.before]-map[bool]int{true: -1, false: 1}[b.before],
		)
	})
	r.steps = &sequence{run: r}
	return nil
}

func (r *Run) track(e *Expectation, points int) error {
	t, err := newTracker(e, points, r.language)
	if err != nil {
		return err
	}
	r.clocked = r.clocked || t.cond.Clock
	r.trackers = append(r.trackers, t)
	r.boundaries = append(r.boundaries, t.boundaries(r.observer)...)
	return nil
}

// Now returns the time since the start.
func (r *Run) Now() time.Duration { return max(r.Kernel.Now().Sub(r.Start), r.floor) }

// Ended reports whether the run is over.
func (r *Run) Ended() bool {
	end, known := r.End()
	return known && len(r.boundaries) == 0 && r.floor >= end
}

// End returns when the run ends; known is false while a step is to come whose time is not known.
func (r *Run) End() (end time.Duration, known bool) {
	end, known = r.steps.end()
	if until := r.options.Until; until > 0 && (!known || until < end) {
		return until, true
	}
	return end, known
}

// Step runs one event of the simulation, or opens or closes a window of an expectation.
func (r *Run) Step() error {
	at, more := r.Kernel.NextAt()
	next := at.Sub(r.Start)
	if len(r.boundaries) > 0 {
		b := r.boundaries[0]
		if end, known := r.End(); known && b.at > end {
			r.boundaries = nil
			return nil
		}
		if !more || next > b.at || b.before && next >= b.at {
			r.boundaries = r.boundaries[1:]
			r.floor = max(r.floor, b.at)
			b.fire(r.Now())
			return nil
		}
	}
	if end, known := r.End(); known && (!more || next > end) {
		r.boundaries, r.floor = nil, max(r.floor, end)
		return nil
	}
	if !more {
		return fmt.Errorf("nothing more can happen at %s, and the scenario has not ended", r.Kernel.Now())
	}
	if _, err := r.Kernel.Step(); err != nil {
		return err
	}
	r.look()
	return r.progress()
}

// look evaluates what may have changed with the last event.
func (r *Run) look() {
	total := r.world.Changes().Total
	if total == r.seen && !r.clocked && r.steps.waiting == nil {
		return
	}
	changed := total != r.seen
	r.seen = total
	now := r.Now()
	for _, t := range r.trackers {
		if t.open && !t.decided && (changed || t.cond.Clock) {
			t.look(r.observer, now)
		}
	}
	r.steps.look(changed)
}

func (r *Run) progress() error {
	const every = 1024 // chosen: often enough for a person, seldom enough to cost nothing
	if r.options.Progress == nil {
		return nil
	}
	if r.counted++; r.counted%every != 0 {
		return nil
	}
	if !r.options.Progress(r.Kernel.Now().Sub(r.Start)) {
		return ErrInterrupted
	}
	return nil
}

// Session returns the shell on a machine, always the same.
func (r *Run) Session(machine string) *shell.Session {
	s := r.sessions[machine]
	if s == nil {
		s = shell.NewSession(r.Cluster, machine)
		r.sessions[machine] = s
	}
	return s
}

// Finish judges the run and returns its Result.
func (r *Run) Finish() *Result {
	end, _ := r.End()
	_, natural := r.steps.end()
	early := r.options.Until > 0 && (!natural || func() bool { e, _ := r.steps.end(); return r.options.Until < e }())
	result := &Result{
		Scenario:     r.Scenario.Name,
		Seed:         r.Seed,
		Kubernetes:   r.Scenario.Spec.Kubernetes,
		Duration:     seconds(end),
		Verdict:      Pass,
		Steps:        r.steps.results(),
		Expectations: []ExpectationResult{},
		Traffic:      []TrafficResult{},
		Events:       []EventResult{},
	}
	for _, t := range r.trackers {
		switch {
		case t.decided:
		case early:
			t.decide(Open, end, "the run was ended at %s", Clock(end))
		default:
			t.closes(r.observer, end)
		}
		result.Expectations = append(result.Expectations, t.result)
	}
	result.Expectations = append(result.Expectations, r.steps.problems...)
	for _, e := range result.Expectations {
		if e.Verdict == Fail {
			result.Verdict = Fail
		}
	}
	for _, p := range r.probes {
		v := p.view(end)
		result.Traffic = append(result.Traffic, TrafficResult{p.spec.Name, v.OK, v.Failed, seconds(v.LongestOutage),
			p.spec.Service != "", p.met.finish(end)})
	}
	if !r.options.Quiet {
		result.Events = Events(r.Kernel.Trace(), r.Start, r.options.AllEvents)
	}
	result.Digest = r.Kernel.Trace().Digest()
	return result
}
