package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ksim/scenarios"
)

// listed is a row of `ksim list`.
type listed struct {
	Name   string   `json:"name"`
	Level  string   `json:"level"`
	Title  string   `json:"title"`
	Claims []string `json:"claims"`
}

func newListCmd(s *streams) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the built-in scenarios",
		Long: paragraphs(`
List the built-in scenarios: name, level, title, and the claims that they demonstrate (docs/claims.md).`),
		Example: examples("What is there to run?", "ksim list",
			"The same, for a program", "ksim list -o json"),
		Args: wants(0, 0),
		RunE: func(*cobra.Command, []string) error { return runList(s, output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "format: text or json")
	completeValues(c, "output", textOrJSON)
	return c
}

func runList(s *streams, output string) error {
	if err := checkFormat(output, textOrJSON); err != nil {
		return err
	}
	rows := []listed{}
	for _, name := range scenarios.Builtins() {
		from, err := scenarios.Builtin(name)
		if err != nil {
			return internalError(err)
		}
		scenario, err := scenarios.Parse(from)
		if err != nil {
			return internalError(fmt.Errorf("the built-in scenario %s: %w", name, err))
		}
		claims := append([]string{}, scenario.Claims...)
		rows = append(rows, listed{name, cmp.Or(scenario.Level, "beginner"), scenario.Title, claims})
	}
	if output == "json" {
		return writeJSON(s.out, rows)
	}
	if !s.outTerm {
		for _, r := range rows {
			fmt.Fprintf(s.out, "%s\t%s\t%s\t%s\n", r.Name, r.Level, r.Title, strings.Join(r.Claims, ","))
		}
		return nil
	}
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NAME\tLEVEL\tTITLE\tCLAIMS")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Name, r.Level, r.Title, strings.Join(r.Claims, " "))
	}
	return table.Flush()
}
