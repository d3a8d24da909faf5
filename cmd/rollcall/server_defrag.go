package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall/internal/server"
)

// defragTimeout is what each member has for it unless told otherwise: etcd does some hundred MiB a second.
const defragTimeout = timeout(2 * time.Minute)

type defragCommand struct {
	tending
	each  timeout
	force bool
}

// defragJSON is one member as "server defrag -o json" shows it.
type defragJSON struct {
	Member   string  `json:"member"`
	ID       string  `json:"id"`
	Endpoint string  `json:"endpoint"`
	Before   int64   `json:"before"` // bytes of the file
	After    int64   `json:"after"`
	Seconds  float64 `json:"seconds"`
}

func newDefragJSON(d server.Defragged) defragJSON {
	return defragJSON{d.Member.Name, server.MemberID(d.Member.ID), d.Member.Endpoint, d.Before, d.After, d.Took.Seconds()}
}

func newDefragCommand() *cobra.Command {
	c := &defragCommand{tending: newTending(), each: defragTimeout}
	cmd := &cobra.Command{
		Use:   "defrag",
		Short: "Give back the parts of etcd's file that hold nothing",
		Long: `Have each member of the cluster give back to the disk, and to its --quota, what its file holds no more. While a member does it serves nobody, for
some seconds per GiB; so they do one after the other, the one that leads last, and none begins before the one before it is back.

The members are found by what they tell of themselves; one that tells an address that is not reached from here must be named in --etcd. When one
does not answer nothing is done, unless --force leaves it out.

With -o json it prints an array of objects with the fields member, id, endpoint, before and after (bytes), and seconds.`,
		Example: `  rollcall server defrag
  rollcall server defrag --etcd 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd, "defrag", func(ctx context.Context, care *server.Care) error { return c.run(ctx, cmd, care) })
		},
	}
	c.bind(cmd)
	bindEach(cmd, &c.each)
	cmd.Flags().BoolVar(&c.force, "force", false, "leave out members that do not answer")
	return cmd
}

func bindEach(cmd *cobra.Command, each *timeout) {
	cmd.Flags().Var(each, "member-timeout", "what each member has to be defragmented and back, a `duration`; 0 waits without limit")
}

func (c *defragCommand) run(ctx context.Context, cmd *cobra.Command, care *server.Care) error {
	done := []defragJSON{}
	var err error
	waiting := newProgress(cmd.ErrOrStderr(), "defragmenting").every()
	defer waiting()
	for d, failed := range care.Defrag(ctx, time.Duration(c.each), c.force) {
		if failed != nil {
			err = failed
			break
		}
		done = append(done, newDefragJSON(d))
		if c.output != formatJSON {
			fmt.Fprintln(cmd.OutOrStdout(), gaveBack(d))
		}
	}
	if c.output == formatJSON {
		if failed := printJSON(cmd.OutOrStdout(), done); err == nil {
			err = failed
		}
	}
	return err
}

// gaveBack says to a person what a member gave back.
func gaveBack(d server.Defragged) string {
	return fmt.Sprintf("member %s at %s: %s, now %s, in %s", cell(d.Member.Word()), d.Member.Endpoint,
		server.Bytes(d.Before), server.Bytes(d.After), lasting(d.Took.Round(time.Millisecond)))
}
