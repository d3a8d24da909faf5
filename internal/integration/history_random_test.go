package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	past "github.com/rollcall-io/rollcall/internal/history"
)

// schedule does things by chance, one after the other, and keeps a journal of them.
type schedule struct {
	t    *testing.T
	rand *rand.Rand
	etcd *etcdtest.Server
	c    *clientv3.Client
	regs []*rollcall.Registry // processes
	live *historian

	held   map[string]*rollcall.Registration // by id
	dead   map[string]*dead
	number int
	want   []string
	did    []string
}

func (s *schedule) ctx() context.Context { return within(s.t, historyPatience) }

func (s *schedule) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("after %v: %v", s.did, err)
	}
}

var scheduleIDs = []string{"a", "b", "c", "d", "e"}

func (s *schedule) tell(kind past.Kind, id string) {
	s.want = append(s.want, fmt.Sprintf("%v svc/%s", kind, id))
}

// step does one thing.
func (s *schedule) step() {
	id := scheduleIDs[s.rand.IntN(len(scheduleIDs))]
	_, isHeld := s.held[id]
	_, isDead := s.dead[id]
	what := s.rand.IntN(12)
	s.did = append(s.did, fmt.Sprintf("%d %s", what, id))
	switch {
	case what < 3 && !isDead: // also in the place of another one
		s.register(id, isHeld)
	case what == 3 && !isHeld && !isDead:
		s.number++
		s.dead[id] = registerDead(s.t, s.c, "svc", id, fmt.Sprint(s.number))
		s.tell(past.Joined, id)
	case what == 4 && isDead:
		s.dead[id].expire(s.t)
		delete(s.dead, id)
		s.tell(past.Expired, id)
	case what == 5 && isDead:
		_, err := s.c.Delete(s.ctx(), "rollcall/services/svc/"+id)
		s.must(err)
		delete(s.dead, id)
		s.tell(past.Removed, id)
	case what == 6 && isHeld:
		s.must(s.held[id].Deregister(s.ctx()))
		delete(s.held, id)
		s.tell(past.Left, id)
	case what == 7 && isHeld:
		s.must(s.held[id].Update(s.ctx(), func(i *rollcall.Instance) { i.Weight++ }))
		s.tell(past.Changed, id)
	case what == 8:
		override(s.t, s.regs[0], "svc", id, rollcall.Override{Drain: true})
		s.must(s.regs[0].DeleteOverride(s.ctx(), "svc", id, rollcall.AnyRevision, rollcall.By{Author: "op"}))
		s.tell(past.Drained, id)
		s.tell(past.Undone, id)
	case what == 9 && s.rand.IntN(4) == 0:
		s.live.reaches(s.t, s.c)
		s.etcd.Restart()
	case what == 10 && isHeld: // somebody deletes what heals itself
		key := "rollcall/services/svc/" + id
		_, err := s.c.Delete(s.ctx(), key)
		s.must(err)
		eventually(s.t, historyPatience, "it is back", func() bool { return len(keys(s.t, s.c, key)) == 1 })
		s.tell(past.Removed, id)
		s.tell(past.Returned, id)
	}
}

func (s *schedule) register(id string, replaces bool) {
	old := s.held[id]
	s.held[id] = register(s.t, s.regs[s.rand.IntN(len(s.regs))], "svc", rollcall.Instance{ID: id, Addr: "10.0.0.1:1"})
	if !replaces {
		s.tell(past.Joined, id)
		return
	}
	s.tell(past.Replaced, id)
	<-old.Done()
}

func TestByChanceEveryComingAndGoingIsToldOnceWithItsCause(t *testing.T) {
	t.Parallel()
	for range 2 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t)
			s := &schedule{
				t: t, rand: rand.New(rand.NewPCG(seed, 1)), etcd: etcd, c: etcd.Client(t),
				live: keepHistory(t, etcd.Endpoint(), past.Config{}),
				held: map[string]*rollcall.Registration{}, dead: map[string]*dead{},
			}
			for range 3 {
				s.regs = append(s.regs, open(t, etcd.Endpoint()))
			}
			// A lease that always has another key outlives those that come and go.
			for n, reg := range s.regs {
				register(t, reg, "anchor", rollcall.Instance{ID: fmt.Sprint(n), Addr: "10.0.0.1:1"})
			}
			for range 60 {
				s.step()
			}
			s.live.reaches(t, s.c)
			if diff := cmp.Diff(s.want, kindsTold(s.live.all(past.Filter{Service: "svc"}))); diff != "" {
				t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
			}
			compare(t, s.c, s.live, keepHistory(t, etcd.Endpoint(), past.Config{}))
		})
	}
}

// kindsTold writes what happened to whom.
func kindsTold(events []past.Event) []string {
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%v %s/%s", e.Kind, e.Service, e.Instance))
	}
	return lines
}

func TestAnEtcdThatIsAwayForLongLosesNobodyInTheHistory(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	c := etcd.Client(t)
	h := keepHistory(t, etcd.Endpoint(), past.Config{})
	reg := open(t, etcd.Endpoint())
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"}, rollcall.WithTTL(rollcall.MinTTL))
	h.reaches(t, c)
	etcd.Stop()
	lost := func() bool { return cmp.Equal(trouble(h), []past.Kind{past.EtcdLost}) }
	eventually(t, historyPatience, "etcd is lost", lost)
	<-time.After(rollcall.MinTTL) // an outage that outlasts the lease, and not a wait for anything
	etcd.Restart()
	eventually(t, historyPatience, "etcd is back", func() bool { return cmp.Equal(trouble(h), []past.Kind{past.EtcdLost, past.EtcdBack}) })
	register(t, reg, "svc", rollcall.Instance{ID: "b", Addr: "10.0.0.2:1"})
	awaitTold(t, h, []string{"joined svc/a", "joined svc/b"})
	back := h.all(past.Filter{Kinds: []past.Kind{past.EtcdBack}})[0]
	if lost := h.all(past.Filter{Kinds: []past.Kind{past.EtcdLost}})[0]; !back.Since.Equal(lost.Since) || lost.Since.IsZero() || lost.Reason == "" {
		t.Errorf("etcd was lost since %v because of %q, and is back since %v", lost.Since, lost.Reason, back.Since)
	}
}
