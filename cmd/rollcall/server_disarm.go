package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall/internal/server"
)

type disarmCommand struct {
	tending
	each           timeout
	compact, force bool
}

// disarmJSON is what "server disarm -o json" shows.
type disarmJSON struct {
	Alarms       []alarmJSON  `json:"alarms"`   // that there were
	Disarmed     []alarmJSON  `json:"disarmed"` // of them
	Compacted    int64        `json:"compacted,omitempty"`
	Defragmented []defragJSON `json:"defragmented,omitempty"`
}

type alarmJSON struct {
	Member string `json:"member"`
	ID     string `json:"id"`
	Alarm  string `json:"alarm"` // NOSPACE or CORRUPT
}

func newDisarmCommand() *cobra.Command {
	c := &disarmCommand{tending: newTending(), each: defragTimeout}
	cmd := &cobra.Command{
		Use:   "disarm",
		Short: "Have an etcd that was full take writes again",
		Long: `End the alarm NOSPACE, which etcd raises when its store reaches --quota: until then what is registered stays and nobody new can register.

There must be room again, a tenth of the quota in every member. --compact makes it: it forgets the past but for the last changes, and
defragments the members one by one. What is registered is not touched, only how it came to be: the history begins anew. Without room, or when all
of the store is in use, it says what to do; --force ends the alarm all the same, for as long as the room lasts.

The alarm CORRUPT is told and never ended by this: a member whose data is not that of the others must be replaced.

With -o json it prints an object with alarms and disarmed, arrays with the fields member, id and alarm, and with --compact also compacted, the revision
up to which the past is forgotten, and defragmented, as 'rollcall server defrag' prints it.`,
		Example: `  rollcall server disarm --compact`,
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd, "disarm", func(ctx context.Context, care *server.Care) error { return c.run(ctx, cmd, care) })
		},
	}
	c.bind(cmd)
	bindEach(cmd, &c.each)
	cmd.Flags().BoolVar(&c.compact, "compact", false, "make room first: forget the past, and defragment")
	cmd.Flags().BoolVar(&c.force, "force", false, "also without room, or without members that do not answer")
	return cmd
}

func (c *disarmCommand) run(ctx context.Context, cmd *cobra.Command, care *server.Care) error {
	waiting := newProgress(cmd.ErrOrStderr(), "disarming").every()
	r, err := care.Disarm(ctx, server.Disarming{Compact: c.compact, Force: c.force, Each: time.Duration(c.each)})
	waiting()
	if c.output == formatJSON {
		j := disarmJSON{Alarms: newAlarmsJSON(r.Alarms), Disarmed: newAlarmsJSON(r.Disarmed), Compacted: r.Compacted}
		for _, d := range r.Defragged {
			j.Defragmented = append(j.Defragmented, newDefragJSON(d))
		}
		if failed := printJSON(cmd.OutOrStdout(), j); err == nil {
			err = failed
		}
		return err
	}
	c.tell(cmd, r)
	if err == nil && len(r.Alarms) == 0 {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "no alarms")
	}
	return err
}

// tell says what was done, also when it did not help.
func (c *disarmCommand) tell(cmd *cobra.Command, r server.Recovery) {
	out := cmd.OutOrStdout()
	if r.Compacted > 0 {
		fmt.Fprintf(out, "compacted to revision %d\n", r.Compacted)
	}
	for _, d := range r.Defragged {
		fmt.Fprintln(out, gaveBack(d))
	}
	for _, a := range r.Disarmed {
		fmt.Fprintf(out, "disarmed %s of member %s\n", a.Kind, cell(a.Member.Word()))
	}
}

func newAlarmsJSON(alarms []server.Alarm) []alarmJSON {
	j := []alarmJSON{}
	for _, a := range alarms {
		j = append(j, alarmJSON{a.Member.Name, server.MemberID(a.Member.ID), a.Kind})
	}
	return j
}
