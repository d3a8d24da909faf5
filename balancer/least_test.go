package balancer

import (
	"cmp"
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	lb "google.golang.org/grpc/balancer"
)

func TestLeastRequestSharesByWeightWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := instances(0, 3, weighing(100))
		all = append(all, instances(3, 6, weighing(200))...)
		all = append(all, instances(6, 9, weighing(600))...)
		c, s := connected(t, "", Config{Pick: LeastRequest}, all...)
		const calls = 27_000
		open := map[string]int{}
		var made []call
		for range calls {
			made = append(made, c.pick(t.Context()))
			open[made[len(made)-1].addr]++
		}
		for addr, n := range open {
			want := float64(calls*s.all[addr].Weight) / 2700
			if math.Abs(float64(n)-want) > max(0.02*want, 5) {
				t.Errorf("the one of weight %d has %d calls under way, want %.0f", s.all[addr].Weight, n, want)
			}
		}
		for _, m := range made {
			m.succeed()
		}
		for _, m := range c.members {
			if n := m.conn.calls.Load(); n != 0 {
				t.Errorf("%s has %d calls under way after all have ended", m.key, n)
			}
		}
	})
}

func TestLeastRequestSharesByWeightWhenNothingIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{Pick: LeastRequest}, instance(0, weighing(100)), instance(1, weighing(200)), instance(2, weighing(700)),
			instance(3, weighing(700)), instance(4, weighing(300)))
		counts := c.picks(50_000)
		for addr, n := range counts { // drawn: give or take what chance does
			want := float64(50_000*s.all[addr].Weight) / 2000
			if math.Abs(float64(n)-want) > 0.08*want {
				t.Errorf("the one of weight %d is called %d times, %.0f would be its share", s.all[addr].Weight, n, want)
			}
		}
	})
}

func TestLeastRequestAvoidsWhoIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, "", Config{Pick: LeastRequest}, instances(0, 10)...)
		var busy, others []call // one answers nothing
		for len(busy) < 20 {
			if made := c.pick(t.Context()); made.addr == addr(0) {
				busy = append(busy, made)
			} else {
				others = append(others, made)
			}
		}
		for _, made := range others {
			made.succeed()
		}
		for addr, n := range c.picks(10_000) {
			want := 10_000 / 9
			if math.Abs(float64(n-want)) > 200 {
				t.Errorf("%s is called %d times, want about %d", addr, n, want)
			}
		}
		if n := c.picks(10_000)[addr(0)]; n > 0 {
			t.Errorf("the one with 20 calls under way is called %d times more", n)
		}
	})
}

func TestWithOneSlowServerLeastRequestHasTheBetterTail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		robin := latencies(t, WeightedRoundRobin)
		least := latencies(t, LeastRequest)
		t.Logf("10 servers of 10 ms a call, one of them of 19 ms, 500 calls/s: round robin %+v, least request %+v", robin, least)
		if least.P99 > robin.P99/2 {
			t.Errorf("the 99th percentile is %v with least request, %v with round robin", least.P99, robin.P99)
		}
	})
}

type percentiles struct{ P50, P99 time.Duration }

// latencies simulates servers that work on one call at a time, in the order that they come, one server slower than the
// others, and clients that call at random times. The clock is the simulation's own.
func latencies(t *testing.T, how Pick) percentiles {
	c, _ := connected(t, "", Config{Pick: how}, instances(0, 10)...)
	r := rand.New(rand.NewPCG(1, 1))
	var clock time.Duration
	var ends endings
	free := map[string]time.Duration{} // when each server has done what it has to do
	var took []time.Duration
	for range 50_000 {
		clock += time.Duration(r.ExpFloat64() * float64(2*time.Millisecond))
		for len(ends) > 0 && ends[0].at <= clock {
			heap.Pop(&ends).(ending).succeed()
		}
		made := c.pick(t.Context())
		work := 10 * time.Millisecond
		if made.addr == addr(0) {
			work = 19 * time.Millisecond
		}
		free[made.addr] = max(free[made.addr], clock) + time.Duration((0.5+r.Float64())*float64(work))
		heap.Push(&ends, ending{made, free[made.addr]})
		took = append(took, free[made.addr]-clock)
	}
	slices.SortFunc(took, cmp.Compare)
	return percentiles{took[len(took)/2], took[len(took)*99/100]}
}

// endings are the calls under way, the first to end first.
type endings []ending

type ending struct {
	call
	at time.Duration
}

func (e endings) Len() int           { return len(e) }
func (e endings) Less(a, b int) bool { return e[a].at < e[b].at }
func (e endings) Swap(a, b int)      { e[a], e[b] = e[b], e[a] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// A call that ends badly has ended all the same.
func TestLeastRequestForgetsCallsThatFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, "", Config{Pick: LeastRequest, Ejection: Ejection{Disabled: true}}, instances(0, 2)...)
		for range 100 {
			c.pick(t.Context()).end(lb.DoneInfo{Err: unavailable})
		}
		s.remove(addr(1))
		c.show(s.next())
		c.quiet()
		for _, m := range c.members {
			if n := m.conn.calls.Load(); n != 0 {
				t.Errorf("%s has %d calls under way after all have failed", m.key, n)
			}
		}
	})
}
