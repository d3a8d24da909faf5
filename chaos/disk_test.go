package chaos

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/slowdisk"
	"github.com/rollcall-io/rollcall/chaos/world"
)

const untilRegistered = "seconds until a newcomer was registered"

// Disks take a second to sync: everything that etcd writes waits for them, and heartbeats must not.
func disks() []scenario {
	disk := func(name, fault string, members func(*world.World) []*cluster.Member) scenario {
		return scenario{
			name: name, ttl: 5 * time.Second, without: "patience",
			fault: fault,
			expect: journal.Expect{
				Visible: 20 * time.Second, Back: 10 * time.Second, Converge: 15 * time.Second, Close: 20 * time.Second,
				Most: map[string]float64{untilRegistered: 12},
			},
			needs:   slowdisk.Available,
			cluster: cluster.Options{Fsync: true},
			play: func(t testing.TB, w *world.World) ([]*world.Process, int) {
				w.Instances(12)
				watchers := w.Watchers(2, 12)
				w.Fault(name, "disks")
				var stops []func()
				for _, m := range members(w) {
					stops = append(stops, slowdisk.Slow(t, m.Pid(), time.Second))
				}
				w.Last(10 * time.Second)
				began := time.Now()
				p := w.Register("during")
				w.Attend(15*time.Second, func() bool { return p.Seen(journal.Registered) > 0 })
				w.Measured(untilRegistered, time.Since(began).Seconds())
				w.Last(time.Until(began.Add(15 * time.Second)))
				for _, stop := range stops {
					stop()
				}
				w.Healed(name, "disks")
				w.Register("after")
				return watchers, 14
			},
		}
	}
	return []scenario{
		disk("slow-disk-leader", "every sync of the leader's disk takes a second longer, for 25 s", func(w *world.World) []*cluster.Member {
			return []*cluster.Member{w.Cluster.Leader()}
		}),
		disk("slow-disks", "every sync of every disk takes a second longer, for 25 s", func(w *world.World) []*cluster.Member {
			return w.Cluster.Members()
		}),
	}
}
