package httpapi

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// three tells a snapshot, an update and that it is stale, and then nothing; each service has its own.
func three(req *rollcallv1.WatchRequest, tell send, ctx context.Context) error {
	one := []*rollcallv1.Update{{Op: rollcallv1.Update_OP_ADD, Instance: &rollcallv1.Instance{Id: req.GetService()}}}
	for _, m := range []*rollcallv1.WatchResponse{
		{Revision: 5, Snapshot: req.GetRevision() == 0, Updates: one},
		{Revision: 6, Updates: one},
		{Revision: 6, Stale: &rollcallv1.Staleness{Since: timestamppb.New(since)}},
	} {
		if err := tell(m); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestWhatManyAreToldIsEncodedOnce(t *testing.T) {
	t.Parallel()
	a, at := serve(t, &script{watch: three})
	const readers = 20
	var all []*eventReader
	for range readers {
		all = append(all, subscribe(t, at+"/v1/services/shop/watch"))
	}
	for n, want := range []string{"snapshot 5 {", "update 6 {", "stale 6 {"} {
		var first string
		for _, events := range all {
			got := events.event()
			if first == "" {
				first = got
			}
			if !strings.HasPrefix(got, want) || got != first {
				t.Fatalf("event %d: %q, want %q, as %q", n, got, want, first)
			}
		}
	}
	if got := a.tellings.encodings.Load(); got != 3 {
		t.Errorf("%d streams were told 3 things, which were encoded %d times", readers, got)
	}
	for _, events := range all {
		events.close()
	}
	eventually(t, "what was told is forgotten with the last stream", func() bool {
		a.tellings.shelf.mu.Lock()
		defer a.tellings.shelf.mu.Unlock()
		return a.tellings.shelf.order.Len() == 0 && a.tellings.shelf.bytes == 0
	})
}

// What a stream makes of a message depends on what it was told before.
func TestStreamsThatShareAMessageNameItEachAsItIsForThem(t *testing.T) {
	t.Parallel()
	stale := &rollcallv1.WatchResponse{Revision: 6, Stale: &rollcallv1.Staleness{Since: timestamppb.New(since)}}
	s := &script{watch: func(req *rollcallv1.WatchRequest, tell send, ctx context.Context) error {
		if req.GetService() == "twice" {
			if err := tell(stale); err != nil {
				return err
			}
		}
		if err := tell(stale); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	a, at := serve(t, s)
	once, twice := subscribe(t, at+"/v1/services/once/watch"), subscribe(t, at+"/v1/services/twice/watch")
	for _, c := range []struct {
		events *eventReader
		want   string
	}{{once, "stale 6 "}, {twice, "stale 6 "}, {twice, "update 6 "}} {
		if got := c.events.event(); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got := a.tellings.encodings.Load(); got != 1 {
		t.Errorf("one message was encoded %d times", got)
	}
}

func TestStreamsThatAreToldDifferentThingsHearTheirOwn(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{watch: three})
	for _, service := range []string{"shop", "cart", "sho", "shop"} {
		events := subscribe(t, at+"/v1/services/"+service+"/watch")
		for range 2 {
			if got := events.event(); !strings.Contains(got, fmt.Sprintf("%q", service)) {
				t.Errorf("%s is told %q", service, got)
			}
		}
	}
}

// Two kinds of messages can have the same bytes.
func TestTheSameBytesOfAnotherCallAreAnotherMessage(t *testing.T) {
	t.Parallel()
	empty := func(_ *rollcallv1.WatchRequest, tell send, ctx context.Context) error {
		if err := tell(&rollcallv1.WatchResponse{Revision: 3, Snapshot: true}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	_, at := serve(t, &script{watch: empty, all: &rollcallv1.WatchServicesResponse{Revision: 3, Snapshot: true}})
	one, all := subscribe(t, at+"/v1/services/shop/watch").event(), subscribe(t, at+"/v1/watch").event()
	if !strings.Contains(one, `"updates"`) || !strings.Contains(all, `"services"`) {
		t.Errorf("of one: %q; of all: %q", one, all)
	}
}
