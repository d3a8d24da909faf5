package integration

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// within bounds what a test waits for; far more than anything needs.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// open returns a registry on an etcd endpoint, closed when the test ends.
func open(t testing.TB, endpoint string, opts ...rollcall.Option) *rollcall.Registry {
	t.Helper()
	return openAll(t, []string{endpoint}, opts...)
}

// openAll is open for a cluster.
func openAll(t testing.TB, endpoints []string, opts ...rollcall.Option) *rollcall.Registry {
	t.Helper()
	reg, err := rollcall.Open(rollcall.ClientConfig(endpoints...), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := reg.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return reg
}

// start returns a registry on an etcd of its own.
func start(t testing.TB, opts ...rollcall.Option) (*rollcall.Registry, *etcdtest.Server) {
	t.Helper()
	s := etcdtest.Start(t)
	return open(t, s.Endpoint(), opts...), s
}

func register(t testing.TB, reg *rollcall.Registry, service string, inst rollcall.Instance, opts ...rollcall.RegisterOption) *rollcall.Registration {
	t.Helper()
	r, err := reg.Register(within(t, 10*time.Second), service, inst, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func watch(t testing.TB, reg *rollcall.Registry, service string, opts ...rollcall.WatchOption) *rollcall.Watcher {
	t.Helper()
	w := reg.Watch(service, opts...)
	t.Cleanup(w.Close)
	return w
}

// next returns the watcher's next view.
func next(t testing.TB, w *rollcall.Watcher) *rollcall.View {
	t.Helper()
	v, err := w.Next(within(t, 20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// until reads views until one satisfies cond, and returns it.
func until(t testing.TB, w *rollcall.Watcher, d time.Duration, what string, cond func(*rollcall.View) bool) *rollcall.View {
	t.Helper()
	ctx := within(t, d)
	for {
		v, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		if cond(v) {
			return v
		}
	}
}

func ids(v *rollcall.View) []string {
	var ids []string
	for _, i := range v.Instances {
		ids = append(ids, i.ID)
	}
	return ids
}

func hasIDs(want ...string) func(*rollcall.View) bool {
	return func(v *rollcall.View) bool { return cmp.Equal(ids(v), want) }
}

// describe writes updates as text: "add a", "expire b".
func describe(updates []rollcall.Update) []string {
	var out []string
	for _, u := range updates {
		word := u.Op.String()
		if u.Expired {
			word = "expire"
		}
		out = append(out, word+" "+u.Instance.ID)
	}
	return out
}

func mustEqual[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// keys returns what lies in etcd under a prefix.
func keys(t testing.TB, c *clientv3.Client, prefix string) map[string]string {
	t.Helper()
	resp, err := c.Get(within(t, 5*time.Second), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, kv := range resp.Kvs {
		found[string(kv.Key)] = string(kv.Value)
	}
	return found
}

func put(t testing.TB, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(within(t, 5*time.Second), key, value); err != nil {
		t.Fatal(err)
	}
}

// eventually polls a condition that no watcher can tell of.
func eventually(t testing.TB, d time.Duration, what string, cond func() bool) {
	t.Helper()
	eventuallyEvery(t, 20*time.Millisecond, d, what, cond)
}

// eventuallyEvery is eventually for a question that may not be asked so often.
func eventuallyEvery(t testing.TB, pause, d time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
		<-time.After(pause)
	}
}

// leases returns the ids of all leases in etcd.
func leases(t testing.TB, c *clientv3.Client) []clientv3.LeaseStatus {
	t.Helper()
	resp, err := c.Leases(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return resp.Leases
}
