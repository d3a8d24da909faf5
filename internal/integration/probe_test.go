package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

func TestAWipedStoreIsNoticedAndEverythingRegisteredAgain(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	for range 50 { // so that the new store is at a lower revision for a while, as a wiped one is
		put(t, client, "elsewhere", "x")
	}
	put(t, client, "rollcall/services/svc/stranger", bare)
	forgotten := watch(t, open(t, etcd.Endpoint(), rollcall.WithSuspicion(0)), "svc")
	next(t, forgotten)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
	w := watch(t, open(t, etcd.Endpoint()), "svc")
	before := next(t, w)

	etcd.Wipe()
	reset := until(t, w, 15*time.Second, "a view of the new history", func(v *rollcall.View) bool {
		mustEqual(t, "the registration stays in the view", slices.Contains(ids(v), "10.0.0.1:1"), true)
		return v.Reset
	})
	if reset.Revision >= before.Revision {
		t.Fatalf("revision %d after %d: the store was not wiped", reset.Revision, before.Revision)
	}
	trusted := func(v *rollcall.View) bool {
		i, ok := v.Get("10.0.0.1:1")
		return ok && !i.Suspect
	}
	if !trusted(reset) {
		until(t, w, 15*time.Second, "the registration, beyond suspicion", trusted)
	}
	put(t, client, "rollcall/services/svc/late", bare)
	until(t, w, 5*time.Second, "news of the new store", hasIDs("10.0.0.1:1", "late"))
	until(t, forgotten, 15*time.Second, "the same, with everything believed", hasIDs("10.0.0.1:1", "late"))
	if r.Err() != nil {
		t.Errorf("the registration ended: %v", r.Err())
	}
}

func TestAWatcherThatIsCutOffInSilenceSaysSoAndCatchesUp(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	put(t, direct, "rollcall/services/svc/a", bare)
	w := watch(t, reg, "svc")
	next(t, w)
	proxy.BlackHole()
	put(t, direct, "rollcall/services/svc/b", bare)
	stale := until(t, w, 10*time.Second+5*time.Second, "staleness", func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
	mustEqual(t, "what is known", ids(stale), []string{"a"})
	proxy.Heal()
	v := until(t, w, 8*time.Second+5*time.Second, "what happened meanwhile", hasIDs("a", "b"))
	if !v.StaleSince.IsZero() {
		t.Errorf("stale since %v after it healed", v.StaleSince)
	}
}

func TestAnIdleStoreIsNotReadAgain(t *testing.T) {
	t.Parallel()
	var log recorder
	reg, etcd := start(t, rollcall.WithLogger(log.verbose()))
	w := watch(t, reg, "svc")
	next(t, w)
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	next(t, w)
	// Writes that do not concern the service: the probe sees a revision that the watch never delivers.
	client := etcd.Client(t)
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		put(t, client, "elsewhere", "x")
	}
	for _, text := range []string{"next member", "watch ended", "reading everything again", "cannot follow"} {
		mustEqual(t, text, log.count(text), 0)
	}
}
