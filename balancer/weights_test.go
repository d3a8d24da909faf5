package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/rollcall-io/rollcall"
)

func TestCallsGoToInstancesOfOneWeightStrictlyInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, "", Config{}, instances(0, 7)...)
		var order []string
		for range 700 {
			order = append(order, c.pick(t.Context()).addr)
		}
		for n := 7; n < len(order); n++ {
			if order[n] != order[n-7] || slices.Contains(order[n-6:n], order[n]) {
				t.Fatalf("call %d goes to %s, after %v", n, order[n], order[n-7:n])
			}
		}
	})
}

func TestCallsAreSharedByWeight(t *testing.T) {
	t.Parallel()
	random := func(seed uint64) []int {
		r := rand.New(rand.NewPCG(seed, 0))
		weights := make([]int, 2+r.IntN(60))
		for n := range weights {
			weights[n] = 1 + r.IntN(1000)
		}
		return weights
	}
	for name, weights := range map[string][]int{
		"equal":                 {100, 100, 100, 100, 100, 100, 100},
		"1 to 2 to 5":           {1, 2, 5},
		"two":                   {1, 99},
		"nearly equal":          {99, 100, 101},
		"one of 1000 among 1s":  append(slices.Repeat([]int{1}, 100), 1000),
		"one of 1 among 1000s":  append(slices.Repeat([]int{1000}, 20), 1),
		"powers of two":         {1, 2, 4, 8, 16, 32, 64, 128},
		"golden":                {55, 89, 144, 233},
		"one":                   {3},
		"some without a weight": {0, 0, 100, 300},
		"random":                random(1), "more random": random(2), "yet more random": random(3),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var all []*rollcall.Instance
				total := 0
				for n, weight := range weights {
					all = append(all, instance(n, weighing(weight)))
					if weight == 0 {
						weights[n] = rollcall.DefaultWeight
					}
					total += weights[n]
				}
				c, _ := connected(t, "", Config{Subset: Subset{Disabled: true}}, all...)
				const calls = 100_000
				counts := c.picks(calls)
				for n, weight := range weights {
					want := float64(calls*weight) / float64(total)
					if off := math.Abs(float64(counts[addr(n)]) - want); off > max(0.02*want, 4) {
						t.Errorf("the one of weight %d is called %d times, want %.0f", weight, counts[addr(n)], want)
					}
				}
			})
		})
	}
}

// Of many callers that start together, each with a single call, not all take the same instance.
func TestChannelsDoNotCallInStep(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"", "x-user"} {
		synctest.Test(t, func(t *testing.T) {
			counts := map[string]int{}
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-user", "somebody")
			for range 200 {
				c, _ := connected(t, "", Config{Split: map[string]float64{"v2": 0}, SplitHeader: header}, instances(0, 10)...)
				counts[c.pick(ctx).addr]++
			}
			for addr, n := range counts {
				if n > 60 {
					t.Errorf("with the header %q %d of 200 first calls go to %s", header, n, addr)
				}
			}
		})
	}
}

// However often the picker is another one: whether it is for the weight of another instance, or for one that comes and goes, in each
// of the places that it may have among the others.
func TestSharesHoldWhilePickersChange(t *testing.T) {
	t.Parallel()
	weights := []int{100, 200, 300, 50}
	other := len(weights)
	reweigh := func(s *service, n int) { s.put(instance(other, weighing(1+n*37%500))) }
	comeAndGo := func(s *service, n int) {
		s.remove(addr(other + (n+4)%5))
		s.put(instance(other+n%5, weighing(1+n*37%500)))
	}
	for name, change := range map[string]func(*service, int){"another weighs": reweigh, "others come and go": comeAndGo} {
		for _, every := range []int{3, 21, 100} {
			t.Run(fmt.Sprintf("%s every %d calls", name, every), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var all []*rollcall.Instance
					for n, weight := range weights {
						all = append(all, instance(n, weighing(weight)))
					}
					c, s := connected(t, "", Config{}, all...)
					counts, total := make([]float64, len(weights)), 0.0
					calls := min(100_000, 4000*every)
					for n := range calls {
						if n%every == 0 {
							change(s, n/every)
							c.show(s.next())
							c.connect()
							time.Sleep(2 * time.Millisecond)
						}
						made := c.pick(t.Context())
						if n := slices.Index([]string{addr(0), addr(1), addr(2), addr(3)}, made.addr); n >= 0 {
							counts[n]++
							total++
						}
					}
					if tables := tables(c); tables < calls/every {
						t.Errorf("there were %d pickers for %d changes", tables, calls/every)
					}
					for n, weight := range weights {
						want := total * float64(weight) / 650
						if off := math.Abs(counts[n] - want); off > 0.02*want {
							t.Errorf("the one of weight %d is called %.0f times, want %.0f", weight, counts[n], want)
						}
					}
				})
			})
		}
	}
}

// tables returns how many different tables a channel was given.
func tables(c *channel) int {
	n := 0
	var last *table
	for _, p := range c.published() {
		if t, ok := tableOf(p); ok && t != last {
			n++
			last = t
		}
	}
	return n
}
