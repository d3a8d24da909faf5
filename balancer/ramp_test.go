package balancer

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/connectivity"
)

func TestWhoJoinsStartsSlowly(t *testing.T) {
	t.Parallel()
	for _, how := range []Pick{WeightedRoundRobin, LeastRequest} {
		synctest.Test(t, func(t *testing.T) {
			c, s := connected(t, "", Config{Pick: how, SlowStart: 30 * time.Second}, instances(0, 4)...)
			if n := c.picks(4000)[addr(0)]; math.Abs(float64(n-1000)) > 150 {
				t.Errorf("one that was there first is called %d times of 4000, want 1000", n)
			}
			s.put(instance(4))
			c.show(s.next())
			time.Sleep(time.Minute) // it cannot be called yet
			c.connect()
			c.quiet()
			for _, row := range []struct {
				after time.Duration
				part  float64
			}{{0, 0.1}, {3 * time.Second, 0.1}, {6 * time.Second, 0.2}, {15 * time.Second, 0.5}, {27 * time.Second, 0.9}, {30 * time.Second, 1}, {time.Minute, 1}} {
				time.Sleep(row.after - time.Since(began(c, addr(4))))
				c.quiet()
				got := c.shares()[addr(4)] / c.shares()[addr(0)]
				if math.Abs(got-row.part) > 0.06 {
					t.Errorf("after %v it is called as %.2f of another, want %.2f", row.after, got, row.part)
				}
				if how == WeightedRoundRobin {
					counts := c.picks(10_000)
					if made := float64(counts[addr(4)]) / float64(counts[addr(0)]); math.Abs(made-got) > 0.02 {
						t.Errorf("after %v it was called as %.3f of another, want %.3f", row.after, made, got)
					}
				}
			}
			published := len(c.published())
			time.Sleep(time.Hour)
			if len(c.published()) != published {
				t.Error("pickers are published though everything has been called in full for long")
			}
		})
	}
}

// began is when a member began to be called.
func began(c *channel, addr string) time.Time {
	c.policy.mu.Lock()
	defer c.policy.mu.Unlock()
	return c.members[addr].ramp
}

func TestSlowStartIsForThoseWhoAreNewOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{SlowStart: 30 * time.Second}, instances(0, 4)...)
		full := func(want float64, what string) {
			t.Helper()
			c.connect()
			c.quiet()
			if got := c.shares()[addr(0)] / c.shares()[addr(1)]; math.Abs(got-want) > 0.01 {
				t.Errorf("%s is called as %.2f of another, want %.2f", what, got, want)
			}
		}
		c.become(addr(0), connectivity.Idle)
		full(1, "one whose connection was lost")
		s.change(addr(0), draining)
		c.show(s.next())
		s.change(addr(0), serving)
		c.show(s.next())
		full(1, "one that serves again")
		s.change(addr(0), weighing(200))
		c.show(s.next())
		full(2, "one of another weight")
		s.change(addr(0), restarted)
		c.show(s.next())
		full(0.2, "another incarnation")
		time.Sleep(time.Minute)
		full(2, "another incarnation, by and by,")
		s.remove(addr(0))
		c.show(s.next())
		s.put(instance(0))
		c.show(s.next())
		full(0.1, "one that was gone")
		s.change(addr(0), weighing(500))
		c.show(s.next())
		full(0.5, "one of another weight that has just come")
	})
}

// What has long been called in full is not to start again for a config.
func TestASlowStartThatIsConfiguredLaterIsForThoseWhoComeThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{}, instances(0, 2)...)
		s.put(instance(2))
		c.show(s.next())
		c.connect()
		time.Sleep(time.Hour)
		c.configured(Config{SlowStart: time.Minute})
		c.again()
		c.quiet()
		if got := c.shares()[addr(2)] / c.shares()[addr(0)]; got != 1 {
			t.Errorf("one that came an hour before is called as %.2f of another", got)
		}
		s.put(instance(3))
		c.show(s.next())
		c.connect()
		c.quiet()
		if got := c.shares()[addr(3)] / c.shares()[addr(0)]; math.Abs(got-0.1) > 0.01 {
			t.Errorf("one that comes then is called as %.2f of another, want 0.1", got)
		}
		c.configured(Config{})
		c.again()
		c.quiet()
		if got := c.shares()[addr(3)] / c.shares()[addr(0)]; got != 1 {
			t.Errorf("without a slow start it is called as %.2f of another", got)
		}
	})
}

// All that start slowly are lost: there is nothing to do until one is back.
func TestNoTimeIsSpentOnASlowStartWhileNobodyCanBeCalled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{SlowStart: 30 * time.Second}, instance(0))
		s.put(instance(1))
		c.show(s.next())
		c.connect()
		c.quiet()
		c.become(addr(0), connectivity.Idle)
		c.become(addr(1), connectivity.Idle)
		c.policy.mu.Lock()
		c.built = c.built.Add(-time.Minute) // time passes, of which a timer that is always due would see nothing
		c.policy.mu.Unlock()
		c.timeIsUp()
		if due := c.timerDue; !due.IsZero() && !due.After(time.Now()) {
			t.Errorf("a timer is due since %v", time.Since(due))
		}
	})
}
