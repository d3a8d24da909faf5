package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rollcall COMMAND",
		Short: "Service registration and discovery for gRPC on etcd",
		Long: `rollcall is service registration and discovery for gRPC on etcd.

A service says "I am here" and keeps saying it; callers ask "who is there?" and are told the moment the answer changes.`,
		Example: `  rollcall server                               # an etcd of its own, on 127.0.0.1:2379
  rollcall register jie-test 127.0.0.1:50051    # be there until interrupted
  rollcall list                                 # which services are there
  rollcall watch jie-test                       # see instances come and go`,
		Version:       buildVersion(),
		SilenceErrors: true, // run prints them, once and with what to do next
		SilenceUsage:  true,
	}
	root.SetHelpCommand(newHelpCommand())
	root.AddCommand(
		newServerCommand(),
		newRegisterCommand(),
		newListCommand(),
		newWatchCommand(),
		newDemoCommand(),
		newVersionCommand(),
		newExitCodesTopic(),
	)
	return root
}

// newHelpCommand is cobra's, except that help about something unknown is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about a command or topic",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = fmt.Errorf("no help about %q", rest[0])
			}
			if err != nil {
				return &usageError{err}
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
