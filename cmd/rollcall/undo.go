package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

type undoCommand struct{ decision }

func newUndoCommand() *cobra.Command {
	c := &undoCommand{}
	cmd := &cobra.Command{
		Use:   "undo SERVICE ID",
		Short: "Take back what was decided about an instance by drain or weight",
		Long: `Take back what was decided about an instance by 'rollcall drain' or 'rollcall weight', both at once: what it says of itself
counts again. The instance need not be there. When nothing was decided there is nothing to do, and that is no failure.`,
		Example: `  rollcall undo jie-test 10.0.0.7:50051
  rollcall undo jie-test 10.0.0.7:50051 --reason 'the disk is replaced'`,
		Args: takes("SERVICE", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.author = cmp.Or(c.author, login()) // who is not known may take back, too
			return c.do(cmd, func(ctx context.Context, b backend) error {
				line, err := c.undo(ctx, b, args[0], args[1])
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
				}
				return err
			})
		},
	}
	c.bind(cmd)
	c.bindWords(cmd, "why, for the history")
	completes(cmd, &c.connection, completeService, completeInstance)
	return cmd
}

// undo says what it took back.
func (c *undoCommand) undo(ctx context.Context, b backend, service, id string) (string, error) {
	o, err := b.Override(ctx, service, id)
	_, garbage := errors.AsType[*storedError](err)
	what := ""
	switch now := time.Now(); {
	case errors.Is(err, rollcall.ErrNotFound) || err == nil && ended(o, now):
		return fmt.Sprintf("nothing was decided about %s/%s", service, cell(id)), nil
	case garbage:
		o.Revision, what = rollcall.AnyRevision, "an override that could not be read"
	case err != nil:
		return "", namedHere(err)
	default:
		what = overrideWords(o) + ", " + signature(o.Author, o.Reason, o.Since, now)
	}
	if err := b.DeleteOverride(ctx, service, id, o.Revision, rollcall.By{Author: c.author, Reason: c.reason}); err != nil {
		return "", again(err, fmt.Sprintf("rollcall get %s %s", service, shellWord(id)))
	}
	return fmt.Sprintf("undone for %s/%s: %s", service, cell(id), what), nil
}

// namedHere returns an error about an id with the name of the argument; where instances are registered it is a flag.
func namedHere(err error) error {
	for _, bad := range invalidErrors(err) {
		if bad.Field == "Instance.ID" {
			return &rollcall.InvalidError{Field: "ID", Value: bad.Value, Rule: bad.Rule}
		}
	}
	return err
}
