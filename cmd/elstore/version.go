package main

import (
	"strings"

	"github.com/spf13/cobra"
)

func newVersionCommand(c *cli) *cobra.Command {
	var own bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of this program and of the server",
		Long:  "Print the version of this program and that of the server, with the versions of the API that it answers.",
		Example: `  elstore version
  elstore version --own`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if own {
				if c.json {
					return printJSON(cmd, map[string]string{"client": version})
				}
				return printf(cmd, "elstore version %s\n", version)
			}
			cl, err := c.connect()
			if err != nil {
				return err
			}
			v, err := cl.Version(cmd.Context())
			switch {
			case err != nil:
				return err
			case c.json:
				return printJSON(cmd, map[string]any{"client": version, "server": v})
			}
			return fields(cmd.OutOrStdout(), "Client", version, "Server", v.Version, "At", cl.BaseURL(), "API", strings.Join(v.APIs, ", "))
		},
	}
	cmd.Flags().BoolVar(&own, "own", false, "only of this program; no server is asked")
	return cmd
}
