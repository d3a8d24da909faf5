package rollcall

import (
	"context"
	"time"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// engine is what a registry stands on: etcd, or a server before it. Arguments have been checked. What an engine returns is for the
// registry's callers as it is.
type engine interface {
	// hold writes the instance of a registration, or with resume goes on with what another one wrote, and keeps it.
	hold(ctx context.Context, g *Registration, resume bool) (holding, error)
	// owned returns an instance that was registered with a token, [ErrNotFound] if there is none.
	owned(ctx context.Context, service, id, token string) (*Instance, error)
	remove(ctx context.Context, service, id string) error
	removeDead(ctx context.Context, service, id string, by By) (*Instance, error)

	lookup(ctx context.Context, service string) (*View, error)
	services(ctx context.Context) ([]string, error)
	// start is called before the first follow, with the registry's mu held; follow has a feed told of its service until ctx ends, from
	// what a seed knows on, likewise.
	start()
	follow(ctx context.Context, f *feed, seed follow.Seed) refresher

	override(ctx context.Context, service, id string) (*Override, error)
	setOverride(ctx context.Context, service, id string, o Override) (Override, error)
	deleteOverride(ctx context.Context, service, id string, revision int64, by By) error
	policy(ctx context.Context, service string) (*Policy, error)
	setPolicy(ctx context.Context, service string, p Policy) (Policy, error)
	deletePolicy(ctx context.Context, service string, revision int64, by By) error
	accept(ctx context.Context, service, reason, author string) error

	status(s *Status)
	where() (who string, addrs []string) // who is asked, and where

	// leave says goodbye for everything that is held; end, after it and after the registry's context has ended, waits for whatever runs.
	leave(ctx context.Context) error
	end()
}

// refresher asks for a read that begins after the call; the channel is closed when its outcome was told.
type refresher interface{ Refresh() <-chan struct{} }

// holding is the wish of one registration, as [lease.Hold] has it. Errors of its methods with a context are final.
type holding interface {
	want(i *Instance) error
	await(ctx context.Context) error
	release(ctx context.Context) error
	drop(ctx context.Context) error
	Detach()
	Done() <-chan struct{}
	Err() error
	Missing() (since time.Time, last error)
	Revision() int64
	Incarnation() string
}
