package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	past "github.com/rollcall-io/rollcall/internal/history"
)

// historyPatience ends a test that hangs.
const historyPatience = 30 * time.Second

// historian is a history that runs, on a registry of its own.
type historian struct {
	*past.History
	reg  *rollcall.Registry
	stop func()
}

// keepHistory returns a history that has read etcd's past. It ends with the test.
func keepHistory(t testing.TB, endpoint string, cfg past.Config, opts ...rollcall.Option) *historian {
	t.Helper()
	h := beginHistory(t, endpoint, cfg, opts...)
	eventually(t, historyPatience, "the past is read", func() bool { return !h.Begin().Reading })
	return h
}

// beginHistory is keepHistory without waiting.
func beginHistory(t testing.TB, endpoint string, cfg past.Config, opts ...rollcall.Option) *historian {
	t.Helper()
	reg := open(t, endpoint, append(opts, rollcall.WithFollowAll())...)
	h := &historian{History: past.New(reg, cfg), reg: reg}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.Run(ctx); err != nil {
			t.Errorf("history: %v", err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(h.stop)
	return h
}

// reaches waits until the history has read everything that etcd has now.
func (h *historian) reaches(t testing.TB, c *clientv3.Client) {
	t.Helper()
	resp, err := c.Get(within(t, historyPatience), "x")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, historyPatience, "the history is up to date", func() bool { return h.Stats().Revision >= resp.Header.Revision })
}

// all returns what happened, the oldest first.
func (h *historian) all(filter past.Filter) []past.Event {
	events, _ := h.List(past.Query{Filter: filter})
	for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
		events[i], events[j] = events[j], events[i]
	}
	return events
}

// recounted writes events as text: what happened to whom, by whom, why, and what was there.
func recounted(events []past.Event) []string {
	var lines []string
	for _, e := range events {
		var b strings.Builder
		fmt.Fprintf(&b, "%v", e.Kind)
		if e.Service != "" {
			fmt.Fprintf(&b, " %s/%s", e.Service, e.Instance)
		}
		for _, part := range []struct{ word, text string }{{"by", e.Actor}, {"because", e.Reason}, {"so", e.Detail}} {
			if part.text != "" {
				fmt.Fprintf(&b, " %s %s", part.word, part.text)
			}
		}
		if !e.Until.IsZero() {
			b.WriteString(" with an end")
		}
		lines = append(lines, b.String())
	}
	return lines
}

// etcdless leaves out what is about etcd and not about a service.
func etcdless(events []past.Event) []past.Event {
	var some []past.Event
	for _, e := range events {
		if e.Service != "" {
			some = append(some, e)
		}
	}
	return some
}

// dead is an instance of a process that is not there: its lease is ended by hand, as if it had run out.
type dead struct {
	client *clientv3.Client
	lease  clientv3.LeaseID
}

// registerDead writes an instance under a lease of its own that nobody renews.
func registerDead(t testing.TB, c *clientv3.Client, service, id, incarnation string) *dead {
	t.Helper()
	lease, err := c.Grant(within(t, historyPatience), 600)
	if err != nil {
		t.Fatal(err)
	}
	d := &dead{c, lease.ID}
	d.put(t, service, id, incarnation)
	return d
}

func (d *dead) put(t testing.TB, service, id, incarnation string) {
	t.Helper()
	value := fmt.Sprintf(`{"Op":0,"Addr":"10.9.9.9:1","Metadata":null,"ID":%q,"Incarnation":%q,"Holder":"h","TTL":15,"Registered":%q}`,
		id, incarnation, time.Now().UTC().Format(time.RFC3339Nano))
	if _, err := d.client.Put(within(t, historyPatience), "rollcall/services/"+service+"/"+id, value, clientv3.WithLease(d.lease)); err != nil {
		t.Fatal(err)
	}
}

// expire ends the lease.
func (d *dead) expire(t testing.TB) {
	t.Helper()
	if _, err := d.client.Revoke(within(t, historyPatience), d.lease); err != nil {
		t.Fatal(err)
	}
}
