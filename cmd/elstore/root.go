package main

import (
	"github.com/spf13/cobra"
)

const rootHelp = `elstore keeps the volumes of virtual machines: ` + "`elstore serve`" + ` is the server, every other
command asks a running server, at --server, to do something.

  elstore serve --root ./mnt                          run a server
  elstore volume create web --size 10G                make a volume
  elstore volume list                                 list the volumes
  elstore export web                                  let a machine attach it
  elstore volume --help                               what can be done with volumes
`

// newRootCommand makes the command line.
func newRootCommand() *cobra.Command {
	c := &cli{}
	root := &cobra.Command{
		Use:           "elstore",
		Short:         "A storage server for virtual machines, and its client",
		Long:          rootHelp,
		Version:       version,
		Args:          func(cmd *cobra.Command, args []string) error { return nil },
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetVersionTemplate("elstore version {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SuggestionsMinimumDistance = 2
	flags := root.PersistentFlags()
	flags.StringVar(&c.server, "server", "", "address of the server (default $ELSTORE_SERVER, or http://127.0.0.1:7772)")
	flags.StringVar(&c.client, "client", "", "who you are: the id of a client (default $ELSTORE_CLIENT; see elstore help identity)")
	flags.StringVar(&c.tokenFile, "token-file", "", "file with the token to show (default $ELSTORE_TOKEN_FILE, or the token in $ELSTORE_TOKEN; see elstore help access)")
	flags.StringVar(&c.ca, "ca", "", "file with the certificate to know the server by (default $ELSTORE_CA, or the system's authorities)")
	flags.BoolVar(&c.json, "json", false, "print what the server answered, as JSON")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print ids only, and no progress")
	root.AddCommand(
		newVolumeCommand(c), newISOCommand(c), newCloudInitCommand(c), newExportCommand(c), newUnexportCommand(c), newMigrationCommand(c),
		newPoolCommand(c), newTrashCommand(c), newJobCommand(c), newEventsCommand(c), newTopCommand(c), newVersionCommand(c), newServeCommand(), newTargetCommand(),
		newDoctorCommand(c), newTokenCommand(c), newAuditCommand(c), newCertCommand(), newSupportBundleCommand(c), newManCommand(),
		topic("exit-codes", "What the exit codes mean", exitCodesHelp),
		topic("access", "Tokens and certificates: what a server may want to see", accessHelp),
		topic("identity", "Who you are, and how volumes are named", identityHelp),
		topic("sizes", "How sizes are written", sizesHelp),
	)
	return root
}

const identityHelp = `Every volume has an owner, its creator: a client's id of 32 hexadecimal digits.
--client says who you are, else the variable ELSTORE_CLIENT. Where neither is set
and the server is on this machine, you are

  ` + anybody + `

the client of the API's examples. A server elsewhere wants to be told.

You see your own volumes and those that are not private. Only the owner changes,
transfers and destroys a volume.

A volume is named by its id, by the first 4 or more digits of it, or by its name,
if nothing else that you can see bears it too.
`

// topic makes a page of help.
func topic(name, short, long string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Long: long}
}
