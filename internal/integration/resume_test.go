package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

const token = "a-token-of-32-bytes-that-is-secret"

func registerWith(t *testing.T, reg *rollcall.Registry, id string, ttl time.Duration) *rollcall.Registration {
	t.Helper()
	r, err := reg.Register(within(t, steerPatience), "svc", rollcall.Instance{ID: id, Addr: "10.0.0.1:1", Metadata: map[string]string{"team": "a"}},
		rollcall.WithToken(token), rollcall.WithTTL(ttl))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func resume(t *testing.T, reg *rollcall.Registry, id string) *rollcall.Registration {
	t.Helper()
	r, err := reg.Resume(within(t, steerPatience), "svc", id, token)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// deletions counts what was deleted below the services since a revision, up to now.
func deletions(t *testing.T, etcd *etcdtest.Server, since int64) (n int) {
	t.Helper()
	client := etcd.Client(t)
	put, err := client.Put(within(t, steerPatience), "rollcall/services/mark", "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), steerPatience)
	defer cancel()
	for resp := range client.Watch(ctx, "rollcall/services/", clientv3.WithPrefix(), clientv3.WithRev(since)) {
		for _, e := range resp.Events {
			if e.Kv.ModRevision == put.Header.Revision {
				return n
			}
			if e.Type == clientv3.EventTypeDelete {
				n++
			}
		}
	}
	t.Fatal("the history ends")
	return 0
}

func TestARegistrationThatIsResumedElsewhereGoesOnWithoutAnybodyNoticing(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	a, b := open(t, etcd.Endpoint()), open(t, etcd.Endpoint())
	first := registerWith(t, a, "one", 5*time.Second)
	w := watch(t, b, "svc")
	was := get(t, next(t, w), "one")

	second := resume(t, b, "one")
	awaitEnd(t, first.Done())
	if err := first.Err(); !errors.Is(err, rollcall.ErrMoved) || !errors.Is(err, rollcall.ErrReplaced) {
		t.Errorf("the former registration ended with %v", err)
	}
	v := until(t, w, steerPatience, "another holder", func(v *rollcall.View) bool {
		i, found := v.Get("one")
		return found && i.Holder != was.Holder
	})
	i := get(t, v, "one")
	if i.Incarnation != was.Incarnation || i.Metadata["team"] != "a" || !i.Registered.Equal(was.Registered) || i.TTL != was.TTL || !i.Owns(token) {
		t.Errorf("it is %+v, was %+v", i, was)
	}
	if err := first.Deregister(within(t, steerPatience)); err != nil && !errors.Is(err, rollcall.ErrReplaced) {
		t.Errorf("a late goodbye of the former: %v", err)
	}
	if err := a.Close(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}
	if n := deletions(t, etcd, 1); n != 0 {
		t.Errorf("%d deletions", n)
	}
	if err := second.Update(within(t, steerPatience), func(i *rollcall.Instance) { i.Weight = 7 }); err != nil {
		t.Fatal(err)
	}
	if i := get(t, lookUp(t, b, "svc"), "one"); i.Weight != 7 || !i.Owns(token) {
		t.Errorf("after an update: %+v", i)
	}
	third := resume(t, b, "one") // by the registry that has it already
	awaitEnd(t, second.Done())
	if err := second.Err(); !errors.Is(err, rollcall.ErrMoved) {
		t.Errorf("the second registration ended with %v", err)
	}
	if err := third.Deregister(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}
	if n := deletions(t, etcd, 1); n != 1 {
		t.Errorf("%d deletions after the goodbye", n)
	}
}

func awaitEnd(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(steerPatience):
		t.Fatal("it does not end")
	}
}

func TestNothingIsResumedWithoutItsToken(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	a, b := open(t, etcd.Endpoint()), open(t, etcd.Endpoint())
	held := registerWith(t, a, "one", 5*time.Second)
	register(t, a, "svc", rollcall.Instance{ID: "plain", Addr: "10.0.0.2:1"})
	for name, try := range map[string][2]string{
		"wrong token": {"one", token + "x"}, "empty token": {"one", ""}, "no such": {"two", token}, "registered without": {"plain", token}, "without, and none": {"plain", ""},
	} {
		if _, err := b.Resume(within(t, steerPatience), "svc", try[0], try[1]); !errors.Is(err, rollcall.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
	if err := held.Err(); err != nil {
		t.Errorf("the registration has ended: %v", err)
	}
	register(t, b, "svc", rollcall.Instance{ID: "one", Addr: "10.0.0.3:1"}) // takes it over, without a token
	if _, err := a.Resume(within(t, steerPatience), "svc", "one", token); !errors.Is(err, rollcall.ErrNotFound) {
		t.Errorf("after a takeover: %v, want ErrNotFound", err)
	}
	if i := get(t, lookUp(t, b, "svc"), "one"); i.Addr != "10.0.0.3:1" {
		t.Errorf("the one who took it over has lost it: %+v", i)
	}
	if _, err := a.Register(within(t, steerPatience), "svc", rollcall.Instance{Addr: "10.0.0.4:1"}, rollcall.WithToken("short")); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("a short token: %v", err)
	}
}

func TestWhatIsDetachedOutlivesItsRegistryAndIsResumed(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	a, b := open(t, etcd.Endpoint()), open(t, etcd.Endpoint())
	detached, forgotten := registerWith(t, a, "one", 5*time.Second), registerWith(t, a, "forgotten", 5*time.Second)
	register(t, a, "svc", rollcall.Instance{ID: "other", Addr: "10.0.0.2:1"}, rollcall.WithTTL(5*time.Second))
	detached.Detach()
	forgotten.Detach()
	detached.Detach()
	if err := detached.Err(); !errors.Is(err, rollcall.ErrDetached) {
		t.Errorf("it ended with %v", err)
	}
	if err := a.Close(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}
	v := lookUp(t, b, "svc")
	if _, found := v.Get("other"); found || len(v.Instances) != 2 {
		t.Errorf("after Close: %v, want those that were detached only", v.Instances)
	}
	resume(t, b, "one")
	w := watch(t, b, "svc")
	v = until(t, w, steerPatience, "the end of the one that nobody resumes", func(v *rollcall.View) bool { return len(v.Instances) == 1 })
	if i := get(t, v, "one"); !i.Owns(token) {
		t.Errorf("it is %+v", i)
	}
	if n := deletions(t, etcd, 1); n != 2 {
		t.Errorf("%d deletions, want that of the other and of the forgotten", n)
	}
}

func TestWhatExpiresGoesWithoutAGoodbye(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	silent := registerWith(t, reg, "silent", 5*time.Second)
	w := watch(t, reg, "svc")
	next(t, w)
	if err := silent.Expire(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}
	v := until(t, w, steerPatience, "its end", func(v *rollcall.View) bool { return len(v.Instances) == 0 })
	if len(v.Updates) != 1 || !v.Updates[0].Expired {
		t.Errorf("watchers are told %s", describe(v.Updates))
	}
	if _, err := reg.Resume(within(t, steerPatience), "svc", "silent", token); !errors.Is(err, rollcall.ErrNotFound) {
		t.Errorf("resumed afterwards: %v", err)
	}
}

func TestAGoodbyeRightAfterATakeoverIsNotUndoneByTheFormerHolder(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	slow := faultproxy.Start(t, etcd.Endpoint())
	a, b := open(t, slow.Addr()), open(t, etcd.Endpoint())
	first := registerWith(t, a, "one", 5*time.Second)
	slow.Delay(400 * time.Millisecond) // both events are on their way before the first is heard of

	if err := resume(t, b, "one").Deregister(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, first.Done())
	if err := first.Err(); !errors.Is(err, rollcall.ErrMoved) {
		t.Errorf("the former registration ended with %v", err)
	}
	if v := lookUp(t, b, "svc"); len(v.Instances) != 0 {
		t.Errorf("after the goodbye there is still %v", v.Instances)
	}
	if n := deletions(t, etcd, 1); n != 1 {
		t.Errorf("%d deletions, want the goodbye's only", n)
	}
}
