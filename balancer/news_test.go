package balancer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/rollcall-io/rollcall"
)

// The picker that was published before wakes the calls that wait for another: to publish it again costs nothing.
func TestALostConnectionIsPublishedAtOnceAndForNothing(t *testing.T) {
	t.Parallel()
	for _, size := range []int{2, 1000} {
		synctest.Test(t, func(t *testing.T) {
			c, s := connected(t, "", Config{Subset: Subset{Disabled: true}}, instances(0, size)...)
			s.put(instance(size))
			c.show(s.next())
			c.become(addr(size), connectivity.Ready) // good news has just been published
			published, picker, began := len(c.published()), c.picker(), time.Now()

			c.become(addr(0), connectivity.Idle)
			if got := len(c.published()); got != published+1 {
				t.Fatalf("%d pickers are published for a lost connection, want one", got-published)
			}
			if c.picker() != picker {
				t.Error("a table is made for a lost connection")
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("it takes %v", took)
			}
			for range 3 * size {
				if made := c.pick(t.Context()); made.addr == addr(0) {
					t.Fatal("a call goes to the lost connection")
				}
			}
			if !c.conn(addr(0)).wants {
				t.Error("the connection is not made again")
			}
			c.quiet()
			if got := len(mustTable(c.picker()).entries); got != size {
				t.Errorf("in the end %d are in the table, want %d", got, size)
			}
		})
	}
}

// Both of two, one right after the other, while there is no time to make another table.
func TestWhenTheLastOfATableIsLostAnotherIsMadeAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 2)...)
		s.put(instance(2))
		c.show(s.next())
		s.put(instance(3), instance(4))
		c.show(s.next())
		c.become(addr(2), connectivity.Ready)
		c.become(addr(3), connectivity.Ready) // gathered, no table has it yet
		for n := range 3 {
			c.become(addr(n), connectivity.Idle)
		}
		for range 10 {
			if made := c.pick(t.Context()); made.addr != addr(3) {
				t.Fatalf("a call goes to %s", made.addr)
			}
		}
		c.become(addr(3), connectivity.Idle)
		if _, err := pick(t.Context(), c.picker()); err != lb.ErrNoSubConnAvailable {
			t.Errorf("while all connect again a call gets %v, want to wait", err)
		}
		c.become(addr(4), connectivity.Ready)
		c.pick(t.Context())
	})
}

// The same, with instances in reach that get no calls because the caller's own zone has all: what is lost of them counts for nothing.
func TestWhatGetsNoCallsDoesNotMakeTablesWhenItIsLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		zones := map[string]int{"a": 5, "b": 5, "c": 5, "d": 5, "e": 5}
		c, s := connected(t, "a", Config{}, zoned(zones)...)
		s.change(addr(0), weighing(101))
		c.show(s.next())
		before := tables(c)
		for n := 5; n < 25; n++ {
			c.become(addr(n), connectivity.Idle)
		}
		if n := tables(c) - before; n > 0 {
			t.Errorf("%d tables were made at once", n)
		}
		c.become(addr(20), connectivity.Ready)
		for n := range 5 {
			c.become(addr(n), connectivity.Idle)
		}
		if made := c.pick(t.Context()); made.addr != addr(20) {
			t.Errorf("a call goes to %s", made.addr)
		}
	})
}

func TestGoodNewsIsGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 1000
		c, s := newChannel(t, "", Config{Subset: Subset{Disabled: true}}), newService(instances(0, size)...)
		c.show(s.next())
		for n := range size {
			c.become(addr(n), connectivity.Ready)
			if n == 0 && c.pick(t.Context()).addr != addr(0) {
				t.Fatal("the first connection is not called at once")
			}
			time.Sleep(time.Microsecond)
		}
		synctest.Wait()
		if n := tables(c); n > 5 {
			t.Errorf("%d tables were made for 1000 connections that were made within 1 ms", n)
		}
		c.quiet()
		if n := tables(c); n < 2 || n > 6 {
			t.Errorf("%d tables were made for 1000 connections that were made within 1 ms", n)
		}
		if got := len(c.picks(size)); got != size {
			t.Errorf("%d of %d are called", got, size)
		}

		before := tables(c)
		s.change(addr(3), weighing(300))
		c.show(s.next())
		if tables(c) != before+1 {
			t.Error("the first change after a quiet time is not published at once")
		}
		for n := range 100 {
			s.change(addr(3), weighing(300+n))
			c.show(s.next())
		}
		if tables(c) != before+1 {
			t.Error("changes of weight are not gathered")
		}
		c.quiet()
		if tables(c) != before+2 {
			t.Errorf("100 changes of weight made %d tables, want one", tables(c)-before-1)
		}
		time.Sleep(time.Hour)
		if tables(c) != before+2 {
			t.Error("tables are made though nothing changes")
		}
	})
}

// Not from the moment on that the policy knows, by pickers of before that calls may be about to use either.
func TestWhoDrainsOrIsGoneIsNotCalledFromThatMomentOn(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*service){
		"drains":  func(s *service) { s.change(addr(1), draining) },
		"is gone": func(s *service) { s.remove(addr(1)) },
	} {
		for _, how := range []Pick{WeightedRoundRobin, LeastRequest} {
			t.Run(name+", "+string(how), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c, s := connected(t, "", Config{Pick: how}, instance(0, weighing(1)), instance(1, weighing(1000)), instance(2))
					old := c.picker()
					change(s)
					c.show(s.next())
					for range 2 {
						for _, picker := range []lb.Picker{old, c.picker()} {
							for range 1000 {
								made, err := pick(t.Context(), picker)
								if err != nil || made.addr == addr(1) {
									t.Fatalf("a call goes to %s, %v", made.addr, err)
								}
								made.succeed()
							}
						}
						c.quiet()
					}
				})
			})
		}
	}
}

func TestWhoDrainsKeepsItsConnectionAndTakesItUpAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 3)...)
		under := c.pick(t.Context())
		s.change(under.addr, draining)
		c.show(s.next())
		c.quiet()
		if under.conn.state != connectivity.Ready {
			t.Fatalf("the connection of one that drains is %v", under.conn.state)
		}
		under.succeed()
		s.change(under.addr, serving)
		c.show(s.next())
		c.quiet()
		if n := c.picks(300)[under.addr]; n != 100 {
			t.Errorf("it is called %d times of 300 when it serves again, want 100", n)
		}
		if c.made[under.addr] != 1 {
			t.Errorf("%d connections were made to it, want 1", c.made[under.addr])
		}

		s.change(under.addr, draining)
		c.show(s.next())
		c.become(under.addr, connectivity.Idle)
		if under.conn.wants {
			t.Error("the connection of one that drains is made again")
		}
		s.change(under.addr, serving)
		c.show(s.next())
		if !under.conn.wants {
			t.Error("the connection of one that serves again is not made again")
		}
		if c.made[under.addr] != 1 {
			t.Errorf("%d connections were made to it, want 1", c.made[under.addr])
		}
	})
}

func TestThoseThatDrainAreCalledWhenNobodyServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 3)...)
		drain := func(ns ...int) {
			for _, n := range ns {
				s.change(addr(n), draining)
			}
			c.show(s.next())
		}
		called := func(want ...string) {
			t.Helper()
			for range 2 { // at once, and in the end
				for addr := range c.picks(300) {
					if !slices.Contains(want, addr) {
						t.Errorf("%s is called, want %v", addr, want)
					}
				}
				c.quiet()
			}
			if got := len(c.picks(300)); got != len(want) {
				t.Errorf("%d are called, want %v", got, want)
			}
		}
		drain(0, 1)
		called(addr(2))
		drain(2)
		called(addr(0), addr(1), addr(2))
		s.put(instance(3))
		c.show(s.next())
		c.connect()
		called(addr(3))
		s.remove(addr(3))
		c.show(s.next())
		called(addr(0), addr(1), addr(2))
		s.change(addr(1), serving)
		c.show(s.next())
		called(addr(1))
		for n := range 3 {
			if c.made[addr(n)] != 1 {
				t.Errorf("%d connections were made to %s, want 1", c.made[addr(n)], addr(n))
			}
		}
	})
}

// A service may be found while all of it drains. Nobody has a connection yet then.
func TestThoseThatDrainFromTheStartAreConnectedToWhenNobodyServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instance(0, draining), instance(1))
		if c.made[addr(0)] != 0 {
			t.Error("one that drains is connected to though another serves")
		}
		s.change(addr(1), draining)
		c.show(s.next())
		c.connect()
		c.quiet()
		if got := len(c.picks(10)); got != 2 {
			t.Errorf("%d are called, want 2", got)
		}
	})
}

func TestSuspectsAreCalledWhileTheirConnectionStands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		suspect := func(i *rollcall.Instance) { i.Suspect = true }
		c, s := connected(t, "", Config{}, instances(0, 4)...)
		s.change(addr(0), suspect)
		s.change(addr(1), suspect)
		c.show(s.next())
		c.quiet()
		for addr, n := range c.picks(400) {
			if n != 100 {
				t.Errorf("%s is called %d times of 400, want 100", addr, n)
			}
		}
		c.become(addr(1), connectivity.Idle)
		c.become(addr(1), connectivity.Connecting)
		c.become(addr(1), connectivity.TransientFailure)
		if n := c.picks(400)[addr(1)]; n > 0 {
			t.Errorf("a suspect out of reach is called %d times", n)
		}
		if c.made[addr(0)] != 1 {
			t.Errorf("%d connections were made to a suspect, want 1", c.made[addr(0)])
		}
	})
}

func TestAnotherIncarnationIsConnectedToAtOnceThoughItsPredecessorWasOutOfReach(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		states []connectivity.State
		change func(*rollcall.Instance)
		made   int
	}{
		"out of reach":            {[]connectivity.State{connectivity.Idle, connectivity.Connecting, connectivity.TransientFailure}, restarted, 2},
		"tried again":             {[]connectivity.State{connectivity.Idle, connectivity.Connecting, connectivity.TransientFailure, connectivity.Idle, connectivity.Connecting}, restarted, 2},
		"just lost":               {[]connectivity.State{connectivity.Idle, connectivity.Connecting}, restarted, 1},
		"in reach":                {nil, restarted, 1},
		"the same one":            {[]connectivity.State{connectivity.Idle, connectivity.Connecting, connectivity.TransientFailure}, weighing(3), 1},
		"of another id, no reach": {[]connectivity.State{connectivity.Idle, connectivity.Connecting, connectivity.TransientFailure}, func(i *rollcall.Instance) { i.ID = "another" }, 2},
		"of another id":           {nil, func(i *rollcall.Instance) { i.ID = "another" }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, s := connected(t, "", Config{}, instances(0, 2)...)
				for _, state := range row.states {
					c.become(addr(0), state)
				}
				s.change(addr(0), row.change)
				c.show(s.next())
				if c.made[addr(0)] != row.made {
					t.Errorf("%d connections have been made, want %d", c.made[addr(0)], row.made)
				}
				if got := len(c.addresses()); got != 2 {
					t.Errorf("there are %d connections, want 2", got)
				}
				c.connect()
				c.quiet()
				if n := c.picks(1030)[addr(0)]; n == 0 {
					t.Error("it is not called")
				}
			})
		})
	}
}

func TestWhatAnInstanceSaysOfItselfDoesNotTouchItsConnection(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{}, {Split: map[string]float64{"v2": 30}, SplitHeader: "x"}, {Subset: Subset{Size: 2}}} {
		synctest.Test(t, func(t *testing.T) {
			c, s := connected(t, "a", cfg, instances(0, 5, inZone("a"), ofVersion("v1"))...)
			made := len(c.made)
			for _, change := range []func(*rollcall.Instance){
				weighing(7), ofVersion("v2"), func(i *rollcall.Instance) { i.Metadata = map[string]string{"k": "v"} }, weighing(0),
				func(i *rollcall.Instance) { i.Addrs = map[string]string{"http": "h:1"} }, func(i *rollcall.Instance) { i.TTL = time.Hour },
				restarted, ofVersion(""),
			} {
				s.change(c.addresses()[0], change)
				c.show(s.next())
				c.connect()
				c.quiet()
			}
			if cfg.Subset.Size == 0 {
				s.change(addr(0), inZone("b"))
				c.show(s.next())
			}
			for addr, n := range c.made {
				if n != 1 {
					t.Errorf("%d connections were made to %s, want 1", n, addr)
				}
			}
			if cfg.Subset.Size == 0 && len(c.made) != made {
				t.Errorf("%d connections were made, want %d", len(c.made), made)
			}
			c.quiet()
			c.picks(100)
		})
	}
}
