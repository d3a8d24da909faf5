package integration

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestAProcessThatStartsWithoutEtcdGoesByItsSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reg, etcd := start(t)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Zone: "z", Metadata: map[string]string{"k": "v"}})
	before := open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir))
	known := next(t, watch(t, before, "svc"))
	if err := before.Close(within(t, 5*time.Second)); err != nil { // writes it
		t.Fatal(err)
	}
	etcd.Stop()

	after := open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir))
	w := watch(t, after, "svc")
	v := next(t, w)
	if v.StaleSince.IsZero() || len(v.Since(known)) != 0 || v.Instances[0].Zone != "z" || v.Instances[0].Metadata["k"] != "v" {
		t.Fatalf("recalled: %+v", v)
	}
	mustEqual(t, "updates", describe(v.Updates), []string{"add 10.0.0.1:1"})
	etcd.Restart()
	v = until(t, w, 10*time.Second, "fresh", func(v *rollcall.View) bool { return v.StaleSince.IsZero() })
	mustEqual(t, "updates", len(v.Updates), 0)

	// Another service has no snapshot, and another prefix has none of this.
	other := open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir), rollcall.WithPrefix("other"))
	mustEqual(t, "instances under another prefix", len(next(t, watch(t, other, "svc")).Instances), 0)
}

func TestAWipeWhileNobodyLookedDoesNotBlankAProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	lease, err := client.Grant(within(t, 5*time.Second), 600)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if _, err := client.Put(within(t, 5*time.Second), "rollcall/services/svc/"+id, bare, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	before := open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir))
	next(t, watch(t, before, "svc"))
	if err := before.Close(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	etcd.Stop()
	w := watch(t, open(t, etcd.Endpoint(), rollcall.WithSnapshotDir(dir)), "svc")
	next(t, w) // what is recalled: a reset is told to those who have seen something before
	etcd.Wipe()
	v := until(t, w, 10*time.Second, "fresh", func(v *rollcall.View) bool { return v.StaleSince.IsZero() })
	mustEqual(t, "suspects", suspected(v), 2)
	mustEqual(t, "reset", v.Reset, true)
}
