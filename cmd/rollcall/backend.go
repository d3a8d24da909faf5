package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/rollcall-io/rollcall"
)

// backend is what most commands know of the registry: that of package gateway, at a server or at the one in this process.
type backend interface {
	// Register puts an instance there and keeps it. It tries until it succeeds or ctx ends.
	Register(ctx context.Context, service string, inst rollcall.Instance, ttl time.Duration) (registration, error)

	// Lookup returns the instances of a service; an unknown one has an empty view.
	Lookup(ctx context.Context, service string) (*rollcall.View, error)

	// Watch follows a service.
	Watch(service string) watcher

	// Override reads what an operator decided for one instance; without it the error is [rollcall.ErrNotFound], and a
	// [storedError] when it cannot be read.
	Override(ctx context.Context, service, id string) (rollcall.Override, error)

	// SetOverride and DeleteOverride replace the override of a revision, and return [rollcall.ErrConflict] when it is another.
	SetOverride(ctx context.Context, service, id string, o rollcall.Override) (rollcall.Override, error)
	DeleteOverride(ctx context.Context, service, id string, revision int64, by ...rollcall.By) error

	// Policy, SetPolicy and DeletePolicy are the same for what was decided for all callers of a service.
	Policy(ctx context.Context, service string) (rollcall.Policy, error)
	SetPolicy(ctx context.Context, service string, p rollcall.Policy) (rollcall.Policy, error)
	DeletePolicy(ctx context.Context, service string, revision int64, by ...rollcall.By) error

	// RemoveDead removes an instance that is dead; [rollcall.ErrAlive] refuses.
	RemoveDead(ctx context.Context, service, id string, by rollcall.By) (*rollcall.Instance, error)

	// Accept has every caller believe the losses that it doubts now.
	Accept(ctx context.Context, service, reason, author string) error

	// Trouble returns since when nobody answers, as far as is known, and why; the zero time while somebody does.
	Trouble() (since time.Time, reason error)

	// Close gives up every registration and ends every watcher.
	Close(ctx context.Context) error
}

// registration is the hold on one instance, as [rollcall.Registration] has it.
type registration interface {
	Service() string
	Instance() rollcall.Instance
	Deregister(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
}

// watcher follows a service, as [rollcall.Watcher] does.
type watcher interface {
	Next(ctx context.Context) (*rollcall.View, error)
	Close()
}

// library is a registry as a backend.
type library struct{ *rollcall.Registry }

func (l library) Register(ctx context.Context, service string, inst rollcall.Instance, ttl time.Duration) (registration, error) {
	reg, err := l.Registry.Register(ctx, service, inst, rollcall.WithTTL(ttl))
	if err != nil {
		return nil, err
	}
	return reg, nil
}

func (l library) Watch(service string) watcher { return l.Registry.Watch(service) }

func (l library) Override(ctx context.Context, service, id string) (rollcall.Override, error) {
	o, err := l.Registry.Override(ctx, service, id)
	return o, stored(err)
}

func (l library) Policy(ctx context.Context, service string) (rollcall.Policy, error) {
	p, err := l.Registry.Policy(ctx, service)
	return p, stored(err)
}

// storedError says that what lies in etcd cannot be read. It hides the rule that the value breaks: the command line broke none.
type storedError struct{ text string }

func (e *storedError) Error() string { return "what lies in etcd cannot be read: " + e.text }

// stored tells an error about what lies in etcd from one about asking for it.
func stored(err error) error {
	for _, other := range []error{
		rollcall.ErrNotFound, rollcall.ErrUnreachable, rollcall.ErrClosed, rollcall.ErrPermissionDenied, rollcall.ErrUnauthenticated,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, other) {
			return err
		}
	}
	for _, bad := range invalidErrors(err) {
		if argument[bad.Field] {
			return err
		}
	}
	known, refused := statusOf(err)
	if refused && known.Code() == codes.DataLoss {
		return &storedError{known.Message()}
	}
	if err == nil || refused {
		return err
	}
	return &storedError{err.Error()}
}

// argument has the fields of what Override and Policy are asked with.
var argument = map[string]bool{"service": true, "prefix": true, "Instance.ID": true}

func (l library) Trouble() (time.Time, error) {
	st := l.Status()
	if st.UnreachableSince.IsZero() {
		return time.Time{}, nil
	}
	return st.UnreachableSince, st.LastError
}

// closeTimeout bounds how long a command that is done waits for etcd to hear about it.
const closeTimeout = 2 * time.Second

// closeBackend closes b when a command ends, also one that was interrupted. What it could not tell etcd does not change
// how the command ended: a goodbye that matters has been said before, and its error returned.
func closeBackend(ctx context.Context, b interface {
	Close(ctx context.Context) error
},
) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = b.Close(ctx)
}
