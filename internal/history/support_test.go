package history

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// story is a journal that a test tells to a history, which no registry stands behind.
type story struct {
	t   *testing.T
	h   *History
	now time.Time
	rev int64
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// begin begins a story in which everything up to revision 100 is told.
func begin(t *testing.T, cfg Config) *story {
	t.Helper()
	s := &story{t: t, now: start, rev: 100}
	cfg.Now = func() time.Time { return s.now }
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:1"), rollcall.WithFollowAll())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = reg.Close(ctx) // it reaches nobody
	})
	s.h = New(reg, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // etcd is not waited for when it is asked for leases
	s.h.told.ctx = context.WithoutCancel(ctx)
	s.tell(rollcall.JournalEntry{Kind: rollcall.JournalBegin, Revision: 100})
	return s
}

func (s *story) tell(e rollcall.JournalEntry) {
	s.t.Helper()
	if !s.h.told.take(e) {
		s.t.Fatal("the history has ended")
	}
}

// caughtUp says that everything was told.
func (s *story) caughtUp() {
	s.t.Helper()
	s.tell(rollcall.JournalEntry{Kind: rollcall.JournalCaughtUp, Revision: s.rev})
}

// put tells of an instance's write at the next revision.
func (s *story) put(id string, before, after *rollcall.Instance, leaving bool) {
	s.t.Helper()
	s.rev++
	e := rollcall.JournalEntry{
		Kind: rollcall.JournalChange, About: rollcall.AboutInstance, Revision: s.rev, Service: "svc", ID: id,
		After: rollcall.Fact{Instance: after, Leaving: leaving, Lease: 7},
	}
	if before != nil {
		e.Before = rollcall.Fact{Instance: before, Lease: 7}
	}
	s.tell(e)
}

// delete tells that an instance's key is gone, at the next revision.
func (s *story) delete(id string, before *rollcall.Instance) {
	s.t.Helper()
	s.rev++
	s.tell(rollcall.JournalEntry{
		Kind: rollcall.JournalChange, About: rollcall.AboutInstance, Revision: s.rev, Service: "svc", ID: id, Deleted: true,
		Before: rollcall.Fact{Instance: before, Lease: 7},
	})
}

// beat tells of a server that wrote down the time, at the next revision.
func (s *story) beat(before, at time.Time) {
	s.t.Helper()
	s.rev++
	instance := func(at time.Time) *rollcall.Instance {
		return &rollcall.Instance{ID: "s1", Incarnation: "s", Metadata: map[string]string{"beat": at.Format(time.RFC3339Nano)}}
	}
	e := rollcall.JournalEntry{
		Kind: rollcall.JournalChange, About: rollcall.AboutInstance, Revision: s.rev, Service: serverService, ID: "s1",
		After: rollcall.Fact{Instance: instance(at), Lease: 8},
	}
	if !before.IsZero() {
		e.Before = rollcall.Fact{Instance: instance(before), Lease: 8}
	}
	s.tell(e)
}

func instance(id, incarnation string) *rollcall.Instance {
	return &rollcall.Instance{ID: id, Addr: id, Incarnation: incarnation, Weight: 100}
}

// all returns what is told, the oldest first, as text.
func (s *story) all(f Filter) []string {
	events, _ := s.h.List(Query{Filter: f})
	slices.Reverse(events)
	return lines(events)
}

func lines(events []Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%v %s", e.Kind, e.Instance))
	}
	return out
}
