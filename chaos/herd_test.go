package chaos

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

const (
	untilBack      = "seconds until the view has everybody, nobody in doubt"
	heartbeatPeak  = "heartbeats in the busiest second, as a multiple of the mean"
	mostUndoubted  = "instances that died together and that the view had dropped within a TTL and ten seconds"
	crowd, perHome = 10_000, 100
)

// Ten thousand at once.
func herds() []scenario {
	return []scenario{{
		name: "herd", ttl: 15 * time.Second, alone: true, without: "spread",
		fault: "all members are killed and started again after 20 s, under 10,000 registrations of 100 processes",
		expect: journal.Expect{
			Visible: 20 * time.Second, Back: 5 * time.Second, Converge: 20 * time.Second, Close: 30 * time.Second,
			Most: map[string]float64{heartbeatPeak: 2.5},
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			gather(w)
			watchers := w.Watchers(1, crowd)
			lasting(w, "outage", world.Etcd, 20*time.Second, w.Cluster.KillAll, w.Cluster.StartAll)
			w.Last(5 * time.Second) // the first heartbeat after it is due at once
			w.Measured(heartbeatPeak, busiest(w, 20*time.Second))
			return watchers, crowd
		},
	}, {
		name: "herd-wipe", ttl: 15 * time.Second, alone: true, without: "regrant",
		fault: "all members lose their data, under 10,000 registrations of 100 processes",
		expect: journal.Expect{
			Visible: 30 * time.Second, Back: 25 * time.Second, Converge: 45 * time.Second, Close: 30 * time.Second, Doubts: true,
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			gather(w)
			watchers := w.Watchers(1, crowd)
			w.Fault("wipe", world.Etcd)
			w.Cluster.Wipe()
			w.Judge.Rewritten("wipe")
			w.Healed("wipe", world.Etcd)
			began := time.Now()
			w.AttendShown(watchers, crowd, 40*time.Second)
			w.Measured(untilBack, time.Since(began).Seconds())
			return watchers, crowd
		},
	}, {
		name: "mass-death", ttl: 10 * time.Second, alone: true, without: "guard",
		fault: "98 of 100 processes are killed at once, and 9,800 of 10,000 instances die",
		expect: journal.Expect{
			Visible: 20 * time.Second, Gone: 40 * time.Second, Converge: 45 * time.Second, Close: 30 * time.Second, Doubts: true,
			Most: map[string]float64{mostUndoubted: 0},
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			homes := gather(w)
			watchers := w.Watchers(1, crowd, "-suspicion", "30s")
			kill(homes[2:])
			w.Last(w.Expect.TTL + 10*time.Second)
			w.Measured(mostUndoubted, float64(crowd-watchers[0].Last(journal.Viewed).Size))
			w.Last(30 * time.Second)
			return watchers, 2 * perHome
		},
	}}
}

// gather starts the processes of a crowd and waits until all of it is registered.
func gather(w *world.World) []*world.Process {
	w.T.Helper()
	var homes []*world.Process
	for i := range crowd / perHome {
		homes = append(homes, w.Register(fmt.Sprintf("home%d", i), "-id", fmt.Sprintf("%d-", i), "-count", fmt.Sprint(perHome)))
	}
	w.Await("the crowd is registered", 2*time.Minute, func() bool {
		return !slices.ContainsFunc(homes, func(p *world.Process) bool { return p.Seen(journal.Registered) < perHome })
	})
	return homes
}

// kill kills processes side by side.
func kill(all []*world.Process) {
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(p.Kill)
	}
	wg.Wait()
}

// busiest counts heartbeats at etcd for a while, and returns how much more the busiest second had than the mean one.
func busiest(w *world.World, d time.Duration) float64 {
	var most, sum float64
	last := w.Requests("LeaseKeepAlive")
	seconds := int(d / time.Second)
	for range seconds {
		w.Last(time.Second)
		now := w.Requests("LeaseKeepAlive")
		most, sum = max(most, now-last), sum+now-last
		last = now
	}
	return most / (sum / float64(seconds))
}
