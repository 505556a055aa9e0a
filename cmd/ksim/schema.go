package main

import (
	"github.com/spf13/cobra"

	"ksim/scenarios"
)

func newSchemaCmd(s *streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the scenario format, for editors",
		Long: paragraphs(`
Print the JSON Schema of the scenario format. Editors that know it complete keys and mark mistakes while you write.`),
		Example: examples("Keep it beside your scenarios", "ksim schema > ksim.schema.json",
			"and name it in the first line of each, for editors with a YAML language server",
			"echo '# yaml-language-server: $schema=ksim.schema.json' > mine.yaml"),
		Args: wants(0, 0),
		RunE: func(*cobra.Command, []string) error {
			return writeJSON(s.out, scenarios.Schema())
		},
	}
}
