package integration

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// steerPatience ends a test that hangs. What an operator decides is there within milliseconds.
const steerPatience = 20 * time.Second

// override sets an operator's decision for an instance.
func override(t *testing.T, reg *rollcall.Registry, service, id string, o rollcall.Override) rollcall.Override {
	t.Helper()
	o, err := reg.SetOverride(within(t, steerPatience), service, id, o)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func lookUp(t *testing.T, reg *rollcall.Registry, service string) *rollcall.View {
	t.Helper()
	v, err := reg.Lookup(within(t, steerPatience), service)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// get returns an instance of a view that is there.
func get(t *testing.T, v *rollcall.View, id string) *rollcall.Instance {
	t.Helper()
	i, ok := v.Get(id)
	if !ok {
		t.Fatalf("%s is not among %v", id, ids(v))
	}
	return i
}

// effective says that an instance is there and in a state that counts.
func effective(id string, state rollcall.State) func(*rollcall.View) bool {
	return func(v *rollcall.View) bool {
		i, ok := v.Get(id)
		return ok && i.EffectiveState() == state
	}
}

// steeredLayouts are all the ways for things to lie in etcd, and where decisions do.
var steeredLayouts = map[string]struct {
	opt     rollcall.Option
	control string
	service string // the first and the third keep decisions in the same place
}{
	"the default prefix": {rollcall.WithPrefix(rollcall.DefaultPrefix), "rollcall/control/", "svc"},
	"a prefix":           {rollcall.WithPrefix("eu/shop"), "eu/shop/control/", "svc"},
	"no prefix":          {rollcall.WithPrefix(""), "rollcall/control/", "stock"},
	"a directory":        {rollcall.WithDirectory("apps/"), "apps/rollcall/control/", "svc"},
}

func TestAnInstanceThatAnOperatorDrainsIsDrainedInEveryViewAndLivesOn(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	for name, layout := range steeredLayouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const id = "host/1" // is escaped in a key
			svc := layout.service
			server, operator := open(t, etcd.Endpoint(), layout.opt), open(t, etcd.Endpoint(), layout.opt)
			r := register(t, server, svc, rollcall.Instance{ID: id, Addr: "10.0.0.1:1"})
			register(t, server, svc, rollcall.Instance{ID: "other", Addr: "10.0.0.2:1"})
			watchers := []*rollcall.Watcher{watch(t, server, svc), watch(t, operator, svc), watch(t, open(t, etcd.Endpoint(), layout.opt), svc)}
			elsewhere := watch(t, operator, svc+"2")
			next(t, elsewhere)
			var born *rollcall.Instance
			for _, w := range watchers {
				born = get(t, until(t, w, steerPatience, "both", hasIDs(id, "other")), id)
			}

			set := override(t, operator, svc, id, rollcall.Override{Drain: true, Reason: "disk", Author: "ada"})
			if since := time.Since(set.Since); since < -time.Second || since > time.Minute || set.Revision == 0 || set.Reason != "disk" {
				t.Errorf("written as %+v", set)
			}
			if _, there := keys(t, etcd.Client(t), layout.control)[layout.control+svc+"/override/host%2F1"]; !there {
				t.Errorf("in etcd lie %v", keys(t, etcd.Client(t), ""))
			}
			for _, w := range watchers {
				v := until(t, w, steerPatience, "drained", effective(id, rollcall.StateDraining))
				mustDrain(t, v, id, set)
				mustEqual(t, "updates", describe(v.Updates), []string{"modify " + id})
				if i := get(t, v, id); i.Incarnation != born.Incarnation || i.CreateRevision != born.CreateRevision {
					t.Errorf("it did not live on: %+v", i)
				}
			}
			mustDrain(t, lookUp(t, operator, svc), id, set)

			// Neither what it says later nor its restart touches what the operator said.
			update(t, r, func(i *rollcall.Instance) { i.Weight = 7 })
			mustDrain(t, until(t, watchers[1], steerPatience, "its word", func(v *rollcall.View) bool { return get(t, v, id).Weight == 7 }), id, set)
			restarted := register(t, open(t, etcd.Endpoint(), layout.opt), svc, rollcall.Instance{ID: id, Addr: "10.0.0.1:1"})
			mustDrain(t, until(t, watchers[1], steerPatience, "its restart", incarnation(id, restarted)), id, set)
			if err := restarted.Deregister(within(t, steerPatience)); err != nil {
				t.Fatal(err)
			}
			until(t, watchers[1], steerPatience, "gone", hasIDs("other"))
			again := register(t, server, svc, rollcall.Instance{ID: id, Addr: "10.0.0.1:1"})
			mustDrain(t, until(t, watchers[1], steerPatience, "back", incarnation(id, again)), id, set)
			got, err := operator.Override(within(t, steerPatience), svc, id)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "the override", got, set)

			if err := operator.DeleteOverride(within(t, steerPatience), svc, id, set.Revision); err != nil {
				t.Fatal(err)
			}
			for _, w := range watchers {
				v := until(t, w, steerPatience, "serving again", effective(id, rollcall.StateServing))
				if i := get(t, v, id); i.Override != nil {
					t.Errorf("it still has %+v", i.Override)
				}
			}
			if i := get(t, lookUp(t, operator, svc), id); i.Override != nil || !i.Serving() {
				t.Errorf("Lookup: %+v", i)
			}
			if _, err := operator.Override(within(t, steerPatience), svc, id); !errors.Is(err, rollcall.ErrNotFound) {
				t.Errorf("Override of none: %v", err)
			}
			noNews(t, elsewhere)
		})
	}
}

// mustDrain fails the test unless an instance is drained by an operator, and by him only.
func mustDrain(t *testing.T, v *rollcall.View, id string, by rollcall.Override) {
	t.Helper()
	i := get(t, v, id)
	if i.Override == nil {
		t.Fatalf("nobody drains %+v", i)
	}
	mustEqual(t, "override", *i.Override, by)
	mustEqual(t, "own state", i.State, rollcall.StateServing)
	mustEqual(t, "serving", i.Serving(), false)
	for ready := range v.Ready() { // all, when nobody else is
		if ready.ID == id && len(v.Instances) > 1 {
			t.Errorf("%s is ready", id)
		}
	}
}

func incarnation(id string, r *rollcall.Registration) func(*rollcall.View) bool {
	return func(v *rollcall.View) bool {
		i, ok := v.Get(id)
		return ok && i.Incarnation == r.Instance().Incarnation
	}
}

// noNews fails the test if a watcher has a newer view.
func noNews(t *testing.T, w *rollcall.Watcher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if v, err := w.Next(ctx); err == nil {
		t.Errorf("a view of nothing new: %v, policy %+v", describe(v.Updates), v.Policy)
	}
}

func TestAnOverrideEndsByItselfWithoutAnybodyWriting(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	watchers := []*rollcall.Watcher{watch(t, reg, "svc"), watch(t, open(t, etcd.Endpoint()), "svc")}
	until2 := time.Now().Add(2 * time.Second)
	override(t, reg, "svc", "a", rollcall.Override{Drain: true, Until: until2})
	for _, w := range watchers {
		until(t, w, steerPatience, "drained", effective("a", rollcall.StateDraining))
	}
	const key = "rollcall/control/svc/override/a"
	written := revisionOf(t, client, key)
	for _, w := range watchers {
		v := until(t, w, steerPatience, "serving again", effective("a", rollcall.StateServing))
		if time.Now().Before(until2) {
			t.Error("before its end")
		}
		if i := get(t, v, "a"); i.Override != nil {
			t.Errorf("it still has %+v", i.Override)
		}
	}
	if late := time.Since(until2); late > 5*time.Second {
		t.Errorf("%v after its end", late)
	}
	found, err := client.Get(within(t, steerPatience), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Kvs) != 1 || found.Kvs[0].ModRevision != written || found.Header.Revision != written {
		t.Errorf("somebody has written: %+v at revision %d, which was %d", found.Kvs, found.Header.Revision, written)
	}
	if i := get(t, lookUp(t, reg, "svc"), "a"); i.Override != nil {
		t.Errorf("Lookup: %+v", i.Override)
	}
	if i := get(t, next(t, watch(t, open(t, etcd.Endpoint()), "svc")), "a"); i.Override != nil {
		t.Errorf("a process that starts now: %+v", i.Override)
	}
	life, err := client.TimeToLive(within(t, steerPatience), clientv3.LeaseID(found.Kvs[0].Lease))
	if err != nil {
		t.Fatal(err)
	}
	if life.TTL < 30 || life.TTL > 60 {
		t.Errorf("the key goes in %d s, want a minute after the end", life.TTL)
	}
}

func revisionOf(t *testing.T, client *clientv3.Client, key string) int64 {
	t.Helper()
	found, err := client.Get(within(t, steerPatience), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Kvs) == 0 {
		return 0
	}
	return found.Kvs[0].ModRevision
}

func TestAnOverrideIsThereBeforeItsInstance(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	override(t, reg, "svc", "a", rollcall.Override{Drain: true, Weight: 5})
	w := watch(t, open(t, etcd.Endpoint()), "svc")
	mustEqual(t, "instances", len(next(t, w).Instances), 0)
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	v := next(t, w)
	mustEqual(t, "updates", describe(v.Updates), []string{"add a"})
	if i := get(t, v, "a"); i.Serving() || i.EffectiveWeight() != 5 || i.Weight != rollcall.DefaultWeight {
		t.Errorf("the first view with it: %+v", i)
	}
}

func TestAWeightOfAnOperatorCountsAndTheInstancesOwnStays(t *testing.T) {
	t.Parallel()
	reg, _ := start(t)
	r := register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1", Weight: 50})
	w := watch(t, reg, "svc")
	next(t, w)
	weight := func(own, counts int) func(*rollcall.View) bool {
		return func(v *rollcall.View) bool {
			i := get(t, v, "a")
			return i.Weight == own && i.EffectiveWeight() == counts && i.Serving()
		}
	}
	set := override(t, reg, "svc", "a", rollcall.Override{Weight: 10})
	until(t, w, steerPatience, "his weight", weight(50, 10))
	update(t, r, func(i *rollcall.Instance) { i.Weight = 70 })
	until(t, w, steerPatience, "its own beside it", weight(70, 10))
	set.Weight = 300
	set = override(t, reg, "svc", "a", set)
	until(t, w, steerPatience, "his next one", weight(70, 300))
	if err := reg.DeleteOverride(within(t, steerPatience), "svc", "a", set.Revision); err != nil {
		t.Fatal(err)
	}
	until(t, w, steerPatience, "its own", weight(70, 70))
}

func TestOfTwoOperatorsAtOnceTheSecondIsToldAndNothingIsLost(t *testing.T) {
	t.Parallel()
	one, etcd := start(t)
	two := open(t, etcd.Endpoint())
	ctx := within(t, steerPatience)
	for name, op := range map[string]struct {
		set    func(*rollcall.Registry, string, int64) (int64, error) // with a reason, in place of a revision
		read   func() (string, int64, error)
		remove func(int64) error
	}{
		"override": {
			func(reg *rollcall.Registry, reason string, revision int64) (int64, error) {
				o, err := reg.SetOverride(ctx, "svc", "a", rollcall.Override{Drain: true, Reason: reason, Revision: revision})
				return o.Revision, err
			},
			func() (string, int64, error) {
				o, err := one.Override(ctx, "svc", "a")
				return o.Reason, o.Revision, err
			},
			func(revision int64) error { return one.DeleteOverride(ctx, "svc", "a", revision) },
		},
		"policy": {
			func(reg *rollcall.Registry, reason string, revision int64) (int64, error) {
				p, err := reg.SetPolicy(ctx, "svc", rollcall.Policy{Timeout: time.Second, Reason: reason, Revision: revision})
				return p.Revision, err
			},
			func() (string, int64, error) {
				p, err := one.Policy(ctx, "svc")
				return p.Reason, p.Revision, err
			},
			func(revision int64) error { return one.DeletePolicy(ctx, "svc", revision) },
		},
	} {
		must := func(what string, got string, at int64, want string, revision int64) {
			t.Helper()
			if got != want || at != revision {
				t.Fatalf("%s: %s: %q at revision %d, want %q at %d", name, what, got, at, want, revision)
			}
		}
		first, err := op.set(one, "first", 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = op.set(two, "second", 0)
		mustConflict(t, err, 0, first)
		reason, at, err := op.read()
		if err != nil {
			t.Fatal(err)
		}
		must("after the conflict", reason, at, "first", first)
		second, err := op.set(two, "second, having read", at)
		if err != nil {
			t.Fatal(err)
		}
		mustConflict(t, op.remove(first), first, second)
		reason, at, err = op.read()
		if err != nil {
			t.Fatal(err)
		}
		must("after a delete of what was there before", reason, at, "second, having read", second)
		for range 2 { // what is not there is no error
			if err := op.remove(second); err != nil {
				t.Fatal(err)
			}
		}
		_, err = op.set(two, "third", second)
		mustConflict(t, err, second, 0)
		for _, reason := range []string{"over none", "over any"} {
			if _, err := op.set(two, reason, rollcall.AnyRevision); err != nil {
				t.Fatal(err)
			}
		}
		if err := op.remove(rollcall.AnyRevision); err != nil {
			t.Fatal(err)
		}
		if _, _, err := op.read(); !errors.Is(err, rollcall.ErrNotFound) {
			t.Fatalf("%s: read after all: %v", name, err)
		}
	}
}

func mustConflict(t *testing.T, err error, wanted, found int64) {
	t.Helper()
	conflict, ok := errors.AsType[*rollcall.ConflictError](err)
	if !ok || !errors.Is(err, rollcall.ErrConflict) {
		t.Fatalf("no conflict: %v", err)
	}
	if diff := cmp.Diff(&rollcall.ConflictError{Wanted: wanted, Found: found}, conflict); diff != "" || !strings.Contains(err.Error(), "decide again") {
		t.Fatalf("%v: %s", err, diff)
	}
}

// Each adds one to the weight, over and over: an override that were written over another one would lose some.
func TestManyOperatorsAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	_, etcd := start(t)
	const operators, each = 5, 10
	ctx := within(t, time.Minute)
	var working sync.WaitGroup
	for range operators {
		reg := open(t, etcd.Endpoint())
		working.Go(func() {
			for done := 0; done < each; {
				o, err := reg.Override(ctx, "svc", "a")
				if err != nil && !errors.Is(err, rollcall.ErrNotFound) {
					t.Error(err)
					return
				}
				o.Weight++
				_, err = reg.SetOverride(ctx, "svc", "a", o)
				switch {
				case err == nil:
					done++
				case !errors.Is(err, rollcall.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
	o, err := open(t, etcd.Endpoint()).Override(ctx, "svc", "a")
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "weight", o.Weight, operators*each)
}

func TestAConflictLeavesNoLeaseBehind(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	o := rollcall.Override{Drain: true, Until: time.Now().Add(time.Hour)}
	override(t, reg, "svc", "a", o)
	mustEqual(t, "leases", len(leases(t, client)), 1)
	o.Reason = "another"
	if _, err := reg.SetOverride(within(t, steerPatience), "svc", "a", o); !errors.Is(err, rollcall.ErrConflict) {
		t.Fatal(err)
	}
	mustEqual(t, "leases after the conflict", len(leases(t, client)), 1)
}

// The network takes etcd's answer away: the write has been made, and is found when it is tried again.
func TestAWriteWhoseAnswerWasLostIsNoConflict(t *testing.T) {
	t.Parallel()
	reg, proxy, direct := behindProxy(t)
	t.Cleanup(proxy.Heal)
	const policyKey, overrideKey = "rollcall/control/svc/policy", "rollcall/control/svc/override/a"
	var revision int64
	for _, step := range []struct {
		name, key string
		do        func(context.Context) error
		deletes   bool
	}{
		{"SetOverride", overrideKey, func(ctx context.Context) error {
			o, err := reg.SetOverride(ctx, "svc", "a", rollcall.Override{Drain: true})
			revision = o.Revision
			return err
		}, false},
		{"DeleteOverride", overrideKey, func(ctx context.Context) error { return reg.DeleteOverride(ctx, "svc", "a", revision) }, true},
		{"SetPolicy", policyKey, func(ctx context.Context) error {
			p, err := reg.SetPolicy(ctx, "svc", rollcall.Policy{Timeout: time.Second})
			revision = p.Revision
			return err
		}, false},
		{"DeletePolicy", policyKey, func(ctx context.Context) error { return reg.DeletePolicy(ctx, "svc", revision) }, true},
	} {
		if _, err := reg.Override(within(t, steerPatience), "svc", "none"); !errors.Is(err, rollcall.ErrNotFound) { // the connection stands
			t.Fatal(err)
		}
		lost := make(chan error, 1)
		proxy.DropReplies()
		go func() { lost <- step.do(within(t, steerPatience)) }()
		eventually(t, steerPatience, "the write", func() bool { return (revisionOf(t, direct, step.key) > 0) != step.deletes })
		proxy.Heal()
		if err := <-lost; err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := revisionOf(t, direct, step.key); !step.deletes && got != revision {
			t.Errorf("%s: returned revision %d, the key's is %d", step.name, revision, got)
		}
	}
}
