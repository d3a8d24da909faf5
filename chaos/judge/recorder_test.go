package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rollcall-io/rollcall/chaos/journal"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// book is a journal in memory.
type book struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// events returns what was told of some kinds; of all without one.
func (b *book) events(t *testing.T, kinds ...journal.Kind) []journal.Event {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []journal.Event
	for line := range strings.Lines(b.buf.String()) {
		var e journal.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			if e.What == kind {
				all = append(all, e)
			}
		}
	}
	return all
}

func record(t *testing.T, b *book, endpoints []string, opts ...Option) *Recorder {
	t.Helper()
	r := Record(endpoints, journal.NewWriter(b, "judge"), opts...)
	t.Cleanup(r.Close)
	return r
}

func synced(t *testing.T, r *Recorder) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	revision, err := r.Sync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func do(t *testing.T, c *clientv3.Client, ops ...clientv3.Op) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := c.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

const dir = "rollcall/services/s/"

var ignored = cmpopts.IgnoreFields(journal.Event{}, "At", "By", "Text")

func check(t *testing.T, got, want []journal.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, ignored, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("what the judge told (-want +got):\n%s", diff)
	}
}

func TestEverythingThatHappensInEtcdIsRecorded(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	do(t, c, clientv3.OpPut(dir+"before", value("i0", ""))) // the record begins later
	var b book
	r := record(t, &b, []string{s.addr, s.addr})
	lease, err := c.Grant(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, clientv3.OpPut(dir+"a%2Fb", value("i1", ""), clientv3.WithLease(lease.ID)), clientv3.OpPut(dir+"c", value("i2", "draining")))
	do(t, c, clientv3.OpDelete(dir+"c"))
	do(t, c, clientv3.OpPut(dir+"c", "garbage"))
	do(t, c, clientv3.OpPut("other/key", "x"))
	if got, want := synced(t, r), int64(6); got != want {
		t.Errorf("synced at revision %d, want %d", got, want)
	}
	if err := r.Leases(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Close()
	check(t, b.events(t, journal.Put, journal.Deleted, Synced, journal.Leases, Contradiction), []journal.Event{
		{What: journal.Put, Revision: 2, Key: dir + "before", Service: "s", ID: "before", Incarnation: "i0", State: "serving"},
		{What: journal.Put, Revision: 3, Key: dir + "a%2Fb", Service: "s", ID: "a/b", Incarnation: "i1", State: "serving", Lease: int64(lease.ID)},
		{What: journal.Put, Revision: 3, Key: dir + "c", Service: "s", ID: "c", Incarnation: "i2", State: "draining"},
		{What: journal.Deleted, Revision: 4, Key: dir + "c", Service: "s", ID: "c", Incarnation: "i2", State: "draining"},
		{What: journal.Put, Revision: 5, Key: dir + "c", Service: "s", ID: "c"},
		{What: journal.Put, Revision: 6, Key: "other/key"},
		{What: Synced, Revision: 6},
		{What: journal.Leases, Value: 1},
	})
}

func TestTheRecordGoesOnWhenEtcdIsBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var b book
	r := record(t, &b, []string{s.addr})
	c := s.client()
	do(t, c, clientv3.OpPut(dir+"a", value("i1", "")))
	synced(t, r)
	s.stop()
	s.start()
	do(t, c, clientv3.OpPut(dir+"a", value("i2", "")))
	synced(t, r)
	r.Close()
	check(t, b.events(t, journal.Put, Contradiction, Hole), []journal.Event{
		{What: journal.Put, Revision: 2, Key: dir + "a", Service: "s", ID: "a", Incarnation: "i1", State: "serving"},
		{What: journal.Put, Revision: 3, Key: dir + "a", Service: "s", ID: "a", Incarnation: "i2", State: "serving"},
	})
}

func TestAStoreThatWasWipedIsANewEpoch(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var b book
	r := record(t, &b, []string{s.addr, s.addr})
	c := s.client()
	do(t, c, clientv3.OpPut(dir+"a", value("i1", "")))
	synced(t, r)
	s.wipe()
	// The new store passes the old one's revision before the judge is told of it.
	do(t, c, clientv3.OpPut(dir+"a", value("i2", "")))
	do(t, c, clientv3.OpPut(dir+"b", value("i3", "")))
	await(t, "the watches find that it is another store", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.doubts) == 2
	})
	r.Rewritten("wipe")
	synced(t, r)
	r.Close()
	check(t, b.events(t, journal.Put, journal.Rewritten, Contradiction, Hole), []journal.Event{
		{What: journal.Put, Revision: 2, Key: dir + "a", Service: "s", ID: "a", Incarnation: "i1", State: "serving"},
		{What: journal.Rewritten, Epoch: 1, Name: "wipe"},
		{What: journal.Put, Epoch: 1, Revision: 2, Key: dir + "a", Service: "s", ID: "a", Incarnation: "i2", State: "serving"},
		{What: journal.Put, Epoch: 1, Revision: 3, Key: dir + "b", Service: "s", ID: "b", Incarnation: "i3", State: "serving"},
	})
}

func TestAStoreThatIsAnotherOneUntoldIsAContradiction(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var b book
	r := record(t, &b, []string{s.addr})
	c := s.client()
	do(t, c, clientv3.OpPut(dir+"a", value("i1", "")))
	synced(t, r)
	s.wipe()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := r.Sync(ctx); err == nil || !strings.Contains(err.Error(), "Rewritten") {
		t.Errorf("Sync over a store that fell back returned %v, want an error that tells of it", err)
	}
	do(t, c, clientv3.OpPut(dir+"a", value("i2", "")))
	await(t, "the watch finds that it is another store", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.doubts) == 1
	})
	r.Close()
	if got := b.events(t, Contradiction); len(got) != 1 || !strings.Contains(got[0].Err, "revision 2") {
		t.Errorf("told as contradictions: %v, want one that names the revision", got)
	}
}

func TestWhatABackupBringsAlongIsTold(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var b book
	r := record(t, &b, []string{s.addr})
	c := s.client()
	do(t, c, clientv3.OpPut(dir+"a", value("i1", "")))
	do(t, c, clientv3.OpDelete(dir+"a"))
	synced(t, r)
	s.stop()
	s.start()
	r.Rewritten("restore") // of a backup made just now
	do(t, c, clientv3.OpPut(dir+"a", value("i2", "")))
	synced(t, r)
	r.Close()
	got := b.events(t, journal.Put, journal.Deleted)
	for n, want := range []string{"", "", Replayed, Replayed, ""} {
		if n >= len(got) || got[n].Name != want {
			t.Errorf("event %d of %v: want it named %q", n, got, want)
		}
	}
}

func TestACompactedStoreIsListed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	do(t, c, clientv3.OpPut(dir+"a", value("i1", "")))
	do(t, c, clientv3.OpPut(dir+"b", value("i2", "")))
	do(t, c, clientv3.OpPut(dir+"a", value("i3", "")))
	compact(t, c, 4)
	do(t, c, clientv3.OpDelete(dir+"b"))
	var b book
	r := record(t, &b, []string{s.addr, s.addr})
	synced(t, r)
	r.Close()
	check(t, b.events(t, journal.Put, journal.Deleted, Floor, Hole, Contradiction), []journal.Event{
		{What: journal.Put, Revision: 4, Name: Listed, Key: dir + "a", Service: "s", ID: "a", Incarnation: "i3", State: "serving"},
		{What: journal.Put, Revision: 3, Name: Listed, Key: dir + "b", Service: "s", ID: "b", Incarnation: "i2", State: "serving"},
		{What: Floor, Revision: 4},
		{What: journal.Deleted, Revision: 5, Key: dir + "b", Service: "s", ID: "b", Incarnation: "i2", State: "serving"},
	})
}

func TestWhatWasCompactedBeforeAnybodyToldItIsAHole(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var b book
	r := record(t, &b, []string{s.addr})
	c := s.client()
	do(t, c, clientv3.OpPut(dir+"a", value("i1", "")))
	synced(t, r)
	r.cancel() // as if no member could be reached for a while
	r.wg.Wait()
	do(t, c, clientv3.OpPut(dir+"b", value("i2", "")))
	do(t, c, clientv3.OpPut(dir+"c", value("i3", "")))
	compact(t, c, 4)
	r.begin(r.history)
	do(t, c, clientv3.OpPut(dir+"d", value("i4", "")))
	synced(t, r)
	do(t, c, clientv3.OpPut(dir+"e", value("i5", "")))
	synced(t, r)
	r.Close()
	got := b.events(t, journal.Put, Hole, Floor, Contradiction)
	var told []string
	for _, e := range got {
		told = append(told, string(e.What)+" "+e.ID)
	}
	want := []string{"put a", "hole ", "put a", "put b", "put c", "put d", "floor ", "put e"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("what the judge told (-want +got):\n%s", diff)
	}
}

func compact(t *testing.T, c *clientv3.Client, revision int64) {
	t.Helper()
	if _, err := c.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestALoginIsEnoughForTheRecord(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	ctx := t.Context()
	for _, err := range []error{
		second(c.UserAdd(ctx, "root", "pass")), second(c.UserGrantRole(ctx, "root", "root")), second(c.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var b book
	r := record(t, &b, []string{s.addr}, WithLogin("root", "pass"), WithPrefix("p"))
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{s.addr}, Username: "root", Password: "pass", DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	do(t, root, clientv3.OpPut("p/services/s/a", value("i1", "")))
	synced(t, r)
	s.stop() // and with it every token
	s.start()
	do(t, root, clientv3.OpDelete("p/services/s/a"))
	synced(t, r)
	r.Close()
	if got := b.events(t, journal.Put, journal.Deleted, Contradiction); len(got) != 2 || got[0].ID != "a" || got[1].What != journal.Deleted {
		t.Errorf("told %v, want a put and a deletion", got)
	}
}

func second[T any](_ T, err error) error { return err }
