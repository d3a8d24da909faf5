package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"
)

// grpcSide is gRPC's end of a channel: it notes what it is told, and when.
type grpcSide struct {
	resolver.ClientConn // what is not expected to be called
	start               time.Time
	log                 []string
	states              []resolver.State
	errs                []error
	configs             int
}

func (g *grpcSide) UpdateState(s resolver.State) error {
	g.states = append(g.states, s)
	g.log = append(g.log, fmt.Sprintf("%v %s", time.Since(g.start), strings.Join(ids(s.Endpoints), " ")))
	return errors.New("bad resolver state") // what gRPC says of an empty list must not disturb anybody
}

func (g *grpcSide) ReportError(err error) {
	g.errs = append(g.errs, err)
	g.log = append(g.log, fmt.Sprintf("%v error", time.Since(g.start)))
}

func (g *grpcSide) ParseServiceConfig(string) *serviceconfig.ParseResult {
	g.configs++
	return &serviceconfig.ParseResult{}
}

// mailbox stands for a watcher: Next returns the newest view, once.
type mailbox struct {
	views chan *rollcall.View
	ended chan struct{}
}

func (m *mailbox) put(v *rollcall.View) {
	select {
	case <-m.views:
	default:
	}
	m.views <- v
}

func (m *mailbox) Next(ctx context.Context) (*rollcall.View, error) {
	select {
	case v := <-m.views:
		return v, nil
	case <-m.ended:
		return nil, rollcall.ErrClosed
	case <-ctx.Done():
		return nil, errors.Join(
			&rollcall.UnreachableError{Endpoints: []string{"etcd:2379"}, Err: context.Cause(ctx)},
			status.Error(codes.Unavailable, "no route"), // etcd's errors are such
		)
	}
}

// inBubble runs a test of a channel in simulated time.
func inBubble(t *testing.T, test func(t *testing.T, g *grpcSide, m *mailbox)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := &grpcSide{start: time.Now()}
		m := &mailbox{views: make(chan *rollcall.View, 1), ended: make(chan struct{})}
		c := &channel{cc: g, cancel: cancel, next: m.Next}
		c.running.Go(func() { c.run(ctx) })
		test(t, g, m)
		c.Close()
		seen := len(g.log)
		time.Sleep(time.Hour)
		if len(g.log) != seen {
			t.Errorf("gRPC was told %v after Close", g.log[seen:])
		}
	})
}

func wantLog(t *testing.T, g *grpcSide, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, g.log); diff != "" {
		t.Errorf("what gRPC was told (-want +got):\n%s", diff)
	}
}

func TestBurstIsOneUpdateAfterTheFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grpcSide, m *mailbox) {
		a, b, c := instance("a", "h:1", 1), instance("b", "h:2", 2), instance("c", "h:3", 3)
		m.put(viewOf(a))
		synctest.Wait() // sent at once; its window is 5 ms and 10 µs
		time.Sleep(time.Millisecond)
		m.put(viewOf(a, b))
		time.Sleep(time.Millisecond)
		m.put(viewOf(a, b, c))
		time.Sleep(time.Second) // a quiet time: the next change is sent at once again
		m.put(viewOf(b, c))
		wantLog(t, g, "0s a", "5.01ms a b c", "1.002s b c")
	})
}

func TestUpdateThatShowsNothingNewIsNotSentAndDelaysNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grpcSide, m *mailbox) {
		m.put(viewOf(instance("a", "h:1", 1)))
		time.Sleep(time.Second)
		m.put(viewOf(instance("a", "h:1", 5))) // put again as it was
		synctest.Wait()
		stale := viewOf(instance("a", "h:1", 5))
		stale.StaleSince = time.Now()
		m.put(stale)
		synctest.Wait()
		m.put(viewOf())
		wantLog(t, g, "0s a", "1s ")
	})
}

func TestServiceWithoutInstancesIsSentAsEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grpcSide, m *mailbox) {
		m.put(viewOf())
		wantLog(t, g, "0s ")
		if g.states[0].Endpoints == nil {
			t.Error("Endpoints is nil: gRPC would look at Addresses instead")
		}
	})
}

func TestChannelWithoutFirstViewIsToldOnceAndLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grpcSide, m *mailbox) {
		time.Sleep(10 * time.Second)
		m.put(viewOf(instance("a", "h:1", 1)))
		wantLog(t, g, "2s error", "10s a")
		text := g.errs[0].Error()
		for _, want := range []string{"etcd:2379", "no route", "2s"} {
			if !strings.Contains(text, want) {
				t.Errorf("the error %q does not name %q", text, want)
			}
		}
		if _, is := status.FromError(g.errs[0]); is {
			t.Error("the error wraps a gRPC status, which would fail calls that wait for ready")
		}
	})
}

func TestClosedRegistryIsReportedAndTakesNothingAway(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grpcSide, m *mailbox) {
		m.put(viewOf(instance("a", "h:1", 1)))
		time.Sleep(time.Second)
		close(m.ended)
		wantLog(t, g, "0s a", "1s error")
	})
}

func TestChannelClosesWhileItGathers(t *testing.T) {
	inBubble(t, func(t *testing.T, g *grpcSide, m *mailbox) {
		m.put(viewOf(instance("a", "h:1", 1)))
		synctest.Wait()
		m.put(viewOf())
		wantLog(t, g, "0s a")
	})
}

func TestWindowGrowsWithTheInstancesUpToItsLimit(t *testing.T) {
	for n, want := range map[int]time.Duration{
		0: 5 * time.Millisecond, 100: 6 * time.Millisecond, 1_000: 15 * time.Millisecond,
		9_500: 100 * time.Millisecond, 100_000: 100 * time.Millisecond,
	} {
		if got := window(n); got != want {
			t.Errorf("window(%d) = %v, want %v", n, got, want)
		}
	}
}
