package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// overrideCommand is what drain and weight share: each changes the one override that an instance can have.
type overrideCommand struct {
	decision
	length time.Duration // 0: until it is undone
	wait   time.Duration // for xDS clients; 0: not
}

const overrideHelp = `It counts for every caller, is not touched by the instance's restart, and ends with --for or 'rollcall undo'. An instance has one
override: drain keeps the weight of an earlier one and weight keeps its drain, and the reason, the author and the end are
those of the last. Of two operators at once the second is told so and exits with 5.`

func (c *overrideCommand) bind(cmd *cobra.Command) {
	c.decision.bind(cmd)
	c.bindWords(cmd, reasonNeeded)
	cmd.Flags().Var((*lasting)(&c.wait), "wait", "wait for so long until every xDS client of the server has acknowledged it, at most 1m; 0 does not wait")
	cmd.Flags().Var((*lasting)(&c.length), "for", "when it ends by itself, such as 10m; without it, when it is undone")
}

func (c *overrideCommand) run(cmd *cobra.Command, service, id string, change func(*rollcall.Override)) error {
	if err := c.words(); err != nil {
		return err
	}
	if c.length < 0 || c.length == 0 && cmd.Flags().Changed("for") {
		return &rollcall.InvalidError{Field: "--for", Value: lasting(c.length).String(), Rule: "it is more than 0; without the flag it counts until it is undone"}
	}
	if c.wait < 0 || c.wait > time.Minute {
		return &rollcall.InvalidError{Field: "--wait", Value: lasting(c.wait).String(), Rule: "it is at most 1m; 0 does not wait"}
	}
	if c.wait > 0 && c.timeout > 0 {
		c.timeout += timeout(c.wait)
	}
	return c.with(cmd, c.timeout, false, func(ctx context.Context, b *client) error {
		i, err := c.decide(ctx, b, service, id, change)
		if err != nil {
			return err
		}
		if _, err = fmt.Fprintln(cmd.OutOrStdout(), whatCounts(service, i, time.Now())); err != nil || c.wait == 0 {
			return err
		}
		return c.await(ctx, cmd, b, service, i.Override.Revision)
	})
}

// await waits until the server's xDS clients have heard of a decision.
func (c *overrideCommand) await(ctx context.Context, cmd *cobra.Command, b *client, service string, revision int64) error {
	stop := atWork(cmd, "waiting for xDS clients")
	var resp *rollcallv1.AwaitClientsResponse
	err := b.ask(ctx, "wait for xDS clients", func(ctx context.Context) (err error) {
		resp, err = rollcallv1.NewControlServiceClient(b.conn).AwaitClients(ctx, &rollcallv1.AwaitClientsRequest{
			Service: service, Revision: revision, Timeout: durationpb.New(c.wait),
		})
		return err
	})
	stop()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "acknowledged by %s of this server\n", plural(int(resp.GetClients()), "xDS client"))
	return err
}

// decide reads what was decided before about an instance, changes it, and writes it unless somebody else has meanwhile. It
// returns the instance as it counts now.
func (c *overrideCommand) decide(ctx context.Context, b backend, service, id string, change func(*rollcall.Override)) (*rollcall.Instance, error) {
	view, err := b.Lookup(ctx, service)
	if err != nil {
		return nil, err
	}
	found, there := view.Get(id)
	if !there {
		return nil, c.noInstance(view, id)
	}
	o, err := b.Override(ctx, service, id)
	_, garbage := errors.AsType[*storedError](err)
	switch {
	case garbage:
		o.Revision = rollcall.AnyRevision // nothing that anybody decided is lost
	case err != nil && !errors.Is(err, rollcall.ErrNotFound):
		return nil, err
	case ended(o, time.Now()):
		o = rollcall.Override{Revision: o.Revision}
	}
	change(&o)
	o.Reason, o.Author, o.Until = c.reason, c.author, time.Time{}
	if c.length > 0 {
		o.Until = time.Now().Add(c.length)
	}
	if o, err = b.SetOverride(ctx, service, id, o); err != nil {
		return nil, again(err, fmt.Sprintf("rollcall get %s %s", service, shellWord(id)))
	}
	i := found.Clone()
	i.Override = &o
	return i, nil
}

// ended reports whether an override is over; it may lie in etcd for a while longer.
func ended(o rollcall.Override, now time.Time) bool {
	return !o.Until.IsZero() && !o.Until.After(now)
}

// namesAtMost bounds how many ids an error repeats.
const namesAtMost = 10

// noInstance says that a service has no such instance, and which it has.
func (c *connection) noInstance(view *rollcall.View, id string) error {
	if len(view.Instances) == 0 {
		return c.notFound(view.Service)
	}
	var ids []string
	for _, i := range view.Instances[:min(len(view.Instances), namesAtMost)] {
		ids = append(ids, cell(i.ID))
	}
	text := strings.Join(ids, ", ")
	if more := len(view.Instances) - len(ids); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return &notFoundError{fmt.Sprintf("service %q has no instance %q; it has %s", view.Service, id, text)}
}

// whatCounts says in one line how an instance counts, and how to take back what was decided.
func whatCounts(service string, i *rollcall.Instance, now time.Time) string {
	until := "until it is undone"
	if i.Override != nil && !i.Override.Until.IsZero() {
		until = "until " + clock(i.Override.Until, now)
	}
	return fmt.Sprintf("%s/%s counts as %s, weight %s, %s; take it back: rollcall undo %s %s",
		service, cell(i.ID), stateWord(i), weightWord(i), until, service, shellWord(i.ID))
}

// overrideWords says what an override decides.
func overrideWords(o rollcall.Override) string {
	var words []string
	if o.Drain {
		words = append(words, "draining")
	}
	if o.Weight > 0 {
		words = append(words, "weight "+strconv.Itoa(o.Weight))
	}
	return strings.Join(words, ", ")
}
