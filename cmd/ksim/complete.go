package main

import (
	"github.com/spf13/cobra"

	"ksim/scenarios"
)

// completeScenarios offers the built-in scenarios; a shell adds files by itself.
func completeScenarios(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return scenarios.Builtins(), cobra.ShellCompDirectiveDefault
}

// completeValues offers the values of a flag that has a few.
func completeValues(c *cobra.Command, flag string, values []string) {
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the flag does not exist: a mistake in this program
	}
}
