package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

type deregisterCommand struct{ decision }

func newDeregisterCommand() *cobra.Command {
	c := &deregisterCommand{}
	cmd := &cobra.Command{
		Use:   "deregister SERVICE ID --reason REASON",
		Short: "Remove an instance that is dead and stands there still",
		Long: `Remove what a dead or foreign writer left behind: an instance without a lease, or one whose lease nobody renews any more.

A live one is refused, with exit code 5: it would register again at once. To have nothing new sent to it, 'rollcall drain' it; to
have it gone, end its process.`,
		Example: `  rollcall deregister jie-test 10.0.0.7:50051 --reason 'the machine is gone'`,
		Args:    takes("SERVICE", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.words(); err != nil {
				return err
			}
			return c.do(cmd, func(ctx context.Context, b backend) error {
				_, err := b.RemoveDead(ctx, args[0], args[1], rollcall.By{Author: c.author, Reason: c.reason})
				switch {
				case errors.Is(err, rollcall.ErrAlive):
					return &aliveError{args[0], args[1]}
				case errors.Is(err, rollcall.ErrNotFound):
					return c.gone(ctx, b, args[0], args[1])
				case err != nil:
					return namedHere(err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s/%s\n", args[0], cell(args[1]))
				return err
			})
		},
	}
	c.bind(cmd)
	c.bindWords(cmd, reasonNeeded)
	completes(cmd, &c.connection, completeService, completeInstance)
	return cmd
}

// gone says that there is no such instance, and which there are.
func (c *deregisterCommand) gone(ctx context.Context, b backend, service, id string) error {
	view, err := b.Lookup(ctx, service)
	if err != nil {
		return err
	}
	if _, there := view.Get(id); there { // a suspect: etcd has it no more
		return &notFoundError{fmt.Sprintf("%s/%s is gone from etcd and a suspect: 'rollcall accept %s' has every caller believe it", service, cell(id), service)}
	}
	return c.noInstance(view, id)
}

// aliveError refuses to remove what would come back.
type aliveError struct{ service, id string }

func (e *aliveError) Error() string {
	return fmt.Sprintf("%s/%s is alive and would register again at once; 'rollcall drain %s %s' has nothing new sent to it",
		e.service, cell(e.id), e.service, shellWord(e.id))
}

func (e *aliveError) Is(target error) bool { return target == rollcall.ErrAlive }
