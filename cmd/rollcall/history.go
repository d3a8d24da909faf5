package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

type historyCommand struct {
	connection
	printing
	timeout timeout
	since   moment
	until   moment
	kinds   []string
	actor   string
	limit   int
	follow  bool
}

const (
	defaultLimit = 100
	pageMost     = 1000 // that a server puts on one page
)

func newHistoryCommand() *cobra.Command {
	c := &historyCommand{timeout: 10 * answerTimeout, limit: defaultLimit, since: moment{timeOnly: true}, until: moment{timeOnly: true}}
	cmd := &cobra.Command{
		Use:   "history [SERVICE [ID]]",
		Short: "See what happened: who came and went, when and why, and what operators decided",
		Long: `See what happened, the oldest first: instances that joined, left (said goodbye), expired (did not), were replaced or removed, drained,
weighed or changed; policies set and deleted; checks that failed; and trouble with etcd. Of more than --limit the newest are shown.

Servers have read it from etcd's own past, and keep it in memory; without one it is read from etcd now. On standard error it says where it
begins: what happened before is forgotten. A time after ≤ is the latest that it can have been: nobody saw it happen.

With -o json each line is one object, with -o yaml each document: time, within (seconds by which the time may be too late), kind,
service, instance, addr, zone, version, incarnation, actor, reason, detail, since, until, revision. --follow goes on with what happens
from then on, until interrupted.

The kinds are ` + strings.Join(kindWords(), ", ") + `.`,
		Example: `  rollcall history --since 10m
  rollcall history jie-test --kind expired --kind removed
  rollcall history jie-test 10.0.0.7:50051
  rollcall history --actor jie@host -o json
  rollcall history jie-test --follow`,
		Args: takes("[SERVICE]", "[ID]"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatWide, formatJSON, formatYAML)
	f := cmd.Flags()
	f.Var(&c.timeout, "timeout", timeoutHelp)
	f.Var(&c.since, "since", "not what was before this `moment`: 10m, 3h or 2d ago, or a time (15:04, 2026-11-23T01:00)")
	f.Var(&c.until, "until", "only what was before this `moment`")
	f.StringSliceVar(&c.kinds, "kind", nil, "only what is of this `kind`; may be repeated")
	f.StringVar(&c.actor, "actor", "", "only what this `operator` did, by the name in --as")
	f.Var((*whole)(&c.limit), "limit", "the newest so many; 0 means all")
	f.BoolVarP(&c.follow, "follow", "f", false, "go on with what happens from now on")
	completes(cmd, &c.connection, completeService, completeInstance)
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kindWords(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *historyCommand) run(cmd *cobra.Command, args []string) error {
	req, err := c.request(args)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	b, err := c.openAll(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeBackend(ctx, b)
	if len(args) > 0 {
		if err := b.Validate(args[0], nil); err != nil {
			return err
		}
	}
	p := &eventPrinter{printing: &c.printing, w: cmd.OutOrStdout(), talk: cmd.ErrOrStderr(), paint: c.color.paintFor(cmd.OutOrStdout())}
	stop := atWork(cmd, "reading the history")
	events, begin, err := c.past(ctx, b, req)
	stop()
	if err != nil {
		return b.explain(err)
	}
	c.tellBegin(cmd.ErrOrStderr(), begin, time.Now())
	if err := p.print(events); err != nil || !c.follow {
		return err
	}
	return b.explain(c.goOn(ctx, b, req, p, events))
}

// request is what is asked for.
func (c *historyCommand) request(args []string) (*rollcallv1.ListEventsRequest, error) {
	f := &rollcallv1.ListEventsRequest{Actor: c.actor}
	if len(args) > 0 {
		f.Service = args[0]
	}
	if len(args) > 1 {
		f.Instance = args[1]
	}
	for _, word := range c.kinds {
		kind, known := kindOf(word)
		if !known {
			return nil, &rollcall.InvalidError{Field: "--kind", Value: fmt.Sprintf("%q", word), Rule: "the kinds are " + strings.Join(kindWords(), ", ")}
		}
		f.Kinds = append(f.Kinds, kind)
	}
	if c.limit < 0 {
		return nil, &rollcall.InvalidError{Field: "--limit", Value: fmt.Sprint(c.limit), Rule: "it is 0 (all) or more"}
	}
	if c.follow && c.until.set() {
		return nil, &usageError{errors.New("--follow and --until exclude each other")}
	}
	if c.since.set() {
		f.Since = timestamppb.New(c.since.at)
	}
	if c.until.set() {
		f.Until = timestamppb.New(c.until.at)
	}
	return f, nil
}

// past returns what has happened, the oldest first.
func (c *historyCommand) past(ctx context.Context, b *client, req *rollcallv1.ListEventsRequest) (all []*rollcallv1.Event, begin *rollcallv1.HistoryBegin, err error) {
	ctx, cancel := c.timeout.bound(ctx)
	defer cancel()
	read := b.pastRead
	if c.follow { // what a server reads later it does not tell as news
		read = b.allRead
	}
	if err := read(ctx); err != nil {
		return nil, nil, err
	}
	for {
		req.PageSize = pageMost
		if c.limit > 0 {
			req.PageSize = int32(min(pageMost, c.limit-len(all)))
		}
		var resp *rollcallv1.ListEventsResponse
		err := b.ask(ctx, "history", func(ctx context.Context) (err error) {
			resp, err = rollcallv1.NewHistoryServiceClient(b.conn).ListEvents(ctx, req)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if begin == nil {
			begin = resp.GetBegin()
		}
		all = append(all, resp.GetEvents()...)
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" || c.limit > 0 && len(all) >= c.limit {
			slices.Reverse(all)
			return all, begin, nil
		}
	}
}

// pastRead waits until a server in this process has read etcd's past: it began to when it was asked.
func (c *client) pastRead(ctx context.Context) error {
	if c.host == nil {
		return nil
	}
	return c.allRead(ctx)
}

// allRead waits until the server has read etcd's past.
func (c *client) allRead(ctx context.Context) error {
	for {
		var resp *rollcallv1.ListEventsResponse
		err := c.ask(ctx, "history", func(ctx context.Context) (err error) {
			resp, err = rollcallv1.NewHistoryServiceClient(c.conn).ListEvents(ctx, &rollcallv1.ListEventsRequest{PageSize: 1})
			return err
		})
		if err != nil || !resp.GetBegin().GetReading() {
			return err
		}
		if !wait(ctx, retryMin/2) {
			return fmt.Errorf("history: %w", &rollcall.UnreachableError{Endpoints: c.addrs, Since: time.Now(), Err: context.Cause(ctx)})
		}
	}
}

func (c *historyCommand) tellBegin(talk io.Writer, begin *rollcallv1.HistoryBegin, now time.Time) {
	if begin == nil {
		return
	}
	when := fmt.Sprintf("at revision %d", begin.GetRevision())
	at := message.MomentOf(begin.GetTime())
	if !at.IsZero() {
		when += ", " + clock(at, now) + " (" + ago(at, now) + ")"
	}
	text := "the history begins " + when
	if begin.GetReading() {
		text += ", as far as it is read yet"
	}
	if c.since.set() && begin.GetRevision() > 1 && (at.IsZero() || at.After(c.since.at)) {
		text += ": what was before, since " + clock(c.since.at, now) + ", is forgotten"
	}
	fmt.Fprintln(talk, text)
}

// goOn prints what happens from now on. A stream that breaks goes on at whichever server answers, from the time of what was told last: each
// server numbers events by itself.
func (c *historyCommand) goOn(ctx context.Context, b *client, asked *rollcallv1.ListEventsRequest, p *eventPrinter, seen []*rollcallv1.Event) error {
	req := &rollcallv1.WatchEventsRequest{Service: asked.GetService(), Instance: asked.GetInstance(), Kinds: asked.GetKinds(), Actor: asked.GetActor()}
	told := newTold(seen)
	if len(seen) > 0 {
		req.After = seen[len(seen)-1].GetSequence()
	}
	for {
		err := c.stream(ctx, b, req, p, told)
		switch {
		case ctx.Err() != nil:
			return context.Canceled
		case !transient(err):
			return err
		}
		fmt.Fprintf(p.talk, "%s does not answer: %s\n", b.place, cause(err))
		if !wait(ctx, retryMax) {
			return context.Canceled
		}
		req.After, req.Since = 0, told.last()
	}
}

// stream prints what one stream tells, but for what was told before.
func (c *historyCommand) stream(ctx context.Context, b *client, req *rollcallv1.WatchEventsRequest, p *eventPrinter, told *told) error {
	stream, err := rollcallv1.NewHistoryServiceClient(b.conn).WatchEvents(ctx, req, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			if transient(err) {
				return err
			}
			return fmt.Errorf("history: %w", refusal(err))
		}
		if resp.GetGap() {
			fmt.Fprintln(p.talk, "something is missing here: it was forgotten before it could be told")
		}
		if err := p.print(told.news(resp.GetEvents())); err != nil {
			return err
		}
	}
}

// kindWords are the kinds of events as the command line has them.
func kindWords() []string {
	var words []string
	for n := int32(1); ; n++ {
		name, known := rollcallv1.Event_Kind_name[n]
		if !known {
			return words
		}
		words = append(words, kindWord(name))
	}
}

func kindWord(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "KIND_")), "_", "-")
}

func kindOf(word string) (rollcallv1.Event_Kind, bool) {
	n, known := rollcallv1.Event_Kind_value["KIND_"+strings.ReplaceAll(strings.ToUpper(word), "-", "_")]
	return rollcallv1.Event_Kind(n), known && n != 0
}
