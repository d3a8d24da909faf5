package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

const bare = `{"Op":0,"Addr":"10.9.9.9:1","Metadata":null}`

func TestTheFirstViewOfAnUnknownServiceIsEmptyAndAtOnce(t *testing.T) {
	t.Parallel()
	reg, _ := start(t)
	v := next(t, watch(t, reg, "nobody"))
	if len(v.Instances) != 0 || len(v.Updates) != 0 || v.Revision == 0 || !v.StaleSince.IsZero() {
		t.Errorf("view: %+v", v)
	}
}

func TestFiftyPutsInOneTransactionAreOneView(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	w := watch(t, reg, "svc")
	next(t, w)
	var ops []clientv3.Op
	for n := range 50 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("rollcall/services/svc/10.0.0.%d:1", n), fmt.Sprintf(`{"Addr":"10.0.0.%d:1"}`, n)))
	}
	resp, err := client.Txn(within(t, 5*time.Second)).Then(ops...).Commit()
	if err != nil {
		t.Fatal(err)
	}
	v := next(t, w)
	mustEqual(t, "instances", len(v.Instances), 50)
	mustEqual(t, "updates", len(v.Updates), 50)
	mustEqual(t, "revision", v.Revision, resp.Header.Revision)
}

func TestServicesWithSimilarNamesNeverMix(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"rollcall", ""} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			reg, etcd := start(t, rollcall.WithPrefix(prefix))
			names := []string{"foo", "foo-bar", "foo.bar", "foo0", "fo"}
			for n, name := range names {
				register(t, reg, name, rollcall.Instance{Addr: fmt.Sprintf("10.0.0.1:%d", n+1)})
			}
			dir := "rollcall/services/"
			if prefix == "" {
				dir = ""
			}
			put(t, etcd.Client(t), dir+"foo/bar/10.0.0.1:9", bare) // a further slash: not foo's
			for n, name := range names {
				want := []string{fmt.Sprintf("10.0.0.1:%d", n+1)}
				v, err := reg.Lookup(within(t, 5*time.Second), name)
				if err != nil {
					t.Fatal(err)
				}
				mustEqual(t, "Lookup "+name, ids(v), want)
				mustEqual(t, "Watch "+name, ids(next(t, watch(t, reg, name))), want)
			}
			if prefix != "" {
				got, err := reg.Services(within(t, 5*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				mustEqual(t, "Services", got, []string{"fo", "foo", "foo-bar", "foo.bar", "foo0"})
			}
		})
	}
}

func TestAWatchSurvivesCompactionWhileItIsCutOff(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	key := "rollcall/services/svc/"
	for _, id := range []string{"a", "b", "c"} {
		put(t, direct, key+id, bare)
	}
	w := watch(t, reg, "svc")
	mustEqual(t, "ids", ids(next(t, w)), []string{"a", "b", "c"})

	proxy.Cut()
	if _, err := direct.Delete(within(t, 5*time.Second), key+"a"); err != nil {
		t.Fatal(err)
	}
	put(t, direct, key+"b", `{"Addr":"10.9.9.9:2"}`)
	put(t, direct, key+"d", bare)
	compact(t, direct)
	stale := next(t, w)
	if stale.StaleSince.IsZero() || len(stale.Instances) != 3 {
		t.Errorf("cut off, the view should be last-known-good and say so: %+v", stale)
	}
	proxy.Heal()
	v := until(t, w, 10*time.Second, "what happened meanwhile", hasIDs("b", "c", "d"))
	mustEqual(t, "updates", describe(v.Updates), []string{"expire a", "modify b", "add d"})
	if !v.StaleSince.IsZero() {
		t.Errorf("stale since %v after it healed", v.StaleSince)
	}
	put(t, direct, key+"e", bare)
	mustEqual(t, "updates", describe(next(t, w).Updates), []string{"add e"})
}

func compact(t *testing.T, c *clientv3.Client) {
	t.Helper()
	resp, err := c.Get(within(t, 5*time.Second), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(within(t, 5*time.Second), resp.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func TestAnEtcdRestartLosesNoInstanceAndNoWatch(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
	incarnation := r.Instance().Incarnation
	w := watch(t, reg, "svc")
	first := next(t, w)
	etcd.Stop()
	stale := next(t, w)
	if stale.StaleSince.IsZero() || len(stale.Instances) != 1 {
		t.Errorf("without etcd the view should be last-known-good and say so: %+v", stale)
	}
	if got, err := reg.Lookup(within(t, 500*time.Millisecond), "svc"); err != nil || got.StaleSince.IsZero() || len(got.Instances) != 1 {
		t.Errorf("Lookup without etcd of a service that is followed: %+v, %v", got, err)
	}
	etcd.Restart()
	v := until(t, w, 15*time.Second, "fresh again", func(v *rollcall.View) bool {
		if len(v.Instances) != 1 {
			t.Fatalf("the instance was lost: %+v", v)
		}
		return v.StaleSince.IsZero()
	})
	mustEqual(t, "create revision", v.Instances[0].CreateRevision, first.Instances[0].CreateRevision)
	// The lease outlives the outage by heartbeats, not by luck: wait for more than its TTL.
	client := etcd.Client(t)
	for deadline := time.Now().Add(7 * time.Second); time.Now().Before(deadline); <-time.After(200 * time.Millisecond) {
		if len(keys(t, client, "rollcall/services/svc/")) != 1 {
			t.Fatal("the key is gone")
		}
	}
	mustEqual(t, "incarnation", r.Instance().Incarnation, incarnation)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	until(t, w, 5*time.Second, "a new one", hasIDs("10.0.0.1:1", "10.0.0.2:1"))
}

func TestASlowWatcherSkipsViewsButNoChange(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	slow, fast := watch(t, reg, "svc"), watch(t, reg, "svc")
	last := next(t, slow)
	next(t, fast)
	const n = 300 // more than the ring of deltas remembers
	for i := range n {
		put(t, client, fmt.Sprintf("rollcall/services/svc/i%03d", i), bare)
	}
	if _, err := client.Delete(within(t, 5*time.Second), "rollcall/services/svc/i000"); err != nil {
		t.Fatal(err)
	}
	full := until(t, fast, 20*time.Second, "all of them", func(v *rollcall.View) bool {
		return len(v.Instances) == n-1 && v.Instances[n-2].ID == fmt.Sprintf("i%03d", n-1)
	})
	v := next(t, slow)
	mustEqual(t, "revision", v.Revision, full.Revision)
	mustEqual(t, "instances", len(v.Instances), n-1)
	mustEqual(t, "updates", describe(v.Updates), describe(v.Since(last)))

	put(t, client, "rollcall/services/svc/i001", `{"Addr":"10.9.9.9:2"}`)
	if _, err := client.Delete(within(t, 5*time.Second), "rollcall/services/svc/i002"); err != nil {
		t.Fatal(err)
	}
	put(t, client, "rollcall/services/svc/i002", bare)
	until(t, fast, 5*time.Second, "i002 again", func(v *rollcall.View) bool { return len(v.Instances) == n-1 && v.Revision >= full.Revision+3 })
	mustEqual(t, "updates", describe(next(t, slow).Updates), []string{"modify i001", "modify i002"})
}

func TestManyWatchersOfAServiceShareOneWatchInEtcd(t *testing.T) {
	// Not parallel: all embedded servers of a process count their watches in one gauge.
	reg, etcd := start(t)
	put(t, etcd.Client(t), "rollcall/services/svc/a", bare)
	var ws []*rollcall.Watcher
	before := etcdWatchers(t, etcd)
	for range 20 {
		w := watch(t, reg, "svc")
		mustEqual(t, "ids", ids(next(t, w)), []string{"a"})
		ws = append(ws, w)
	}
	const shared = 2 // one for the service, one for what operators decided about all of them
	eventually(t, 5*time.Second, "one watch", func() bool { return etcdWatchers(t, etcd)-before == shared })
	ws[0].Close()
	if _, err := ws[0].Next(t.Context()); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("Next of a closed watcher: %v", err)
	}
	put(t, etcd.Client(t), "rollcall/services/svc/b", bare)
	for _, w := range ws[1:] {
		until(t, w, 5*time.Second, "b", hasIDs("a", "b"))
	}
	if st := reg.Status().Services; len(st) != 1 || st[0].Watchers != 19 || st[0].Instances != 2 {
		t.Errorf("status: %+v", st)
	}
}

func TestValuesThatCannotBeReadAreSkippedCountedAndHarmless(t *testing.T) {
	t.Parallel()
	var log recorder
	reg, etcd := start(t, rollcall.WithLogger(log.logger()))
	client := etcd.Client(t)
	put(t, client, "rollcall/services/svc/good", bare)
	put(t, client, "rollcall/services/svc/turned", bare)
	w := watch(t, reg, "svc")
	next(t, w)
	garbage := []string{"", "x", "[]", `{"Addr":7}`, `{"Addr":""}`, `{"Addr":"10.0.0.1:1","Weight":"heavy"}`, strings.Repeat("x", 1100<<10)}
	for n, value := range garbage {
		put(t, client, fmt.Sprintf("rollcall/services/svc/bad%d", n), value)
	}
	put(t, client, "rollcall/services/svc/turned", "nonsense")
	put(t, client, "rollcall/services/svc/last", bare)
	v := until(t, w, 10*time.Second, "what comes after the garbage", hasIDs("good", "last", "turned"))
	if i, _ := v.Get("turned"); i.Addr != "10.9.9.9:1" {
		t.Errorf("the last good value is gone: %+v", i)
	}
	mustEqual(t, "skipped", reg.Status().Services[0].Skipped, int64(len(garbage)+1))
	if v, err := reg.Lookup(within(t, 5*time.Second), "svc"); err != nil || len(v.Instances) != 2 {
		t.Errorf("Lookup over garbage: %v, %v", v, err)
	}
	if err := reg.Close(within(t, 5*time.Second)); err != nil { // when it returns, everything has been logged
		t.Error(err)
	}
	mustEqual(t, "logged by the watcher, and not again by Lookup", log.count("cannot be read"), len(garbage)+1)
}

func TestANextWhoseContextHasEndedTakesNoView(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	w := watch(t, reg, "svc")
	before := next(t, w)
	put(t, etcd.Client(t), "rollcall/services/svc/a", bare)
	eventually(t, 5*time.Second, "a newer view", func() bool { return reg.Status().Services[0].Revision > before.Revision })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := w.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Next after its context ended: %v, %v", v, err)
	}
	mustEqual(t, "the view is still to come", describe(next(t, w).Updates), []string{"add a"})
}

func TestALinearizableWatcherSeesWhatWasWrittenBefore(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	other := watch(t, reg, "svc")
	next(t, other)
	for n := range 50 {
		put(t, client, fmt.Sprintf("rollcall/services/svc/%03d", n), bare)
		w := reg.Watch("svc", rollcall.WithLinearizable())
		v := next(t, w)
		w.Close()
		mustEqual(t, "instances", len(v.Instances), n+1)
	}
}

func TestWithoutEtcdCallsWaitWithinTheirContextAndSayWhatWasTried(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := l.Addr().String()
	l.Close()
	reg, err := rollcall.Open(rollcall.ClientConfig(endpoint))
	if err != nil {
		t.Fatalf("Open needs etcd: %v", err)
	}
	defer func() {
		if err := reg.Close(within(t, 10*time.Second)); err != nil {
			t.Errorf("Close with nothing registered: %v", err)
		}
	}()
	calls := map[string]func(context.Context) error{
		"Register": func(ctx context.Context) error {
			_, err := reg.Register(ctx, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
			return err
		},
		"Lookup":   func(ctx context.Context) error { _, err := reg.Lookup(ctx, "svc"); return err },
		"Services": func(ctx context.Context) error { _, err := reg.Services(ctx); return err },
		"Remove":   func(ctx context.Context) error { return reg.Remove(ctx, "svc", "10.0.0.1:1") },
		"Next":     func(ctx context.Context) error { _, err := watch(t, reg, "svc").Next(ctx); return err },
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		err := call(ctx)
		cancel()
		u, ok := errors.AsType[*rollcall.UnreachableError](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) || time.Since(u.Since) > time.Minute || u.Endpoints[0] != endpoint {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(err.Error(), endpoint) || !strings.Contains(err.Error(), "since") {
			t.Errorf("%s does not say what was tried: %v", name, err)
		}
	}
}
