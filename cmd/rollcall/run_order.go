package main

import (
	"context"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
)

// runner takes a program into the registry and out of it again, in the order that fails no call.
type runner struct {
	registry runRegistry
	service  string
	inst     rollcall.Instance
	ttl      time.Duration
	where    string // etcd
	wait     timeout
	stay     time.Duration // how long it drains
	stop     time.Duration // how long the program has to end; 0: for ever
	name     string        // the program's
	id       string        // service and instance, in words
	talk     io.Writer

	program  *program
	orders   *orders
	etcdLeft time.Duration // of etcdPatience
	silent   bool          // it was said that etcd does not answer
	told     time.Time     // when the program was told to end
}

// run does it all, and returns how the program ended.
func (r *runner) run(ctx context.Context, argv []string) error {
	probe := probeOf(&r.inst)
	if probe(ctx) == nil {
		return fmt.Errorf("%s was not started: something answers at %s already", r.name, r.inst.Addr)
	}
	r.orders = takeOrders(ctx)
	defer r.orders.close()
	if r.orders.stop.Err() != nil {
		return context.Canceled // before there was anything to stop
	}
	var err error
	if r.program, err = startProgram(argv); err != nil {
		return r.notStarted(err)
	}
	r.orders.follow(r.program)
	err = r.attend(ctx, probe)
	r.clear()
	return err
}

// attend is with the program from its start to its end.
func (r *runner) attend(ctx context.Context, probe func(context.Context) error) error {
	if err := r.awaitAnswer(ctx, probe); err != nil {
		return err
	}
	registering, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	registered := make(chan runRegistration, 1)
	go func() { registered <- r.register(registering) }()

	began := time.Now()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var reg runRegistration
	var lost <-chan struct{}
	for {
		select {
		case reg = <-registered:
			lost = reg.Done()
			r.say("registered %s (TTL %v)", r.id, r.ttl)
			notifyReady("registered")
		case <-lost:
			return r.replaced(reg)
		case <-r.program.ended:
			r.goodbye(given(reg, giveUp, registered))
			r.say("%s %s", r.name, r.program.how)
			return r.program.exit()
		case <-r.orders.stop.Done():
			notifyStopping("draining")
			r.leave(given(reg, giveUp, registered))
			r.end(r.orders.signal())
			return r.program.exit()
		case now := <-look.C:
			r.lookAtEtcd(now, began, reg != nil)
		}
	}
}

// given returns the registration, also of a Register that is given up; nil when there is none.
func given(reg runRegistration, giveUp func(), registered <-chan runRegistration) runRegistration {
	if reg != nil {
		return reg
	}
	giveUp()
	return <-registered
}

// awaitAnswer returns nil once the program answers.
func (r *runner) awaitAnswer(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := r.wait.bound(context.WithoutCancel(ctx))
	defer cancel()
	answers := make(chan struct{})
	go func() {
		if untilAnswer(ctx, probe) {
			close(answers)
		}
	}()
	select {
	case <-answers:
		return nil
	case <-r.program.ended:
		r.say("%s was not registered: %s %s before %s answered", r.id, r.name, r.program.how, r.inst.Addr)
	case <-r.orders.stop.Done():
		notifyStopping("stopping")
		r.end(r.orders.signal())
	case <-ctx.Done():
		r.end(syscall.SIGTERM)
		return fmt.Errorf("%s was not registered: %s did not answer within %v, and %s was stopped", r.id, r.inst.Addr, time.Duration(r.wait), r.name)
	}
	return r.program.exit()
}

// register tries until it succeeds: the program serves meanwhile, and is worth more than a refusal of etcd that may pass. Nil when it was given up.
func (r *runner) register(ctx context.Context) runRegistration {
	said := ""
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		reg, err := r.registry.Register(ctx, r.service, r.inst, r.ttl)
		if err == nil {
			return reg
		}
		if ctx.Err() != nil {
			return nil
		}
		if text := err.Error(); text != said {
			said = text
			r.say("%s; %s runs on, and is tried again", text, r.name)
		}
		pause(ctx, wait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// lookAtEtcd says it once when etcd does not answer, and once when it does again.
func (r *runner) lookAtEtcd(now, began time.Time, registered bool) {
	since, reason := r.registry.Trouble()
	if since.IsZero() && !registered && now.Sub(began) > silence {
		since = began // a registration takes milliseconds: this one hangs
	}
	switch {
	case since.IsZero() && r.silent:
		r.silent = false
		r.say("%s answers again", r.where)
	case !since.IsZero() && !r.silent:
		r.silent = true
		then := "is registered when it answers"
		if registered {
			then = "stays registered if it answers in time, and is registered again otherwise"
		}
		r.say("no answer from %s since %s%s; %s runs on, and %s", r.where, clock(since, now), because(r.where, reason), r.name, then)
	}
}
