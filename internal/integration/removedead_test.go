package integration

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// A live registration would put its key back: whoever wants it out of service is told what to do instead.
func TestALiveInstanceIsNotRemoved(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	operator := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	_, err := operator.RemoveDead(within(t, steerPatience), "shop", "10.0.0.1:80", rollcall.By{Author: "op"})
	if !errors.Is(err, rollcall.ErrAlive) {
		t.Fatalf("the error is %v, want ErrAlive", err)
	}
	mustEqual(t, "instances", ids(lookUp(t, operator, "shop")), []string{"10.0.0.1:80"})
	_, err = operator.RemoveDead(within(t, steerPatience), "shop", "10.0.0.2:80", rollcall.By{})
	if !errors.Is(err, rollcall.ErrNotFound) {
		t.Fatalf("the error for one that is not there is %v, want ErrNotFound", err)
	}
}

// What nobody holds is removed, with a goodbye: watchers take it for one, and the history knows who it was.
func TestWhatNobodyHoldsIsRemovedInAnOperatorsName(t *testing.T) {
	t.Parallel()
	_, etcd := start(t)
	operator := open(t, etcd.Endpoint(), rollcall.WithFollowAll())
	client := etcd.Client(t)
	dying, err := client.Grant(within(t, steerPatience), 3600)
	if err != nil {
		t.Fatal(err)
	}
	for id, opts := range map[string][]clientv3.OpOption{"none:1": nil, "dead:1": {clientv3.WithLease(dying.ID)}} {
		if _, err := client.Put(within(t, steerPatience), "rollcall/services/shop/"+id, `{"Addr":"`+id+`","Incarnation":"I"}`, opts...); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, operator, "shop")
	until(t, w, steerPatience, "both", hasIDs("dead:1", "none:1"))

	if _, err := operator.RemoveDead(within(t, steerPatience), "shop", "dead:1", rollcall.By{}); !errors.Is(err, rollcall.ErrAlive) {
		t.Fatalf("one whose lease has most of its time: %v, want ErrAlive", err)
	}
	last, err := operator.RemoveDead(within(t, steerPatience), "shop", "none:1", rollcall.By{Author: "op@host", Reason: "left behind"})
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "incarnation", last.Incarnation, "I")
	v := until(t, w, steerPatience, "one gone", hasIDs("dead:1"))
	mustEqual(t, "updates", describe(v.Updates), []string{"delete none:1"})

	var told []rollcall.JournalEntry
	_ = operator.Journal(within(t, steerPatience), 1000, func(e rollcall.JournalEntry) bool {
		if e.ID == "none:1" {
			told = append(told, e)
		}
		return e.Kind != rollcall.JournalCaughtUp
	})
	if n := len(told); n != 3 || !told[1].After.Leaving || told[2].After.Known() {
		t.Fatalf("the journal tells %+v, want a write, a goodbye and a delete", told)
	}
	mustEqual(t, "who it was", told[2].Before.By, rollcall.By{Author: "op@host", Reason: "left behind"})
}

// An instance whose lease nobody renews any more is dead before it expires.
func TestAnInstanceWhoseHeartbeatsHaveStoppedIsRemoved(t *testing.T) {
	t.Parallel()
	_, etcd := start(t)
	operator := open(t, etcd.Endpoint())
	client := etcd.Client(t)
	granted, err := client.Grant(within(t, steerPatience), 6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(within(t, steerPatience), "rollcall/services/shop/dead:1", `{"Addr":"dead:1"}`, clientv3.WithLease(granted.ID)); err != nil {
		t.Fatal(err)
	}
	eventually(t, steerPatience, "removed", func() bool {
		_, err := operator.RemoveDead(within(t, steerPatience), "shop", "dead:1", rollcall.By{})
		if err != nil && !errors.Is(err, rollcall.ErrAlive) {
			t.Fatalf("neither alive nor removed: %v", err)
		}
		return err == nil
	})
}

// Who takes a decision back is written over it first; a decision of another revision stays.
func TestWhoTakesADecisionBackIsKnownAfterwards(t *testing.T) {
	t.Parallel()
	_, etcd := start(t)
	reg := open(t, etcd.Endpoint(), rollcall.WithFollowAll())
	o := override(t, reg, "shop", "a:1", rollcall.Override{Drain: true, Reason: "r", Author: "one"})
	p, err := reg.SetPolicy(within(t, steerPatience), "shop", rollcall.Policy{Timeout: time.Second, Author: "one"})
	if err != nil {
		t.Fatal(err)
	}
	two := rollcall.By{Author: "two", Reason: "done"}
	if err := reg.DeleteOverride(within(t, steerPatience), "shop", "a:1", o.Revision-1, two); !errors.Is(err, rollcall.ErrConflict) {
		t.Fatalf("with another revision: %v, want ErrConflict", err)
	}
	if err := reg.DeleteOverride(within(t, steerPatience), "shop", "a:1", o.Revision, two); err != nil {
		t.Fatal(err)
	}
	if err := reg.DeletePolicy(within(t, steerPatience), "shop", p.Revision, two); err != nil {
		t.Fatal(err)
	}
	if err := reg.DeletePolicy(within(t, steerPatience), "shop", rollcall.AnyRevision, two); err != nil {
		t.Fatalf("one that is gone already: %v", err)
	}
	mustEqual(t, "keys left", keys(t, etcd.Client(t), "rollcall/control/shop/"), map[string]string{})
	var by []rollcall.By
	_ = reg.Journal(within(t, steerPatience), 1000, func(e rollcall.JournalEntry) bool {
		if e.Kind == rollcall.JournalChange && !e.After.Known() {
			by = append(by, e.Before.By)
		}
		return e.Kind != rollcall.JournalCaughtUp
	})
	mustEqual(t, "who took them back", by, []rollcall.By{two, two})
}

// A service is shown as it was, with what operators had decided then.
func TestTheRegistryIsShownAsItWas(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	r := register(t, reg, "shop", rollcall.Instance{Addr: "a:1", Weight: 10})
	before := r.Revision()
	o := override(t, reg, "shop", "a:1", rollcall.Override{Weight: 30, Reason: "r", Author: "op", Until: time.Now().Add(time.Hour)})
	if err := r.Deregister(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}
	other := register(t, reg, "shop", rollcall.Instance{Addr: "b:1"})
	for _, c := range []struct {
		revision int64
		at       time.Time
		want     []string
		weight   int
	}{
		{before, time.Time{}, []string{"a:1"}, 10},
		{o.Revision, time.Time{}, []string{"a:1"}, 30},
		{o.Revision, time.Now().Add(2 * time.Hour), []string{"a:1"}, 10},
		{other.Revision(), time.Time{}, []string{"b:1"}, rollcall.DefaultWeight},
	} {
		v, err := reg.LookupAt(within(t, steerPatience), "shop", c.revision, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ids(v), c.want) || v.Instances[0].EffectiveWeight() != c.weight {
			t.Errorf("at revision %d: %v of weight %d, want %v of %d", c.revision, ids(v), v.Instances[0].EffectiveWeight(), c.want, c.weight)
		}
	}
	all, err := reg.OverviewAt(within(t, steerPatience), before, time.Time{})
	if err != nil || len(all) != 1 || all[0].Service != "shop" {
		t.Fatalf("all services then: %v, %v", all, err)
	}
	if _, err := reg.LookupAt(within(t, steerPatience), "shop", other.Revision()+1000, time.Time{}); !errors.Is(err, rollcall.ErrRevision) {
		t.Errorf("a revision that has not come: %v, want ErrRevision", err)
	}
	if _, err := etcd.Client(t).Compact(within(t, steerPatience), o.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := reg.LookupAt(within(t, steerPatience), "shop", before, time.Time{}); !errors.Is(err, rollcall.ErrRevision) {
		t.Errorf("a revision that was compacted away: %v, want ErrRevision", err)
	}
}

// Health is no part of what an instance writes of itself, and a check is.
func TestACheckLiesInTheValueAndHealthBesideIt(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	check := &rollcall.Check{Type: rollcall.CheckHTTP, Addr: "http", Path: "/healthz", Interval: 5 * time.Second, Timeout: 1500 * time.Millisecond, Fall: 2}
	r := register(t, reg, "shop", rollcall.Instance{Addr: "a:1", Addrs: map[string]string{"http": "a:2"}, Check: check})
	w := watch(t, reg, "shop")
	mustEqual(t, "check", next(t, w).Instances[0].Check, check)

	other := open(t, etcd.Endpoint())
	health := &rollcall.Health{Failing: true, Since: time.Now().UTC().Truncate(time.Second), Detail: "timeout", Checker: "s1"}
	incarnation := r.Instance().Incarnation
	if err := other.ReportHealth(within(t, steerPatience), "shop", "a:1", incarnation, health); err != nil {
		t.Fatal(err)
	}
	v := until(t, w, steerPatience, "unhealthy", func(v *rollcall.View) bool { return !v.Instances[0].Healthy() })
	health.Revision = v.Instances[0].Health.Revision
	mustEqual(t, "health", v.Instances[0].Health, health)
	if v.Instances[0].Serving() {
		t.Error("an unhealthy instance is to be called")
	}
	if err := r.Update(within(t, steerPatience), func(i *rollcall.Instance) { i.Weight = 7 }); err != nil {
		t.Fatal(err)
	}
	until(t, w, steerPatience, "still unhealthy", func(v *rollcall.View) bool { return v.Instances[0].Weight == 7 && !v.Instances[0].Healthy() })
	var value map[string]json.RawMessage
	if err := json.Unmarshal([]byte(keys(t, etcd.Client(t), "rollcall/services/")["rollcall/services/shop/a:1"]), &value); err != nil || value["Health"] != nil {
		t.Errorf("the instance's own value has health, or none at all: %v", value)
	}
	if err := other.ReportHealth(within(t, steerPatience), "shop", "a:1", incarnation, nil); err != nil {
		t.Fatal(err)
	}
	until(t, w, steerPatience, "well again", func(v *rollcall.View) bool { return v.Instances[0].Healthy() })
	mustEqual(t, "reports left", keys(t, etcd.Client(t), "rollcall/control/"), map[string]string{})
}
