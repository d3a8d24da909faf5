package integration

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// history is what etcd itself says has happened, every event of the whole store as a raw watch brings it. It judges the
// library, and so has nothing to do with it.
type history struct {
	client *clientv3.Client
	mu     sync.Mutex
	events []event // guarded by mu, as all below
	head   int64   // revision of the newest
	err    error
}

type event struct {
	*clientv3.Event
	at time.Time // when it came; of use only where the history was followed live
}

// recordFrom follows etcd's history from a revision on, 0 being now, until the test ends. A fault that etcd's own client
// does not get over ends the record, and then everything that is asked of it fails the test.
func recordFrom(t testing.TB, client *clientv3.Client, revision int64) *history {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	watch := client.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithPrevKV(), clientv3.WithRev(revision), clientv3.WithCreatedNotify())
	created, open := <-watch
	if !open || created.Err() != nil {
		cancel()
		t.Fatalf("record etcd's history: %v", created.Err())
	}
	h := &history{client: client}
	if revision == 0 {
		h.head = created.Header.Revision
	}
	var wg sync.WaitGroup
	wg.Go(func() { h.follow(watch) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return h
}

func (h *history) follow(watch clientv3.WatchChan) {
	for resp := range watch {
		h.mu.Lock()
		for _, e := range resp.Events {
			h.events = append(h.events, event{Event: e, at: time.Now()})
			h.head = e.Kv.ModRevision
		}
		h.err = resp.Err()
		h.mu.Unlock()
	}
}

// revision returns etcd's revision now.
func (h *history) revision(t testing.TB) int64 {
	t.Helper()
	now, err := h.client.Get(within(t, 20*time.Second), "head", clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return now.Header.Revision
}

// await waits for the first event of a key after a revision that matches, and returns it.
func (h *history) await(t testing.TB, key string, after int64, what string, matches func(*clientv3.Event) bool) event {
	t.Helper()
	var found event
	eventually(t, 20*time.Second, what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		n := slices.IndexFunc(h.events, func(e event) bool {
			return string(e.Kv.Key) == key && e.Kv.ModRevision > after && matches(e.Event)
		})
		if n >= 0 {
			found = h.events[n]
		}
		return n >= 0
	})
	return found
}

func isPut(e *clientv3.Event) bool    { return e.Type == clientv3.EventTypePut }
func isDelete(e *clientv3.Event) bool { return e.Type == clientv3.EventTypeDelete }
