package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ksim/scenarios"
	"ksim/scenarios/source"
)

type lintOptions struct {
	files  []string
	set    []string
	output string
}

// lintReport is `ksim lint -o json` for one file.
type lintReport struct {
	File     string        `json:"file"`
	Valid    bool          `json:"valid"`
	Problems []lintProblem `json:"problems"`
	Warnings []lintProblem `json:"warnings"`
}

type lintProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func newLintCmd(s *streams) *cobra.Command {
	o := &lintOptions{}
	c := &cobra.Command{
		Use:   "lint <file>...",
		Short: "Check scenario files",
		Long: paragraphs(`
Check scenario files and run nothing. Every mistake is told with its place, what is wrong, and what is allowed. Warnings
are about what is accepted and has no effect; they do not change the exit status.`),
		Example: examples("Check a file", "ksim lint mine.yaml",
			"Check all files of a folder, for a program to read", "ksim lint -o json scenarios/*.yaml"),
		Args:              wants(1, -1),
		ValidArgsFunction: completeScenarios,
		RunE: func(_ *cobra.Command, args []string) error {
			o.files = args
			return runLint(s, o)
		},
	}
	c.Flags().StringVarP(&o.output, "output", "o", "text", "format: text or json")
	c.Flags().StringArrayVar(&o.set, "set", nil, "`param=value` of the scenario's params; may be repeated")
	completeValues(c, "output", textOrJSON)
	return c
}

func runLint(s *streams, o *lintOptions) error {
	if err := checkFormat(o.output, textOrJSON); err != nil {
		return err
	}
	set, err := parseSet(o.set)
	if err != nil {
		return err
	}
	reports := make([]lintReport, 0, len(o.files))
	status := error(nil)
	for _, file := range o.files {
		r := lintReport{File: file, Problems: []lintProblem{}, Warnings: []lintProblem{}}
		from, err := find(file)
		var scenario *scenarios.Scenario
		if err == nil {
			scenario, err = scenarios.Parse(from, set...)
		}
		if err != nil {
			status = &statusError{status: exitUsage}
		}
		r.add(err, scenario)
		reports = append(reports, r)
		if o.output == "text" {
			r.print(s, err)
		}
	}
	if o.output == "json" {
		if err := writeDocuments(s.out, "json", reports); err != nil {
			return err
		}
	}
	return status
}

func (r *lintReport) add(err error, scenario *scenarios.Scenario) {
	var problems *source.Problems
	switch {
	case err == nil:
		r.Valid = true
		for _, w := range scenario.Warnings {
			r.Warnings = append(r.Warnings, lintProblem{w.File, w.Line, w.Column, w.Message})
		}
	case errors.As(err, &problems):
		for _, p := range problems.List() {
			r.Problems = append(r.Problems, lintProblem{p.File, p.Line, p.Column, p.Message})
		}
	default:
		r.Problems = append(r.Problems, lintProblem{r.File, 1, 1, err.Error()})
	}
}

func (r *lintReport) print(s *streams, err error) {
	if err != nil {
		fmt.Fprintln(s.out, err)
		return
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(s.out, "%s:%d:%d: warning: %s\n", w.File, w.Line, w.Column, w.Message)
	}
	if s.outTerm && len(r.Warnings) == 0 {
		fmt.Fprintf(s.out, "%s is valid\n", r.File)
	}
}
