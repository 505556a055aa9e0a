package main

import (
	"fmt"
	"strings"
	"time"

	"ksim/cmd/ksim/report"
	"ksim/scenarios"
	"ksim/sim/cluster/spec"
)

// outcome is a finished run: for programs, and for people.
type outcome struct {
	result *scenarios.Result
	report *report.Run
}

// seedOf is the seed that a scenario runs with when none is asked for.
func seedOf(s *scenarios.Scenario) uint64 {
	if s.Seed != nil {
		return *s.Seed
	}
	return 1
}

// describe says what a cluster is made of: v1.36, 3 stacked control planes, 4 workers in zones a b c.
func describe(c *spec.Cluster) string {
	parts := []string{c.Kubernetes}
	switch {
	case c.Topology == spec.External:
		parts = append(parts, counted(c.ControlPlanes, "control plane"), counted(c.Etcd, "etcd machine"))
	case c.ControlPlanes == 1:
		parts = append(parts, "1 control plane")
	default:
		parts = append(parts, fmt.Sprintf("%d stacked control planes", c.ControlPlanes))
	}
	workers := counted(len(c.Workers), "worker")
	if len(c.Zones) > 0 {
		workers += " in " + plural(len(c.Zones), "zone") + " " + strings.Join(c.Zones, " ")
	}
	parts = append(parts, workers)
	if c.Install == spec.Systemd {
		parts = append(parts, "systemd")
	}
	return strings.Join(parts, ", ")
}

func counted(n int, noun string) string { return fmt.Sprintf("%d %s", n, plural(n, noun)) }

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// simulate runs a scenario with a seed. until ends it earlier, 0: at the scenario's own end. Its error means that ksim
// could not run it.
func simulate(s *scenarios.Scenario, seed uint64, o *simulateOptions) (*outcome, error) {
	began := time.Now()
	r, err := scenarios.NewRun(s, scenarios.Options{Seed: &seed, Until: o.until, Quiet: o.quiet, AllEvents: o.all,
		Progress: o.progress})
	if err != nil {
		return nil, err
	}
	defer r.Kernel.Close()
	if err := r.Prepare(); err != nil {
		return nil, err
	}
	recorder := report.NewRecorder(r.Cluster.World(), r.Start)
	for !r.Ended() {
		if err := r.Step(); err != nil {
			return nil, err
		}
		recorder.Look(r.Kernel.Now())
	}
	result := r.Finish()
	run := &report.Run{Name: s.Name, Title: s.Title, Lesson: s.Lesson, Cluster: describe(s.Spec), Seed: seed,
		Duration: lengthOf(result.Duration), Passed: result.Verdict != scenarios.Fail, Start: r.Start,
		Trace: r.Kernel.Trace().Events()}
	recorder.Fill(run)
	tellResult(run, result)
	run.Wall = time.Since(began)
	return &outcome{result, run}, nil
}

// simulateOptions say how to run, besides scenario and seed.
type simulateOptions struct {
	until    time.Duration
	all      bool // every event is wanted in the result
	quiet    bool // no event is
	progress func(time.Duration) bool
}

// tellResult puts into a report what the runner judged.
func tellResult(run *report.Run, result *scenarios.Result) {
	failed := map[string]string{} // steps
	for _, e := range result.Expectations {
		if step, ok := strings.CutPrefix(e.Name, "step "); ok && e.Verdict == scenarios.Fail {
			failed[step] = e.Detail
		}
		run.Expectations = append(run.Expectations, report.Expectation{Name: e.Name, Passed: e.Verdict != scenarios.Fail,
			Open: e.Verdict == scenarios.Open, T: lengthOf(e.T), Detail: e.Detail,
			Measured: e.Becoming})
	}
	for _, s := range result.Steps {
		run.Steps = append(run.Steps, report.Step{Name: s.Name, Command: s.Command, T: lengthOf(s.T), Exit: s.Exit,
			Stdout: s.Stdout, Stderr: s.Stderr, Failed: failed[s.Name]})
	}
	for i := range result.Traffic {
		run.Traffic = append(run.Traffic, trafficOf(&result.Traffic[i]))
	}
}

func trafficOf(t *scenarios.TrafficResult) report.Traffic {
	out := report.Traffic{Name: t.Name, Service: t.Service, OK: int64(t.OK), Failed: int64(t.Failed),
		LongestOutage: lengthOf(t.LongestOutage)}
	for i := range t.Spells {
		s := &t.Spells[i]
		spell := report.Spell{From: s.From, To: s.To, Open: s.Open, Sent: s.Sent, Failed: s.Failed, Gap: s.Gap}
		for _, f := range s.Failures {
			spell.Failures = append(spell.Failures, report.Failure(f))
		}
		out.Spells = append(out.Spells, spell)
	}
	return out
}

func lengthOf(s scenarios.Seconds) time.Duration {
	return time.Duration(float64(s) * float64(time.Second)).Round(time.Microsecond)
}

// document is what programs read of the run.
func (o *outcome) document() any { return o.result }
