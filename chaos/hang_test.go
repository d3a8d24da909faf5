package chaos

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// A member that hangs keeps its connections and says nothing: the fault by which etcd's own KeepAlive loses live instances.
func hangs() []scenario {
	hang := func(name string, ttl time.Duration, quick bool, whom string) scenario {
		return scenario{
			name: name, ttl: ttl, quick: quick, without: "watchdog",
			fault: "the " + whom + " is stopped (SIGSTOP) for three TTLs, then goes on",
			expect: journal.Expect{
				Visible: 12 * time.Second, Back: 2 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second,
			},
			play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
				w.Instances(30)
				watchers := w.Watchers(2, 30)
				w.Register("updating", "-updates", "700ms")
				member := w.Cluster.Leader()
				if whom == "follower" {
					member = w.Cluster.Followers()[w.Rand.IntN(2)]
				}
				w.Last(w.Between(0, 2*time.Second))
				hangFor(w, member, 3*ttl)
				// A leader that goes on may revoke what has run out in its own books.
				w.Last(2 * time.Second)
				w.Register("after")
				return watchers, 33
			},
		}
	}
	return []scenario{
		hang("hung-leader-ttl5", 5*time.Second, true, "leader"),
		hang("hung-leader-ttl10", 10*time.Second, false, "leader"),
		hang("hung-leader-ttl15", 15*time.Second, false, "leader"),
		hang("hung-follower", 5*time.Second, true, "follower"),
	}
}

// hangFor stops a member for a while. An instance that comes in the middle must be seen all the same.
func hangFor(w *world.World, m *cluster.Member, d time.Duration) {
	w.Fault("hung", m.Name)
	m.Hang()
	w.Last(d / 3)
	w.Register("during")
	w.Last(d - d/3)
	m.Continue()
	w.Healed("hung", m.Name)
	w.Cluster.Await()
}
