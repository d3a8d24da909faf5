package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/gateway"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

// engineWorld is where a registry is: on etcd itself, or behind servers.
type engineWorld struct {
	etcd *etcdtest.Server
	open func(t *testing.T, opts ...rollcall.Option) *rollcall.Registry
}

// What the library promises it promises on etcd and behind a server alike.
func TestEveryEngine(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T) engineWorld{
		"on etcd": func(t *testing.T) engineWorld {
			etcd := etcdtest.Start(t)
			return engineWorld{etcd, func(t *testing.T, opts ...rollcall.Option) *rollcall.Registry { return grpcRegistry(t, etcd, opts...) }}
		},
		"behind a server": func(t *testing.T) engineWorld {
			etcd := etcdtest.Start(t)
			s := serveAPI(t, etcd, grpcapi.Config{})
			return engineWorld{etcd, func(t *testing.T, opts ...rollcall.Option) *rollcall.Registry { return openGateway(t, s.addr, opts...) }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for promise, holds := range enginePromises {
				t.Run(promise, func(t *testing.T) {
					t.Parallel()
					holds(t, begin(t))
				})
			}
		})
	}
}

func openGateway(t *testing.T, addr string, opts ...rollcall.Option) *rollcall.Registry {
	t.Helper()
	reg, err := gateway.Open(addr, gateway.WithRegistry(opts...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), apiPatience)
		defer cancel()
		_ = reg.Close(ctx)
	})
	return reg
}

var enginePromises = map[string]func(*testing.T, engineWorld){
	"an instance registers, changes and leaves":                    engineLife,
	"an id that is registered again passes on":                     engineTakeover,
	"what is wrong is refused before it is done":                   engineRefusals,
	"Close leaves nothing":                                         engineClose,
	"an operator's decisions reach every view, and conflicts show": engineSteering,
	"views outlive etcd, and say so":                               engineOutage,
	"a context that ends leaves nothing behind":                    engineGivesUp,
	"gRPC calls find their servers, and a restart fails none":      engineCalls,
	"many registrations at once":                                   engineBulk,
}

func engineLife(t *testing.T, world engineWorld) {
	writer, reader := world.open(t), world.open(t)
	w := watch(t, reader, "svc")
	if v := next(t, w); len(v.Instances) != 0 {
		t.Errorf("before anything: %v", ids(v))
	}
	r := register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Zone: "a", Metadata: map[string]string{"team": "x"}}, rollcall.WithTTL(7*time.Second))
	i := get(t, until(t, w, apiPatience, "it", hasIDs("10.0.0.1:1")), "10.0.0.1:1")
	if i.Zone != "a" || i.Metadata["team"] != "x" || i.TTL != 7*time.Second || i.Weight != rollcall.DefaultWeight || i.Incarnation != r.Instance().Incarnation {
		t.Errorf("it is %+v, its registration %+v", i, r.Instance())
	}
	if st := r.Status(); st.State != rollcall.Registered {
		t.Errorf("status: %+v", st)
	}
	if err := r.Update(within(t, apiPatience), func(i *rollcall.Instance) { i.Weight = 7 }); err != nil {
		t.Fatal(err)
	}
	until(t, w, apiPatience, "its weight", func(v *rollcall.View) bool { i, found := v.Get("10.0.0.1:1"); return found && i.Weight == 7 })
	if err := r.Drain(within(t, apiPatience)); err != nil {
		t.Fatal(err)
	}
	until(t, w, apiPatience, "that it drains", effective("10.0.0.1:1", rollcall.StateDraining))
	names, err := reader.Services(within(t, apiPatience))
	if err != nil || len(names) != 1 || names[0] != "svc" {
		t.Errorf("services: %v, %v", names, err)
	}
	for range 2 {
		if err := r.Deregister(within(t, apiPatience)); err != nil {
			t.Fatal(err)
		}
	}
	v := until(t, w, apiPatience, "that it is gone", func(v *rollcall.View) bool { return len(v.Instances) == 0 })
	if len(v.Updates) != 1 || v.Updates[0].Op != rollcall.Delete || v.Updates[0].Expired {
		t.Errorf("told %v", describe(v.Updates))
	}
	if err := r.Err(); !errors.Is(err, rollcall.ErrDeregistered) {
		t.Errorf("it ended with %v", err)
	}
	if err := r.Update(within(t, apiPatience), func(*rollcall.Instance) {}); !errors.Is(err, rollcall.ErrDeregistered) {
		t.Errorf("an update afterwards: %v", err)
	}
}

func engineTakeover(t *testing.T, world engineWorld) {
	a, b := world.open(t), world.open(t)
	w := watch(t, a, "svc")
	first := register(t, a, "svc", rollcall.Instance{ID: "x", Addr: "10.0.0.1:1"})
	second := register(t, b, "svc", rollcall.Instance{ID: "x", Addr: "10.0.0.2:1"})
	awaitEnd(t, first.Done())
	if err := first.Err(); !errors.Is(err, rollcall.ErrReplaced) {
		t.Errorf("the first ended with %v", err)
	}
	until(t, w, apiPatience, "the second", func(v *rollcall.View) bool { i, found := v.Get("x"); return found && i.Addr == "10.0.0.2:1" })
	third := register(t, b, "svc", rollcall.Instance{ID: "x", Addr: "10.0.0.3:1"}) // by the same registry
	awaitEnd(t, second.Done())
	if err := second.Err(); !errors.Is(err, rollcall.ErrReplaced) {
		t.Errorf("the second ended with %v", err)
	}
	for _, r := range []*rollcall.Registration{first, second} {
		if err := r.Deregister(within(t, apiPatience)); err != nil && !errors.Is(err, rollcall.ErrReplaced) {
			t.Errorf("a late goodbye: %v", err)
		}
	}
	if i := get(t, lookUp(t, a, "svc"), "x"); i.Addr != "10.0.0.3:1" || third.Err() != nil {
		t.Errorf("it is at %s, and the third ended with %v", i.Addr, third.Err())
	}
}

func engineRefusals(t *testing.T, world engineWorld) {
	reg := world.open(t)
	ctx := within(t, apiPatience)
	for what, err := range map[string]error{
		"service": func() error {
			_, err := reg.Register(ctx, "a/b", rollcall.Instance{Addr: "10.0.0.1:1"})
			return err
		}(),
		"address": func() error { _, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "x"}); return err }(),
		"TTL": func() error {
			_, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(time.Second))
			return err
		}(),
		"override": func() error { _, err := reg.SetOverride(ctx, "svc", "x", rollcall.Override{}); return err }(),
		"look up":  func() error { _, err := reg.Lookup(ctx, ""); return err }(),
	} {
		if !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	if err := r.Update(ctx, func(i *rollcall.Instance) { i.Weight = -1 }); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("a bad update: %v", err)
	}
	if _, err := reg.Policy(ctx, "svc"); !errors.Is(err, rollcall.ErrNotFound) {
		t.Errorf("no policy: %v", err)
	}
	if _, err := reg.Override(ctx, "svc", "x"); !errors.Is(err, rollcall.ErrNotFound) {
		t.Errorf("no override: %v", err)
	}
}

func engineClose(t *testing.T, world engineWorld) {
	reg, reader := world.open(t), world.open(t)
	w := watch(t, reader, "svc")
	var all []*rollcall.Registration
	for _, id := range []string{"a", "b", "c"} {
		all = append(all, register(t, reg, "svc", rollcall.Instance{ID: id, Addr: "10.0.0.1:1"}))
	}
	until(t, w, apiPatience, "all", hasIDs("a", "b", "c"))
	watcher := reg.Watch("svc")
	if _, err := watcher.Next(within(t, apiPatience)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := reg.Close(within(t, apiPatience)); err != nil {
			t.Fatal(err)
		}
	}
	for {
		v := next(t, w)
		for _, u := range v.Updates {
			if u.Expired {
				t.Errorf("%s went without a goodbye", u.Instance.ID)
			}
		}
		if len(v.Instances) == 0 {
			break
		}
	}
	for _, r := range all {
		if err := r.Err(); !errors.Is(err, rollcall.ErrClosed) {
			t.Errorf("a registration ended with %v", err)
		}
	}
	if _, err := watcher.Next(within(t, apiPatience)); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("its watcher: %v", err)
	}
	if _, err := reg.Register(within(t, apiPatience), "svc", rollcall.Instance{Addr: "10.0.0.1:1"}); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("Register after Close: %v", err)
	}
}

func engineSteering(t *testing.T, world engineWorld) {
	operator, reader := world.open(t), world.open(t)
	register(t, operator, "svc", rollcall.Instance{ID: "x", Addr: "10.0.0.1:1"})
	w := watch(t, reader, "svc")
	ctx := within(t, apiPatience)
	o, err := operator.SetOverride(ctx, "svc", "x", rollcall.Override{Drain: true, Reason: "why", Author: "jie"})
	if err != nil {
		t.Fatal(err)
	}
	i := get(t, until(t, w, apiPatience, "the drain", effective("x", rollcall.StateDraining)), "x")
	if i.State != rollcall.StateServing || i.Override == nil || i.Override.Reason != "why" || i.Override.Author != "jie" || i.Override.Revision != o.Revision {
		t.Errorf("it is %+v, with %+v", i, i.Override)
	}
	if _, err := reader.SetOverride(ctx, "svc", "x", rollcall.Override{Weight: 5}); !errors.Is(err, rollcall.ErrConflict) {
		t.Errorf("a second operator: %v", err)
	}
	found, err := reader.Override(ctx, "svc", "x")
	if err != nil || found.Revision != o.Revision {
		t.Errorf("read: %+v, %v", found, err)
	}
	if err := reader.DeleteOverride(ctx, "svc", "x", o.Revision); err != nil {
		t.Error(err)
	}
	until(t, w, apiPatience, "the end of the drain", effective("x", rollcall.StateServing))

	p, err := operator.SetPolicy(ctx, "svc", rollcall.Policy{Timeout: time.Second, Balancing: rollcall.Balancing{Split: map[string]float64{"v2": 10}}})
	if err != nil {
		t.Fatal(err)
	}
	v := until(t, w, apiPatience, "the policy", func(v *rollcall.View) bool { return v.Policy != nil })
	if v.Policy.Revision != p.Revision || v.Policy.Timeout != time.Second || v.Policy.Split["v2"] != 10 || len(v.Updates) != 0 {
		t.Errorf("the view has %+v, updates %v", v.Policy, describe(v.Updates))
	}
	if _, err := reader.SetPolicy(ctx, "svc", rollcall.Policy{Timeout: time.Minute}); !errors.Is(err, rollcall.ErrConflict) {
		t.Errorf("a second policy: %v", err)
	}
	if err := operator.DeletePolicy(ctx, "svc", p.Revision); err != nil {
		t.Error(err)
	}
	until(t, w, apiPatience, "no policy", func(v *rollcall.View) bool { return v.Policy == nil })
	if err := operator.Accept(ctx, "svc", "why", "jie"); err != nil {
		t.Error(err)
	}
}

func engineOutage(t *testing.T, world engineWorld) {
	reg := world.open(t)
	r := register(t, reg, "svc", rollcall.Instance{ID: "x", Addr: "10.0.0.1:1"})
	w := watch(t, reg, "svc")
	until(t, w, apiPatience, "it", hasIDs("x"))
	world.etcd.Stop()
	v := until(t, w, apiPatience, "that it is stale", func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
	if v.StaleErr == nil || len(v.Instances) != 1 {
		t.Errorf("stale by %v, with %v", v.StaleErr, ids(v))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if v, err := reg.Lookup(ctx, "svc"); err != nil || v.StaleSince.IsZero() || len(v.Instances) != 1 {
		t.Errorf("looked up: %+v, %v", v, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := r.Update(ctx, func(i *rollcall.Instance) { i.Weight = 7 }); !errors.Is(err, rollcall.ErrUnreachable) {
		t.Errorf("an update meanwhile: %v", err)
	}
	world.etcd.Restart()
	until(t, w, apiPatience, "that it is fresh, and changed", func(v *rollcall.View) bool {
		i, found := v.Get("x")
		return found && v.StaleSince.IsZero() && i.Weight == 7
	})
	if r.Err() != nil {
		t.Errorf("the registration has ended: %v", r.Err())
	}
}

func engineGivesUp(t *testing.T, world engineWorld) {
	reg, reader := world.open(t), world.open(t)
	w := watch(t, reader, "svc")
	next(t, w)
	world.etcd.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := reg.Register(ctx, "svc", rollcall.Instance{ID: "x", Addr: "10.0.0.1:1"})
	if !errors.Is(err, rollcall.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Register without etcd: %v", err)
	}
	world.etcd.Restart()
	register(t, reg, "svc", rollcall.Instance{ID: "y", Addr: "10.0.0.2:1"})
	until(t, w, apiPatience, "the other only", hasIDs("y"))
	eventually(t, apiPatience, "what was given up is not there", func() bool { return len(lookUp(t, reader, "svc").Instances) == 1 })
}

func engineCalls(t *testing.T, world engineWorld) {
	serve := func() *greeter {
		var calls rollcallgrpc.Calls
		g := newGreeter(t, calls.ServerOptions()...)
		return g.serve(t, world.open(t), rollcallgrpc.WithCalls(&calls), rollcallgrpc.WithDrainDelay(5*time.Second))
	}
	a, b := serve(), serve()
	conn, err := rollcallgrpc.NewClient(grpcService, world.open(t), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := greet(t, conn, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	greetUntil(t, conn, a.addr, b.addr)
	callers := startCallers(t, conn, 4)
	c := serve()
	a.stop()
	if err := a.wait(t); err != nil {
		t.Error(err)
	}
	greetUntil(t, conn, b.addr, c.addr)
	callers.more(t, 200)
	callers.mustNotFail(t)
}

func engineBulk(t *testing.T, world engineWorld) {
	const many = 500
	reg, reader := world.open(t), world.open(t)
	errs := make(chan error, many)
	for n := range many {
		go func() {
			_, err := reg.Register(within(t, apiPatience), "svc", rollcall.Instance{ID: string(rune('a'+n%26)) + time.Duration(n).String(), Addr: "10.0.0.1:1"})
			errs <- err
		}()
	}
	for range many {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, apiPatience, "all of them", func() bool { return len(lookUp(t, reader, "svc").Instances) == many })
}
