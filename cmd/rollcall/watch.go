package main

import (
	"context"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

type watchCommand struct {
	connection
	printing
	timeout timeout
	lines   bool
}

func newWatchCommand() *cobra.Command {
	c := &watchCommand{timeout: answerTimeout}
	cmd := &cobra.Command{
		Use:   "watch [SERVICE]...",
		Short: "See instances come and go",
		Long: `See the instances of services come and go, until interrupted; or, without a SERVICE, all services and how many instances they have.

On a terminal it is a table that is always current: what has changed stands out for some seconds, what is gone stays as long, and while
nobody answers the last that is known stays, with its age. q or ^C ends it. Elsewhere, or with --lines, it prints first those that are there,
then one line per change. An instance joined, changed, left (said goodbye) or expired (did not: its TTL ran out, or somebody removed its key).

It becomes a suspect when that is doubtful: within one TTL more than half of the instances, and at least three, expired, or
etcd was wiped or restored. Then etcd is more likely to be at fault than all of them, and they may well be alive. A suspect
stays, with the op and the state suspect and in JSON "suspect": true, until it is heard of again (changed), says goodbye
(left), five minutes are over (expired), or 'rollcall accept' says that it is gone (expired).

An instance changes also by what an operator decides about it, which is shown as in 'rollcall list'; its time being up is
such a change.

With -o json each line is one object, with -o yaml each document: time (UTC, when it was seen), op, and the instance's fields as in
'rollcall list'; without a SERVICE op is joined, changed or left, and the fields are those of a service. When etcd goes out of reach or comes
back that is said on standard error; nothing is taken back meanwhile.`,
		Example: `  rollcall watch jie-test
  rollcall watch web api
  rollcall watch
  rollcall watch jie-test -o json | jq -r 'select(.op == "expired").id'`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatJSON, formatYAML)
	cmd.Flags().Var(&c.timeout, "timeout", timeoutHelp+"; only for the first answer")
	cmd.Flags().BoolVar(&c.lines, "lines", false, "one line per change, also on a terminal")
	completesAll(cmd, &c.connection, completeService)
	return cmd
}

func (c *watchCommand) run(cmd *cobra.Command, services []string) error {
	b, err := c.dial(cmd.ErrOrStderr(), len(services) == 0)
	if err != nil {
		return err
	}
	defer closeBackend(cmd.Context(), b)
	for _, service := range services {
		if err := b.Validate(service, nil); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	news := make(chan news)
	if len(services) == 0 {
		wg.Go(func() { b.followAll(ctx, c.timeout, news) })
	}
	for _, service := range services {
		wg.Go(func() { b.follow(ctx, service, c.timeout, news) })
	}
	if terminal, is := terminalOf(cmd.OutOrStdout()); is && !c.lines && !c.data() {
		return c.screen(ctx, terminal, cmd, b, services, news)
	}
	return c.print(ctx, cmd, b, services, news)
}

// news is what somebody who follows has heard.
type news struct {
	view     *rollcall.View // of one service
	services *allServices   // or of all
	err      error          // or why there will be no more
}

// allServices is what is heard of all services.
type allServices struct {
	complete bool
	revision int64
	changed  []*rollcallv1.ServiceSummary // one without instances and without a policy is gone
	stale    time.Time
	silent   bool // it is the server that cannot be heard
}

func tell(ctx context.Context, to chan<- news, n news) bool {
	select {
	case to <- n:
		return true
	case <-ctx.Done():
		return false
	}
}

// follow tells of one service.
func (c *client) follow(ctx context.Context, service string, limit timeout, to chan<- news) {
	w := c.Watch(service)
	defer w.Close()
	view, err := firstView(ctx, w, limit)
	for err == nil && tell(ctx, to, news{view: view}) {
		view, err = w.Next(ctx)
	}
	if err != nil {
		tell(ctx, to, news{err: c.explain(err)})
	}
}

// firstView is w's first Next, within the limit.
func firstView(ctx context.Context, w watcher, limit timeout) (*rollcall.View, error) {
	ctx, cancel := limit.bound(ctx)
	defer cancel()
	return w.Next(ctx)
}

// followAll tells of all services. The first answer is to come within a limit; when the stream breaks later, what is known stays, and is old.
func (c *client) followAll(ctx context.Context, limit timeout, to chan<- news) {
	first, err := c.firstServices(ctx, limit)
	if err != nil {
		tell(ctx, to, news{err: c.explain(err)})
		return
	}
	if !tell(ctx, to, news{services: first}) {
		return
	}
	var lost time.Time
	for {
		stream, err := rollcallv1.NewDiscoveryServiceClient(c.conn).WatchServices(ctx, &rollcallv1.WatchServicesRequest{})
		for err == nil {
			var resp *rollcallv1.WatchServicesResponse
			if resp, err = stream.Recv(); err == nil {
				lost = time.Time{}
				if !tell(ctx, to, news{services: servicesOf(resp)}) {
					return
				}
			}
		}
		if !transient(err) {
			tell(ctx, to, news{err: refusal(err)})
			return
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if !tell(ctx, to, news{services: &allServices{stale: lost, silent: true}}) || !wait(ctx, retryMin) {
			return
		}
	}
}

// firstServices asks once, so that whoever does not answer is told of as in other commands.
func (c *client) firstServices(ctx context.Context, limit timeout) (*allServices, error) {
	ctx, cancel := limit.bound(ctx)
	defer cancel()
	all, resp, err := c.summaries(ctx, &rollcallv1.ListServicesRequest{})
	if err != nil {
		return nil, err
	}
	s := &allServices{complete: true, revision: resp.GetRevision(), changed: all}
	if stale := resp.GetStale(); stale != nil {
		s.stale = stale.GetSince().AsTime()
	}
	return s, nil
}

func servicesOf(resp *rollcallv1.WatchServicesResponse) *allServices {
	s := &allServices{complete: resp.GetSnapshot(), revision: resp.GetRevision(), changed: resp.GetServices()}
	if stale := resp.GetStale(); stale != nil {
		s.stale = stale.GetSince().AsTime()
	}
	return s
}

// print prints line by line what is heard.
func (c *watchCommand) print(ctx context.Context, cmd *cobra.Command, b *client, services []string, from <-chan news) error {
	out, talk := cmd.OutOrStdout(), cmd.ErrOrStderr()
	printers := map[string]*updatePrinter{}
	for n, service := range services {
		printers[service] = &updatePrinter{
			w: out, talk: talk, format: c.output, service: service, many: len(services) > 1, headless: n > 0, who: b.whoIsSilent, paint: c.color.paintFor(out),
		}
	}
	if len(services) > 1 && !c.data() {
		if err := printers[services[0]].head(); err != nil {
			return err
		}
	}
	all := &summaryPrinter{w: out, talk: talk, format: c.output, known: map[string]*rollcallv1.ServiceSummary{}, place: b.place}
	for {
		select {
		case <-ctx.Done():
			return context.Canceled
		case n := <-from:
			var err error
			switch {
			case n.err != nil:
				return n.err
			case n.services != nil:
				err = all.print(n.services, time.Now())
			default:
				err = printers[n.view.Service].take(n.view, time.Now())
			}
			if err != nil {
				return err
			}
		}
	}
}

// whoIsSilent says who does not answer: the server, or the etcd behind it or asked without one.
func (c *client) whoIsSilent() string {
	if c.host == nil && c.silence() != nil {
		return c.place
	}
	return "etcd"
}

// silence is what the last try to reach a server met; nil while one answers.
func (c *client) silence() error {
	since, err := c.library.Trouble()
	if since.IsZero() {
		return nil
	}
	return err
}
