package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

// The network between a process and etcd fails while another way is open: nobody may be lost. When none is open, views
// stand still and say so.
func cuts() []scenario {
	const ttl = 5 * time.Second
	bounds := journal.Expect{
		Visible: 12 * time.Second, Back: 2 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second,
	}
	lame := func(name, fault, without string, quick bool, do func(*faultproxy.Proxy)) scenario {
		return scenario{
			name: name, ttl: ttl, quick: quick, without: without, expect: bounds,
			fault: fault + ", on the way to two of three members, two others every ten seconds",
			play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
				proxies := w.Proxied()
				w.Instances(12)
				watchers := w.Watchers(2, 12)
				for round := range 3 {
					open := w.Rand.IntN(len(proxies))
					for i, p := range proxies {
						if i != open {
							do(p)
						}
					}
					w.Fault(name, fmt.Sprintf("all but m%d", open))
					w.Last(2 * time.Second)
					w.Register(fmt.Sprintf("during%d", round))
					w.Last(8 * time.Second)
					for _, p := range proxies {
						p.Heal()
					}
					w.Healed(name, fmt.Sprintf("all but m%d", open))
				}
				return watchers, 15
			},
		}
	}
	return []scenario{
		lame("black-hole", "everything is swallowed, both ways", "watchdog,probe,relist", true, (*faultproxy.Proxy).BlackHole),
		lame("requests-lost", "what clients say is swallowed", "watchdog,probe,relist", false, (*faultproxy.Proxy).DropRequests),
		lame("replies-lost", "what members say is swallowed", "watchdog,probe,relist", true, (*faultproxy.Proxy).DropReplies),
		lame("half-open", "connections that are open swallow everything, new ones work", "watchdog,probe,relist", false, (*faultproxy.Proxy).HalfOpen),
		lame("resets", "all connections are reset", "reopen", false, (*faultproxy.Proxy).Reset),
		slowNetwork(ttl, bounds),
		compactWhileCut(ttl, bounds),
	}
}

// slowNetwork delays everything, on all ways.
func slowNetwork(ttl time.Duration, bounds journal.Expect) scenario {
	return scenario{
		name: "slow-network", ttl: ttl, without: "patience", expect: bounds,
		fault: "every byte takes 300 ms longer, each way, for 20 s",
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			proxies := w.Proxied()
			w.Instances(12)
			watchers := w.Watchers(2, 12)
			w.Fault("delay", "the network")
			for _, p := range proxies {
				p.Delay(300 * time.Millisecond)
			}
			w.Last(10 * time.Second)
			w.Register("during")
			w.Last(10 * time.Second)
			for _, p := range proxies {
				p.Heal()
			}
			w.Healed("delay", "the network")
			return watchers, 13
		},
	}
}

// compactWhileCut has a watcher miss changes that etcd forgets before it is back.
func compactWhileCut(ttl time.Duration, bounds journal.Expect) scenario {
	return scenario{
		name: "compact-while-cut", ttl: ttl, quick: true, without: "relist", expect: bounds,
		fault: "two watchers are cut off for eight seconds; meanwhile three instances leave, three join, and etcd compacts",
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			all := w.Instances(10)
			proxies := w.Proxied()
			watchers := w.Watchers(2, 10)
			for _, p := range proxies {
				p.Cut()
			}
			for _, p := range watchers {
				w.Lost(p)
			}
			for i := range 3 {
				all[i].Terminate()
				all[i].Wait(10 * time.Second)
			}
			w.Endpoints = w.Cluster.Endpoints()
			for i := range 3 {
				w.Register(fmt.Sprintf("during%d", i))
			}
			w.Last(8 * time.Second)
			w.Fault("compact", world.Etcd)
			w.Compact()
			w.Healed("compact", world.Etcd)
			for _, p := range proxies {
				p.Heal()
			}
			for _, p := range watchers {
				w.Found(p)
			}
			return watchers, 10
		},
	}
}
