package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

func newWeightCommand() *cobra.Command {
	c := &overrideCommand{}
	cmd := &cobra.Command{
		Use:   "weight SERVICE ID N --reason REASON",
		Short: "Give an instance another share of the calls than it asks for",
		Long: `Override what an instance says of itself: callers give it the weight N, its share of the calls relative to the others, of
which each has 100 unless it says otherwise.

` + overrideHelp,
		Example: `  rollcall weight jie-test 10.0.0.7:50051 10 --reason 'warm it up gently' --for 10m
  rollcall weight jie-test 10.0.0.7:50051 200 --reason 'the bigger machine' --as jie`,
		Args: takes("SERVICE", "ID", "N"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[2])
			if err != nil || n < 1 {
				return &rollcall.InvalidError{Field: "N", Value: strconv.Quote(args[2]), Rule: "a weight is a whole number, 1 or more; 'rollcall drain' has nothing new sent to an instance"}
			}
			return c.run(cmd, args[0], args[1], func(o *rollcall.Override) { o.Weight = n })
		},
	}
	c.bind(cmd)
	completes(cmd, &c.connection, completeService, completeInstance)
	return cmd
}
