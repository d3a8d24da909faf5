package rollcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// steered is a registry's part that operators steer, without etcd: what its control follower says reaches one feed.
type steered struct {
	*follower
	c *control
}

func steer(t *testing.T, n int, opts ...Option) *steered {
	t.Helper()
	s := &steered{follower: guarded(t, n, opts...)}
	s.c = newControl(newSettings(opts), func([]string) { s.f.decide(s.c.of("svc")) })
	t.Cleanup(s.c.end)
	t.Cleanup(s.f.end)
	s.c.Apply(follow.Batch{Header: follow.Header{Revision: 1}, Relisted: true})
	return s
}

// decided is a change of what operators decided.
func decided(name string, rev int64, value any) follow.Change {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return follow.Change{Key: "rollcall/control/svc/" + name, Value: text, Revision: rev}
}

func undecided(name string, rev int64) follow.Change {
	return follow.Change{Key: "rollcall/control/svc/" + name, Deleted: true, Revision: rev}
}

// told has the control follower tell of changes.
func (s *steered) told(rev int64, changes ...follow.Change) {
	s.c.Apply(follow.Batch{Header: follow.Header{Revision: rev}, Changes: changes})
}

// wiped is what both followers tell of a store that has nothing in it any more.
func (s *steered) wiped(rev int64, instances []follow.Change, control ...follow.Change) {
	header := follow.Header{Revision: rev}
	s.f.Apply(follow.Batch{Header: header, Changes: instances, Relisted: true, Reset: true})
	s.c.Apply(follow.Batch{Header: header, Changes: control, Relisted: true, Reset: true})
}

// now returns the newest view, whether it was seen before or not.
func (s *steered) now() *View {
	if v, seq, _ := s.f.newer(s.seq, s.last); v != nil {
		s.seq, s.last = seq, v
	}
	return s.last
}

func next(t *testing.T, w *Watcher) *View {
	t.Helper()
	v, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func drained(v *View) (ids []string) {
	for _, i := range v.Instances {
		if i.EffectiveState() == StateDraining {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

func TestAnOverrideEndsAtItsTimeWithoutAWordFromEtcd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steer(t, 2)
		s.told(2, decided("override/a", 2, Override{Drain: true, Until: time.Now().Add(time.Hour)}),
			decided("override/b", 2, Override{Drain: true, Until: time.Now().Add(2 * time.Hour)}))
		if got := drained(s.next()); !cmp.Equal(got, []string{"a", "b"}) {
			t.Fatalf("drained: %v", got)
		}
		time.Sleep(time.Hour - 1)
		synctest.Wait()
		if got := drained(s.now()); len(got) != 2 {
			t.Fatalf("drained just before the end: %v", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		v := s.next()
		if got := drained(v); !cmp.Equal(got, []string{"b"}) || !cmp.Equal(words(v.Updates), []string{"modify a"}) {
			t.Errorf("drained at the end of one: %v, updates %v", got, words(v.Updates))
		}
		// An instance that is written after the end has no override, though its key is still there.
		s.apply(3, leased("a", 3))
		if i, _ := s.next().Get("a"); i.Override != nil {
			t.Errorf("written after the end it has %+v", i.Override)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := drained(s.next()); len(got) != 0 {
			t.Errorf("drained at the end of both: %v", got)
		}
		s.f.end()
		s.c.end()
	})
}

func TestAfterAWipeDecisionsStayForTheSuspicionAndThenGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steer(t, 2, WithSuspicion(time.Minute))
		s.told(5, decided("override/a", 4, Override{Drain: true}), decided("policy", 5, Policy{Timeout: time.Second}))
		s.next()
		s.wiped(1, []follow.Change{leased("a", 1), leased("b", 1)}, undecided("override/a", 1), undecided("policy", 1))
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		if v := s.now(); v.Policy == nil || len(drained(v)) != 1 {
			t.Fatalf("within the suspicion: policy %+v, drained %v", v.Policy, drained(v))
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if v := s.now(); v.Policy != nil || len(drained(v)) != 0 {
			t.Errorf("after it: policy %+v, drained %v", v.Policy, drained(v))
		}
		s.f.end()
		s.c.end()
	})
}

func TestWhatIsDecidedAnewAfterAWipeIsNotTakenAwayWithTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steer(t, 2, WithSuspicion(time.Minute))
		s.told(5, decided("override/a", 4, Override{Drain: true}), decided("policy", 5, Policy{Timeout: time.Second}))
		s.wiped(1, []follow.Change{leased("a", 1), leased("b", 1)}, undecided("override/a", 1), undecided("policy", 1))
		s.told(3, decided("policy", 2, Policy{Timeout: 2 * time.Second}), decided("override/a", 3, Override{Weight: 5}))
		time.Sleep(time.Hour)
		synctest.Wait()
		v := s.now()
		if i, _ := v.Get("a"); v.Policy == nil || v.Policy.Timeout != 2*time.Second || v.Policy.Revision != 2 || i.EffectiveWeight() != 5 || !i.Serving() {
			t.Errorf("policy %+v, a %+v", v.Policy, i)
		}
		// Who deletes it after the wipe has decided so.
		s.told(5, undecided("policy", 4), undecided("override/a", 5))
		if v := s.now(); v.Policy != nil {
			t.Errorf("deleted: policy %+v", v.Policy)
		}
		s.f.end()
		s.c.end()
	})
}

func TestWithoutSuspicionAWipeIsBelievedOfDecisionsToo(t *testing.T) {
	s := steer(t, 2, WithSuspicion(0))
	s.told(5, decided("override/a", 4, Override{Drain: true}), decided("policy", 5, Policy{Timeout: time.Second}))
	s.wiped(1, []follow.Change{leased("a", 1), leased("b", 1)}, undecided("override/a", 1), undecided("policy", 1))
	if v := s.now(); v.Policy != nil || len(drained(v)) != 0 {
		t.Errorf("policy %+v, drained %v", v.Policy, drained(v))
	}
}

func TestADecisionThatCannotBeReadLeavesTheLastGoodOne(t *testing.T) {
	s := steer(t, 2)
	s.told(3, decided("override/a", 2, Override{Drain: true}), decided("policy", 3, Policy{Timeout: time.Second}))
	s.next()
	for n, bad := range []any{"text", []int{7}, map[string]any{"timeout": "-1s"}, map[string]any{"retry": map[string]any{"attempts": 99}}, map[string]any{"Weight": -1, "pick": "x"}} {
		rev := int64(4 + n)
		s.told(rev, decided("policy", rev, bad), decided("override/a", rev, bad))
		if v := s.now(); v.Policy == nil || v.Policy.Timeout != time.Second || v.Policy.Revision != 3 || len(drained(v)) != 1 {
			t.Errorf("after %v: policy %+v, drained %v", bad, v.Policy, drained(v))
		}
	}
	s.told(20, decided("policy", 20, Policy{Timeout: 2 * time.Second}))
	if v := s.next(); v.Policy.Timeout != 2*time.Second || v.Policy.Revision != 20 {
		t.Errorf("the next good one: %+v", v.Policy)
	}
	s.told(21, decided("policy", 21, "text"), undecided("policy", 21))
	if v := s.next(); v.Policy != nil {
		t.Errorf("deleted: %+v", v.Policy)
	}
}

func TestKeysOfLaterVersionsAmongTheDecisionsAreLeftAlone(t *testing.T) {
	s := steer(t, 2)
	s.told(2, decided("canary", 2, "x"), decided("health/a", 2, "x"), decided("override/a/b", 2, Override{Drain: true}), decided("policy/x", 2, Policy{Timeout: 1}))
	if v, _, _ := s.f.newer(s.seq, s.last); v != nil {
		t.Errorf("a view with %v and %+v", drained(v), v.Policy)
	}
}

// The guard of a policy.

func TestAPolicySaysHowManyLossesAreDoubted(t *testing.T) {
	for name, tc := range map[string]struct {
		guard *GuardPolicy
		of    int // instances
		lost  int
		doubt bool
	}{
		"the default, 3 of 5":    {nil, 5, 3, true},
		"the default, 2 of 5":    {nil, 5, 2, false},
		"the default, 2 of 2":    {nil, 2, 2, false},
		"least 2, 2 of 2":        {&GuardPolicy{Least: 2}, 2, 2, true},
		"least 1, 1 of 1":        {&GuardPolicy{Least: 1}, 1, 1, true},
		"least 5, 4 of 5":        {&GuardPolicy{Least: 5}, 5, 4, false},
		"least 5, 5 of 5":        {&GuardPolicy{Least: 5}, 5, 5, true},
		"percent 30, 3 of 10":    {&GuardPolicy{Percent: 30}, 10, 3, false},
		"percent 30, 4 of 10":    {&GuardPolicy{Percent: 30}, 10, 4, true},
		"percent 90, 9 of 10":    {&GuardPolicy{Percent: 90}, 10, 9, false},
		"percent 90, 10 of 10":   {&GuardPolicy{Percent: 90}, 10, 10, true},
		"percent 100, all of 10": {&GuardPolicy{Percent: 100}, 10, 10, false},
		"disabled, all of 10":    {&GuardPolicy{Disabled: true}, 10, 10, false},
	} {
		s := steer(t, tc.of)
		s.told(2, decided("policy", 2, Policy{Guard: tc.guard}))
		s.lose(3, tc.lost)
		want := 0
		if tc.doubt {
			want = tc.lost
		}
		if got := len(suspects(s.now())); got != want {
			t.Errorf("%s: %d suspects, want %d", name, got, want)
		}
	}
}

// lose has the leases of the first n instances end, at revision rev.
func (s *steered) lose(rev int64, n int) {
	var changes []follow.Change
	for i := range n {
		changes = append(changes, gone(fmt.Sprintf("%c", 'a'+i), rev))
	}
	s.apply(rev, changes...)
}

func TestAPolicySaysHowLongALossIsDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steer(t, 3)
		s.told(2, decided("policy", 2, Policy{Guard: &GuardPolicy{Suspicion: 30 * time.Minute}}))
		s.lose(3, 3)
		time.Sleep(30*time.Minute - 1)
		synctest.Wait()
		if n := len(suspects(s.now())); n != 3 {
			t.Errorf("%d suspects just before the end", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if v := s.now(); len(v.Instances) != 0 {
			t.Errorf("%d left after it", len(v.Instances))
		}
		s.f.end()
		s.c.end()
	})
}

func TestAGuardThatIsDisabledBelievesWhatWasDoubtedAndOneThatIsDeletedDoubtsAgain(t *testing.T) {
	s := steer(t, 6)
	s.lose(2, 4)
	if n := len(suspects(s.next())); n != 4 {
		t.Fatalf("%d suspects", n)
	}
	s.told(3, decided("policy", 3, Policy{Guard: &GuardPolicy{Disabled: true}}))
	if v := s.now(); len(v.Instances) != 2 || v.Policy == nil {
		t.Errorf("disabled: %d left, policy %+v", len(v.Instances), v.Policy)
	}
	s.told(4, undecided("policy", 4))
	s.apply(5, leased("a", 5), leased("b", 5), leased("c", 5))
	s.lose(6, 5)
	if got := suspects(s.now()); !cmp.Equal(got, []string{"a", "b", "c", "e"}) {
		t.Errorf("deleted: suspects %v", got)
	}
}

// Acceptance.

func TestAnAcceptanceEndsDoubtsAndLaterLossesAreDoubtedAgain(t *testing.T) {
	s := steer(t, 6)
	s.lose(2, 4)
	s.now()
	s.told(3, decided("accept", 3, struct{}{}))
	if v := s.now(); len(v.Instances) != 2 {
		t.Fatalf("accepted: %d left", len(v.Instances))
	}
	s.apply(4, leased("a", 4), leased("b", 4), leased("c", 4))
	s.lose(5, 3)
	if n := len(suspects(s.now())); n != 3 {
		t.Errorf("%d suspects of what was lost later", n)
	}
	s.told(6, decided("accept", 6, struct{}{}))
	if v := s.now(); len(v.Instances) != 2 {
		t.Errorf("accepted again: %d left", len(v.Instances))
	}
}

// The two watches of a registry are not in step.
func TestAnAcceptanceThatComesBeforeTheLossesItMeansCountsForThem(t *testing.T) {
	s := steer(t, 6)
	s.told(3, decided("accept", 3, struct{}{}))
	s.lose(2, 4)
	if v := s.now(); len(v.Instances) != 2 {
		t.Errorf("%d left of 6, %d of them suspects", len(v.Instances), len(suspects(v)))
	}
	s.apply(4, leased("a", 4), leased("b", 4), leased("c", 4))
	s.lose(5, 3)
	if n := len(suspects(s.now())); n != 3 {
		t.Errorf("%d suspects of what was lost later", n)
	}
}

// A wiped store counts its revisions from 1: the acceptance of its former life is far in the future of the new one.
func TestAnAcceptanceOfAStoreThatWasWipedCountsForNothing(t *testing.T) {
	for name, suspicion := range map[string]time.Duration{"while decisions are kept": time.Hour, "when they are gone": 0} {
		s := steer(t, 6, WithSuspicion(suspicion))
		s.told(5000, decided("accept", 5000, struct{}{}))
		s.f.guard.own = time.Hour // it is the decisions that are kept or not
		s.f.guard.follow(nil)
		all := []follow.Change{leased("a", 1), leased("b", 1), leased("c", 1), leased("d", 1), leased("e", 1), leased("f", 1)}
		s.wiped(1, all, undecided("accept", 1))
		s.lose(2, 4)
		if n := len(suspects(s.now())); n != 4 {
			t.Errorf("%s: %d suspects of what was lost after the wipe, want 4", name, n)
		}
		s.told(3, decided("accept", 3, struct{}{}))
		if v := s.now(); len(v.Instances) != 2 {
			t.Errorf("%s: %d left when that is accepted, want 2", name, len(v.Instances))
		}
	}
}

// What is known from a file.

// recalled returns a feed that knows what a file told, and the control follower of a registry that has just started.
func recalled(t *testing.T, d *snapshotDir) *steered {
	t.Helper()
	s := &steered{follower: &follower{t: t, f: newFeed("svc", testDir, newSettings(nil))}}
	s.c = newControl(newSettings(nil), func([]string) { s.f.decide(s.c.of("svc")) })
	t.Cleanup(s.c.end)
	t.Cleanup(s.f.end)
	s.f.recall(d)
	return s
}

// keptDecisions returns a directory that has a service of n instances, of which a is drained, and its policy.
func keptDecisions(t *testing.T, n int) *snapshotDir {
	t.Helper()
	s := steer(t, n)
	s.told(3, decided("override/a", 2, Override{Drain: true, Reason: "disk"}),
		decided("policy", 3, Policy{Timeout: time.Second, Guard: &GuardPolicy{Percent: 90}}))
	d := &snapshotDir{path: filepath.Join(t.TempDir(), "kept"), logger: newSettings(nil).logger}
	file, err := s.f.snapshot(time.Now())
	if err != nil || file == nil {
		t.Fatal(file, err)
	}
	if err := d.save("svc", file); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDecisionsAreRecalledWithTheView(t *testing.T) {
	s := recalled(t, keptDecisions(t, 3))
	v := s.next()
	if v.Policy == nil || v.Policy.Timeout != time.Second || v.Policy.Revision != 3 || !cmp.Equal(drained(v), []string{"a"}) {
		t.Fatalf("recalled: policy %+v, drained %v", v.Policy, drained(v))
	}
	if i, _ := v.Get("a"); i.State != StateServing || i.Override.Reason != "disk" || i.Override.Revision != 2 {
		t.Errorf("recalled: %+v with %+v", i, i.Override)
	}
}

// The guard of the policy that was in force counts for etcd's first answer.
func TestARecalledPolicyGuardsAgainstTheFirstAnswer(t *testing.T) {
	s := recalled(t, keptDecisions(t, 10))
	s.now()
	s.lose(4, 8) // of 10: more than half, not more than 90 %
	if v := s.now(); len(v.Instances) != 2 {
		t.Errorf("%d left, %d of them suspects", len(v.Instances), len(suspects(v)))
	}
}

func TestRecalledDecisionsStayUntilEtcdHasToldOthers(t *testing.T) {
	s := recalled(t, keptDecisions(t, 3))
	s.now()
	s.c.Stale(time.Now(), errors.New("no route to host"))
	if v := s.now(); v.Policy == nil || len(drained(v)) != 1 {
		t.Errorf("etcd could not be asked: policy %+v, drained %v", v.Policy, drained(v))
	}
	s.c.Apply(follow.Batch{Header: follow.Header{Revision: 9}, Relisted: true})
	if v := s.now(); v.Policy != nil || len(drained(v)) != 0 {
		t.Errorf("etcd knows of none: policy %+v, drained %v", v.Policy, drained(v))
	}
}

// A registry that follows decisions already need not wait for the next one to find that a file is out of date.
func TestWhatEtcdToldOfDecisionsCountsMoreThanAFile(t *testing.T) {
	d := keptDecisions(t, 3)
	reg := deaf(t, WithSnapshotDir(d.path))
	reg.engine.(*etcd).control.Apply(follow.Batch{Header: follow.Header{Revision: 9}, Relisted: true})
	v := next(t, reg.Watch("svc"))
	if len(v.Instances) != 3 || v.StaleSince.IsZero() {
		t.Fatalf("recalled: %d instances, stale since %v", len(v.Instances), v.StaleSince)
	}
	if v.Policy != nil || len(drained(v)) != 0 {
		t.Errorf("policy %+v, drained %v", v.Policy, drained(v))
	}
}

// Losses that etcd's first answer brings are newer than an acceptance that it brings, too.
func TestAnOldAcceptanceDoesNotCountForWhatWasLostWhileNobodyLooked(t *testing.T) {
	d, _ := kept(t)
	s := recalled(t, d)
	s.now()
	s.f.Apply(follow.Batch{Header: follow.Header{Revision: 9}, Changes: []follow.Change{gone("a", 9), gone("b", 9), gone("c", 9)}, Relisted: true})
	s.told(9, decided("accept", 4, struct{}{}))
	if n := len(suspects(s.now())); n != 3 {
		t.Errorf("%d suspects, want 3", n)
	}
}

func TestASuspectHasTheOverrideOfNowAndNotOfItsLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := steer(t, 5)
		s.told(2, decided("override/a", 2, Override{Drain: true}))
		s.lose(3, 1) // a alone: believed, and remembered
		s.told(4, undecided("override/a", 4))
		s.apply(5, gone("b", 5), gone("c", 5))
		v := s.now()
		if got := suspects(v); !cmp.Equal(got, []string{"a", "b", "c"}) {
			t.Fatalf("suspects: %v", got)
		}
		if got := drained(v); len(got) != 0 {
			t.Errorf("drained: %v, though nobody drains it any more", got)
		}
		s.f.end()
		s.c.end()
	})
}

func TestWhoMayNotReadDecisionsGetsViewsWithout(t *testing.T) {
	s := &steered{follower: &follower{t: t, f: newFeed("svc", testDir, newSettings(nil))}}
	s.f.known = false
	s.c = newControl(newSettings(nil), func([]string) { s.f.decide(s.c.of("svc")) })
	t.Cleanup(s.f.end)
	s.apply(1, leased("a", 1))
	if v, _, _ := s.f.newer(0, nil); v != nil {
		t.Fatalf("a view before it is known what operators decided: %v", words(v.Updates))
	}
	s.c.Stale(time.Now(), status.Error(codes.PermissionDenied, "etcdserver: permission denied"))
	if v := s.next(); len(v.Instances) != 1 {
		t.Errorf("%d instances", len(v.Instances))
	}
	// Once the permission is there, what was decided counts.
	s.told(2, decided("override/a", 2, Override{Drain: true}))
	if v := s.next(); !cmp.Equal(drained(v), []string{"a"}) {
		t.Errorf("drained: %v", drained(v))
	}
}
