package balancer

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
)

// Calls are made and end, some badly, while instances come and go and connections are lost: of those that were gone when a call began
// none gets it.
func TestCallsAndChangesDoNotMindOneAnother(t *testing.T) {
	t.Parallel()
	for _, how := range []Pick{WeightedRoundRobin, LeastRequest} {
		synctest.Test(t, func(t *testing.T) {
			const size = 20
			cfg := Config{Pick: how, Split: map[string]float64{"v2": 20}, SplitHeader: "x-user"}
			c, s := connected(t, "", cfg, versions(map[string]int{"v1": size / 2, "v2": size / 2})...)
			var gone [size]atomic.Bool // for good as far as the policy was told
			numbers := make(map[string]int)
			for n := range size {
				numbers[addr(n)] = n
			}
			var done atomic.Bool
			var wg sync.WaitGroup
			for caller := range 4 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(caller), 0))
					for !done.Load() {
						ctx := t.Context()
						if r.IntN(2) == 0 {
							ctx = metadata.AppendToOutgoingContext(ctx, "x-user", addr(r.IntN(100)))
						}
						picker := c.picker()
						before := make([]bool, size)
						for n := range before {
							before[n] = gone[n].Load()
						}
						made, err := pick(ctx, picker)
						if err != nil && err != lb.ErrNoSubConnAvailable {
							t.Errorf("a call gets %v", err)
							return
						} else if err != nil {
							continue
						}
						if before[numbers[made.addr]] {
							t.Errorf("a call goes to %s, which was gone when it began", made.addr)
							return
						}
						if r.IntN(10) == 0 {
							made.end(lb.DoneInfo{Err: unavailable})
						} else {
							made.succeed()
						}
					}
				})
			}
			r := rand.New(rand.NewPCG(9, 9))
			for range 400 {
				n := r.IntN(size - 1) // the last one stays
				switch r.IntN(3) {
				case 0:
					gone[n].Store(false)
					s.put(instance(n, weighing(1+r.IntN(300)), ofVersion([]string{"v1", "v2"}[n%2])))
					c.show(s.next())
				case 1:
					s.remove(addr(n))
					c.show(s.next())
					gone[n].Store(true)
				case 2:
					c.become(addr(n), connectivity.Idle)
				}
				c.connect(addr(n))
			}
			done.Store(true)
			wg.Wait()
			c.quiet()
			c.recount()
		})
	}
}
