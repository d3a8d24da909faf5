package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

type watchCommand struct {
	connection
	timeout timeout
	output  format
}

func newWatchCommand() *cobra.Command {
	c := &watchCommand{timeout: answerTimeout, output: formatTable}
	cmd := &cobra.Command{
		Use:   "watch SERVICE",
		Short: "See the instances of a service come and go",
		Long: `See the instances of a service come and go, until interrupted: first those that are there, then one line per change.
An instance joined, changed, left (said goodbye) or expired (did not: its TTL ran out, or somebody removed its key).

It becomes a suspect when that is doubtful: within one TTL more than half of the instances, and at least three, expired, or
etcd was wiped or restored. Then etcd is more likely to be at fault than all of them, and they may well be alive. A suspect
stays, with the op and the state suspect and in JSON "suspect": true, until it is heard of again (changed), says goodbye
(left), five minutes are over (expired), or 'rollcall accept' says that it is gone (expired).

An instance changes also by what an operator decides about it, which is shown as in 'rollcall list'; its time being up is
such a change.

With -o json each line is one object: time (UTC, when it was seen), op, and the instance's fields as in 'rollcall list'.
When etcd goes out of reach or comes back that is said on standard error; nothing is taken back meanwhile.`,
		Example: `  rollcall watch jie-test
  rollcall watch jie-test -o json | jq -r 'select(.op == "expired").id'`,
		Args: takes("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0]) },
	}
	c.bind(cmd)
	cmd.Flags().Var(&c.timeout, "timeout", timeoutHelp+"; only for the first answer")
	cmd.Flags().VarP(&c.output, "output", "o", "output `format`: table or json")
	return cmd
}

func (c *watchCommand) run(cmd *cobra.Command, service string) error {
	ctx := cmd.Context()
	b, err := c.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeBackend(ctx, b)
	w := b.Watch(service)
	defer w.Close()

	view, err := firstView(ctx, w, c.timeout)
	if err != nil {
		return err
	}
	out := &updatePrinter{w: cmd.OutOrStdout(), talk: cmd.ErrOrStderr(), format: c.output, service: service}
	if err := out.begin(len(view.Instances)); err != nil {
		return err
	}
	for {
		if err := out.print(view, time.Now()); err != nil {
			return err
		}
		if view, err = w.Next(ctx); err != nil {
			return err
		}
	}
}

// firstView is w's first Next, within the limit.
func firstView(ctx context.Context, w watcher, limit timeout) (*rollcall.View, error) {
	ctx, cancel := limit.bound(ctx)
	defer cancel()
	return w.Next(ctx)
}

// updatePrinter prints what views bring, line by line.
type updatePrinter struct {
	w, talk io.Writer
	format  format
	service string
	stale   bool             // that etcd is out of reach was said
	policy  *rollcall.Policy // the one that was shown last
}

// updateLine has fixed widths: a line cannot wait for those that will come.
const updateLine = "%-8s  %-7s  %-21s  %-21s  %-8s  %6s  %-8s  %-8s  %s\n"

func (p *updatePrinter) begin(instances int) error {
	if instances == 0 {
		fmt.Fprintf(p.talk, "no instances of %s yet\n", p.service)
	}
	if p.format == formatJSON {
		return nil
	}
	return p.printLine("TIME", "OP", instanceHeads)
}

func (p *updatePrinter) print(view *rollcall.View, now time.Time) error {
	p.printCondition(view, now)
	p.printPolicy(view.Policy)
	for _, u := range view.Updates {
		var err error
		if p.format == formatJSON {
			err = printJSON(p.w, updateJSON{Time: now.UTC(), Op: opWord(u), instanceJSON: newInstanceJSON(p.service, u.Instance)})
		} else {
			err = p.printLine(now.Format(time.TimeOnly), opWord(u), instanceCells(u.Instance))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *updatePrinter) printLine(when, op string, cells []string) error {
	values := []any{when, op}
	for _, c := range cells {
		values = append(values, c)
	}
	_, err := fmt.Fprintf(p.w, updateLine, values...)
	return err
}

// printCondition says once that what is shown may be old, and once that it is current again.
func (p *updatePrinter) printCondition(view *rollcall.View, now time.Time) {
	if view.Reset {
		fmt.Fprintln(p.talk, "etcd's history broke, as by a wipe or a restore; what follows is what it holds now")
	}
	if stale := !view.StaleSince.IsZero(); stale != p.stale {
		p.stale = stale
		if stale {
			fmt.Fprintf(p.talk, "no answer from etcd since %s; what was shown is the last that is known\n", clock(view.StaleSince, now))
		} else {
			fmt.Fprintln(p.talk, "etcd answers again")
		}
	}
}

// printPolicy says when operators have decided anew about the service.
func (p *updatePrinter) printPolicy(policy *rollcall.Policy) {
	before := p.policy
	p.policy = policy
	switch {
	case policy == nil && before != nil:
		fmt.Fprintf(p.talk, "the policy of revision %d was taken back\n", before.Revision)
	case policy != nil && (before == nil || policy.Revision != before.Revision):
		fmt.Fprintf(p.talk, "policy of revision %d%s; see it: rollcall policy get %s\n", policy.Revision, byWhom(policy.Author, policy.Reason), p.service)
	}
}

// byWhom is who decided and why, as far as it is known.
func byWhom(author, reason string) string {
	text := ""
	if author != "" {
		text += " by " + author
	}
	if reason != "" {
		text += " (" + reason + ")"
	}
	return text
}
