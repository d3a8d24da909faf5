package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

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
  rollcall watch jie-test                       # see instances come and go
  rollcall drain jie-test 127.0.0.1:50051 --reason 'disk is failing' --for 10m`,
		Version:       buildVersion(),
		SilenceErrors: true, // run prints them, once and with what to do next
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &usageError{errors.New(parseBool.ReplaceAllString(err.Error(), ": it is true or false"))}
	})
	root.SetHelpCommand(newHelpCommand())
	root.AddCommand(
		newServerCommand(),
		newMemberCommand(),
		newRegisterCommand(),
		newRunCommand(),
		newDeregisterCommand(),
		newListCommand(),
		newGetCommand(),
		newWatchCommand(),
		newHistoryCommand(),
		newDiffCommand(),
		newStatusCommand(),
		newDoctorCommand(),
		newXdsCommand(),
		newDrainCommand(),
		newWeightCommand(),
		newUndoCommand(),
		newPolicyCommand(),
		newAcceptCommand(),
		newDemoCommand(),
		newVersionCommand(),
		newExitCodesTopic(),
	)
	return root
}

// parseBool is what Go says of a flag with a value that takes none.
var parseBool = regexp.MustCompile(`: strconv\.ParseBool: .*`)

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

// takes accepts one argument for each name; one in brackets may be left out.
func takes(names ...string) cobra.PositionalArgs {
	needed := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.HasPrefix(name, "[") })
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) > len(names):
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		case len(args) < len(needed) && len(needed) == 1:
			return fmt.Errorf("%s is needed", needed[0])
		case len(args) < len(needed):
			return fmt.Errorf("%s are needed", strings.Join(needed, " and "))
		}
		return nil
	}
}
