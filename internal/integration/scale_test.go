package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

func TestAThousandInstancesShareOneLeaseAndAllLeaveWithAGoodbye(t *testing.T) {
	t.Parallel()
	const n = 1000
	reg, etcd := start(t)
	client := etcd.Client(t)
	observer := open(t, etcd.Endpoint())
	w := watch(t, observer, "svc")
	next(t, w)

	rs := registerMany(t, reg, "svc", n)
	v := until(t, w, 30*time.Second, "all of them", func(v *rollcall.View) bool { return len(v.Instances) == n })
	st := reg.Status()
	if len(st.Leases) != 1 || st.Leases[0].Registrations != n || len(leases(t, client)) != 1 {
		t.Errorf("leases: %+v, in etcd: %v", st.Leases, leases(t, client))
	}
	again, err := reg.Lookup(within(t, 10*time.Second), "svc")
	if err != nil {
		t.Fatal(err)
	}
	if changes := again.Since(v); len(changes) != 0 {
		t.Errorf("Lookup and Watch differ: %v", describe(changes))
	}

	extra := register(t, reg, "svc", rollcall.Instance{Addr: "10.1.0.0:1"})
	mustEqual(t, "leases for 1,001", len(reg.Status().Leases), 2)
	if err := extra.Deregister(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := rs[0].Deregister(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	until(t, w, 10*time.Second, "one less", func(v *rollcall.View) bool { return len(v.Instances) == n-1 })
	if err := reg.Close(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	for len(v.Instances) > 0 {
		v = next(t, w)
		for _, u := range v.Updates {
			if u.Expired {
				t.Fatalf("%s left without a goodbye", u.Instance.ID)
			}
		}
	}
	mustEqual(t, "keys left", len(keys(t, client, "rollcall/")), 0)
	mustEqual(t, "leases left", len(leases(t, client)), 0)
}

func registerMany(t testing.TB, reg *rollcall.Registry, service string, n int) []*rollcall.Registration {
	t.Helper()
	rs := make([]*rollcall.Registration, n)
	errs := make([]error, n)
	ctx := within(t, time.Minute)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			rs[i], errs[i] = reg.Register(ctx, service, rollcall.Instance{Addr: fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return rs
}

func TestRegistrationsInTheirHundredsComeBackAfterTheirLeaseIsLost(t *testing.T) {
	t.Parallel()
	const n = 500
	reg, etcd := start(t)
	client := etcd.Client(t)
	registerMany(t, reg, "svc", n)
	for _, l := range leases(t, client) {
		if _, err := client.Revoke(within(t, 5*time.Second), l.ID); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 20*time.Second, "all back", func() bool { return len(keys(t, client, "rollcall/services/svc/")) == n })
}
