package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestLargeInstancesComeBackAfterTheirLeaseIsLost(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	const n = 200 // of which a hundred in one transaction are over 2 MiB, which etcd's client does not send
	large := map[string]string{"m": strings.Repeat("x", 15<<10)}
	var wg sync.WaitGroup
	ctx := within(t, 20*time.Second)
	for i := range n {
		wg.Go(func() {
			id := fmt.Sprintf("%03d%s", i, strings.Repeat("/", 500)) // three times as long in the key
			if _, err := reg.Register(ctx, "svc", rollcall.Instance{ID: id, Addr: "10.0.0.1:1", Metadata: large}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := client.Revoke(within(t, 5*time.Second), leases(t, client)[0].ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, 15*time.Second, "all are back", func() bool { return len(keys(t, client, "rollcall/")) == n })
}

func TestAnUnwantedKeyGoesWithoutTheLeaseItWasToMoveTo(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, gate := behindGate(t, etcd.Endpoint())
	client := etcd.Client(t)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"}) // keeps the lease alive
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	gate.grants.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	moving := make(chan error, 1)
	go func() {
		_, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(20*time.Second))
		moving <- err
	}()
	eventually(t, 5*time.Second, "another lease is wanted", func() bool { return len(reg.Status().Leases) == 2 })
	if err := r.Deregister(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-moving; err == nil {
		t.Fatal("registered without a lease")
	}
	eventually(t, 5*time.Second, "the key that nobody wants is gone", func() bool { return len(keys(t, client, "rollcall/")) == 1 })
}

func TestAKeyThatNobodyWantsIsFoundUnderTheFirstOfItsTwoLeases(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, gate := behindGate(t, etcd.Endpoint())
	client := etcd.Client(t)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"}, rollcall.WithTTL(time.Minute)) // keeps the first alive
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(time.Minute))

	// The key is unwanted and cannot be deleted, then wanted under a second lease and cannot be written there.
	gate.txns.Store(true)
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Deregister(short); !errors.Is(err, rollcall.ErrUnreachable) {
		t.Fatalf("Deregister without transactions: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	moving := make(chan error, 1)
	go func() {
		_, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(rollcall.MinTTL))
		moving <- err
	}()
	second := func() rollcall.LeaseStatus { return reg.Status().Leases[0] } // of the lesser TTL
	eventually(t, 5*time.Second, "the second lease is granted", func() bool {
		return len(reg.Status().Leases) == 2 && second().ID != 0
	})
	// The second lease is lost, then nobody wants the key any more.
	gate.grants.Store(true)
	if _, err := client.Revoke(within(t, 5*time.Second), clientv3.LeaseID(second().ID)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the loss is noticed", func() bool { return second().ID == 0 })
	cancel()
	if err := <-moving; err == nil {
		t.Fatal("registered without transactions")
	}
	gate.txns.Store(false)
	gate.grants.Store(false)
	eventually(t, 5*time.Second, "the key that nobody wants is gone", func() bool { return len(keys(t, client, "rollcall/")) == 1 })
}

func TestALeaseThatNobodyWaitsForAnyMoreIsNotGranted(t *testing.T) {
	t.Parallel()
	reg, gate := behindGate(t, etcdtest.Start(t).Endpoint())
	gate.grants.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		failed <- err
	}()
	eventually(t, 5*time.Second, "a pause between two tries", func() bool { return gate.asked.Load() >= 4 })
	asked := gate.asked.Load()
	gate.grants.Store(false)
	cancel()
	if err := <-failed; err == nil {
		t.Fatal("registered without a lease")
	}
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	mustEqual(t, "grants since then", gate.asked.Load()-asked, 1)
}

func TestIDsThatComeAndGoDoNotUseUpTheirLease(t *testing.T) {
	t.Parallel()
	reg, gate := behindGate(t, etcdtest.Start(t).Endpoint())
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}) // keeps the lease
	var wg sync.WaitGroup
	ctx := within(t, 30*time.Second)
	for n := range 10 { // together more than a lease has room for
		wg.Go(func() {
			for i := range 101 {
				r, err := reg.Register(ctx, "svc", rollcall.Instance{ID: fmt.Sprint(n, "-", i), Addr: "10.0.0.1:1"})
				if err == nil {
					err = r.Deregister(ctx)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	mustEqual(t, "leases asked for", gate.asked.Load(), 1)
}
