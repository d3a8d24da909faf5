package grpcapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// told is what a client makes of responses: the weight of each instance stands for all that it is.
type told map[string]int32

// takeFrom takes a response to somebody who has the very state that it begins from: who joins was not there, and who changes was.
func (c told) takeFrom(t *rapid.T, m *rollcallv1.WatchResponse) {
	for _, u := range m.GetUpdates() {
		_, known := c[u.GetInstance().GetId()]
		if op := u.GetOp(); op == rollcallv1.Update_OP_ADD && known || op == rollcallv1.Update_OP_MODIFY && !known {
			t.Fatalf("%v to a client that has %v", u, c)
		}
	}
	c.take(m)
}

func (c told) take(m *rollcallv1.WatchResponse) {
	if m.GetSnapshot() {
		clear(c)
	}
	for _, u := range m.GetUpdates() {
		if u.GetOp() == rollcallv1.Update_OP_DELETE {
			delete(c, u.GetInstance().GetId())
		} else {
			c[u.GetInstance().GetId()] = u.GetInstance().GetWeight()
		}
	}
}

// scene draws one view after another.
type scene struct {
	view *rollcall.View
}

func (s *scene) step(t *rapid.T) *rollcall.View {
	next := &rollcall.View{Service: "svc", Revision: 1}
	var before []*rollcall.Instance
	if s.view != nil {
		before, next.Revision = s.view.Instances, s.view.Revision
	}
	if rapid.Bool().Draw(t, "written") {
		next.Revision += rapid.Int64Range(1, 3).Draw(t, "revisions")
	}
	all := map[string]*rollcall.Instance{}
	for _, i := range before {
		all[i.ID] = i
	}
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		id := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id"))
		if rapid.Bool().Draw(t, "gone") {
			delete(all, id)
			continue
		}
		// Steering and suspicion change an instance without a write, and so without a revision.
		i := &rollcall.Instance{ID: id, Addr: "10.0.0.1:1", Revision: next.Revision, Weight: int(next.Revision)}
		if rapid.Bool().Draw(t, "overridden") {
			i.Override = &rollcall.Override{Weight: rapid.IntRange(1, 9).Draw(t, "weight")}
			i.Weight += 1000 * i.Override.Weight
		}
		all[id] = i
	}
	next.Instances = slices.SortedFunc(maps.Values(all), func(a, b *rollcall.Instance) int { return strings.Compare(a.ID, b.ID) })
	next.Updates = next.Since(s.view)
	s.view = next
	return next
}

func (s *scene) want() told {
	c := told{}
	for _, i := range s.view.Instances {
		c[i.ID] = int32(i.Weight)
	}
	return c
}

func TestWhoeverIsToldOfTheStatesSinceHisOwnKnowsTheNewest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, i := &scene{}, &instances{service: "svc"}
		var clients []told    // one of each state
		var revisions []int64 // of the states
		var digests []digest
		for range rapid.IntRange(1, 12).Draw(t, "states") {
			i.apply(s.step(t))
			clients = append(clients, s.want())
			revisions, digests = append(revisions, i.revision()), append(digests, i.ring[len(i.ring)-1].digest)
			if got := i.ring[len(i.ring)-1].digest; got != digestOf(s.view.Instances) {
				t.Fatalf("the digest went astray: %d, want %d", got, digestOf(s.view.Instances))
			}
		}
		for n, client := range clients {
			bySeq, byDigest := maps.Clone(client), maps.Clone(client)
			bySeq.takeFrom(t, i.since(uint64(len(clients)-1-n)).(*rollcallv1.WatchResponse))
			if !maps.Equal(bySeq, s.want()) {
				t.Fatalf("from state %d: %v, want %v", n, bySeq, s.want())
			}
			ago, found := i.find(revisions[n], digests[n])
			if !found {
				t.Fatalf("state %d is not found by its digest", n)
			}
			byDigest.takeFrom(t, i.since(ago).(*rollcallv1.WatchResponse))
			if !maps.Equal(byDigest, s.want()) {
				t.Fatalf("from the digest of state %d: %v, want %v", n, byDigest, s.want())
			}
			if ago, found := i.find(revisions[n], 0); found {
				client.take(i.since(ago).(*rollcallv1.WatchResponse))
				if !maps.Equal(client, s.want()) {
					t.Fatalf("from the revision of state %d: %v, want %v", n, client, s.want())
				}
			}
		}
		anew := told{"another": 1}
		anew.take(i.snapshot(false).(*rollcallv1.WatchResponse))
		if !maps.Equal(anew, s.want()) {
			t.Fatalf("anew: %v, want %v", anew, s.want())
		}
	})
}

func TestTheRingIsBounded(t *testing.T) {
	t.Parallel()
	i := &instances{service: "svc"}
	view := &rollcall.View{Revision: 1}
	i.apply(view)
	for n := range 3 * ringStates {
		one := &rollcall.Instance{ID: fmt.Sprint(n)}
		view = &rollcall.View{Revision: view.Revision + 1, Instances: append(slices.Clone(view.Instances), one)}
		view.Updates = []rollcall.Update{{Op: rollcall.Add, Instance: one}}
		i.apply(view)
	}
	if len(i.ring) != ringStates {
		t.Errorf("%d states are remembered", len(i.ring))
	}
	if i.since(ringStates) != nil || i.since(ringStates-1) == nil {
		t.Error("what is told since a state is not what is remembered")
	}
	many := make([]rollcall.Update, ringUpdates)
	for n := range many {
		many[n] = rollcall.Update{Op: rollcall.Add, Instance: &rollcall.Instance{ID: fmt.Sprint("m", n)}}
	}
	for range 2 {
		view = &rollcall.View{Revision: view.Revision + 1, Updates: many}
		i.apply(view)
	}
	if len(i.ring) != 1 || i.held != len(many) {
		t.Errorf("%d states with %d updates are remembered", len(i.ring), i.held)
	}
}
