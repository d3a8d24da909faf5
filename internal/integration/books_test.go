package integration

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

// behindProxy returns a registry that reaches its etcd through a proxy, and a client that reaches it directly.
func behindProxy(t *testing.T, opts ...rollcall.Option) (*rollcall.Registry, *faultproxy.Proxy, *clientv3.Client) {
	t.Helper()
	s := etcdtest.Start(t)
	p := faultproxy.Start(t, s.Endpoint())
	return open(t, p.Addr(), opts...), p, s.Client(t)
}

func TestARegisterThatGaveUpLeavesNoKey(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	sibling := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})

	proxy.DropReplies()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	if !errors.Is(err, rollcall.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Register through a proxy that drops replies: %v", err)
	}
	if _, there := keys(t, direct, "")["rollcall/services/svc/10.0.0.2:1"]; !there {
		t.Fatal("the put did not reach etcd: the test shows nothing")
	}
	proxy.Heal()
	eventually(t, 5*time.Second, "the key is gone", func() bool {
		_, there := keys(t, direct, "")["rollcall/services/svc/10.0.0.2:1"]
		return !there
	})
	if _, there := keys(t, direct, "")["rollcall/services/svc/10.0.0.1:1"]; !there || sibling.Err() != nil {
		t.Errorf("the sibling is lost: %v", sibling.Err())
	}
}

func TestADeregisterThatTimedOutIsCarriedOutLater(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}) // keeps the lease alive
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})

	proxy.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := r.Deregister(ctx); !errors.Is(err, rollcall.ErrUnreachable) {
		t.Fatalf("Deregister without etcd: %v", err)
	}
	proxy.Heal()
	eventually(t, 5*time.Second, "the key is gone", func() bool {
		_, there := keys(t, direct, "")["rollcall/services/svc/10.0.0.2:1"]
		return !there
	})
	if err := r.Deregister(within(t, 5*time.Second)); err != nil {
		t.Errorf("Deregister again: %v", err)
	}
}

func TestAnUpdateThatTimedOutIsCarriedOutLater(t *testing.T) {
	t.Parallel()
	reg, proxy, _ := behindProxy(t)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	w := watch(t, reg, "svc")
	next(t, w)
	proxy.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := r.Update(ctx, func(i *rollcall.Instance) { i.Weight = 7 }); !errors.Is(err, rollcall.ErrUnreachable) {
		t.Fatalf("Update without etcd: %v", err)
	}
	mustEqual(t, "wanted weight", r.Instance().Weight, 7)
	proxy.Heal()
	until(t, w, 10*time.Second, "the new weight", func(v *rollcall.View) bool { return v.Instances[0].Weight == 7 })
}

func TestAKeyThatOthersDeleteOrOverwriteIsPutBack(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Zone: "z"})
	key := "rollcall/services/svc/10.0.0.1:1"
	value := keys(t, client, "")[key]
	for range 3 {
		if _, err := client.Delete(within(t, 5*time.Second), key); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "put back after a delete", func() bool { return keys(t, client, "")[key] == value })
		put(t, client, key, `{"Op":0,"Addr":"10.0.0.1:1"}`)
		eventually(t, 5*time.Second, "put back after an overwrite", func() bool { return keys(t, client, "")[key] == value })
	}
	if r.Err() != nil {
		t.Errorf("the registration ended: %v", r.Err())
	}
	if leaseOf(t, client, key) == 0 {
		t.Error("put back without a lease")
	}
}

func TestARegistrationReplacedByAnotherLetsGo(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	other := open(t, etcd.Endpoint())
	register(t, other, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Version: "other"})
	select {
	case <-r.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the replaced registration did not end")
	}
	if err := r.Update(within(t, time.Second), func(i *rollcall.Instance) { i.Weight = 1 }); !errors.Is(err, rollcall.ErrReplaced) {
		t.Errorf("Update of a replaced registration: %v", err)
	}
	v, err := reg.Lookup(within(t, 5*time.Second), "svc")
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "version", v.Instances[0].Version, "other")
}

func TestRegisteringAHeldIDAgainTakesItOver(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	first := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	second := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(20*time.Second))
	<-first.Done()
	if !errors.Is(first.Err(), rollcall.ErrReplaced) || second.Err() != nil {
		t.Errorf("first: %v, second: %v", first.Err(), second.Err())
	}
	if err := first.Deregister(within(t, 5*time.Second)); err != nil {
		t.Errorf("Deregister of the first: %v", err)
	}
	mustEqual(t, "keys", len(keys(t, etcd.Client(t), "rollcall/")), 1)
	if err := second.Deregister(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "keys", len(keys(t, etcd.Client(t), "rollcall/")), 0)
	eventually(t, 5*time.Second, "no lease left", func() bool { return len(leases(t, etcd.Client(t))) == 0 })
}

func TestCloseLeavesNothingAndRefusesWhatComesAfter(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	w := watch(t, reg, "svc")
	next(t, w)
	var rs []*rollcall.Registration
	for _, addr := range []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"} {
		rs = append(rs, register(t, reg, "svc", rollcall.Instance{Addr: addr}))
	}
	observer := open(t, etcd.Endpoint())
	seen := watch(t, observer, "svc")
	mustEqual(t, "instances", len(next(t, seen).Instances), 3)

	if err := reg.Close(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "keys left", keys(t, client, ""), map[string]string{})
	mustEqual(t, "leases left", len(leases(t, client)), 0)
	for _, r := range rs {
		if <-r.Done(); !errors.Is(r.Err(), rollcall.ErrClosed) {
			t.Errorf("Err: %v", r.Err())
		}
		if err := r.Deregister(t.Context()); err != nil {
			t.Errorf("Deregister after Close: %v", err)
		}
	}
	v := until(t, seen, 5*time.Second, "all gone", func(v *rollcall.View) bool { return len(v.Instances) == 0 })
	for _, u := range v.Updates {
		if u.Expired {
			t.Errorf("%s left without a goodbye", u.Instance.ID)
		}
	}
	if _, err := reg.Register(t.Context(), "svc", rollcall.Instance{Addr: "10.0.0.1:1"}); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("Register after Close: %v", err)
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
	if _, err := reg.Lookup(t.Context(), "svc"); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("Lookup after Close: %v", err)
	}
	if err := reg.Close(t.Context()); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func TestCloseWithoutEtcdReturnsWithinItsContext(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	reg, err := rollcall.Open(rollcall.ClientConfig(s.Endpoint()))
	if err != nil {
		t.Fatal(err)
	}
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	closed := make(chan error)
	go func() { closed <- reg.Close(ctx) }()
	select {
	case err := <-closed:
		if err == nil {
			t.Error("Close without etcd says that all is well")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Close outlives its context")
	}
}

func TestAGrantWhoseAnswerWasLostIsNotGrantedTwice(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}) // opens the connections
	proxy.DropReplies()
	registered := make(chan error, 1)
	go func() {
		_, err := reg.Register(within(t, 30*time.Second), "svc", rollcall.Instance{Addr: "10.0.0.2:1"}, rollcall.WithTTL(20*time.Second))
		registered <- err
	}()
	eventually(t, 10*time.Second, "the grant reaches etcd", func() bool { return len(leases(t, direct)) == 2 })
	proxy.Heal()
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "leases", len(leases(t, direct)), 2)
}

func TestCloseRightAfterDeregisterFindsItsConnection(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	for range 10 {
		reg, err := rollcall.Open(rollcall.ClientConfig(s.Endpoint()))
		if err != nil {
			t.Fatal(err)
		}
		r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		if err := r.Deregister(within(t, 5*time.Second)); err != nil {
			t.Fatal(err)
		}
		// The lease is being revoked now: to be interrupted must not cost Close its connection, and with it the revocation.
		if err := reg.Close(within(t, 2*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	mustEqual(t, "leases left", len(leases(t, s.Client(t))), 0)
}

func TestARegisterThatFailsLeavesTheFormerRegistrationItsKey(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	key := "rollcall/services/svc/10.0.0.1:1"
	former := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Version: "former"})
	for _, ttl := range []time.Duration{rollcall.DefaultTTL, 20 * time.Second} {
		proxy.DropReplies()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Version: "new"}, rollcall.WithTTL(ttl))
		cancel()
		if !errors.Is(err, rollcall.ErrUnreachable) {
			t.Fatalf("Register through a proxy that drops replies: %v", err)
		}
		proxy.Heal()
		if err := former.Update(within(t, 10*time.Second), func(i *rollcall.Instance) { i.Weight++ }); err != nil {
			t.Fatalf("the former registration: %v", err)
		}
		var got struct {
			Version string
			Weight  int
		}
		if err := json.Unmarshal([]byte(keys(t, direct, "")[key]), &got); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "version", got.Version, "former")
		mustEqual(t, "weight", got.Weight, former.Instance().Weight)
		mustEqual(t, "the former's error", former.Err(), nil)
	}
}

func TestTheKeyIsNeverAwayWhenItsTTLChanges(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	events := etcd.Client(t).Watch(within(t, 10*time.Second), "rollcall/services/svc/", clientv3.WithPrefix(), clientv3.WithRev(1))
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(20*time.Second))
	eventually(t, 5*time.Second, "the first lease is revoked", func() bool { return len(leases(t, etcd.Client(t))) == 1 })
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"}, rollcall.WithTTL(20*time.Second))
	for puts := 0; puts < 3; {
		resp := <-events
		for _, e := range resp.Events {
			if e.Type == clientv3.EventTypeDelete {
				t.Fatalf("%s was deleted", e.Kv.Key)
			}
			puts++
		}
	}
}

func TestTwoProcessesThatTakeTurnsEachTakeOver(t *testing.T) {
	t.Parallel()
	a, etcd := start(t)
	b := open(t, etcd.Endpoint())
	for range 50 {
		for _, reg := range []*rollcall.Registry{a, b} {
			register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		}
	}
}
