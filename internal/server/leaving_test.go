package server

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endless is a stream whose client stays.
type endless struct {
	grpc.ServerStream
	ctx context.Context
}

func (s endless) Context() context.Context { return s.ctx }

func TestStreamsOfAServerThatStopsEndOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLeaving()
		var mu sync.Mutex
		var ends []time.Duration
		began := time.Now()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				err := l.stream(nil, endless{ctx: t.Context()}, nil, func(_ any, s grpc.ServerStream) error {
					<-s.Context().Done()
					return s.Context().Err()
				})
				if status.Code(err) != codes.Unavailable {
					t.Errorf("a stream ends with %v, want Unavailable", err)
				}
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, time.Since(began))
			})
		}
		synctest.Wait()
		if n := l.streams.Load(); n != 200 {
			t.Errorf("%d streams are open, want 200", n)
		}
		l.begin()
		wg.Wait()
		if first, last := slices.Min(ends), slices.Max(ends); last > leaveWithin || last-first < leaveWithin/2 {
			t.Errorf("streams end from %v to %v, want over %v", first, last, leaveWithin)
		}
		half := slices.Sorted(slices.Values(ends))[100]
		if half < leaveWithin/4 || half > leaveWithin*3/4 {
			t.Errorf("half of the streams have ended after %v of %v", half, leaveWithin)
		}
		if n := l.streams.Load(); n != 0 {
			t.Errorf("%d streams are open after all ended", n)
		}
	})
}

func TestAStreamThatEndsByItselfEndsAsItDoes(t *testing.T) {
	t.Parallel()
	l := newLeaving()
	err := l.stream(nil, endless{ctx: t.Context()}, nil, func(any, grpc.ServerStream) error { return status.Error(codes.NotFound, "") })
	l.begin()
	if status.Code(err) != codes.NotFound {
		t.Errorf("the error is %v, want the handler's", err)
	}
}
