package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// The process itself stops, as on a machine that is paused: below the TTL nobody notices, above it the process is back as
// soon as it runs again.
func pauses() []scenario {
	const ttl = 5 * time.Second
	return []scenario{{
		name: "paused-instance", ttl: ttl, quick: true, without: "regrant",
		fault: "three instances are stopped (SIGSTOP) for 0.5, 1.5 and 3 TTLs",
		expect: journal.Expect{
			Visible: 5 * time.Second, Back: 5 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second,
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(10)
			watchers := w.Watchers(1, 10)
			var paused []*world.Process
			for i := range 3 {
				paused = append(paused, w.Register(fmt.Sprintf("paused%d", i)))
			}
			w.AwaitShown(watchers, 13)
			began := time.Now()
			for _, p := range paused {
				p.Stop()
			}
			for i, after := range []time.Duration{ttl / 2, ttl * 3 / 2, ttl * 3} {
				w.Last(time.Until(began.Add(after)))
				paused[i].Continue()
			}
			w.Last(5 * time.Second)
			return watchers, 13
		},
	}, {
		name: "killed-instance", ttl: ttl, quick: true, without: "lease,ownkeys",
		fault: "three of ten instances are killed (SIGKILL), three told to end",
		expect: journal.Expect{
			Visible: 5 * time.Second, Gone: ttl + 2*time.Second, Converge: ttl + 8*time.Second, Close: 15 * time.Second,
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			all := w.Instances(10)
			watchers := w.Watchers(2, 10)
			w.Last(w.Between(0, ttl/3))
			for i := range 3 {
				all[i].Kill()
				all[3+i].Terminate()
			}
			w.Last(ttl)
			return watchers, 4
		},
	}}
}
