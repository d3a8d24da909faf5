package chaos

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

const (
	contestedWrites = "writes of a contested key within 15 s"
	unawareHolders  = "holders that do not know that they were replaced"
)

// Two processes are given one id by mistake: the newer one has it, the older one is told, and neither fights.
func rivalries() []scenario {
	return []scenario{{
		name: "two-on-one-id", ttl: 5 * time.Second, quick: true, without: "ownership",
		fault: "a second process registers the id of one that lives, and is killed later",
		expect: journal.Expect{
			Visible: 5 * time.Second, Gone: 7 * time.Second, Converge: 12 * time.Second, Close: 15 * time.Second,
			Most: map[string]float64{contestedWrites: 1, unawareHolders: 0},
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(5)
			older := w.Register("older", "-id", "rival")
			watchers := w.Watchers(2, 6)
			before := version(w, "rival")
			newer := w.Register("newer", "-id", "rival")
			w.Attend(10*time.Second, func() bool { return newer.Seen(journal.Registered) > 0 })
			w.Last(15 * time.Second)
			w.Measured(contestedWrites, float64(version(w, "rival")-before))
			unaware := 1.0
			if older.Last(journal.Ended).Err != "" {
				unaware = 0
			}
			w.Measured(unawareHolders, unaware)
			newer.Kill()
			return watchers, 5
		},
	}}
}

// version counts the writes of an instance's key.
func version(w *world.World, id string) int64 {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 10*time.Second)
	defer cancel()
	got, err := w.Cluster.Client().Get(ctx, key(id), clientv3.WithSerializable())
	if err != nil {
		w.T.Fatal(err)
	}
	if len(got.Kvs) == 0 {
		return 0
	}
	return got.Kvs[0].Version
}

// key is where an instance of the service lies in etcd.
func key(id string) string { return "rollcall/services/" + world.Service + "/" + id }
