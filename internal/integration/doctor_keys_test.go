package integration

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/doctor"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

func TestADoctorFindsWhatLiesInEtcdAndShouldNot(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	ctx := within(t, 30*time.Second)
	const dir = "rollcall/services/"
	reg := open(t, s.Endpoint(), rollcall.WithFollowAll())

	// Where everybody else is: under another prefix.
	elsewhere := open(t, s.Endpoint(), rollcall.WithPrefix("rollcal"))
	register(t, elsewhere, "web", rollcall.Instance{Addr: "10.0.0.1:80"})
	put(t, client, "alone", "of somebody else")
	put(t, client, "another/key", "of somebody else")
	r := diagnose(t, doctor.Input{Client: client, Registry: reg})
	wantFindings(t, r, []string{"warning prefix-empty"}, "certificates", "expiries")

	register(t, reg, "web", rollcall.Instance{Addr: "10.0.0.1:80"})
	register(t, reg, "web", rollcall.Instance{ID: "b", Addr: "10.0.0.1:80"})
	idle := register(t, reg, "idle", rollcall.Instance{Addr: "10.0.0.3:80"}, rollcall.WithTTL(time.Hour))
	if err := idle.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, watch(t, reg, "idle"), 10*time.Second, "a view that drains", func(v *rollcall.View) bool { return len(v.Instances) == 1 && !v.Instances[0].Serving() })
	put(t, client, dir+"left/a", `{"Addr":"10.0.0.4:80","TTL":2}`)
	put(t, client, dir+"web/c", `not JSON`)
	put(t, client, dir+"a/b/c", `{}`)
	put(t, client, "rollcall/control/gone/policy", `{"Since":"2026-01-01T00:00:00Z"}`)
	put(t, client, "rollcall/control/web/override/nobody", `{"Drain":true,"Since":"2026-01-01T00:00:00Z"}`)
	register(t, reg, "path", rollcall.Instance{ID: "b/c", Addr: "10.0.0.5:80"})
	put(t, client, "rollcall/control/path/override/b%2Fc", `{"Weight":1,"Since":"2026-01-01T00:00:00Z"}`)
	put(t, client, "rollcall/control/web/override/b", `{"Weight":1,"Since":"2026-01-01T00:00:00Z"}`)
	r = diagnose(t, doctor.Input{
		Client: client, Registry: reg, Expiries: doctor.Expiries{Count: 100, Within: time.Hour},
		Now: func() time.Time { return time.Now().Add(60 * 24 * time.Hour) }, Thresholds: doctor.Thresholds{ClockSkew: 365 * 24 * time.Hour},
	})
	wantFindings(t, r, []string{
		"notice address-shared", "notice control-orphan", "notice key-foreign", "notice ttl-long", "warning key-without-lease", "warning many-expiries",
		"warning service-nobody-ready", "warning ttl-short", "warning value-unreadable",
	}, "certificates")
	mustEqual(t, "services about which something was decided", subjects(r, "control-orphan"), []string{"gone", "web"})
	mustEqual(t, "services that nobody serves", subjects(r, "service-nobody-ready"), []string{"idle"})
	mustEqual(t, "services that nobody holds", subjects(r, "key-without-lease"), []string{"left"})

	// The clock here is two months ahead.
	r = diagnose(t, doctor.Input{Client: client, Registry: reg, Now: func() time.Time { return time.Now().Add(60 * 24 * time.Hour) }})
	mustEqual(t, "clocks that differ", len(subjects(r, "clock-skew")), 1)
}

func TestADoctorReadsEveryKeyHoweverManyThereAre(t *testing.T) {
	t.Parallel()
	client := etcdtest.Start(t).Client(t)
	for from := range 51 {
		var puts []clientv3.Op
		for n := range 100 {
			id := fmt.Sprintf("10.0.%d.%d:80", from, n)
			puts = append(puts, clientv3.OpPut("rollcall/services/web/"+id, `{"Addr":"`+id+`"}`))
		}
		if _, err := client.Txn(within(t, 10*time.Second)).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	r := diagnose(t, doctor.Input{Client: client})
	wantFindings(t, r, []string{"warning key-without-lease"}, "certificates", "expiries", "services", "watch")
	evidence := r.Findings[0].Evidence
	mustEqual(t, "the last line", evidence[len(evidence)-1], "and 5095 more")
}

func TestADoctorFindsLeasesThatNobodyRenewsAndLeasesForNothing(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	ctx := within(t, 30*time.Second)
	lease, err := client.Grant(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(ctx, "rollcall/services/web/a", `{"Addr":"10.0.0.1:80","TTL":5}`, clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if _, err := client.Grant(ctx, 600); err != nil {
			t.Fatal(err)
		}
	}
	in := doctor.Input{Client: client, Thresholds: doctor.Thresholds{Leases: 100}}
	wantFindings(t, diagnose(t, in), []string{"warning leases-without-keys"}, "certificates", "expiries", "services", "watch")
	in.Thresholds.Leases = 13
	eventuallyEvery(t, 250*time.Millisecond, 10*time.Second, "a lease that is not renewed is seen before it ends", func() bool {
		return len(subjects(diagnose(t, in), "lease-not-renewed")) == 1
	})
	mustEqual(t, "etcds with many leases", len(subjects(diagnose(t, in), "many-leases")), 1)
}

func TestADoctorFindsARegistryThatLostItsEtcd(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	reg := open(t, s.Endpoint(), rollcall.WithFollowAll())
	r := register(t, reg, "web", rollcall.Instance{Addr: "10.0.0.1:80"}, rollcall.WithTTL(5*time.Second))
	w := watch(t, reg, "web")
	until(t, w, 10*time.Second, "the instance", hasIDs(r.Instance().ID))
	s.Stop()
	until(t, w, 20*time.Second, "a stale view", func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
	report := diagnose(t, doctor.Input{Client: client, Registry: reg, Thresholds: doctor.Thresholds{MemberTimeout: 300 * time.Millisecond, CheckTimeout: 2 * time.Second}})
	mustEqual(t, "etcds that do not answer", len(subjects(report, "no-member-answers")), 1)
	mustEqual(t, "stale registries", len(subjects(report, "view-stale")), 1)
	mustEqual(t, "worst", report.Worst(), doctor.Critical)
	s.Restart()
}

func TestADoctorFindsAViewThatHasNotWhatEtcdHas(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	link := faultproxy.Start(t, s.Endpoint())
	reg := open(t, link.Addr(), rollcall.WithFollowAll())
	w := watch(t, reg, "web")
	until(t, w, 10*time.Second, "a current view", func(v *rollcall.View) bool { return v.StaleSince.IsZero() })
	in := doctor.Input{Client: client, Registry: reg, Thresholds: doctor.Thresholds{WatchGrace: 200 * time.Millisecond}}
	lease, err := client.Grant(within(t, 5*time.Second), 600)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		id := fmt.Sprintf("10.0.0.%d:80", round)
		link.BlackHole()
		if _, err := client.Put(within(t, 5*time.Second), "rollcall/services/web/"+id, `{"Addr":"`+id+`"}`, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
		late := diagnose(t, in)
		link.Heal()
		until(t, w, 30*time.Second, "a view that has it", func(v *rollcall.View) bool { _, ok := v.Get(id); return ok && v.StaleSince.IsZero() })
		if got := subjects(late, "view-behind"); len(got) == 0 && len(subjects(late, "view-stale")) > 0 {
			continue // on a busy machine the registry may have found out by itself first
		}
		mustEqual(t, "services whose views are behind", subjects(late, "view-behind"), []string{"web"})
		mustEqual(t, "services whose views are behind when it has healed", len(subjects(diagnose(t, in), "view-behind")), 0)
		return
	}
	t.Error("the registry always found out by itself that it is stale, within a fifth of a second")
}
