package simulation

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

const (
	sceneTTL  = 15 * time.Second
	sceneSeed = 3 // with which a family that may have passwords has them
)

// scene plays a world in which what happens is written down, not drawn: what once went wrong, or almost.
func scene(t *testing.T, f family, schedule func(*world)) {
	t.Helper()
	f.schedule = func(w *world) {
		over := false
		defer func() {
			if !over { // the scene was given up
				w.end()
			}
		}()
		schedule(w)
		over = true
	}
	if broken := play(t, f, sceneSeed); broken != nil {
		t.Error(broken)
	}
}

// fewer returns how many of something a scene takes: a quarter where the race detector or haste wants it.
func fewer(n int) int {
	if raceDetector || testing.Short() {
		return n / 4
	}
	return n
}

// join adds a registry that does what the scene has it do, over a client that is configured as all are but for changes. The
// world's end closes it.
func (w *world) join(changes ...func(*clientv3.Config)) *registrant {
	tap := newTap()
	cfg := w.config(tap)
	for _, change := range changes {
		change(&cfg)
	}
	reg, err := rollcall.Open(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &registrant{
		w: w, name: fmt.Sprint("r", len(w.registrars)), tap: tap, by: engine{reg},
		ttls: []time.Duration{sceneTTL}, live: map[string]*stay{},
	}
	w.registrars = append(w.registrars, r)
	return r
}

// through makes a change of a client that has interceptors.
func through(options ...grpc.DialOption) func(*clientv3.Config) {
	return func(cfg *clientv3.Config) { cfg.DialOptions = append(cfg.DialOptions, options...) }
}

func (r *registrant) registry() *rollcall.Registry { return r.by.(engine).Registry }

// member returns the one that the registry's heartbeats go to.
func (r *registrant) member() *simetcd.Member {
	on := r.tap.where(keepAliveMethod)
	for _, m := range r.w.cluster.Members() {
		if m.Endpoint() == on {
			return m
		}
	}
	r.w.t.Fatalf("no member is %q", on)
	return nil
}

// provide registers instances of any service at once. The oracle looks at those of one service only.
func (r *registrant) provide(service string, ids ...string) []*rollcall.Registration {
	r.w.t.Helper()
	all, errs := make([]*rollcall.Registration, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	for n, id := range ids {
		wg.Go(func() {
			ctx, cancel := within(patience)
			defer cancel()
			all[n], errs[n] = r.registry().Register(ctx, service, rollcall.Instance{ID: id, Addr: "10.0.0.1:1"}, rollcall.WithTTL(r.ttls[0]))
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.w.t.Fatalf("register %s: %v", service, err)
	}
	return all
}

// numbered returns so many ids.
func numbered(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("i", i))
	}
	return ids
}

// follow begins to watch a service, and takes the first view.
func (r *registrant) follow(service string) *rollcall.Watcher {
	r.w.t.Helper()
	watcher := r.registry().Watch(service)
	r.w.next(watcher)
	return watcher
}

// next returns a watcher's next view.
func (w *world) next(watcher *rollcall.Watcher) *rollcall.View {
	w.t.Helper()
	ctx, cancel := within(patience)
	defer cancel()
	v, err := watcher.Next(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// expired returns how many keys leases took with them when they ran out.
func (w *world) expired() (n int) {
	for _, r := range w.cluster.History() {
		if r.Cause == "expiry" {
			n += len(r.Events)
		}
	}
	return n
}

// settled checks that a registry's views are fresh.
func (w *world) settled(r *registrant) {
	w.t.Helper()
	for _, s := range r.registry().Status().Services {
		if !s.StaleSince.IsZero() {
			w.t.Errorf("the view of %s is stale since %v", s.Service, time.Since(s.StaleSince))
		}
	}
}
