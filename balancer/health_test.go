package balancer

import (
	"strings"
	"testing"
	"testing/synctest"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

func TestWhereHealthIsCheckedOnlyTheHealthyAreCalled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newChannel(t, "", Config{}), newService(instances(0, 3)...)
		c.checks = true
		c.show(s.next())
		c.connect()
		c.quiet()
		if _, err := pick(t.Context(), c.picker()); err != lb.ErrNoSubConnAvailable {
			t.Errorf("before the first word of the checks a call gets %v, want to wait", err)
		}
		if c.connectivity() != connectivity.Connecting {
			t.Errorf("before the first word of the checks the channel is %v", c.connectivity())
		}
		c.conn(addr(0)).tell(connectivity.Connecting)
		c.conn(addr(0)).tell(connectivity.Ready)
		c.conn(addr(1)).tell(connectivity.Ready)
		c.conn(addr(2)).tell(connectivity.TransientFailure)
		c.quiet()
		if counts := c.picks(100); counts[addr(0)] != 50 || counts[addr(1)] != 50 {
			t.Errorf("%v are called, want the two healthy ones", counts)
		}

		published := len(c.published())
		c.conn(addr(0)).tell(connectivity.TransientFailure)
		if len(c.published()) != published+1 {
			t.Error("that one is not healthy any more is not published at once")
		}
		if n := c.picks(100)[addr(1)]; n != 100 {
			t.Errorf("the only healthy one gets %d of 100 calls", n)
		}
		if c.conn(addr(0)).state != connectivity.Ready || c.made[addr(0)] != 1 {
			t.Error("the connection to one that is not healthy is given up")
		}
		c.conn(addr(1)).tell(connectivity.TransientFailure)
		_, err := pick(t.Context(), c.picker())
		if err == nil || !strings.Contains(err.Error(), addr(1)+" does not feel well") {
			t.Errorf("when none is healthy a call gets %v, want the reason of the last", err)
		}
		if c.connectivity() != connectivity.TransientFailure {
			t.Errorf("when none is healthy the channel is %v", c.connectivity())
		}
		c.conn(addr(2)).tell(connectivity.Ready)
		if n := c.picks(100)[addr(2)]; n != 100 {
			t.Errorf("the only healthy one gets %d of 100 calls", n)
		}

		c.become(addr(2), connectivity.Idle) // lost, and made again: what was said of it before does not count
		c.become(addr(2), connectivity.Ready)
		if _, err := pick(t.Context(), c.picker()); err == nil {
			t.Error("a new connection is called on the old one's word")
		}
		c.conn(addr(2)).tell(connectivity.Ready)
		c.pick(t.Context())
	})
}

// gRPC's part of the service config is not shown to policies: when theirs comes anew, health checks may have been switched on or off.
func TestHealthIsAskedForAgainWhenTheConfigChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, "", Config{}, instances(0, 2)...)
		for _, sc := range c.conns {
			sc.checked = true
		}
		c.configured(Config{})
		c.again()
		if got := len(c.picks(100)); got != 2 {
			t.Errorf("%d are called before the first word of the checks, want both as before", got)
		}
		c.conn(addr(0)).tell(connectivity.TransientFailure)
		if n := c.picks(100)[addr(1)]; n != 100 {
			t.Errorf("the only healthy one gets %d of 100 calls", n)
		}
		c.conn(addr(0)).tell(connectivity.Ready)
		c.quiet()
		if got := len(c.picks(100)); got != 2 {
			t.Errorf("%d are called when both are healthy", got)
		}
	})
}

// Also those that were not healthy when checks are switched off.
func TestThoseThatAreNotHealthyAreAskedAgainToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := newChannel(t, "", Config{}), newService(instances(0, 2)...)
		c.checks = true
		c.show(s.next())
		c.connect()
		c.conn(addr(0)).tell(connectivity.TransientFailure)
		c.conn(addr(1)).tell(connectivity.Ready)
		c.quiet()
		for _, sc := range c.conns {
			sc.checked = false
		}
		c.configured(Config{})
		c.again()
		c.quiet()
		if got := len(c.picks(100)); got != 2 {
			t.Errorf("%d are called without health checks, want 2", got)
		}
	})
}
