package rollcall

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// Registry is a registry on one etcd cluster under one prefix: the door to everything else. Make one per process with
// [Open] or [New] and share it; all methods may be called concurrently.
//
// Beside the etcd client's own connection a registry opens up to two more, one for heartbeats and one for watches, each
// to one etcd member at a time, and only when it needs them; and for half a second one to every member, when one seems to
// hang. The client's endpoints should therefore name every member.
type Registry struct {
	settings
	holder    string       // random id of this registry, see Instance.Holder
	engine    engine       // nil when the settings are no good
	snapshots *snapshotDir // nil: none

	ctx    context.Context // ends in Close
	closed chan struct{}   // closed when the first Close returns
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closing  bool
	closeErr error // what Close returned
	started  bool  // the engine runs
	feeds    map[string]*feed
}

// Open makes a registry with an etcd client of its own, which Close closes. It does not wait for etcd, nor need it to
// be up; an error means that cfg or an option is invalid. See [ClientConfig].
//
// With a user name and password in cfg the client logs in by itself as soon as etcd answers. A password that is refused
// is what every call returns, as [ErrUnauthenticated]; it is tried again after 1 s and at last every 30 s.
func Open(cfg clientv3.Config, opts ...Option) (*Registry, error) {
	s := newSettings(opts)
	if s.err != nil {
		return nil, fmt.Errorf("open registry: %w", s.err)
	}
	if len(cfg.Endpoints) == 0 {
		return nil, fmt.Errorf("open registry: %w", invalid("Config.Endpoints", "", "at least one etcd endpoint is needed, such as 127.0.0.1:2379"))
	}
	client, err := openClient(cfg, s.logger)
	if err != nil {
		return nil, fmt.Errorf("open registry: etcd client: %w", err)
	}
	r, e := onEtcd(client, s)
	e.owns = true
	r.wg.Go(func() { client.Run(r.ctx) })
	return r, nil
}

// openClient makes a client at once, unless that takes etcd's answer: then it tries only whether cfg is valid.
func openClient(cfg clientv3.Config, logger *slog.Logger) (*wire.Client, error) {
	asks := cfg.Username != "" && cfg.Password != "" || cfg.RejectOldCluster
	silent := cfg
	if asks {
		if cfg.Token != "" {
			return nil, clientv3.ErrMutuallyExclusiveCfg
		}
		silent.Username, silent.Password, silent.RejectOldCluster = "", "", false
	}
	client, err := clientv3.New(silent)
	if err != nil {
		return nil, err
	}
	if !asks {
		return wire.Given(client, logger), nil
	}
	client.Close()
	return wire.Login(cfg, logger), nil
}

// New makes a registry over the caller's etcd client, which stays the caller's: Close leaves it open. New does no I/O
// and never fails: with a nil client or an invalid option every call on the registry returns the error that says so.
//
// The client's configuration cannot be read back. When it is seen to break what the registry promises with that of
// [ClientConfig], a warning is logged once.
func New(client *clientv3.Client, opts ...Option) *Registry {
	s := newSettings(opts)
	if client == nil {
		s.err = errors.Join(s.err, &InvalidError{Field: "client", Value: "nil", Rule: "a registry needs an etcd client"})
	}
	if s.err != nil {
		return newRegistry(s)
	}
	r, _ := onEtcd(wire.Given(client, s.logger), s)
	return r
}

func newRegistry(s settings) *Registry {
	r := &Registry{settings: s, holder: rand.Text(), feeds: map[string]*feed{}, closed: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	if r.snapshotDir != "" && r.err == nil {
		r.snapshots = &snapshotDir{path: r.snapshotDir, logger: r.logger}
	}
	return r
}

// fleet estimates how many instances there are, by the views that there are.
func (r *Registry) fleet() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, f := range r.feeds {
		n += f.size()
	}
	return n
}

// Zone returns the zone that this process runs in, "" for none: see [WithZone].
func (r *Registry) Zone() string { return *r.zone }

// Register makes an instance visible and keeps it visible: under a lease that is renewed by heartbeats, granted again
// when it is lost, without end, until [Registration.Deregister] or [Registry.Close]. It returns when etcd has confirmed
// the write, so that every view from then on has the instance.
//
// It waits for etcd as long as ctx allows; ctx bounds this call only, not the registration. With a ctx that has ended
// it tries nothing. When it returns an error
// ([InvalidError] before anything reached etcd, [UnreachableError] when ctx ended first, [ErrReplaced] when another
// process registered the id at the same moment, [ErrNoSpace], [ErrPermissionDenied], [ErrUnauthenticated] or etcd's own
// when etcd refused) there is no registration, and whatever part of it may have reached etcd is taken back.
//
// An id that is registered already is taken over without a gap, as a restarted process takes over its address from
// the one before it: the former registration, of this or another process, ends with [ErrReplaced], and neither its late
// goodbye nor the end of its lease removes the key.
func (r *Registry) Register(ctx context.Context, service string, inst Instance, opts ...RegisterOption) (*Registration, error) {
	ctx, end := r.traced(ctx, "register", service, cmp.Or(inst.ID, inst.Addr))
	g, err := r.register(ctx, service, inst, opts)
	end(err)
	return g, err
}

func (r *Registry) register(ctx context.Context, service string, inst Instance, opts []RegisterOption) (*Registration, error) {
	reg, err := r.newRegistration(service, inst, registerSettingsOf(opts))
	if err != nil {
		return nil, fmt.Errorf("register %s/%s: %w", service, shorten(cmp.Or(inst.ID, inst.Addr)), err)
	}
	if err := reg.begin(ctx, false); err != nil {
		return nil, fmt.Errorf("register %s/%s: %w", service, reg.inst.ID, err)
	}
	r.counts.began(reg)
	r.logger.Info("registered", "service", service, "instance", reg.inst.ID)
	return reg, nil
}

// Validate returns what [Registry.Register] would refuse before anything reached etcd: a bad service name, a bad instance
// or TTL, a closed registry. It does no I/O. With a nil instance it looks at the service name only.
func (r *Registry) Validate(service string, inst *Instance, opts ...RegisterOption) error {
	err := r.check(service)
	if err == nil && inst != nil {
		var g *Registration
		if g, err = r.newRegistration(service, *inst, registerSettingsOf(opts)); err == nil {
			_, err = g.inst.encodeChecked()
		}
	}
	if err != nil {
		return fmt.Errorf("service %s: %w", shorten(service), err)
	}
	return nil
}

// check returns why the registry cannot serve a call.
func (r *Registry) check(service string) error {
	if r.err != nil {
		return r.err
	}
	if r.ctx.Err() != nil {
		return ErrClosed
	}
	return r.layout.checkService(service)
}

// Lookup returns the instances of a service as they are now: the read contains every write that was acknowledged to
// anybody before. A service that nobody registered has an empty view; that is no error.
//
// It waits for etcd as long as ctx allows, and returns an [UnreachableError] then, unless a watcher of this registry
// follows the service: its view is returned instead, with [View.StaleSince] set.
func (r *Registry) Lookup(ctx context.Context, service string) (*View, error) {
	ctx, end := r.traced(ctx, "lookup", service, "")
	v, err := r.lookUp(ctx, service)
	end(err)
	return v, err
}

func (r *Registry) lookUp(ctx context.Context, service string) (*View, error) {
	if err := r.check(service); err != nil {
		return nil, fmt.Errorf("look up %s: %w", service, err)
	}
	v, err := r.engine.lookup(ctx, service)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", service, err)
	}
	return v, nil
}

// lastKnown returns the view of a service that is being followed, stale at the latest since the given time, and why.
func (r *Registry) lastKnown(service string, since time.Time, err error) *View {
	r.mu.Lock()
	f := r.feeds[service]
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	return f.stale(since, err)
}

// Services returns the names of all services with at least one instance, sorted. In a registry without a prefix it is
// refused: the keys there are not ours alone.
func (r *Registry) Services(ctx context.Context) ([]string, error) {
	if err := r.check("any"); err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	if r.layout.flat {
		return nil, fmt.Errorf("list services: %w", invalid("prefix", "", "services can be listed only under a prefix"))
	}
	names, err := r.engine.services(ctx)
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return names, nil
}

// Close deregisters everything that is registered, revokes the leases, ends every watcher and waits until nothing of
// the registry runs any more. A client that [Open] made is closed too. Close is idempotent: a
// further one returns the same.
//
// It takes as long as ctx allows, at most about six seconds. When etcd did not answer within that time the error is an
// [UnreachableError]; the keys then disappear when their TTL is over.
func (r *Registry) Close(ctx context.Context) error {
	if r.engine == nil {
		return nil
	}
	r.mu.Lock()
	first := !r.closing
	r.closing = true
	r.mu.Unlock()
	if !first {
		select {
		case <-r.closed:
			return r.closeError()
		case <-ctx.Done():
			return fmt.Errorf("close registry: %w", context.Cause(ctx))
		}
	}
	defer close(r.closed)
	if err := r.engine.leave(ctx); err != nil {
		r.mu.Lock()
		r.closeErr = fmt.Errorf("close registry: %w", err)
		r.mu.Unlock()
	}
	r.cancel(ErrClosed)
	r.mu.Lock()
	for _, f := range r.feeds {
		f.end()
	}
	r.mu.Unlock()
	r.engine.end()
	r.relay.close()
	return r.closeError()
}

func (r *Registry) closeError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closeErr
}

func (r *Registry) unreachable(since time.Time, last, why error) error {
	if errors.Is(why, ErrClosed) {
		return ErrClosed
	}
	who, addrs := r.engine.where()
	return &UnreachableError{Who: who, Endpoints: addrs, Since: since, Last: last, Err: why}
}
