package integration

import (
	"context"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/naming"
)

// What users of grpc-go's old naming package had over etcd, one behaviour per test, each under the fault that broke it
// there: the first line of each test says what that was.

const (
	nameAddr  = "10.0.0.7:50051"
	otherAddr = "10.0.0.8:50051"
	nameKey   = grpcService + "/" + nameAddr
	otherKey  = grpcService + "/" + otherAddr
)

func added(addr string, metadata any) naming.Update {
	return naming.Update{Op: naming.Add, Addr: addr, Metadata: metadata}
}

func deleted(addr string, metadata any) naming.Update {
	return naming.Update{Op: naming.Delete, Addr: addr, Metadata: metadata}
}

// Registration and discovery decouple the calls between servers. Here the server moves to another address.
func TestNamingCallersNeedNotKnowWhereServersAre(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, _ := newNames(t, etcd.Endpoint())
	conn := dial(t, open(t, etcd.Endpoint(), rollcall.WithPrefix("")))
	before, after := startNamed(t, names), newNamed(t)
	greetUntil(t, conn, before.addr)

	addName(t, names, grpcService, after.addr, nil)
	deleteName(t, names, grpcService, before.addr)
	onlyGreets(t, conn, after.addr)
}

// The information has an expiry and is renewed by heartbeat. Here the heartbeats are lost for longer than the TTL: the key
// expires, as it would after a crash, and is there again with the first heartbeat that gets through.
func TestNamingKeyLivesAsLongAsItsHeartbeats(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	names, _ := newNames(t, proxy.Addr())
	addName(t, names, grpcService, nameAddr, nil, naming.WithTTL(5*time.Second))

	_, lease, created := at(t, client, nameKey)
	last, _ := remaining(t, client, lease)
	eventually(t, namingPatience, "a renewal", func() bool {
		left, _ := remaining(t, client, lease)
		renewed := left > last
		last = left
		return renewed
	})
	if _, now, still := at(t, client, nameKey); now != lease || still != created {
		t.Errorf("the key was written anew, under lease %x: it was to be renewed", now)
	}

	proxy.BlackHole()
	awaitKeys(t, client)
	proxy.Heal()
	awaitKeys(t, client, nameKey)
}

// Register writes the update as JSON; what cannot be encoded is InvalidArgument. It ignored the caller's context for one
// of its own. Here etcd hears the calls and its answers are lost: they end with their contexts, and leave nothing behind.
func TestNamingRegisterWritesJSONWithinItsContext(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	names, _ := newNames(t, proxy.Addr())
	for _, metadata := range []any{make(chan int), math.Inf(1), map[string]any{"f": func() {}}} {
		err := names.Register(t.Context(), grpcService, added(otherAddr, metadata))
		wantCode(t, "metadata that cannot be encoded", err, codes.InvalidArgument)
	}
	mustEqual(t, "keys", len(keys(t, client, "")), 0)

	addName(t, names, grpcService, nameAddr, map[string]any{"weight": 5})
	value, _, _ := at(t, client, nameKey)
	mustEqual(t, "Op", value["Op"], any(0.0))
	mustEqual(t, "Addr", value["Addr"], any(nameAddr))
	mustEqual(t, "Metadata", value["Metadata"], any(map[string]any{"weight": 5.0}))

	proxy.DropReplies()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- names.Register(ctx, grpcService, added(otherAddr, nil)) }()
	awaitKeys(t, client, nameKey, otherKey)
	cancel()
	wantCode(t, "cancelled", <-ended, codes.Canceled)
	err := names.Register(within(t, namingSilence), grpcService, added("10.0.0.9:50051", nil))
	wantCode(t, "out of time", err, codes.DeadlineExceeded)
	proxy.Heal()
	awaitKeys(t, client, nameKey)
}

// The TTL is 50 s, or as an option says for one registration. It was truncated to whole seconds: 500 ms were 0.
func TestNamingTTLIsFiftySecondsOrWholeSecondsAsWanted(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	for _, ttl := range []time.Duration{0, -time.Second, 500 * time.Millisecond, 4 * time.Second, 5500 * time.Millisecond} {
		err := names.Register(t.Context(), grpcService, added(nameAddr, nil), naming.WithTTL(ttl))
		wantCode(t, ttl.String(), err, codes.InvalidArgument)
	}
	mustEqual(t, "keys", len(keys(t, client, "")), 0)

	addName(t, names, grpcService, nameAddr, nil)
	addName(t, names, grpcService, otherAddr, nil, naming.WithTTL(7*time.Second))
	for key, want := range map[string]int64{nameKey: 50, otherKey: 7} {
		value, lease, _ := at(t, client, key)
		_, granted := remaining(t, client, lease)
		mustEqual(t, "TTL of the lease of "+key, granted, want)
		mustEqual(t, "TTL in the value of "+key, value["TTL"], any(float64(want)))
	}
}

// Add puts the key under a lease and keeps it alive. When the heartbeat's channel closed, a fatal log ended the process
// (this one would end), and a second Register took the first one's cancel. Here leases are revoked and etcd restarts.
func TestNamingAddLastsWhateverHappensToTheLease(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	names, _ := newNames(t, etcd.Endpoint())
	addName(t, names, grpcService, nameAddr, "first")
	addName(t, names, grpcService, otherAddr, "second", naming.WithTTL(10*time.Second))
	addName(t, names, grpcService, nameAddr, "third")
	for _, key := range []string{nameKey, otherKey, nameKey} {
		_, lease, _ := at(t, client, key)
		revoke(t, client, lease)
		awaitKeys(t, client, nameKey, otherKey)
	}
	etcd.Restart()
	for _, key := range []string{nameKey, otherKey} {
		_, lease, _ := at(t, client, key)
		revoke(t, client, lease)
	}
	awaitKeys(t, client, nameKey, otherKey)
	value, _, _ := at(t, client, nameKey)
	mustEqual(t, "metadata after all that", value["Metadata"], any("third"))

	// The second Register of an address is the same registration: one Delete ends it, and no other.
	deleteName(t, names, grpcService, nameAddr)
	awaitKeys(t, client, otherKey)
	_, lease, _ := at(t, client, otherKey)
	revoke(t, client, lease)
	awaitKeys(t, client, otherKey)
}

// Delete deletes the key. It deleted a successor's too, and left the lease. Here a new process has taken the address over
// before the old one says goodbye.
func TestNamingDeleteLeavesASuccessorAlone(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	before, _ := newNames(t, etcd.Endpoint())
	after, _ := newNames(t, etcd.Endpoint())
	w := resolveName(t, after, grpcService)
	wantUpdates(t, w)
	addName(t, before, grpcService, nameAddr, "old")
	wantUpdates(t, w, added(nameAddr, "old"))
	addName(t, after, grpcService, nameAddr, "new")
	wantUpdates(t, w, added(nameAddr, "new"))
	written := getKey(t, client, nameKey).ModRevision

	deleteName(t, before, grpcService, nameAddr)
	mustEqual(t, "revision of the key after the late goodbye", getKey(t, client, nameKey).ModRevision, written)
	deleteName(t, after, grpcService, nameAddr)
	wantUpdates(t, w, deleted(nameAddr, "new"))
	mustEqual(t, "keys after the goodbye", len(keys(t, client, "")), 0)
	eventually(t, namingPatience, "no lease left", func() bool { return len(leases(t, client)) == 0 })
}

// Any other operation is InvalidArgument, "unsupported op": with an etcd as without.
func TestNamingOtherOperationsAreUnsupported(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	err := names.Register(t.Context(), grpcService, naming.Update{Op: 2, Addr: nameAddr})
	if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "unsupported op" {
		t.Errorf(`op 2: %v, want InvalidArgument, "unsupported op"`, err)
	}
	mustEqual(t, "keys", len(keys(t, client, "")), 0)
}

// Resolve does no I/O. Its only timeout began there, before anybody asked for anything. Here etcd is not up yet.
func TestNamingResolveAsksNobodyAndHasNoTimeout(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	addName(t, namesOf(newNames(t, etcd.Endpoint())), grpcService, nameAddr, nil)
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := &countingListener{Listener: lis}
	proxy := faultproxy.Start(t, etcd.Endpoint())
	proxy.Cut()
	names, _ := newNames(t, proxy.Addr())
	silent, _ := newNames(t, lis.Addr().String())
	go door.refuseAll()
	t.Cleanup(func() { _ = lis.Close() })

	w := resolveName(t, silent, grpcService)
	w.Close()
	if n := door.accepted.Load(); n > 0 {
		t.Errorf("Resolve made %d connections", n)
	}
	goNext(resolveName(t, silent, grpcService)) // ended by the cleanup; it shows that the door counts
	eventually(t, namingPatience, "a connection by Next", func() bool { return door.accepted.Load() > 0 })

	answers := goNext(resolveName(t, names, grpcService))
	wantNone(t, answers)
	proxy.Heal()
	wantAnswerOf(t, answers, added(nameAddr, nil))
}

func namesOf(names *naming.Registry, _ *clientv3.Client) *naming.Registry { return names }

// countingListener counts the connections that somebody tried to make.
type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) refuseAll() {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		l.accepted.Add(1)
		_ = conn.Close()
	}
}

// The first Next reads everything, skips what it cannot decode, and returns what is there. A member that lags behind could
// answer with an old state. One member cannot lag behind itself; what can here is the view that another watcher of
// the registry has, and Next must not answer with that.
func TestNamingFirstNextIsNeverBehind(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	names, _ := newNames(t, proxy.Addr())
	other := resolveName(t, names, grpcService)
	wantUpdates(t, other) // at once, though there is nothing

	proxy.Cut()
	put(t, client, nameKey, `{"Op":0,"Addr":"`+nameAddr+`","Metadata":"m"}`)
	put(t, client, grpcService+"/garbage", `{"Op":`)
	put(t, client, grpcService+"/none", `{"Op":0}`)
	answers := goNext(resolveName(t, names, grpcService))
	wantNone(t, answers)
	proxy.Heal()
	wantAnswerOf(t, answers, added(nameAddr, "m"))
	wantUpdates(t, other, added(nameAddr, "m"))
}

// A later Next blocks and returns the batch of changes: a put is Add, a delete is Delete with what was there before. A
// delete whose former value was compacted was lost, and the dead address stayed. Here that happens behind a cut watch.
func TestNamingLaterNextKnowsWhatItHasSeen(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	reader, _ := newNames(t, proxy.Addr())
	names, _ := newNames(t, etcd.Endpoint())
	addName(t, names, grpcService, nameAddr, map[string]string{"team": "a"})
	w := resolveName(t, reader, grpcService)
	team := map[string]any{"team": "a"}
	wantUpdates(t, w, added(nameAddr, team))
	answers := goNext(w)
	wantNone(t, answers)
	addName(t, names, grpcService, otherAddr, 7)
	wantAnswerOf(t, answers, added(otherAddr, 7.0))
	addName(t, names, grpcService, otherAddr, 8)
	wantUpdates(t, w, added(otherAddr, 8.0))

	proxy.Cut()
	deleteName(t, names, grpcService, nameAddr)
	etcd.Compact(t)
	proxy.Heal()
	wantUpdates(t, w, deleted(nameAddr, team))
}

// A watch that is closed is Unavailable, "etcd watch closed". One compaction ended discovery for good. Here the watch is
// cut, its history compacted and etcd restarted: only Close ends it.
func TestNamingNextEndsWithCloseOnly(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	names, _ := newNames(t, proxy.Addr())
	w := resolveName(t, names, grpcService)
	wantUpdates(t, w)
	proxy.Cut()
	put(t, client, nameKey, `{"Addr":"`+nameAddr+`"}`)
	put(t, client, nameKey, `{"Addr":"`+nameAddr+`","Metadata":1}`)
	etcd.Compact(t)
	proxy.Heal()
	wantUpdates(t, w, added(nameAddr, 1.0))
	etcd.Restart()
	put(t, client, nameKey, `{"Addr":"`+nameAddr+`","Metadata":2}`)
	wantUpdates(t, w, added(nameAddr, 2.0))

	answers := goNext(w)
	wantNone(t, answers)
	w.Close()
	wantWatchClosed(t, wantAnswer(t, answers).err)
	_, err := w.Next()
	wantWatchClosed(t, err)
}

// Closing a watcher ends it. It closed the shared etcd client under everybody else.
func TestNamingCloseEndsItsWatcherOnly(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	names, client := newNames(t, etcd.Endpoint())
	addName(t, names, grpcService, nameAddr, nil)
	closed, unread, other := resolveName(t, names, grpcService), resolveName(t, names, grpcService), resolveName(t, names, grpcService)
	wantUpdates(t, closed, added(nameAddr, nil))
	wantUpdates(t, other, added(nameAddr, nil))
	for _, w := range []naming.Watcher{closed, closed, unread} {
		w.Close()
		_, err := w.Next()
		wantWatchClosed(t, err)
	}

	put(t, client, otherKey, `{"Addr":"`+otherAddr+`"}`)
	wantUpdates(t, other, added(otherAddr, nil))
	_, lease, _ := at(t, client, nameKey)
	revoke(t, client, lease)
	awaitKeys(t, client, nameKey, otherKey)
	wantUpdates(t, resolveName(t, names, grpcService), added(nameAddr, nil), added(otherAddr, nil))
}
