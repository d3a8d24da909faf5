package simulation

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

const (
	fleet    = 300             // registries; so many that chance alone stays far below the bar
	fleetTTL = 5 * time.Second // the least, for many heartbeats in a bin
	bin      = 250 * time.Millisecond
	watched  = 20 * time.Second // a dozen heartbeats of each
)

// A fleet that was started together, or that lost etcd together, must not come to etcd together. The moment in which etcd
// is back is not counted: everybody has been waiting for it, and comes once.
func TestSimulatedHeartbeatsOfAFleetAreSpread(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("a fleet takes long")
	}
	synctest.Test(t, func(t *testing.T) {
		sim := simetcd.New(simetcd.Options{Members: []string{"m1", "m2", "m3"}})
		defer sim.Stop()
		var wg sync.WaitGroup
		registries := make([]*rollcall.Registry, fleet)
		for n := range registries {
			cfg := rollcall.ClientConfig(sim.Endpoints()...)
			cfg.DialOptions = append(cfg.DialOptions, sim.DialOption())
			reg, err := rollcall.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			registries[n] = reg
			wg.Go(func() {
				ctx, cancel := within(patience)
				defer cancel()
				if _, err := reg.Register(ctx, service, rollcall.Instance{ID: fmt.Sprint(n), Addr: "10.0.0.1:1"}, rollcall.WithTTL(fleetTTL)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		spread(t, sim, "after a start together")
		for _, m := range sim.Members() {
			m.Kill()
		}
		time.Sleep(2 * fleetTTL)
		for _, m := range sim.Members() {
			m.Start()
		}
		for sim.Leader() == nil {
			time.Sleep(bin)
		}
		back(t, sim)
		spread(t, sim, "after an outage together")
		for _, r := range sim.History() {
			if r.Cause == "expiry" {
				t.Errorf("a lease ran out, revision %d", r.Revision)
			}
		}
		for _, reg := range registries {
			wg.Go(func() { _ = reg.Close(context.Background()) })
		}
		wg.Wait()
	})
}

// back counts the heartbeats of the second in which etcd is back.
func back(t *testing.T, sim *simetcd.Cluster) {
	t.Helper()
	before := sim.Count("LeaseKeepAlive")
	time.Sleep(time.Second)
	n := sim.Count("LeaseKeepAlive") - before
	t.Logf("in the first second after the outage: %d heartbeats of %d registries", n, fleet)
	if n > 2*fleet {
		t.Errorf("in the first second after the outage %d registries sent %d heartbeats", fleet, n)
	}
}

// spread counts the heartbeats that reach etcd in the time that follows.
func spread(t *testing.T, sim *simetcd.Cluster, when string) {
	t.Helper()
	began, seen := time.Now(), len(sim.Requests())
	time.Sleep(watched)
	bins := make([]int, watched/bin)
	total, peak, at := 0, 0, 0
	for _, r := range sim.Requests()[seen:] {
		n := int(r.At.Sub(began) / bin)
		if r.Kind != "LeaseKeepAlive" || n >= len(bins) {
			continue
		}
		total++
		bins[n]++
		if bins[n] > peak {
			peak, at = bins[n], n
		}
	}
	mean := float64(total) / float64(len(bins))
	t.Logf("%s: %d heartbeats, mean %.1f in %v, peak %d after %v: %.2f × mean", when, total, mean, bin, peak, time.Duration(at)*bin, float64(peak)/mean)
	if float64(peak) > 2*mean {
		t.Errorf("%s: %s: peak %d, mean %.1f; bins %v", when, invariants["heartbeats are spread"], peak, mean, bins)
	}
}
