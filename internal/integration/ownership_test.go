package integration

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// registering starts a Register and returns what it will return.
func registering(t *testing.T, reg *rollcall.Registry, inst rollcall.Instance) <-chan registered {
	t.Helper()
	before := wanted(reg)
	done := make(chan registered, 1)
	ctx := within(t, 20*time.Second)
	go func() {
		r, err := reg.Register(ctx, "svc", inst)
		done <- registered{r, err}
	}()
	eventually(t, 5*time.Second, "the key is wanted", func() bool { return wanted(reg) > before })
	return done
}

type registered struct {
	*rollcall.Registration
	err error
}

// wanted returns how many keys a registry wants in etcd.
func wanted(reg *rollcall.Registry) (n int) {
	for _, l := range reg.Status().Leases {
		n += l.Registrations
	}
	return n
}

func TestRegistersOfOneIDTakeTurns(t *testing.T) {
	t.Parallel()
	reg, proxy, _ := behindProxy(t)
	inst := rollcall.Instance{Addr: "10.0.0.1:1"}
	proxy.Cut()
	first := registering(t, reg, inst)
	second := make(chan registered, 1)
	ctx := within(t, 20*time.Second)
	go func() {
		r, err := reg.Register(ctx, "svc", inst)
		second <- registered{r, err}
	}()
	// One that gives up spoils nothing for those before and after it; and it gives the second the time to begin.
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := reg.Register(short, "svc", inst); !errors.Is(err, rollcall.ErrUnreachable) {
		t.Fatalf("Register without etcd: %v", err)
	}
	proxy.Heal()
	one, two := <-first, <-second
	if one.err != nil || two.err != nil {
		t.Fatalf("first: %v, second: %v", one.err, two.err)
	}
	if <-one.Done(); !errors.Is(one.Err(), rollcall.ErrReplaced) || two.Err() != nil {
		t.Errorf("first: %v, second: %v", one.Err(), two.Err())
	}
}

func TestATakeoverSurvivesANetworkThatBlinks(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.9:1"}) // what is known of etcd is older than the key to be taken
	former := register(t, open(t, direct.Endpoints()[0]), "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	proxy.Cut()
	taking := registering(t, reg, rollcall.Instance{Addr: "10.0.0.1:1"})
	eventually(t, 5*time.Second, "the first try fails", func() bool { return reg.Status().LastError != nil })
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := reg.Register(short, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}); !errors.Is(err, rollcall.ErrUnreachable) {
		t.Fatalf("a second Register of the id, without etcd: %v", err)
	}
	proxy.Heal()
	if got := <-taking; got.err != nil {
		t.Fatalf("the takeover: %v", got.err)
	}
	if <-former.Done(); !errors.Is(former.Err(), rollcall.ErrReplaced) {
		t.Errorf("the former registration ended with %v", former.Err())
	}
}

func TestAnUpdateThatWaitsEndsWithItsRegistration(t *testing.T) {
	t.Parallel()
	reg, proxy, _ := behindProxy(t)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	proxy.BlackHole()
	t.Cleanup(proxy.Heal)
	updated := make(chan error, 1)
	ctx := within(t, 20*time.Second)
	go func() { updated <- r.Update(ctx, func(i *rollcall.Instance) { i.Weight = 3 }) }()
	eventually(t, 5*time.Second, "the update is wanted", func() bool { return r.Instance().Weight == 3 })
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Deregister(short); !errors.Is(err, rollcall.ErrUnreachable) {
		t.Fatalf("Deregister into a black hole: %v", err)
	}
	select {
	case err := <-updated:
		if !errors.Is(err, rollcall.ErrDeregistered) {
			t.Errorf("Update of what was deregistered: %v", err)
		}
	case <-time.After(1500 * time.Millisecond): // after 2 s it would be woken by a connection that is given up
		t.Error("Update waits on after its registration has ended")
	}
}

func TestAnUpdateMayLookAtItsRegistration(t *testing.T) {
	t.Parallel()
	reg, _ := start(t)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	updated := make(chan error, 1)
	ctx := within(t, 10*time.Second)
	go func() {
		updated <- r.Update(ctx, func(i *rollcall.Instance) { i.Weight = r.Instance().Weight + 1 })
	}()
	select {
	case err := <-updated:
		mustEqual(t, "error", err, nil)
		mustEqual(t, "weight", r.Instance().Weight, 101)
	case <-time.After(10 * time.Second):
		t.Error("Update waits for itself")
	}
}

// Of use with the race detector only.
func TestTheFirstRegisterAndCloseMayMeet(t *testing.T) {
	t.Parallel()
	for range 100 {
		reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:1"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}); err == nil {
					t.Error("registered without etcd")
				}
			})
		}
		wg.Go(func() { _ = reg.Close(ctx) })
		wg.Wait()
		cancel()
	}
}

// A read that began before a registration may tell of a time before the key became another's: it is not the first look
// that takes over what it finds.
func TestAReadFromBeforeARegistrationDoesNotUseUpItsTakeover(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	var failing, holding atomic.Bool
	held, release := make(chan struct{}), make(chan struct{})
	reg := openWith(t, etcd.Endpoint(), grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if !strings.HasSuffix(method, "/Txn") {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		if failing.CompareAndSwap(true, false) {
			return status.Error(codes.Unavailable, "lost") // so that the key is read before anything else
		}
		err := invoke(ctx, method, req, reply, cc, opts...)
		if holding.CompareAndSwap(true, false) {
			close(held)
			<-release
		}
		return err
	}))
	inst := rollcall.Instance{Addr: "10.0.0.1:1"}
	r := register(t, reg, "svc", inst)
	holding.Store(true)
	failing.Store(true)
	updated := make(chan error, 1)
	ctx := within(t, 20*time.Second)
	go func() { updated <- r.Update(ctx, func(i *rollcall.Instance) { i.Weight++ }) }()
	<-held // the read's answer
	register(t, open(t, etcd.Endpoint()), "svc", inst)
	again := make(chan error, 1)
	go func() {
		_, err := reg.Register(ctx, "svc", inst)
		again <- err
	}()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _ = reg.Register(short, "svc", inst) // gives the other one the time to begin
	close(release)
	mustEqual(t, "Register after the other process", <-again, nil)
	if err := <-updated; !errors.Is(err, rollcall.ErrReplaced) {
		t.Errorf("Update of the former registration: %v", err)
	}
}
