package main

import "github.com/spf13/cobra"

func newShowCmd(s *streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show <scenario>",
		Short: "Print a scenario's file, to read or to copy",
		Long:  paragraphs(`Print a scenario's file as it was written: the best way to begin one of your own.`),
		Example: examples("Read a built-in scenario", "ksim show node-failure",
			"Begin one of your own", "ksim show node-failure > mine.yaml"),
		Args:              wants(1, 1),
		ValidArgsFunction: completeScenarios,
		RunE: func(_ *cobra.Command, args []string) error {
			from, err := find(args[0])
			if err != nil {
				return err
			}
			_, err = s.out.Write(from.Data)
			return err
		},
	}
}
