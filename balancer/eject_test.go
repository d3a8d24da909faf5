package balancer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-io/rollcall"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

var unavailable = status.Error(codes.Unavailable, "the transport is at a loss")

// failAt makes calls, of which those to some addresses fail without a word from the server, n to each of these.
func failAt(c *channel, n int, addrs ...string) {
	c.t.Helper()
	left := map[string]int{}
	for _, addr := range addrs {
		left[addr] = n
	}
	for range 1000 * n {
		made := c.pick(c.t.Context())
		if left[made.addr] == 0 {
			made.succeed()
			continue
		}
		made.end(lb.DoneInfo{Err: unavailable})
		if left[made.addr]--; left[made.addr] == 0 {
			delete(left, made.addr)
		}
		if len(left) == 0 {
			return
		}
	}
}

func TestCallsThatFailInARowEjectAnInstanceForATime(t *testing.T) {
	t.Parallel()
	for _, how := range []Pick{WeightedRoundRobin, LeastRequest} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := connected(t, "", Config{Pick: how}, instances(0, 4)...)
			failAt(c, rollcall.DefaultEjectionFailures-1, addr(0))
			if n := c.picks(400)[addr(0)]; n == 0 {
				t.Fatal("it is ejected early") // and its failures are no longer in a row
			}
			failAt(c, rollcall.DefaultEjectionFailures-1, addr(0))
			if n := c.picks(400)[addr(0)]; n == 0 {
				t.Fatal("failures count that were not in a row")
			}
			failAt(c, rollcall.DefaultEjectionFailures, addr(0))
			if n := c.picks(400)[addr(0)]; n > 0 {
				t.Fatalf("it is called %d times after %d failures", n, rollcall.DefaultEjectionFailures)
			}
			time.Sleep(rollcall.DefaultEjectionTime - time.Millisecond)
			if n := c.picks(400)[addr(0)]; n > 0 {
				t.Errorf("it is called %d times before its time is up", n)
			}
			c.quiet()
			if n := c.picks(400)[addr(0)]; n < 50 {
				t.Errorf("it is called %d times of 400 when its time is up", n)
			}
			if c.made[addr(0)] != 1 {
				t.Errorf("%d connections were made to it, want 1", c.made[addr(0)])
			}
			failAt(c, rollcall.DefaultEjectionFailures, addr(0))
			if n := c.picks(400)[addr(0)]; n > 0 {
				t.Errorf("it is called %d times after %d more failures", n, rollcall.DefaultEjectionFailures)
			}
		})
	}
}

func TestWhatAServerSaysIsNoFailureOfItsConnection(t *testing.T) {
	t.Parallel()
	for name, info := range map[string]lb.DoneInfo{
		"an error from the server":     {Err: unavailable, BytesSent: true, BytesReceived: true},
		"a call that its caller ended": {Err: status.Error(codes.Canceled, "no more"), BytesSent: true},
		"a deadline":                   {Err: status.Error(codes.DeadlineExceeded, "late"), BytesSent: true},
		"nothing":                      {},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := connected(t, "", Config{}, instances(0, 3)...)
			for range 100 {
				c.pick(t.Context()).end(info)
			}
			if got := len(c.picks(300)); got != 3 {
				t.Errorf("after %s %d are called, want 3", name, got)
			}
		})
	}
}

func TestNoMoreThanAPartIsEjectedAndNeverTheLast(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		size int
		cfg  Ejection
		want int
	}{
		"the default is a tenth":   {40, Ejection{}, 4},
		"or one":                   {5, Ejection{}, 1},
		"half":                     {10, Ejection{MaxPercent: 50}, 5},
		"all but the last":         {10, Ejection{MaxPercent: 100}, 9},
		"after a single failure":   {10, Ejection{MaxPercent: 30, Failures: 1}, 3},
		"the only one stays":       {1, Ejection{MaxPercent: 100}, 0},
		"one of two":               {2, Ejection{MaxPercent: 100}, 1},
		"none when it is switched": {10, Ejection{Disabled: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _ := connected(t, "", Config{Ejection: row.cfg}, instances(0, row.size)...)
				for range 50 * row.size {
					c.pick(t.Context()).end(lb.DoneInfo{Err: unavailable})
				}
				if got := row.size - len(c.picks(50*row.size)); got != row.want {
					t.Errorf("%d of %d are ejected, want %d", got, row.size, row.want)
				}
			})
		})
	}
}

// Those that are not connected do not count: a tenth of ten is one, of however many.
func TestThePartThatMayBeEjectedIsOneOfTheConnected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newChannel(t, "", Config{}), newService(instances(0, 40)...)
		c.show(s.next())
		for n := range 10 {
			c.become(addr(n), connectivity.Ready)
		}
		c.quiet()
		for range 500 {
			c.pick(t.Context()).end(lb.DoneInfo{Err: unavailable})
		}
		if got := 10 - len(c.picks(500)); got != 1 {
			t.Errorf("%d of 10 that are connected are ejected, want 1", got)
		}
	})
}

// breakUnderCalls loses a connection with so many calls under way.
func breakUnderCalls(c *channel, addr string, calls int, before bool) {
	c.t.Helper()
	var under []call
	for len(under) < calls {
		if made := c.pick(c.t.Context()); made.addr == addr {
			under = append(under, made)
		} else {
			made.succeed()
		}
	}
	fail := func() {
		for _, made := range under {
			made.end(lb.DoneInfo{Err: unavailable, BytesSent: true})
		}
	}
	if before {
		fail()
	}
	c.become(addr, connectivity.Idle)
	if !before {
		fail()
	}
	c.become(addr, connectivity.Connecting)
	c.become(addr, connectivity.Ready)
	c.quiet()
}

// gRPC may tell of the calls before it tells of the connection, or after.
func TestAConnectionThatBreaksUnderManyCallsIsOneFailure(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := connected(t, "", Config{}, instances(0, 3)...)
			for n := range rollcall.DefaultEjectionFailures - 1 {
				breakUnderCalls(c, addr(0), 50, before)
				if c.picks(300)[addr(0)] == 0 {
					t.Fatalf("calls are told of first: %v; it is ejected after %d breaks", before, n+1)
				}
			} // and after each break it has answered again
			for n := range rollcall.DefaultEjectionFailures {
				if n > 0 && n < rollcall.DefaultEjectionFailures {
					if _, out := c.shares()[addr(0)]; !out {
						t.Fatalf("calls are told of first: %v; it is ejected after %d breaks in a row", before, n)
					}
				}
				breakUnderCalls(c, addr(0), 50, before)
			}
			if n := c.picks(300)[addr(0)]; n > 0 {
				t.Errorf("calls are told of first: %v; it is called %d times after %d breaks in a row", before, n, rollcall.DefaultEjectionFailures)
			}
			time.Sleep(rollcall.DefaultEjectionTime)
			c.quiet()
			if n := c.picks(300)[addr(0)]; n != 100 {
				t.Errorf("it is called %d times of 300 when its time is up", n)
			}
		})
	}
}

func TestAConnectionThatIsClosedWithoutCallsIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, "", Config{}, instances(0, 3)...)
		for range 3 * rollcall.DefaultEjectionFailures {
			c.become(addr(0), connectivity.Idle)
			c.become(addr(0), connectivity.Connecting)
			c.become(addr(0), connectivity.Ready)
		}
		c.quiet()
		if n := c.picks(300)[addr(0)]; n != 100 {
			t.Errorf("it is called %d times of 300, want 100", n)
		}
	})
}

// Of two one is ejected, and the other lost: a bad one is better than none.
func TestWhoIsEjectedIsCalledWhenNobodyElseIsLeft(t *testing.T) {
	t.Parallel()
	for name, loses := range map[string]func(*channel, *service){
		"lost":   func(c *channel, _ *service) { c.become(addr(1), connectivity.Idle) },
		"drains": func(c *channel, s *service) { s.change(addr(1), draining); c.show(s.next()) },
		"gone":   func(c *channel, s *service) { s.remove(addr(1)); c.show(s.next()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			c, s := connected(t, "", Config{}, instances(0, 2)...)
			failAt(c, rollcall.DefaultEjectionFailures, addr(0))
			if got := c.picks(100)[addr(1)]; got != 100 {
				t.Fatalf("%d of 100 calls go to the other one", got)
			}
			loses(c, s)
			made, err := pick(t.Context(), c.picker())
			if err != nil || made.addr != addr(0) {
				t.Errorf("%s: a call goes to %q, %v, want %s", name, made.addr, err, addr(0))
			}
		})
	}
}

func TestAnotherIncarnationIsNotEjectedForWhatItsPredecessorDid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 3)...)
		failAt(c, rollcall.DefaultEjectionFailures, addr(0))
		s.change(addr(0), restarted)
		c.show(s.next())
		c.quiet()
		if n := c.picks(300)[addr(0)]; n != 100 {
			t.Errorf("it is called %d times of 300, want 100", n)
		}
	})
}

// A stream that the server resets has whatever code gRPC makes of the reset.
func TestStreamsThatAreResetCountAsFailuresAndWhatTheCallerCausesDoesNot(t *testing.T) {
	t.Parallel()
	const reset = "stream terminated by RST_STREAM with error code: "
	for name, row := range map[string]struct {
		err  error
		left int
	}{
		"an internal error":                  {status.Error(codes.Internal, reset+"INTERNAL_ERROR"), 3},
		"a reset without a reason":           {status.Error(codes.Canceled, reset+"CANCEL"), 3},
		"a deadline that the server knew":    {status.Error(codes.DeadlineExceeded, reset+"CANCEL"), 4},
		"a call that its caller gave up":     {status.Error(codes.Canceled, "context canceled"), 4},
		"a message that cannot be encoded":   {status.Error(codes.Internal, "grpc: error while marshaling"), 4},
		"a message too large for the caller": {status.Error(codes.ResourceExhausted, "trying to send message larger than max"), 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := connected(t, "", Config{}, instances(0, 4)...)
			for range 50 {
				c.pick(t.Context()).end(lb.DoneInfo{Err: row.err, BytesSent: true})
			}
			if got := len(c.picks(400)); got != row.left {
				t.Errorf("after %s %d are called, want %d", name, got, row.left)
			}
		})
	}
}
