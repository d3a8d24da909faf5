package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

const registrationRate = "registrations per second"

// Leaders die under load, one after another: every write is decided once, and whoever reads sees what was decided.
func churns() []scenario {
	return []scenario{{
		name: "leader-kills", ttl: 5 * time.Second, quick: true, without: "reopen",
		fault: "the leader is killed and started again, ten times, every eight seconds, under 200 registrations per second",
		expect: journal.Expect{
			Visible: 12 * time.Second, Back: 2 * time.Second, Converge: 10 * time.Second, Close: 20 * time.Second, Linearizable: true,
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			const homes, each = 4, 50
			w.Instances(10)
			watchers := w.Watchers(2, 10)
			var all []*world.Process
			for i := range homes {
				all = append(all, w.Register(fmt.Sprintf("churn%d", i), "-id", fmt.Sprintf("c%d-", i), "-count", fmt.Sprint(each), "-churn", "50"))
			}
			began := time.Now()
			for range 10 {
				w.Last(w.Between(4*time.Second, 5*time.Second))
				m := w.Cluster.Leader()
				lasting(w, "killed", m.Name, 3*time.Second, m.Kill, m.Start)
			}
			joined := 0
			for _, p := range all {
				joined += p.Seen(journal.Registered)
			}
			w.Measured(registrationRate, float64(joined)/time.Since(began).Seconds())
			for _, p := range all {
				p.Terminate()
			}
			for _, p := range all {
				p.Wait(20 * time.Second)
			}
			return watchers, 10
		},
	}}
}
