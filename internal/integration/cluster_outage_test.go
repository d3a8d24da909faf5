package integration

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestAnOutageOfTheWholeClusterCostsNoInstanceAndNoView(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster is down for a minute")
	}
	c := etcdtest.StartCluster(t, 3)
	const ttl = 5 * time.Second
	crew := muster(t, c, "svc", ttl)

	struck := time.Now()
	c.KillAll()
	t.Parallel() // only now: the minute passes while other tests run, whenever it is this one's turn
	for _, s := range crew.witnesses {
		took := s.await(t, struck, 20*time.Second, "the view is stale", stale).at.Sub(struck)
		t.Logf("stale %v after the outage began", took)
		if took > 10*time.Second {
			t.Errorf("the view was stale %v after the outage began, want 10 s at most", took)
		}
	}
	lastFor(t, time.Until(struck.Add(time.Minute)))
	c.StartAll(t)
	healed := time.Now()
	for _, s := range crew.witnesses {
		took := s.await(t, healed, 20*time.Second, "the view is fresh", fresh).at.Sub(healed)
		t.Logf("fresh %v after every member answered", took)
		if took > 8*time.Second {
			t.Errorf("the view was fresh %v after the outage, want 8 s at most", took)
		}
	}
	crew.converge(t, c, healed)

	// Leases that nobody renews end now, a TTL and an election after the new leader's first moment.
	lastFor(t, time.Until(healed.Add(ttl+3*time.Second)))
	if gone := deletions(recordFrom(t, c.Client(t), 1).complete(t), "rollcall/"); gone != nil {
		t.Errorf("deleted while their processes lived: %v", gone)
	}
	crew.missesNobody(t, struck)
}

func TestAWipedClusterIsFilledAgainAndNobodyIsMissing(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster is started twice")
	}
	t.Parallel()
	c := etcdtest.StartCluster(t, 3)
	const ttl = rollcall.DefaultTTL
	crew := muster(t, c, "svc", ttl)

	struck := time.Now()
	c.Wipe(t)
	wiped, client := time.Now(), c.Client(t)
	eventually(t, 2*ttl, "everybody is registered again", func() bool {
		return len(keys(t, client, "rollcall/services/svc/")) == len(crew.ids)
	})
	took, bound := time.Since(wiped), ttl*11/30+time.Second
	t.Logf("all back %v after every member of the wiped cluster answered", took)
	if took > bound {
		t.Errorf("all back %v after the wiped cluster answered, want %v at most", took, bound)
	}
	crew.converge(t, c, wiped)
	for _, s := range crew.witnesses {
		s.await(t, struck, 8*time.Second, "a view says that the history broke", func(v *rollcall.View) bool { return v.Reset })
		s.await(t, time.Now(), 8*time.Second, "nobody is suspected", func(v *rollcall.View) bool { return fresh(v) && suspected(v) == 0 })
		if missing, _ := s.lost(struck, crew.ids); missing != nil {
			t.Errorf("missing from views: %v", missing)
		}
	}
}
