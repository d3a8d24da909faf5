package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// An operator does his work while everybody is on line.
func operations() []scenario {
	return []scenario{{
		name: "upgrade", ttl: 5 * time.Second, quick: true, without: "reopen",
		fault: "etcd is upgraded from 3.6 to 3.7, member by member",
		expect: journal.Expect{
			Visible: 12 * time.Second, Back: 2 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second,
		},
		older: true,
		play: func(t testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(15)
			watchers := w.Watchers(2, 15)
			newer, err := programs.Current()
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range w.Cluster.Members() {
				w.Fault("upgrade", m.Name)
				m.Stop()
				m.Use(newer.Etcd)
				w.Last(time.Second)
				w.Register(fmt.Sprintf("during%d", i))
				m.Start()
				w.Healed("upgrade", m.Name)
				w.Last(4 * time.Second)
			}
			w.Last(w.Expect.TTL)
			return watchers, 18
		},
	}}
}
