package main

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// told knows what was told of late, however it is numbered.
type told struct {
	since time.Time // when those that are known began
	known map[string]bool
}

func newTold(events []*rollcallv1.Event) *told {
	t := &told{since: time.Now(), known: map[string]bool{}}
	t.news(events)
	return t
}

// sameTime is how far the times apart may be that two servers have seen the same at.
const sameTime = time.Minute

// news returns those that were not told yet.
func (t *told) news(events []*rollcallv1.Event) []*rollcallv1.Event {
	var fresh []*rollcallv1.Event
	for _, e := range events {
		key := fmt.Sprintf("%d %d %s/%s", e.GetRevision(), e.GetKind(), e.GetService(), e.GetInstance())
		if e.GetRevision() == 0 {
			key = fmt.Sprintf("%v %d", e.GetTime().AsTime(), e.GetKind())
		}
		if t.known[key] {
			continue
		}
		t.known[key] = true
		fresh = append(fresh, e)
		if at := message.MomentOf(e.GetTime()); at.After(t.since) {
			t.since = at
		}
	}
	return fresh
}

// last is from when on another server is to tell; what it tells twice is left out.
func (t *told) last() *timestamppb.Timestamp { return timestamppb.New(t.since.Add(-sameTime)) }
