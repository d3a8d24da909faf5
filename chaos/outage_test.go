package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// All members are gone for far longer than a lease lives, and come back with their data: every lease has its full time
// again, and whoever comes back to renew it in that time has lost nothing.
func outages() []scenario {
	outage := func(lasts, ttl time.Duration, quick bool) scenario {
		return scenario{
			name: fmt.Sprintf("outage-%.0fs", lasts.Seconds()), ttl: ttl, quick: quick, without: "backoff",
			fault: fmt.Sprintf("all members are killed and started again after %v", lasts),
			expect: journal.Expect{
				Visible: 12 * time.Second, Back: 2 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second,
			},
			play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
				w.Instances(19)
				w.Register("updating", "-updates", "700ms")
				watchers := w.Watchers(2, 20)
				lasting(w, "outage", world.Etcd, lasts, w.Cluster.KillAll, w.Cluster.StartAll)
				w.Register("after")
				w.Last(ttl + 3*time.Second) // whoever comes back too late has lost its lease by then
				return watchers, 21
			},
		}
	}
	return []scenario{
		outage(25*time.Second, 5*time.Second, true),
		outage(60*time.Second, 15*time.Second, false),
		outage(120*time.Second, 15*time.Second, false),
	}
}
