package chaos

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/failpoints"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// A member is well, to all appearances, and slow or dead at one place in its code: in an etcd with failpoints.
func frailties() []scenario {
	const ttl = 5 * time.Second
	bounds := journal.Expect{
		Visible: 12 * time.Second, Back: 2 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second,
	}
	return []scenario{{
		name: "stuck-renewals", ttl: ttl, without: "watchdog", failpoints: true, expect: bounds,
		fault: "the leader takes 6 s to answer renewals that followers pass on to it, for 20 s",
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(15)
			watchers := w.Watchers(1, 15)
			ail(w, "beforeServeHTTPLeaseRenew", "sleep(6000)", 20*time.Second, w.Cluster.Leader())
			return watchers, 16
		},
	}, {
		name: "slow-watches", ttl: ttl, without: "probe", failpoints: true, expect: bounds,
		fault: "two members take 3 s for each message of a watch, for 30 s, while instances come and go",
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(5)
			watchers := w.Watchers(4, 5)
			churn := w.Register("churn", "-id", "c", "-count", "5", "-churn", "2")
			ail(w, "beforeSendWatchResponse", "sleep(3000)", 30*time.Second, w.Cluster.Followers()...)
			churn.Terminate()
			churn.Wait(20 * time.Second)
			return watchers, 6
		},
	}, {
		name: "crash-in-compaction", ttl: ttl, without: "reopen", failpoints: true, expect: bounds,
		fault: "every member dies in the middle of a compaction, one after another, and is started again",
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(10)
			watchers := w.Watchers(2, 10)
			for _, m := range w.Cluster.Members() {
				age(w)
				w.Fault("crash", m.Name)
				w.Fail(m, "compactBeforeSetFinishedCompact", "panic")
				w.TryCompact()
				w.Await(m.Name+" has died", 20*time.Second, m.Died)
				w.Last(2 * time.Second)
				m.Start()
				w.Healed("crash", m.Name)
				w.Last(2 * time.Second)
			}
			w.Register("after")
			return watchers, 11
		},
	}}
}

// ail has members come to a failpoint for a while, in which an instance joins.
func ail(w *world.World, point, term string, d time.Duration, members ...*cluster.Member) {
	for _, m := range members {
		w.Fault(point, m.Name)
		w.Fail(m, point, term)
	}
	w.Last(d / 3)
	w.Register("during")
	w.Last(d - d/3)
	for _, m := range members {
		w.Relieve(m, point)
		w.Healed(point, m.Name)
	}
}

// frail has each member of a cluster run an etcd with failpoints, and returns where each listens for what is to fail.
func frail(t *testing.T, o cluster.Options) (cluster.Options, []string) {
	t.Helper()
	etcd, err := failpoints.Etcd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for range 3 {
		addr, err := cluster.FreePort("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	o.Etcd = etcd
	o.Env = func(i int) []string { return []string{failpoints.EnvHTTP + "=" + addrs[i]} }
	return o, addrs
}
