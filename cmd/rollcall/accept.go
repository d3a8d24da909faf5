package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type acceptCommand struct{ decision }

func newAcceptCommand() *cobra.Command {
	c := &acceptCommand{}
	cmd := &cobra.Command{
		Use:   "accept SERVICE --reason REASON",
		Short: "Have every caller believe that the suspects of a service are gone",
		Long: `Have every caller believe the losses of a service that it doubts now: the suspects leave the views. When most instances of a
service expire at once, callers keep them for up to five minutes, since it is more likely that the registry failed than
that they all did; who knows better says so with this. What is lost later is doubted again.`,
		Example: `  rollcall accept jie-test --reason 'the rack is without power'`,
		Args:    takes("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.words(); err != nil {
				return err
			}
			return c.do(cmd, func(ctx context.Context, b backend) error {
				if err := b.Accept(ctx, args[0], c.reason, c.author); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "the losses of %s up to now are believed by every caller; later ones are doubted again\n", args[0])
				return err
			})
		},
	}
	c.bind(cmd)
	c.bindWords(cmd, reasonNeeded)
	completes(cmd, &c.connection, completeService)
	return cmd
}
