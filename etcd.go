package rollcall

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/rollcall-io/rollcall/internal/follow"
	"github.com/rollcall-io/rollcall/internal/lease"
	"github.com/rollcall-io/rollcall/internal/wire"
)

// etcd is the engine of a registry that talks to etcd itself.
type etcd struct {
	*Registry // whose engine it is
	client    *wire.Client
	owns      bool // the client is ours to close
	beats     *wire.Line
	streams   *wire.Line
	source    *follow.Source
	keeper    *lease.Keeper
	control   *control
	reports   reports
	steering  sync.Once   // the control follower runs
	all       *everything // nil unless the registry follows everything
}

// onEtcd makes a registry on etcd.
func onEtcd(client *wire.Client, s settings) (*Registry, *etcd) {
	r := &etcd{Registry: newRegistry(s), client: client}
	r.engine = r
	r.beats, r.streams = wire.NewLine(client), wire.NewLine(client)
	r.control = newControl(s, r.steerFeeds)
	r.source = follow.NewSource(r.streams, r.logger)
	r.control.follower = r.source.New(r.control.prefix, r.control, follow.Seed{})
	r.keeper = lease.New(lease.Config{Line: r.beats, Holder: r.holder, Owner: ownerOf, Fleet: r.fleet, Logger: r.logger, Healed: r.healed})
	if r.followAll {
		r.all = newEverything(r)
		r.all.start()
	}
	return r.Registry, r
}

// where implements [engine].
func (r *etcd) where() (string, []string) { return "etcd", r.client.Endpoints() }

// start implements [engine].
func (r *etcd) start() { r.wg.Go(func() { r.source.Run(r.ctx) }) }

// follow implements [engine].
func (r *etcd) follow(ctx context.Context, f *feed, seed follow.Seed) refresher {
	r.adoptLocked(f)
	f.answered = r.followControl
	follower := r.source.New(f.dir, f, seed)
	r.wg.Go(func() { follower.Run(ctx) })
	return follower
}

// adoptLocked gives a feed what operators decided, as far as it is known, and has it ask about leases.
func (r *etcd) adoptLocked(f *feed) {
	if d, known := r.control.of(f.service); known {
		f.decide(d, true)
	} else if f.view == nil {
		f.known = false
	}
	f.doubt = func() { r.wg.Go(func() { r.question(f) }) }
}

// leave implements [engine].
func (r *etcd) leave(ctx context.Context) error {
	began := time.Now()
	err := r.keeper.Close(ctx)
	if err != nil && !wire.IsRefusal(err) {
		err = r.unreachable(began, err, cmp.Or(context.Cause(ctx), context.DeadlineExceeded))
	}
	return refused(err)
}

// end implements [engine].
func (r *etcd) end() {
	r.control.end()
	r.beats.Close()
	r.streams.Close()
	r.wg.Wait()
	if r.owns {
		r.client.Close()
	}
}

// lookup implements [engine].
func (r *etcd) lookup(ctx context.Context, service string) (*View, error) {
	if r.all != nil {
		return r.lookUpKnown(ctx, service)
	}
	began := time.Now()
	dir := r.layout.dir(service)
	var f *feed
	err := r.try(ctx, func(ctx context.Context) error {
		f = newFeed(service, dir, r.settings)
		batch := follow.Batch{Relisted: true}
		at, err := r.source.List(ctx, dir, func(_ follow.Header, keys int64) {
			batch.Changes = make([]follow.Change, 0, keys)
		}, func(_ follow.Header, kv *mvccpb.KeyValue) {
			key := string(kv.Key)
			batch.Changes = append(batch.Changes, follow.Change{
				Key: key, Read: f.Read(key, kv.Value), Revision: kv.ModRevision, CreateRevision: kv.CreateRevision, Lease: kv.Lease,
			})
		})
		if err != nil {
			return err
		}
		batch.Header = at
		f.Apply(batch)
		return r.lookUpControl(ctx, f)
	})
	if errors.Is(err, ErrUnreachable) {
		if v := r.lastKnown(service, began, err); v != nil {
			return v, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return f.view, nil
}

// lookUpKnown is Lookup from memory.
func (r *etcd) lookUpKnown(ctx context.Context, service string) (*View, error) {
	if v := r.all.lookUp(service); v != nil {
		return v, nil
	}
	w := r.Watch(service)
	defer w.Close()
	v, err := w.Next(ctx)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	v.Updates, v.Reset = nil, false
	return v, nil
}

// knownServices is Services from memory.
func (r *etcd) knownServices(ctx context.Context) ([]string, error) {
	if err := r.all.await(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name, f := range r.feeds {
		if f.size() > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// services implements [engine].
func (r *etcd) services(ctx context.Context) ([]string, error) {
	if r.all != nil {
		return r.knownServices(ctx)
	}
	var names []string
	err := r.try(ctx, func(ctx context.Context) error {
		names = names[:0]
		_, err := r.source.ListKeys(ctx, r.layout.services, func(_ follow.Header, kv *mvccpb.KeyValue) {
			name, ok := r.layout.serviceOf(string(kv.Key))
			if ok && (len(names) == 0 || names[len(names)-1] != name) {
				names = append(names, name)
			}
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names) // "a-b/" comes before "a/" among the keys, but "a" before "a-b" among the names
	return slices.Compact(names), nil
}

// try calls do until it succeeds, etcd refuses, or ctx ends.
func (r *etcd) try(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })()
	began := time.Now()
	var last error
	for attempt := 0; ; attempt++ {
		err := do(ctx)
		if err == nil || settled(err) {
			return refused(err)
		}
		if ctx.Err() == nil {
			last = err
		}
		if !wire.Sleep(ctx, wire.Backoff(attempt)) {
			return r.unreachable(began, last, context.Cause(ctx))
		}
	}
}

// lookUpControl reads what operators decided about the service of a feed that nobody follows. Who may not read it does without.
func (r *etcd) lookUpControl(ctx context.Context, f *feed) error {
	dir := r.layout.controlDir(f.service)
	var d *decisions
	_, err := r.source.List(ctx, dir, func(follow.Header, int64) { d = noDecisions }, func(_ follow.Header, kv *mvccpb.KeyValue) {
		name := strings.TrimPrefix(string(kv.Key), dir)
		switch v := decision(name, kv.Value, kv.ModRevision).(type) {
		case *Policy, *Override, *finding:
			d = d.with(name, v)
		}
	})
	if wire.IsRefusal(err) {
		return nil
	}
	if err == nil {
		f.decide(d, true)
	}
	return err
}

// followControl follows what operators decided, from the first time that etcd has answered.
func (r *etcd) followControl() {
	r.steering.Do(func() {
		r.wg.Go(r.sweep)
		r.wg.Go(func() { r.control.follower.Run(r.ctx) })
	})
}
