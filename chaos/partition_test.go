package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/netns"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// A member is parted from the others and not from its clients: it answers, and knows nothing. Its clients must go to one
// that does.
func partitions() []scenario {
	part := func(name, fault, without string, quick bool, cut func(n *netns.Net, alone, other int)) scenario {
		return scenario{
			name: name, ttl: 5 * time.Second, quick: quick, without: without, needs: netns.Available,
			fault: fault + ", for 20 s, with all clients still able to reach it",
			expect: journal.Expect{
				Visible: 14 * time.Second, Back: 2 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second,
			},
			hosts: true,
			play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
				w.Instances(12)
				watchers := w.Watchers(9, 12) // each picks its first member by chance: some are with the one that is parted
				alone := w.Cluster.Followers()[w.Rand.IntN(2)]
				w.Fault(name, alone.Name)
				for other := range w.Cluster.Members() {
					if m := w.Cluster.Member(other); m != alone {
						cut(w.Net, alone.Index(), other)
					}
				}
				w.Last(3 * time.Second)
				for i := range 3 {
					w.Register(fmt.Sprintf("during%d", i))
				}
				w.Last(17 * time.Second)
				w.Net.Heal()
				w.Healed(name, alone.Name)
				w.Cluster.Await()
				return watchers, 15
			},
		}
	}
	return []scenario{
		part("partition", "a follower is cut off from both others", "watchdog,leader,probe,relist", true, func(n *netns.Net, alone, other int) { n.Cut(alone, other) }),
		part("partition-deaf", "a follower hears nothing from the others", "watchdog,leader,probe,relist", false, func(n *netns.Net, alone, other int) { n.CutOneWay(other, alone) }),
	}
}

// inNet has each member of a cluster run on a host of its own.
func inNet(o cluster.Options, n *netns.Net) cluster.Options {
	o.Host = func(i int) cluster.Host {
		return cluster.Host{IP: n.Host(i).Addr(), Command: n.Host(i).Command}
	}
	return o
}
