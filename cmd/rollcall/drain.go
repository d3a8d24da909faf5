package main

import (
	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

func newDrainCommand() *cobra.Command {
	c := &overrideCommand{}
	cmd := &cobra.Command{
		Use:   "drain SERVICE ID --reason REASON",
		Short: "Have nothing new sent to an instance, while it goes on living",
		Long: `Override what an instance says of itself: callers send it nothing new, as if it were draining. It is not told and goes on
living; calls that it has are finished.

` + overrideHelp,
		Example: `  rollcall drain jie-test 10.0.0.7:50051 --reason 'disk is failing'
  rollcall drain jie-test 10.0.0.7:50051 --reason 'heap dump' --for 10m --as jie`,
		Args: takes("SERVICE", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, args[0], args[1], func(o *rollcall.Override) { o.Drain = true })
		},
	}
	c.bind(cmd)
	completes(cmd, &c.connection, completeService, completeInstance)
	return cmd
}
