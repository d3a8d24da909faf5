package simulation

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Instances that registered after the backup lie under leases that are in it, because their processes had registered
// something else before. That such a lease lives says nothing of a key that the restore took away.
func TestARestoreBlanksNoServiceWhoseLeasesAreInTheBackup(t *testing.T) {
	t.Parallel()
	const n = 6
	scene(t, family{}, func(w *world) {
		near := func(cfg *clientv3.Config) { cfg.Endpoints = cfg.Endpoints[:1] }
		far := func(cfg *clientv3.Config) { cfg.Endpoints = cfg.Endpoints[1:] }
		for range n {
			r := w.join(near)
			r.provide("before", r.name)
		}
		snapshot := w.cluster.Snapshot()
		for _, r := range w.registrars {
			r.provide("after", r.name)
		}
		watcher := w.join(far).follow("after")
		w.pass(time.Minute)
		w.cluster.Member(0).Slow(200 * time.Millisecond) // the watcher knows first
		w.replace(func() { w.cluster.Restore(snapshot, 0) }, snapshot.Revision(), nil, nil)
		ctx, cancel := within(30 * time.Second)
		defer cancel()
		reset := false
		for v, err := range watcher.Views(ctx) {
			if err != nil {
				break
			}
			reset = reset || v.Reset
			if len(v.Instances) != n {
				t.Errorf("a view of revision %d has %d of %d instances that all live", v.Revision, len(v.Instances), n)
			}
		}
		if !reset {
			t.Error("no view says that history broke")
		}
		w.cluster.Member(0).Heal()
	})
}
