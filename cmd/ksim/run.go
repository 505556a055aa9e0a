package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"ksim/cmd/ksim/memory"
	"ksim/cmd/ksim/report"
	"ksim/scenarios"
)

type runOptions struct {
	scenarios   []string
	seed        uint64
	seedGiven   bool
	runs        int
	output      string
	set         []string
	until       time.Duration
	html, junit string
	verbose     bool
	color       string
}

func newRunCmd(s *streams, runF func(*streams, *runOptions) error) *cobra.Command {
	o := &runOptions{}
	c := &cobra.Command{
		Use:   "run <scenario>...",
		Short: "Run scenarios in virtual time and report",
		Long: paragraphs(`
Run scenarios - built-in ones by name (see ksim list), your own by file - and tell what happened: when, to whom, and the
setting that decided it; then whether what the scenario expects has held.

Everything is checked before anything runs. The same scenario, seed and version give the same trace, always. Durations
are virtual.`),
		Example: examples("A worker dies: watch its pods move", "ksim run node-failure",
			"How much does the seed change?", "ksim run node-failure --runs 50",
			"Your own scenario, for a program to read", "ksim run mine.yaml -o json",
			"A page with the timeline drawn", "ksim run quorum-loss --html quorum-loss.html"),
		Args:              wants(1, -1),
		ValidArgsFunction: completeScenarios,
		RunE: func(c *cobra.Command, args []string) error {
			o.scenarios, o.seedGiven = args, c.Flags().Changed("seed")
			return runF(s, o)
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.seed, "seed", 0, "seed of all randomness (default: the scenario's)")
	f.IntVar(&o.runs, "runs", 1, "run with this many seeds, one after another, and report the spread")
	f.StringVarP(&o.output, "output", "o", "text", "format: text, json, jsonl or yaml")
	f.StringArrayVar(&o.set, "set", nil, "`param=value` of the scenario's params; may be repeated")
	f.DurationVar(&o.until, "until", 0, "end at this virtual time at the latest")
	f.StringVar(&o.html, "html", "", "also write a page with the timeline drawn to this `file`")
	f.StringVar(&o.junit, "junit", "", "also write JUnit XML to this `file`")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "every trace event, not only the story")
	f.StringVar(&o.color, "color", "auto", "colour: auto, always or never")
	completeValues(c, "output", runFormats)
	completeValues(c, "color", colorValues)
	return c
}

// check finds what is wrong with the flags themselves.
func (o *runOptions) check() error {
	if err := checkFormat(o.output, runFormats); err != nil {
		return err
	}
	if o.runs < 1 {
		return usageErrorf("--runs: %d, want at least 1", o.runs)
	}
	if o.until < 0 {
		return usageErrorf("--until: %s, want a time after the start", o.until)
	}
	for flag, path := range map[string]string{"html": o.html, "junit": o.junit} { // any order: at most one is wrong
		if path == "" {
			continue
		}
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return usageErrorf("--%s: %s: no such folder", flag, filepath.Dir(path))
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return usageErrorf("--%s: %s is a directory", flag, path)
		}
	}
	return nil
}

// job is one scenario with one seed, and what came of it.
type job struct {
	scenario *scenarios.Scenario
	word     string // as it was typed
	seed     uint64
	outcome  *outcome
	err      error
}

func runRun(s *streams, o *runOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	style, err := s.style(o.color)
	if err != nil {
		return err
	}
	set, err := parseSet(o.set)
	if err != nil {
		return err
	}
	loaded, err := load(o.scenarios, set...)
	if err != nil {
		return err
	}
	var jobs []*job
	for i, scenario := range loaded {
		for _, w := range scenario.Warnings {
			s.note("%s:%d:%d: warning: %s", w.File, w.Line, w.Column, w.Message)
		}
		seed := seedOf(scenario)
		if o.seedGiven {
			seed = o.seed
		}
		for n := range o.runs {
			jobs = append(jobs, &job{scenario: scenario, word: o.scenarios[i], seed: seed + uint64(n)})
		}
	}
	began := time.Now()
	quiet := o.runs > 1 && o.output != "jsonl" && !o.verbose // hundreds of traces in one document are no help
	runJobs(s, jobs, &simulateOptions{until: o.until, all: o.verbose, quiet: quiet})
	wall := time.Since(began)
	for _, j := range jobs {
		if j.err != nil {
			return internalError(fmt.Errorf("%s with seed %d: %w", j.scenario.Name, j.seed, j.err))
		}
	}
	if err := writeFiles(o, jobs); err != nil {
		return err
	}
	if o.output == "text" {
		writeText(s, o, jobs, style, wall)
	} else if err := writeMachine(s, o, jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		if !j.outcome.report.Passed {
			return errVerdict
		}
	}
	return nil
}

// runJobs runs all, side by side on all cores. A progress line shows while that takes longer than a second.
func runJobs(s *streams, jobs []*job, o *simulateOptions) {
	var next, done atomic.Int64
	var at atomic.Int64 // virtual time, of a single run
	stop := s.progress(func() string {
		if len(jobs) == 1 {
			return fmt.Sprintf("%s: at %s", jobs[0].scenario.Name, scenarios.Clock(time.Duration(at.Load())))
		}
		return fmt.Sprintf("%s: %d of %d runs done", jobs[0].scenario.Name, done.Load(), len(jobs))
	})
	keeper := memory.Keep()
	o.progress = func(t time.Duration) bool {
		at.Store(int64(max(t, 0)))
		keeper.Look()
		return true
	}
	defer stop()
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(jobs)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) {
					return
				}
				j := jobs[i]
				if j.outcome, j.err = simulate(j.scenario, j.seed, o); j.err == nil {
					j.outcome.report.Source = j.word
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
}

// progress shows a line that changes, on a terminal, from the first second on. stop ends it and wipes it away.
func (s *streams) progress(line func() string) (stop func()) {
	if !s.errTerm {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		began := time.Now()
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		shown := false
		for {
			select {
			case <-quit:
				if shown {
					fmt.Fprint(s.err, "\r\x1b[K")
				}
				return
			case <-ticker.C:
				shown = true
				fmt.Fprintf(s.err, "\r\x1b[K%s, %.0f s", line(), time.Since(began).Seconds())
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

func writeText(s *streams, o *runOptions, jobs []*job, style report.Style, wall time.Duration) {
	for i := 0; i < len(jobs); i += o.runs {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		if o.runs > 1 {
			report.SpreadText(s.out, reports(jobs[i:i+o.runs]), wall, style)
			continue
		}
		if o.verbose {
			report.WriteEvents(s.out, jobs[i].outcome.report, style)
			fmt.Fprintln(s.out)
		}
		report.Text(s.out, jobs[i].outcome.report, style)
	}
}

func reports(jobs []*job) []*report.Run {
	var runs []*report.Run
	for _, j := range jobs {
		runs = append(runs, j.outcome.report)
	}
	return runs
}

// sweep is the document of several runs of one scenario.
type sweep struct {
	Scenario string          `json:"scenario"`
	Seed     uint64          `json:"seed"`
	Runs     int             `json:"runs"`
	Verdict  string          `json:"verdict"`
	Passed   int             `json:"passed"`
	Figures  []report.Figure `json:"figures"`
	Results  []any           `json:"results"`
}

// writeMachine writes what programs read. Several runs of a scenario are one document with the spread of every figure;
// as JSON lines, and for one run each, every run is a document of its own.
func writeMachine(s *streams, o *runOptions, jobs []*job) error {
	var documents []any
	for i := 0; i < len(jobs); i += o.runs {
		group := jobs[i : i+o.runs]
		if o.runs == 1 || o.output == "jsonl" {
			for _, j := range group {
				documents = append(documents, j.outcome.document())
			}
			continue
		}
		all := sweep{Scenario: group[0].scenario.Name, Seed: group[0].seed, Runs: o.runs, Verdict: "pass",
			Figures: report.Spread(reports(group))}
		for _, j := range group {
			if j.outcome.report.Passed {
				all.Passed++
			} else {
				all.Verdict = "fail"
			}
			all.Results = append(all.Results, j.outcome.document())
		}
		documents = append(documents, all)
	}
	return writeDocuments(s.out, o.output, documents)
}

// writeFiles writes the pages asked for beside the answer.
func writeFiles(o *runOptions, jobs []*job) error {
	if o.html != "" {
		var page bytes.Buffer
		if err := report.HTML(&page, told(jobs, o.runs)); err != nil {
			return internalError(err)
		}
		if err := os.WriteFile(o.html, page.Bytes(), 0o644); err != nil {
			return usageErrorf("--html: %v", err)
		}
	}
	if o.junit != "" {
		var suites bytes.Buffer
		if err := report.JUnit(&suites, reports(jobs)); err != nil {
			return internalError(err)
		}
		if err := os.WriteFile(o.junit, suites.Bytes(), 0o644); err != nil {
			return usageErrorf("--junit: %v", err)
		}
	}
	return nil
}

// told chooses, of each scenario's runs, the one that a page shows: the first that failed, else the first.
func told(jobs []*job, runs int) []*report.Run {
	var chosen []*report.Run
	for i := 0; i < len(jobs); i += runs {
		best := jobs[i]
		for _, j := range jobs[i : i+runs] {
			if best.outcome.report.Passed && !j.outcome.report.Passed {
				best = j
			}
		}
		chosen = append(chosen, best.outcome.report)
	}
	return chosen
}
