package integration

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// crowd registers instances, each in a registry of its own and so under a lease of its own, and returns a watcher that
// sees all of them.
func crowd(t *testing.T, n int) (w *rollcall.Watcher, client *clientv3.Client, regs []*rollcall.Registry) {
	t.Helper()
	reg, etcd := start(t)
	for i := range n {
		r := open(t, etcd.Endpoint())
		register(t, r, "svc", rollcall.Instance{Addr: fmt.Sprintf("10.0.0.%d:1", i)})
		regs = append(regs, r)
	}
	w = watch(t, reg, "svc")
	mustEqual(t, "instances", len(next(t, w).Instances), n)
	return w, etcd.Client(t), regs
}

func TestWhenMostLeasesEndAtOnceTheirInstancesStayAsSuspects(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	const n = 6
	for i := range n { // held by nobody who would heal them
		lease, err := client.Grant(within(t, 5*time.Second), 60)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(within(t, 5*time.Second), fmt.Sprintf("rollcall/services/svc/%d", i), bare, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, reg, "svc")
	mustEqual(t, "instances", len(next(t, w).Instances), n)
	for _, l := range leases(t, client) {
		if _, err := client.Revoke(within(t, 5*time.Second), l.ID); err != nil {
			t.Fatal(err)
		}
	}
	until(t, w, 15*time.Second, "all of them as suspects", func(v *rollcall.View) bool { return suspected(v) == n })
	register(t, reg, "svc", rollcall.Instance{ID: "0", Addr: "10.0.0.1:1"})
	v := until(t, w, 5*time.Second, "one less", func(v *rollcall.View) bool { return suspected(v) == n-1 })
	mustEqual(t, "instances", len(v.Instances), n)
}

func suspected(v *rollcall.View) (n int) {
	for _, i := range v.Instances {
		if i.Suspect {
			n++
		}
	}
	return n
}

func TestAnHonestScaleInIsNotResisted(t *testing.T) {
	t.Parallel()
	w, _, regs := crowd(t, 6)
	for _, r := range regs[1:] {
		if err := r.Close(within(t, 5*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	v := until(t, w, 5*time.Second, "one left", func(v *rollcall.View) bool { return len(v.Instances) == 1 })
	mustEqual(t, "suspect", v.Instances[0].Suspect, false)
}

func TestKeysThatSomebodyDeletedUnderLivingLeasesAreNotSuspected(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	lease, err := client.Grant(within(t, 5*time.Second), 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b", "c"} {
		if _, err := client.Put(within(t, 5*time.Second), "rollcall/services/svc/"+id, bare, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, reg, "svc")
	next(t, w)
	if _, err := client.Delete(within(t, 5*time.Second), "rollcall/services/svc/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	until(t, w, 5*time.Second, "all gone", func(v *rollcall.View) bool { return len(v.Instances) == 0 })
}
