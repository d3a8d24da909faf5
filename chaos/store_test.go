package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// The store is not what it was: nothing tells a watch of it, and the cluster's id is the same.
func stores() []scenario {
	expect := journal.Expect{
		Visible: 12 * time.Second, Back: 6 * time.Second, Converge: 15 * time.Second, Close: 15 * time.Second, Doubts: true,
	}
	return []scenario{{
		name: "wipe", ttl: 5 * time.Second, quick: true, without: "probe,relist,ownkeys", expect: expect,
		fault: "all members lose their data and start again with the same configuration, at revision 1",
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(19)
			w.Register("updating", "-updates", "700ms")
			watchers := w.Watchers(2, 20)
			age(w)
			w.Fault("wipe", world.Etcd)
			w.Cluster.Wipe()
			w.Judge.Rewritten("wipe")
			w.Healed("wipe", world.Etcd)
			w.Last(3 * time.Second)
			w.Register("after")
			return watchers, 21
		},
	}, {
		name: "restore", ttl: 5 * time.Second, quick: true, without: "probe,relist,ownkeys", expect: expect,
		fault: "a snapshot is restored from before five instances left and five joined, at its own revisions",
		play:  func(_ testing.TB, w *world.World) ([]*world.Process, int) { return restore(w, false) },
	}, {
		name: "restore-bumped", ttl: 5 * time.Second, quick: true, without: "relist", expect: expect,
		fault: "the same, with revisions bumped and marked compacted, as etcd's manual wants it",
		play:  func(_ testing.TB, w *world.World) ([]*world.Process, int) { return restore(w, true) },
	}}
}

// age makes the store's revision grow by instances that come and go, so that one that begins anew is behind for long.
func age(w *world.World) {
	w.T.Helper()
	p := w.Register("aging", "-id", "aging", "-count", "20", "-churn", "100")
	w.Last(4 * time.Second)
	p.Terminate()
	p.Wait(20 * time.Second)
}

func restore(w *world.World, bumped bool) ([]*world.Process, int) {
	if w.Cluster.Programs().Etcdutl == "" {
		w.T.Skip("no etcdutl was named beside the etcd to test on: -etcdutl")
	}
	all := w.Instances(15)
	watchers := w.Watchers(2, 15)
	snapshot := w.Cluster.Snapshot()
	for _, p := range all[:5] {
		p.Terminate()
	}
	for i := range 5 {
		w.Register(fmt.Sprintf("late%d", i))
	}
	w.AwaitShown(watchers, 15)
	age(w)
	w.Fault("restore", world.Etcd)
	w.Cluster.Restore(snapshot, bumped)
	w.Judge.Rewritten("restore")
	w.Healed("restore", world.Etcd)
	w.Last(3 * time.Second)
	w.Register("after")
	return watchers, 16
}
