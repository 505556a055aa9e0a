package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ksim/cmd/ksim/report"
	"ksim/scenarios/source"
)

type whyOptions struct {
	scenario, object string
	at               time.Duration
	seed             uint64
	seedGiven        bool
	set              []string
	output           string
	verbose          bool
	color            string
}

func newWhyCmd(s *streams, runF func(*streams, *whyOptions) error) *cobra.Command {
	o := &whyOptions{}
	c := &cobra.Command{
		Use:   "why <scenario> <object>",
		Short: "Explain what happened to an object: the chain of causes",
		Long: paragraphs(`
Run a scenario and walk back from the last event of an object, or the last before --at, from effect to cause, down to
what the outside world did. Waits are shown with their length and the setting that made them so long.

Objects are named as in the report: pod/default/web-1, node/worker-1, machine/cp-1. pod/web-1, web-1 or the beginning of
a name will do where it is clear.`),
		Example: examples("Why was that pod deleted?", "ksim why node-failure pod/default/lonely",
			"What had happened to the node after three minutes?", "ksim why node-failure node/worker-1 --at 3m"),
		Args:              wants(2, 2),
		ValidArgsFunction: completeScenarios,
		RunE: func(c *cobra.Command, args []string) error {
			o.scenario, o.object, o.seedGiven = args[0], args[1], c.Flags().Changed("seed")
			if !c.Flags().Changed("at") {
				o.at = -1
			} else if o.at < 0 {
				return usageErrorf("--at: %s, want a time since the start", o.at)
			}
			return runF(s, o)
		},
	}
	f := c.Flags()
	f.DurationVar(&o.at, "at", 0, "the last event up to this virtual time (default: the end)")
	f.Uint64Var(&o.seed, "seed", 0, "seed of all randomness (default: the scenario's)")
	f.StringArrayVar(&o.set, "set", nil, "`param=value` of the scenario's params; may be repeated")
	f.StringVarP(&o.output, "output", "o", "text", "format: text or json")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "every event of the chain, the quiet ones too")
	f.StringVar(&o.color, "color", "auto", "colour: auto, always or never")
	completeValues(c, "output", textOrJSON)
	completeValues(c, "color", colorValues)
	return c
}

// whyDocument is `ksim why -o json`: the chain, the event asked about first.
type whyDocument struct {
	Scenario string    `json:"scenario"`
	Seed     uint64    `json:"seed"`
	Object   string    `json:"object"`
	Chain    []whyLink `json:"chain"`
}

type whyLink struct {
	Seq       uint64  `json:"seq"`
	T         float64 `json:"t"`
	After     float64 `json:"after"` // seconds from this event to the one it explains
	Cause     uint64  `json:"cause"`
	Machine   string  `json:"machine,omitempty"`
	Component string  `json:"component,omitempty"`
	Reason    string  `json:"reason"`
	Object    string  `json:"object"`
	Message   string  `json:"message,omitempty"`
	Setting   string  `json:"setting,omitempty"` // of the wait that began here
	Waited    float64 `json:"waited,omitempty"`
	Step      string  `json:"step,omitempty"` // the command that did it
}

func runWhy(s *streams, o *whyOptions) error {
	if err := checkFormat(o.output, textOrJSON); err != nil {
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
	loaded, err := load([]string{o.scenario}, set...)
	if err != nil {
		return err
	}
	seed := seedOf(loaded[0])
	if o.seedGiven {
		seed = o.seed
	}
	jobs := []*job{{scenario: loaded[0], word: o.scenario, seed: seed}}
	runJobs(s, jobs, &simulateOptions{quiet: true})
	if jobs[0].err != nil {
		return internalError(jobs[0].err)
	}
	run := jobs[0].outcome.report
	object, err := subject(run, o.object)
	if err != nil {
		return err
	}
	event, ok := report.EventOf(run, object, o.at)
	if !ok {
		return usageErrorf("nothing had happened to %s by %s", object, o.at)
	}
	links := report.Why(run, event.Seq, o.verbose)
	if o.output == "json" {
		return writeJSON(s.out, whyJSON(run, object, links))
	}
	report.WhyText(s.out, run, links, style)
	return nil
}

// subject finds the one object that a person means.
func subject(run *report.Run, name string) (string, error) {
	subjects := report.Subjects(run)
	found := report.FindSubject(name, subjects)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return "", usageErrorf("no object %q in this run%s%s", name, source.Suggest(name, subjects), examplesOf(subjects))
	}
	best, ok := report.MostTold(run, found)
	if ok {
		return best, nil
	}
	const most = 12
	shown := found[:min(len(found), most)]
	more := ""
	if len(found) > most {
		more = fmt.Sprintf(" and %d more", len(found)-most)
	}
	return "", usageErrorf("%q may be any of %s%s", name, strings.Join(shown, ", "), more)
}

// examplesOf names some objects that exist.
func examplesOf(subjects []string) string {
	var some []string
	seen := map[string]int{}
	for _, object := range subjects {
		kind, _, _ := strings.Cut(object, "/")
		if seen[kind]++; seen[kind] <= 2 && (kind == "pod" || kind == "node" || kind == "machine") {
			some = append(some, object)
		}
	}
	if len(some) == 0 {
		return ""
	}
	return "; there are, among others: " + strings.Join(some, ", ")
}

func whyJSON(run *report.Run, object string, links []report.Link) whyDocument {
	document := whyDocument{Scenario: run.Name, Seed: run.Seed, Object: object, Chain: []whyLink{}}
	for _, l := range links {
		e := l.Event
		document.Chain = append(document.Chain, whyLink{Seq: uint64(e.Seq), T: l.T.Seconds(), After: l.After.Seconds(),
			Cause: uint64(e.Cause), Machine: e.Machine, Component: e.Component, Reason: e.Reason, Object: e.Object,
			Message: e.Message, Setting: l.Setting, Waited: l.Waited.Seconds(), Step: report.StepOf(run, e)})
	}
	return document
}
