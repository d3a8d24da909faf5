package integration

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// sizes says how many instances each service of an overview has.
func sizes(o *rollcall.Overview) map[string]int {
	counts := map[string]int{}
	for _, v := range o.Services {
		counts[v.Service] = len(v.Instances)
	}
	return counts
}

func nextOverview(t *testing.T, w *rollcall.ServicesWatcher) *rollcall.Overview {
	t.Helper()
	o, err := w.Next(within(t, steerPatience))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// untilOverview gathers overviews until the services that have changed meanwhile are as wanted.
func untilOverview(t *testing.T, w *rollcall.ServicesWatcher, want map[string]int) {
	t.Helper()
	got := map[string]int{}
	for deadline := time.Now().Add(steerPatience); !cmp.Equal(got, want); {
		if time.Now().After(deadline) {
			t.Fatalf("changed services: %v, want %v", got, want)
		}
		for name, n := range sizes(nextOverview(t, w)) {
			got[name] = n
		}
	}
}

func TestARegistryThatFollowsEverythingAnswersFromMemory(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	a := register(t, writer, "a", rollcall.Instance{Addr: "10.0.0.1:1"})
	register(t, writer, "a-b", rollcall.Instance{Addr: "10.0.0.2:1"})
	all := open(t, etcd.Endpoint(), rollcall.WithFollowAll())
	w := all.WatchServices()
	defer w.Close()
	first := nextOverview(t, w)
	if diff := cmp.Diff(map[string]int{"a": 1, "a-b": 1}, sizes(first)); diff != "" || !first.Complete {
		t.Errorf("the first overview, complete %v (-want +got):\n%s", first.Complete, diff)
	}
	register(t, writer, "c", rollcall.Instance{Addr: "10.0.0.3:1"})
	untilOverview(t, w, map[string]int{"c": 1})
	if err := a.Deregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	untilOverview(t, w, map[string]int{"a": 0})
	p := setPolicy(t, writer, "d", rollcall.Policy{Timeout: time.Second})
	if err := all.Reach(within(t, steerPatience), p.Revision); err != nil {
		t.Fatal(err)
	}
	if v := lookUp(t, all, "d"); v.Policy == nil || v.Policy.Revision != p.Revision {
		t.Errorf("after Reach the policy is %+v", v.Policy)
	}

	etcd.Stop()
	for _, service := range []string{"a-b", "c"} {
		if v := lookUp(t, all, service); len(v.Instances) != 1 {
			t.Errorf("without etcd %s has %d instances", service, len(v.Instances))
		}
	}
	names, err := all.Services(within(t, steerPatience))
	if diff := cmp.Diff([]string{"a-b", "c"}, names); err != nil || diff != "" {
		t.Errorf("services without etcd: %v (-want +got):\n%s", err, diff)
	}
	if v := lookUp(t, all, "never-heard-of"); len(v.Instances) != 0 {
		t.Errorf("a service that nobody registered: %v", v.Instances)
	}
	for nextOverview(t, w).StaleSince.IsZero() {
	}
	if v := lookUp(t, all, "c"); v.StaleSince.IsZero() {
		t.Error("a view is not marked stale without etcd")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := all.Reach(ctx, p.Revision+1000); err == nil {
		t.Error("a revision that nobody wrote was reached")
	}
	etcd.Restart()
	for !nextOverview(t, w).StaleSince.IsZero() {
	}
}
