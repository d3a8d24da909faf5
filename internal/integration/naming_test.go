package integration

import (
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/naming"
)

func TestNamingMetadataOfAnyShapeSurvives(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, _ := newNames(t, etcd.Endpoint())
	w := resolveName(t, names, grpcService)
	wantUpdates(t, w)
	for _, c := range []struct{ put, want any }{
		{map[string]string{"team": "<a>"}, map[string]any{"team": "<a>"}},
		{nil, nil},
		{"text & more", "text & more"},
		{struct{ Weight int }{5}, map[string]any{"Weight": 5.0}},
		{map[string]any{"on": true, "none": nil}, map[string]any{"on": true, "none": nil}},
		{[]int{1, 2}, []any{1.0, 2.0}},
		{map[string]string{}, map[string]any{}},
		{false, false},
	} {
		addName(t, names, grpcService, nameAddr, c.put)
		wantUpdates(t, w, added(nameAddr, c.want))
		wantUpdates(t, resolveName(t, names, grpcService), added(nameAddr, c.want))
	}
}

func TestNamingAddAgainChangesTheRegistration(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	addName(t, names, grpcService, nameAddr, "a")
	first, lease, created := at(t, client, nameKey)

	addName(t, names, grpcService, nameAddr, "b", naming.WithTTL(naming.DefaultTTL))
	value, now, still := at(t, client, nameKey)
	if now != lease || still != created || value["Incarnation"] != first["Incarnation"] {
		t.Errorf("the address was registered anew: %v after %v", value, first)
	}
	mustEqual(t, "metadata", value["Metadata"], any("b"))

	addName(t, names, grpcService, nameAddr, "c", naming.WithTTL(10*time.Second))
	value, now, still = at(t, client, nameKey)
	if still != created {
		t.Error("the key was away when its TTL changed")
	}
	_, granted := remaining(t, client, now)
	mustEqual(t, "TTL", granted, 10)
	mustEqual(t, "metadata", value["Metadata"], any("c"))

	// A change that is refused leaves everything as it is.
	written := keys(t, client, "")
	for _, opts := range [][]naming.Option{{naming.WithTTL(time.Second)}, {naming.WithTTL(10 * time.Second)}} {
		err := names.Register(t.Context(), grpcService, added(nameAddr, make([]byte, 17<<10)), opts...)
		wantCode(t, "refused change", err, codes.InvalidArgument)
	}
	mustEqual(t, "keys", keys(t, client, ""), written)
	revoke(t, client, now)
	awaitKeys(t, client, nameKey)
	deleteName(t, names, grpcService, nameAddr)
	awaitKeys(t, client)
}

func TestNamingTargetsAreCutAtTheirLastSlash(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	targets := []string{"foo", "foo-bar", "foo.bar", "foo/bar", "/foo", "a b//foo"}
	var want []string
	for n, target := range targets {
		addName(t, names, target, nameAddr, n)
		want = append(want, target+"/"+nameAddr)
	}
	awaitKeys(t, client, want...)
	for n, target := range targets {
		wantUpdates(t, resolveName(t, names, target), added(nameAddr, float64(n)))
	}
}

func TestNamingDeleteOfALiveStrangerIsPutBack(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	other, _ := newNames(t, etcd.Endpoint())
	w := resolveName(t, other, grpcService)
	wantUpdates(t, w)
	addName(t, names, grpcService, nameAddr, nil)
	wantUpdates(t, w, added(nameAddr, nil))
	written := keys(t, client, "")
	if err := other.Register(within(t, namingPatience), grpcService, deleted(nameAddr, nil)); err != nil {
		wantCode(t, "delete, when it is put back at once", err, codes.Aborted)
	}
	eventually(t, namingPatience, "the key as it was", func() bool { return maps.Equal(keys(t, client, ""), written) })
	seen := nextUpdates(t, w)
	for seen[len(seen)-1].Op == naming.Delete {
		seen = append(seen, nextUpdates(t, w)...)
	}
	mustEqual(t, "the last update", seen[len(seen)-1], added(nameAddr, nil))
}

func TestNamingAddTakesALostAddressBack(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	other, _ := newNames(t, etcd.Endpoint())
	for range 2 {
		addName(t, names, grpcService, nameAddr, "ours")
		addName(t, other, grpcService, nameAddr, "theirs")
	}
	addName(t, names, grpcService, nameAddr, "ours")
	value, _, _ := at(t, client, nameKey)
	mustEqual(t, "metadata", value["Metadata"], any("ours"))
	deleteName(t, other, grpcService, nameAddr)
	awaitKeys(t, client, nameKey)
}

func TestNamingCallsForOneAddressAtTheSameTimeSettle(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	var calls sync.WaitGroup
	for n := range 8 {
		calls.Go(func() {
			for range 10 {
				update, opts := added(nameAddr, n), []naming.Option{naming.WithTTL(time.Duration(10+n%2) * time.Second)}
				if n%4 == 3 {
					update.Op = naming.Delete
				}
				if err := names.Register(within(t, namingPatience), grpcService, update, opts...); err != nil {
					t.Errorf("%v: %v", update, err)
				}
			}
		})
	}
	calls.Wait()
	addName(t, names, grpcService, nameAddr, "last")
	value, _, _ := at(t, client, nameKey)
	mustEqual(t, "metadata", value["Metadata"], any("last"))
	deleteName(t, names, grpcService, nameAddr)
	awaitKeys(t, client)
	eventually(t, namingPatience, "no lease left", func() bool { return len(leases(t, client)) == 0 })
}

func TestNamingDeleteThatTimedOutIsCarriedOut(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	names, _ := newNames(t, proxy.Addr())
	addName(t, names, grpcService, nameAddr, nil)
	addName(t, names, grpcService, otherAddr, nil)
	proxy.BlackHole()
	err := names.Register(within(t, namingSilence), grpcService, deleted(nameAddr, nil))
	wantCode(t, "delete", err, codes.DeadlineExceeded)
	if !errors.Is(err, rollcall.ErrUnreachable) {
		t.Errorf("delete: %v is not %v", err, rollcall.ErrUnreachable)
	}
	proxy.Heal()
	deleteName(t, names, grpcService, nameAddr)
	mustEqual(t, "keys", len(keys(t, client, "")), 1)
}

func TestNamingCloseTakesEverythingAway(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	addName(t, names, grpcService, nameAddr, nil)
	addName(t, names, "team/a/"+grpcService, nameAddr, nil, naming.WithTTL(5*time.Second))
	w := resolveName(t, names, grpcService)
	wantUpdates(t, w, added(nameAddr, nil))
	answers := goNext(w)
	wantNone(t, answers)
	if err := names.Close(within(t, namingPatience)); err != nil {
		t.Errorf("close: %v", err)
	}
	last := wantAnswer(t, answers)
	for last.err == nil { // it may have seen the address go
		last = wantAnswer(t, goNext(w))
	}
	wantWatchClosed(t, last.err)
	mustEqual(t, "keys", len(keys(t, client, "")), 0)
	mustEqual(t, "leases", len(leases(t, client)), 0)
	wantCode(t, "add", names.Register(t.Context(), grpcService, added(nameAddr, nil)), codes.Unavailable)
	_, err := names.Resolve(grpcService)
	wantCode(t, "resolve", err, codes.Unavailable)
}

// lines takes what a logger writes, as far as there is room.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}

func TestNamingOptionsAreTheLibrarysButForThePlace(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	put(t, client, otherKey, "garbage")
	logged := make(lines, 100)
	names := naming.New(client, rollcall.WithLogger(slog.New(slog.NewTextHandler(logged, nil))), rollcall.WithPrefix("elsewhere"))
	t.Cleanup(func() { _ = names.Close(within(t, namingPatience)) })
	addName(t, names, grpcService, nameAddr, nil)
	wantUpdates(t, resolveName(t, names, grpcService), added(nameAddr, nil))
	awaitKeys(t, client, nameKey, otherKey)
	for {
		select {
		case line := <-logged:
			if strings.Contains(line, "level=WARN") && strings.Contains(line, otherKey) {
				return
			}
		case <-time.After(namingPatience):
			t.Fatal("nothing is logged about the value that cannot be read")
		}
	}
}
