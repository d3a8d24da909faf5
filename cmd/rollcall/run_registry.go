package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rollcall-io/rollcall"
)

// runRegistry is all that run knows about the registry.
type runRegistry interface {
	// Check says what is wrong with an instance, without asking anybody.
	Check(service string, inst rollcall.Instance, ttl time.Duration) error

	// Register puts it there. It tries until it succeeds, is refused, or ctx ends.
	Register(ctx context.Context, service string, inst rollcall.Instance, ttl time.Duration) (runRegistration, error)

	// Holder returns who has the id now; nil when that is not known.
	Holder(ctx context.Context, service, id string) *rollcall.Instance

	// Trouble returns since when etcd does not answer, as far as is known, and why; the zero time while it does.
	Trouble() (since time.Time, reason error)

	// Close gives up what is left.
	Close(ctx context.Context) error
}

// runRegistration is the hold on an instance, as [rollcall.Registration] has it.
type runRegistration interface {
	Instance() rollcall.Instance
	Drain(ctx context.Context) error
	Deregister(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
}

// runLibrary is the registry as a runRegistry.
type runLibrary struct{ *client }

func (c *runCommand) openRun(talk io.Writer) (runRegistry, error) {
	b, err := c.open(talk)
	if err != nil {
		return nil, err
	}
	return runLibrary{b}, nil
}

func (l runLibrary) Check(service string, inst rollcall.Instance, ttl time.Duration) error {
	err := l.Validate(service, &inst, rollcall.WithTTL(ttl))
	if errors.Is(err, rollcall.ErrInvalid) {
		return err
	}
	return nil
}

func (l runLibrary) Register(ctx context.Context, service string, inst rollcall.Instance, ttl time.Duration) (runRegistration, error) {
	reg, err := l.Registry.Register(ctx, service, inst, rollcall.WithTTL(ttl))
	if err != nil {
		return nil, l.explain(err)
	}
	return runHeld{reg, l.client}, nil
}

// runHeld is a registration whose errors are told as they are known here.
type runHeld struct {
	*rollcall.Registration
	c *client
}

func (h runHeld) Drain(ctx context.Context) error { return h.c.explain(h.Registration.Drain(ctx)) }
func (h runHeld) Err() error                      { return h.c.explain(h.Registration.Err()) }
func (h runHeld) Deregister(ctx context.Context) error {
	return h.c.explain(h.Registration.Deregister(ctx))
}

func (l runLibrary) Holder(ctx context.Context, service, id string) *rollcall.Instance {
	view, err := l.Lookup(ctx, service)
	if err != nil {
		return nil
	}
	for _, inst := range view.Instances {
		if inst.ID == id {
			return inst
		}
	}
	return nil
}
