package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

const (
	// leaveTimeout bounds the goodbye: whoever interrupts a program does not want to wait for etcd.
	leaveTimeout = 5 * time.Second

	// lookEvery is how often a registration in trouble is noticed.
	lookEvery = 200 * time.Millisecond
)

type registerCommand struct {
	connection
	timeout  timeout
	ttl      time.Duration
	instance rollcall.Instance
	metadata pairs
	addrs    pairs
	check    checkFlags
}

func newRegisterCommand() *cobra.Command {
	c := &registerCommand{ttl: rollcall.DefaultTTL, metadata: pairs{form: "key=value"}, addrs: pairs{form: "name=host:port"}}
	c.instance.Weight = rollcall.DefaultWeight
	cmd := &cobra.Command{
		Use:   "register SERVICE ADDR",
		Short: "Register an instance and hold it until interrupted",
		Long: `Register an instance of a service at ADDR, host:port, and hold it until interrupted; then deregister it.

While etcd does not answer it keeps trying, and says so at once and every minute; with --timeout it gives up instead and
exits with 3. When a newer process registers the same id it lets go and exits with 5.

With --check it asks the servers to see for themselves whether the instance is well; one that is not is unhealthy, and callers
leave it out while others are well. Without a server nobody checks.`,
		Example: `  rollcall register jie-test 127.0.0.1:50051
  rollcall register jie-test 10.0.0.7:50051 --weight 50 --zone eu-1a --meta team=a --meta tier=2
  rollcall register jie-test 10.0.0.7:50051 --check grpc --check-interval 5s
  rollcall register jie-test '[2001:db8::7]:50051' --id seven --addr http=10.0.0.7:8080`,
		Args: takes("SERVICE", "ADDR"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0], args[1]) },
	}
	c.bind(cmd)
	f := cmd.Flags()
	f.Var(&c.timeout, "timeout", "give up when it is not registered within this `duration`, with exit code 3; 0 keeps trying")
	f.Var((*lasting)(&c.ttl), "ttl", "how long it stays visible after this process died without a goodbye: whole seconds, at least 5s")
	f.StringVar(&c.instance.ID, "id", "", "names the instance within the service; the default is ADDR")
	f.Var((*whole)(&c.instance.Weight), "weight", "share of calls relative to the others; 0 means the default")
	f.StringVar(&c.instance.Zone, "zone", "", "where it runs")
	f.StringVar(&c.instance.Version, "version", "", "what it runs")
	f.Var(&c.metadata, "meta", "metadata, `key=value`; may be repeated")
	f.Var(&c.addrs, "addr", "a further address, `name=host:port`; may be repeated")
	c.check.bind(cmd)
	completes(cmd, &c.connection, completeService)
	return cmd
}

func (c *registerCommand) run(cmd *cobra.Command, service, addr string) error {
	ctx, out, talk := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	c.instance.Addr, c.instance.Metadata, c.instance.Addrs = addr, c.metadata.values, c.addrs.values
	var err error
	if c.instance.Check, err = c.check.check(cmd); err != nil {
		return err
	}
	b, err := c.open(talk)
	if err != nil {
		return err
	}
	defer closeBackend(ctx, b)

	trouble := &outage{talk: talk, where: c.place()}
	reg, err := c.register(ctx, b, service, trouble)
	if err != nil {
		return err
	}
	inst := reg.Instance()
	fmt.Fprintf(out, "registered %s/%s (TTL %v)\n", service, cell(inst.ID), c.ttl)
	notifyReady("registered")
	if err := hold(ctx, b, reg, trouble); err != nil {
		return fmt.Errorf("%s/%s: %w", service, inst.ID, err)
	}
	notifyStopping("deregistering")
	late := time.After(silence)
	if trouble.now() {
		late = time.After(0)
	}
	if err := c.leave(ctx, reg, late, talk); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "deregistered %s/%s\n", service, cell(inst.ID))
	return err
}

// register waits until the instance is registered, and says meanwhile what it waits for.
func (c *registerCommand) register(ctx context.Context, b backend, service string, trouble *outage) (reg registration, err error) {
	limited, cancel := c.timeout.bound(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		reg, err = b.Register(limited, service, c.instance, c.ttl)
	})
	began := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-done:
			if err == nil {
				trouble.look(time.Now(), time.Time{}, nil)
			}
			return reg, err
		case now := <-look.C:
			since, reason := b.Trouble()
			if since.IsZero() && now.Sub(began) > silence {
				since = began // a registration takes milliseconds: this one hangs, even if nothing was refused yet
			}
			trouble.look(now, since, reason)
		}
	}
}

// hold returns nil when ctx ends, else why the registration did.
func hold(ctx context.Context, b backend, reg registration, trouble *outage) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reg.Done():
			return reg.Err()
		case now := <-look.C:
			since, reason := b.Trouble()
			trouble.look(now, since, reason)
		}
	}
}

// leave deregisters within its own time: ctx has ended. When that is not done before late it says what it waits for.
func (c *registerCommand) leave(ctx context.Context, reg registration, late <-chan time.Time, talk io.Writer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	left := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { left <- reg.Deregister(ctx) })
	for {
		select {
		case err := <-left:
			if err != nil {
				return fmt.Errorf("%w; the instance stays visible until its TTL of %v has run out", err, c.ttl)
			}
			return nil
		case <-late:
			fmt.Fprintf(talk, "deregistering %s/%s; interrupt again to leave it to its TTL\n", reg.Service(), cell(reg.Instance().ID))
		}
	}
}

const (
	silence   = 700 * time.Millisecond // how long etcd may say nothing before that is worth a line
	nagPeriod = time.Minute
)

// outage tells a person that etcd, or the server, does not answer: at once, every minute, and when it is over.
type outage struct {
	talk  io.Writer
	where string    // who does not answer, such as "etcd at host:port"
	said  time.Time // when it was last said; zero while etcd answers
}

// look is told the time and since when etcd does not answer; the zero time when it does.
func (o *outage) look(now, since time.Time, reason error) {
	switch {
	case since.IsZero() && !o.said.IsZero():
		o.said = time.Time{}
		fmt.Fprintf(o.talk, "%s answers again\n", o.where)
	case !since.IsZero() && (o.said.IsZero() || now.Sub(o.said) >= nagPeriod):
		o.said = now
		fmt.Fprintf(o.talk, "no answer from %s since %s%s; still trying\n", o.where, clock(since, now), because(o.where, reason))
	}
}

// now reports whether etcd did not answer when last looked at.
func (o *outage) now() bool { return !o.said.IsZero() }

func because(where string, reason error) string {
	if reason == nil {
		return ""
	}
	return fmt.Sprintf(" (%s)", strings.TrimPrefix(cause(reason), where[strings.LastIndex(where, " ")+1:]+": "))
}
