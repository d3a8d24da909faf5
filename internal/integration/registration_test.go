package integration

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

func TestAnInstanceRegistersUpdatesDrainsAndLeaves(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	ctx := within(t, 20*time.Second)
	w := watch(t, reg, "jie-test")
	mustEqual(t, "first view", len(next(t, w).Instances), 0)

	r := register(t, reg, "jie-test", rollcall.Instance{
		Addr: "10.0.0.7:50051", Metadata: map[string]string{"team": "a"}, Zone: "z1", Version: "v1",
		Addrs: map[string]string{"http": "10.0.0.7:8080"},
	})
	v := next(t, w)
	mustEqual(t, "updates", describe(v.Updates), []string{"add 10.0.0.7:50051"})
	i := v.Instances[0]
	if i.Weight != 100 || i.State != rollcall.StateServing || i.TTL != rollcall.DefaultTTL || i.Incarnation == "" || i.Holder == "" {
		t.Errorf("defaults are missing: %+v", i)
	}
	lease := leaseOf(t, client, "rollcall/services/jie-test/10.0.0.7:50051")

	if err := r.Update(ctx, func(i *rollcall.Instance) { i.Weight, i.Metadata["team"] = 50, "b" }); err != nil {
		t.Fatal(err)
	}
	v = next(t, w)
	mustEqual(t, "updates", describe(v.Updates), []string{"modify 10.0.0.7:50051"})
	mustEqual(t, "weight", v.Instances[0].Weight, 50)
	mustEqual(t, "metadata", v.Instances[0].Metadata, map[string]string{"team": "b"})
	mustEqual(t, "previous weight", v.Updates[0].Prev.Weight, 100)
	mustEqual(t, "lease", leaseOf(t, client, "rollcall/services/jie-test/10.0.0.7:50051"), lease)

	if err := r.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "state", next(t, w).Instances[0].State, rollcall.StateDraining)

	if err := r.Deregister(ctx); err != nil {
		t.Fatal(err)
	}
	v = next(t, w)
	mustEqual(t, "updates", describe(v.Updates), []string{"delete 10.0.0.7:50051"})
	mustEqual(t, "keys left", keys(t, client, ""), map[string]string{})
	<-r.Done()
	if !errors.Is(r.Err(), rollcall.ErrDeregistered) {
		t.Errorf("Err: %v", r.Err())
	}
	if err := r.Deregister(ctx); err != nil {
		t.Errorf("Deregister again: %v", err)
	}
	if err := r.Drain(ctx); !errors.Is(err, rollcall.ErrDeregistered) {
		t.Errorf("Drain afterwards: %v", err)
	}
	eventually(t, 5*time.Second, "no lease left", func() bool { return len(leases(t, client)) == 0 })
}

func leaseOf(t *testing.T, c *clientv3.Client, key string) int64 {
	t.Helper()
	resp, err := c.Get(within(t, 5*time.Second), key)
	if err != nil || len(resp.Kvs) != 1 || resp.Kvs[0].Lease == 0 {
		t.Fatalf("%s: %v, %v: no key under a lease", key, resp, err)
	}
	return resp.Kvs[0].Lease
}

func TestTheValueIsReadableByEtcdsOwnNaming(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	register(t, reg, "a", rollcall.Instance{Addr: "[::1]:1", ID: "x/y%z", Metadata: map[string]string{"k": "v"}})
	value := keys(t, etcd.Client(t), "")["rollcall/services/a/x%2Fy%25z"]
	var got map[string]any
	if err := json.Unmarshal([]byte(value), &got); err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	mustEqual(t, "Op", got["Op"], any(0.0))
	mustEqual(t, "Addr", got["Addr"], any("[::1]:1"))
	mustEqual(t, "Metadata", got["Metadata"], any(map[string]any{"k": "v"}))
	mustEqual(t, "ID", got["ID"], any("x/y%z"))
	mustEqual(t, "TTL", got["TTL"], any(15.0))
}

func TestARestartedProcessTakesItsKeyOverWithoutAGap(t *testing.T) {
	t.Parallel()
	before, etcd := start(t)
	after := open(t, etcd.Endpoint())
	w := watch(t, after, "svc")
	next(t, w)
	old := register(t, before, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Version: "old"})
	until(t, w, 5*time.Second, "the old one", hasIDs("10.0.0.1:1"))

	register(t, after, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Version: "new"})
	v := next(t, w)
	mustEqual(t, "updates", describe(v.Updates), []string{"modify 10.0.0.1:1"})
	if u := v.Updates[0]; u.Prev.Incarnation == u.Instance.Incarnation || u.Instance.Version != "new" {
		t.Errorf("no restart: %+v after %+v", u.Instance, u.Prev)
	}
	<-old.Done()
	if !errors.Is(old.Err(), rollcall.ErrReplaced) {
		t.Errorf("the old registration ended with %v", old.Err())
	}
	// Neither the old process's late goodbye nor the end of its lease may touch the key.
	if err := old.Deregister(within(t, 5*time.Second)); err != nil {
		t.Errorf("late Deregister: %v", err)
	}
	if err := before.Close(within(t, 5*time.Second)); err != nil {
		t.Errorf("late Close: %v", err)
	}
	got, err := after.Lookup(within(t, 5*time.Second), "svc")
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "version", got.Instances[0].Version, "new")
	mustEqual(t, "revision", got.Instances[0].Revision, v.Instances[0].Revision)
}

func TestALostLeaseIsGrantedAgainAndEverythingPutBack(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	w := watch(t, reg, "svc")
	next(t, w)
	a := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	until(t, w, 5*time.Second, "both", hasIDs("10.0.0.1:1", "10.0.0.2:1"))
	for range 3 {
		lease := leaseOf(t, client, "rollcall/services/svc/10.0.0.1:1")
		if _, err := client.Revoke(within(t, 5*time.Second), clientv3.LeaseID(lease)); err != nil {
			t.Fatal(err)
		}
		until(t, w, 10*time.Second, "both again", func(v *rollcall.View) bool {
			return len(v.Instances) == 2 && v.Instances[0].CreateRevision > 0 && leaseIn(t, client, "rollcall/services/svc/10.0.0.1:1") != lease
		})
	}
	if a.Err() != nil {
		t.Errorf("the registration ended: %v", a.Err())
	}
}

func leaseIn(t *testing.T, c *clientv3.Client, key string) int64 {
	resp, err := c.Get(within(t, 5*time.Second), key)
	if err != nil || len(resp.Kvs) == 0 {
		return 0
	}
	return resp.Kvs[0].Lease
}
