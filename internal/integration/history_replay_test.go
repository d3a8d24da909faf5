package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

// diary is what a journal has told, as text.
type diary struct {
	mu      sync.Mutex
	lines   []string // since the last begin
	begins  []string
	present map[string]string // as of the last begin
	upTo    int64
}

func (d *diary) take(e rollcall.JournalEntry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Kind {
	case rollcall.JournalBegin:
		d.begins = append(d.begins, fmt.Sprintf("from %d, reset %v", e.Revision, e.Reset))
		d.lines, d.present, d.upTo = nil, map[string]string{}, e.Revision
	case rollcall.JournalPresent:
		d.present[e.ID] = e.After.Instance.Addr
	case rollcall.JournalChange:
		d.lines = append(d.lines, fmt.Sprintf("%d %s %s → %s", e.Revision, e.ID, addrOf(e.Before), addrOf(e.After)))
		d.upTo = e.Revision
	case rollcall.JournalCaughtUp:
		d.upTo = max(d.upTo, e.Revision)
	}
	return true
}

func addrOf(f rollcall.Fact) string {
	if f.Instance == nil {
		return "none"
	}
	return f.Instance.Addr
}

// keepDiary reads the journal of what lies behind an endpoint, until the test ends.
func keepDiary(t *testing.T, endpoint string) *diary {
	t.Helper()
	reg := open(t, endpoint, rollcall.WithFollowAll())
	d := &diary{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := reg.Journal(ctx, 1_000_000, d.take); err != nil {
			t.Errorf("journal: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return d
}

func (d *diary) reaches(t *testing.T, revision int64) {
	t.Helper()
	eventually(t, historyPatience, "the journal is up to date", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.upTo >= revision
	})
}

// storm writes and deletes instances by chance from four goroutines, until etcd has acknowledged n writes of each and over is closed.
func storm(ctx context.Context, c *clientv3.Client, n int, over <-chan struct{}) error {
	failed := make([]error, 4)
	var wg sync.WaitGroup
	for writer := range failed {
		wg.Go(func() {
			for i := 0; failed[writer] == nil && (i < n || !closed(over)); i++ {
				key := fmt.Sprintf("rollcall/services/svc/%d", rand.IntN(50))
				op := clientv3.OpPut(key, fmt.Sprintf(`{"Addr":"10.0.%d.%d:%d"}`, writer, i%250, 1+i/250))
				if rand.IntN(3) == 0 {
					op = clientv3.OpDelete(key)
				}
				for _, err := c.Do(ctx, op); err != nil; _, err = c.Do(ctx, op) {
					if ctx.Err() != nil {
						failed[writer] = fmt.Errorf("%d of at least %d writes in time: %w", i, n, err)
						break
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// logbook is what etcd itself tells of its past, from behind a revision on. What was written last must be a key of ours.
func logbook(t *testing.T, c *clientv3.Client, behind int64) (lines []string, upTo int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t, historyPatience))
	defer cancel()
	now, err := c.Get(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	upTo = now.Header.Revision
	read := behind
	for resp := range c.Watch(clientv3.WithRequireLeader(ctx), "rollcall/", clientv3.WithPrefix(), clientv3.WithRev(behind+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify()) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			before, after := "none", "none"
			if ev.PrevKv != nil {
				before = addrIn(ev.PrevKv.Value)
			}
			if ev.Type == clientv3.EventTypePut {
				after = addrIn(ev.Kv.Value)
			}
			lines = append(lines, fmt.Sprintf("%d %s %s → %s", ev.Kv.ModRevision, string(ev.Kv.Key[len("rollcall/services/svc/"):]), before, after))
			read = ev.Kv.ModRevision
		}
		if read >= upTo {
			return lines, upTo
		}
	}
	t.Fatalf("etcd told up to revision %d of %d", read, upTo)
	return nil, 0
}

func addrIn(value []byte) string {
	var addr string
	if _, err := fmt.Sscanf(string(value), `{"Addr":%q}`, &addr); err != nil {
		return "unreadable"
	}
	return addr
}

// What a journal tells is what etcd's log has, change by change, though etcd is restarted and the connection is reset and stalls in between.
func TestAJournalLosesNothingAndTellsNothingTwice(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	c := etcd.Client(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	d := keepDiary(t, proxy.Addr())
	faults := make(chan struct{})
	stormed := make(chan error, 1)
	ctx := within(t, 2*historyPatience)
	go func() { stormed <- storm(ctx, c, 250, faults) }()
	for n := range 6 {
		<-time.After(150 * time.Millisecond) // the storm goes on meanwhile
		switch n % 3 {
		case 0:
			proxy.Reset()
		case 1:
			etcd.Restart()
		case 2:
			proxy.BlackHole()
			<-time.After(100 * time.Millisecond)
			proxy.Heal()
		}
	}
	close(faults)
	if err := <-stormed; err != nil {
		t.Fatal(err)
	}
	put(t, c, "rollcall/services/svc/last", `{"Addr":"10.0.0.9:1"}`)
	want, upTo := logbook(t, c, 1)
	for name, d := range map[string]*diary{"who was there": d, "who reads it all from the past": keepDiary(t, etcd.Endpoint())} {
		d.reaches(t, upTo)
		mustEqual(t, "begins", d.begins, []string{"from 1, reset false"})
		if diff := cmp.Diff(want, d.lines); diff != "" {
			t.Fatalf("%s (-etcd +told):\n%s", name, diff)
		}
	}

	// It was cut off when what it missed was compacted: it begins anew with what is there, and goes on exactly from there.
	proxy.Cut()
	if err := storm(ctx, c, 50, faults); err != nil {
		t.Fatal(err)
	}
	put(t, c, "rollcall/services/svc/last", `{"Addr":"10.0.0.9:2"}`)
	at := etcd.Compact(t)
	put(t, c, "rollcall/services/svc/last", `{"Addr":"10.0.0.9:3"}`)
	proxy.Heal()
	late := keepDiary(t, etcd.Endpoint())
	for _, d := range []*diary{d, late} {
		want, upTo := logbook(t, c, at)
		d.reaches(t, upTo)
		mustEqual(t, "the last begin", d.begins[len(d.begins)-1], fmt.Sprintf("from %d, reset false", at))
		mustEqual(t, "what is told then", d.lines, want)
		there, err := c.Get(within(t, historyPatience), "rollcall/", clientv3.WithPrefix(), clientv3.WithRev(at))
		if err != nil {
			t.Fatal(err)
		}
		present := map[string]string{}
		for _, kv := range there.Kvs {
			present[string(kv.Key[len("rollcall/services/svc/"):])] = addrIn(kv.Value)
		}
		mustEqual(t, "what was there", d.present, present)
	}
}
