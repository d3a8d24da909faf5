package naming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// DefaultTTL is the TTL of a registration that names none.
const DefaultTTL = 50 * time.Second

// Registry registers addresses and resolves targets over one etcd client. Make one per process with [New] and share it:
// all methods may be called concurrently.
type Registry struct {
	client *clientv3.Client
	opts   []rollcall.Option

	mu          sync.Mutex // not held across I/O
	closed      bool
	directories map[string]*rollcall.Registry // by what stands before the service in a target
	slots       map[place]*slot               // in use, or holding a registration
}

// New makes a registry over the caller's etcd client, which stays the caller's: close it after the registry. New does no
// I/O and never fails; with a nil client every call returns an error that says so. [rollcall.ClientConfig] has the
// client's best settings.
//
// The options are those of package rollcall, such as [rollcall.WithLogger]. Where a key lies is the target's to say:
// [rollcall.WithPrefix] and [rollcall.WithDirectory] have no effect here.
func New(client *clientv3.Client, opts ...rollcall.Option) *Registry {
	return &Registry{
		client: client, opts: opts,
		directories: map[string]*rollcall.Registry{}, slots: map[place]*slot{},
	}
}

// Option configures one call of [Registry.Register].
type Option func(*options)

type options struct{ ttl time.Duration }

// WithTTL sets how long an address stays after its process died without deleting it: whole seconds, at least
// [rollcall.MinTTL]; the default is [DefaultTTL]. It counts for [Add] only.
func WithTTL(ttl time.Duration) Option {
	return func(o *options) { o.ttl = ttl }
}

// Register adds an address to a target or deletes it, and returns when etcd has confirmed that.
//
// [Add] keeps the address there from now on: its key is under a lease that is renewed in the background, and granted
// anew when it was lost. An address that this registry has added before gets the new metadata and, if it is another, the
// new TTL. An address that another process holds is taken over from it.
//
// [Delete] takes away what this registry added, and no more: a key that another process has taken over stays. Of any other
// address it deletes what it finds, which is meant for what a dead process left; a live one puts its key back, perhaps
// before it is deleted: then the error is Aborted. An address that is not there is no error.
//
// Register waits for etcd as long as ctx allows; ctx bounds this call only, not the registration. An Add that fails has
// added nothing; whatever part of it may have reached etcd is taken back. New metadata for an address that is added
// already, and a Delete, stand when ctx ends first: they are carried out as soon as etcd answers.
//
// The errors have these codes. InvalidArgument: the target, the address, the metadata (it cannot be encoded, or is above
// 16 KiB), the TTL or the client, or an operation that is neither Add nor Delete; nothing was sent then.
// DeadlineExceeded and Canceled: ctx ended first. Aborted: another process wrote the key at the same moment, and its word
// stands. Unavailable: the registry is closed. A refusal by etcd, such as PermissionDenied, keeps its code.
func (r *Registry) Register(ctx context.Context, target string, update Update, opts ...Option) error {
	o := options{ttl: DefaultTTL}
	for _, opt := range opts {
		opt(&o)
	}
	var err error
	switch update.Op {
	case Add:
		err = r.add(ctx, target, update, o.ttl)
	case Delete:
		err = r.delete(ctx, target, update.Addr)
	default:
		return status.Error(codes.InvalidArgument, "unsupported op")
	}
	return statusOf(ctx, err)
}

func (r *Registry) add(ctx context.Context, target string, update Update, ttl time.Duration) error {
	// The library takes raw JSON and knows an object of strings when it reads one.
	metadata, err := json.Marshal(update.Metadata)
	if err != nil {
		return &rollcall.InvalidError{
			Field: "Update.Metadata", Value: fmt.Sprintf("of type %T", update.Metadata),
			Rule: "metadata is what encoding/json can write: " + err.Error(),
		}
	}
	reg, service, err := r.split(target)
	if err != nil {
		return err
	}
	s, err := r.enter(ctx, place{target, update.Addr})
	if err != nil {
		return err
	}
	defer r.leave(s)
	return s.add(ctx, reg, service, rollcall.Instance{Addr: update.Addr, RawMetadata: metadata}, ttl)
}

func (r *Registry) delete(ctx context.Context, target, addr string) error {
	reg, service, err := r.split(target)
	if err != nil {
		return err
	}
	s, err := r.enter(ctx, place{target, addr})
	if err != nil {
		return err
	}
	defer r.leave(s)
	return s.delete(ctx, reg, service, addr)
}

// Resolve returns a watcher for a target; nobody needs to have registered there. It does no I/O, and nothing about it
// times out. Close the watcher when it is not needed any more.
//
// The errors have these codes. InvalidArgument: the target or the client. Unavailable: the registry is closed.
func (r *Registry) Resolve(target string) (Watcher, error) {
	reg, service, err := r.split(target)
	if err == nil {
		err = reg.Validate(service, nil)
	}
	if err != nil {
		return nil, statusOf(context.Background(), err)
	}
	return &watcher{views: reg.Watch(service, rollcall.WithLinearizable())}, nil
}

// Close deletes every address that was added, ends every watcher, and waits until nothing of the registry runs any more.
// The etcd client stays open. Close is idempotent.
//
// It takes as long as ctx allows, at most about six seconds. When etcd did not answer within that time the error says
// so; the keys then disappear when their TTL is over.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	var regs []*rollcall.Registry
	for _, reg := range r.directories {
		regs = append(regs, reg)
	}
	r.mu.Unlock()

	errs := make([]error, len(regs))
	var closing sync.WaitGroup
	for n, reg := range regs {
		closing.Go(func() { errs[n] = reg.Close(ctx) })
	}
	closing.Wait()
	return statusOf(ctx, errors.Join(errs...))
}

// split cuts a target at its last "/" and returns the registry of the directory before it, and the service behind it.
func (r *Registry) split(target string) (reg *rollcall.Registry, service string, err error) {
	n := strings.LastIndexByte(target, '/') + 1
	dir, service := target[:n], target[n:]
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, "", fmt.Errorf("target %s: %w", target, rollcall.ErrClosed)
	}
	reg = r.directories[dir]
	if reg == nil {
		reg = rollcall.New(r.client, append(slices.Clip(r.opts), rollcall.WithDirectory(dir))...)
		r.directories[dir] = reg
	}
	return reg, service, nil
}
