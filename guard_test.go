package rollcall

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// leased is a change that puts an instance under a lease.
func leased(id string, rev int64) follow.Change {
	c := put(id, rev, `,"TTL":15`)
	c.Lease = 7
	return c
}

// guarded returns a feed with n leased instances, a, b, c and so on, and its reader.
func guarded(t *testing.T, n int, opts ...Option) *follower {
	t.Helper()
	r := &follower{t: t, f: newFeed("svc", testDir, newSettings(opts))}
	var changes []follow.Change
	for i := range n {
		changes = append(changes, leased(fmt.Sprintf("%c", 'a'+i), 1))
	}
	r.apply(1, changes...)
	r.next()
	return r
}

func suspects(v *View) (ids []string) {
	for _, i := range v.Instances {
		if i.Suspect {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

func TestTheExpiryOfAMinorityIsBelieved(t *testing.T) {
	r := guarded(t, 7)
	r.apply(2, gone("a", 2), gone("b", 2), gone("c", 2))
	if v := r.next(); len(v.Instances) != 4 || len(suspects(v)) != 0 {
		t.Errorf("suspects %v of %d", suspects(v), len(v.Instances))
	}
}

func TestTheExpiryOfAFewIsBelievedEvenIfTheyAreAll(t *testing.T) {
	r := guarded(t, 2)
	r.apply(2, gone("a", 2), gone("b", 2))
	if v := r.next(); len(v.Instances) != 0 {
		t.Errorf("left: %d", len(v.Instances))
	}
}

func TestTheExpiryOfMostAtOnceIsDoubted(t *testing.T) {
	r := guarded(t, 5)
	r.apply(2, gone("a", 2), gone("b", 2), gone("c", 2))
	v := r.next()
	if !cmp.Equal(suspects(v), []string{"a", "b", "c"}) || len(v.Instances) != 5 {
		t.Fatalf("suspects %v of %d", suspects(v), len(v.Instances))
	}
	if got := words(v.Updates); !cmp.Equal(got, []string{"modify a", "modify b", "modify c"}) {
		t.Errorf("updates: %v", got)
	}
	var ready []string
	for i := range v.Ready() {
		ready = append(ready, i.ID)
	}
	if !cmp.Equal(ready, []string{"d", "e"}) {
		t.Errorf("ready: %v", ready)
	}
}

func TestLossesOneAfterAnotherWithinATTLCountTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guarded(t, 5)
		r.apply(2, gone("a", 2))
		time.Sleep(5 * time.Second)
		r.apply(3, gone("b", 3))
		if v := r.next(); len(v.Instances) != 3 || len(suspects(v)) != 0 {
			t.Fatalf("two of five: suspects %v of %d", suspects(v), len(v.Instances))
		}
		time.Sleep(5 * time.Second)
		r.apply(4, gone("c", 4))
		v := r.next()
		if !cmp.Equal(suspects(v), []string{"a", "b", "c"}) || len(v.Instances) != 5 {
			t.Errorf("three of five: suspects %v of %d", suspects(v), len(v.Instances))
		}
		if got := words(v.Updates); !cmp.Equal(got, []string{"add a", "add b", "modify c"}) {
			t.Errorf("updates: %v", got)
		}
		r.f.end()
	})
}

func TestLossesFarApartDoNotCountTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guarded(t, 5)
		for n, id := range []string{"a", "b", "c", "d", "e"} {
			r.apply(int64(n+2), gone(id, int64(n+2)))
			time.Sleep(16 * time.Second)
		}
		if v := r.next(); len(v.Instances) != 0 {
			t.Errorf("left: %d, suspects %v", len(v.Instances), suspects(v))
		}
	})
}

func TestGoodbyesAreBelievedHoweverMany(t *testing.T) {
	r := guarded(t, 5)
	var changes []follow.Change
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		changes = append(changes, put(id, 2, `,"State":"leaving"`), gone(id, 3))
	}
	r.apply(3, changes...)
	if v := r.next(); len(v.Instances) != 0 {
		t.Errorf("left: %d", len(v.Instances))
	}
}

func TestKeysWithoutALeaseCannotExpire(t *testing.T) {
	r := &follower{t: t, f: newFeed("svc", testDir, newSettings(nil))}
	r.apply(1, put("a", 1, ""), put("b", 1, ""), put("c", 1, ""))
	r.next()
	r.apply(2, gone("a", 2), gone("b", 2), gone("c", 2))
	if v := r.next(); len(v.Instances) != 0 {
		t.Errorf("left: %d", len(v.Instances))
	}
}

func TestASuspectIsAsItWasLastKnown(t *testing.T) {
	r := guarded(t, 3)
	changed := put("a", 2, `,"TTL":15,"Weight":7`)
	changed.Lease = 7
	r.apply(5, changed, gone("a", 3), gone("b", 4), gone("c", 5))
	v := r.next()
	if i, _ := v.Get("a"); i == nil || !i.Suspect || i.Weight != 7 {
		t.Errorf("suspect: %+v", i)
	}
	r.f.end()
}

func TestASuspectIsSettledByWhatItSays(t *testing.T) {
	r := guarded(t, 4)
	r.apply(2, gone("a", 2), gone("b", 2), gone("c", 2))
	r.next()
	r.apply(4, leased("a", 3), put("b", 4, `,"State":"leaving"`))
	v := r.next()
	if got := words(v.Updates); !cmp.Equal(got, []string{"modify a", "delete b"}) {
		t.Errorf("updates: %v", got)
	}
	if !cmp.Equal(suspects(v), []string{"c"}) {
		t.Errorf("suspects: %v", suspects(v))
	}
	r.f.end()
}

func TestASuspectWhoseTimeIsUpIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := guarded(t, 4, WithSuspicion(time.Minute))
		r.apply(2, gone("a", 2), gone("b", 2), gone("c", 2))
		r.next()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if v, _, _ := r.f.newer(r.seq, r.last); v != nil {
			t.Fatalf("too early: %v", words(v.Updates))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := words(r.next().Updates); !cmp.Equal(got, []string{"delete a expired", "delete b expired", "delete c expired"}) {
			t.Errorf("updates: %v", got)
		}
	})
}

func TestABrokenHistoryRemovesNobody(t *testing.T) {
	r := guarded(t, 2)
	r.f.Apply(follow.Batch{Header: follow.Header{Revision: 1}, Changes: []follow.Change{gone("a", 1), gone("b", 1)}, Relisted: true, Reset: true})
	v := r.next()
	if !cmp.Equal(suspects(v), []string{"a", "b"}) || !v.Reset {
		t.Errorf("suspects %v, reset %v", suspects(v), v.Reset)
	}
	r.apply(2, leased("a", 1)) // the same revision in the new history
	if v := r.next(); !cmp.Equal(suspects(v), []string{"b"}) {
		t.Errorf("suspects %v", suspects(v))
	}
	r.f.end()
}

func TestALeaseThatLivesHasNotExpired(t *testing.T) {
	r := guarded(t, 3)
	r.apply(2, gone("a", 2), gone("b", 2), gone("c", 2))
	r.next()
	for lease, ids := range r.f.suspectsByLease() {
		r.f.acquit(lease, ids)
	}
	if got := words(r.next().Updates); !cmp.Equal(got, []string{"delete a", "delete b", "delete c"}) {
		t.Errorf("updates: %v", got)
	}
}

func TestWithSuspicionOffEverythingIsBelieved(t *testing.T) {
	r := guarded(t, 5, WithSuspicion(0))
	r.f.Apply(follow.Batch{Header: follow.Header{Revision: 1}, Changes: []follow.Change{gone("a", 1), gone("b", 1), gone("c", 1)}, Reset: true})
	if v := r.next(); len(v.Instances) != 2 || len(suspects(v)) != 0 {
		t.Errorf("suspects %v of %d", suspects(v), len(v.Instances))
	}
}
