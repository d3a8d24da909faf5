package resolver

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/status"
)

func TestBurstIsOneUpdateAfterTheFirst(t *testing.T) {
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		a, b, c := instance("a", "h:1", 1), instance("b", "h:2", 2), instance("c", "h:3", 3)
		s.put(viewOf(a))
		synctest.Wait() // sent at once; its window is an eighth of 5 ms and 10 µs
		time.Sleep(200 * time.Microsecond)
		s.put(viewOf(a, b))
		time.Sleep(200 * time.Microsecond)
		s.put(viewOf(a, b, c))
		time.Sleep(time.Second) // a quiet time: the next change is sent at once again
		s.put(viewOf(b, c))
		wantLog(t, g, "0s a", "626.25µs a b c", "1.0004s b c")
	})
}

func TestUpdateThatShowsNothingNewIsNotSentAndDelaysNothing(t *testing.T) {
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		s.put(viewOf(instance("a", "h:1", 1)))
		time.Sleep(time.Second)
		s.put(viewOf(instance("a", "h:1", 5))) // put again as it was
		synctest.Wait()
		stale := viewOf(instance("a", "h:1", 5))
		stale.StaleSince = time.Now()
		s.put(stale)
		synctest.Wait()
		s.put(viewOf())
		wantLog(t, g, "0s a", "1s ")
	})
}

func TestServiceWithoutInstancesIsSentAsEmpty(t *testing.T) {
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		s.put(viewOf())
		wantLog(t, g, "0s ")
		if g.states[0].Endpoints == nil {
			t.Error("Endpoints is nil: gRPC would look at Addresses instead")
		}
	})
}

func TestChannelWithoutFirstViewIsToldOnceAndLosesNothing(t *testing.T) {
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		time.Sleep(10 * time.Second)
		s.put(viewOf(instance("a", "h:1", 1)))
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
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		s.put(viewOf(instance("a", "h:1", 1)))
		time.Sleep(time.Second)
		close(s.ended)
		wantLog(t, g, "0s a", "1s error")
	})
}

func TestChannelClosesWhileItGathers(t *testing.T) {
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		s.put(viewOf(instance("a", "h:1", 1)))
		synctest.Wait()
		s.put(viewOf())
		wantLog(t, g, "0s a")
	})
}

func TestCloseWaitsUntilGRPCHasProcessedAnUpdate(t *testing.T) {
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		g.takes = time.Second
		s.put(viewOf(instance("a", "h:1", 1)))
		synctest.Wait()
		g.close()
		if now := time.Since(g.start); now != time.Second {
			t.Errorf("Close returned after %v, while gRPC was busy until 1s", now)
		}
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

func TestNeighboursReachTheChannelAtOnceAndAStormIsGathered(t *testing.T) {
	inChannel(t, func(t *testing.T, g *grpcSide, s *service) {
		s.put(viewOf(instance("a", "h:1", 1)))
		time.Sleep(time.Second)
		for n := range 2 { // the second a millisecond after the first, whose window is 5 ms / 8
			s.put(viewOf(instance("a", "h:1", int64(2+n)), instance(fmt.Sprint("b", n), "h:2", int64(2+n))))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if got := len(g.states); got != 3 {
			t.Errorf("%d updates after 2 changes a second later, want 3", got)
		}
		for n := range 1000 { // one every 100 µs
			s.put(viewOf(instance(fmt.Sprint("c", n), "h:3", int64(10+n))))
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := len(g.states); got > 3+4+100/5 {
			t.Errorf("%d updates for a storm of 100 ms, want one in 5 ms and a few", got-3)
		}
		if i, _ := InstanceOf(g.states[len(g.states)-1].Endpoints[0]); i.ID != "c999" {
			t.Errorf("the last is of %s", i.ID)
		}
	})
}
