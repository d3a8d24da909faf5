package integration

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

var (
	simSeeds = flag.Int("sim.seeds", 4, "how many seeded fault schedules to simulate")
	simSeed  = flag.Uint64("sim.seed", 0, "the only seed to simulate; 0: from 1 on")
	simFor   = flag.Duration("sim.for", 5*time.Minute, "virtual time of each schedule")
)

// forSeeds runs a simulation for each seed, in a bubble of its own.
func forSeeds(t *testing.T, run func(t *testing.T, seed uint64)) {
	t.Helper()
	seeds := slices.Collect(func(yield func(uint64) bool) {
		for n := range *simSeeds {
			if !yield(uint64(n) + 1) {
				return
			}
		}
	})
	if *simSeed != 0 {
		seeds = []uint64{*simSeed}
	} else if testing.Short() {
		seeds = seeds[:1]
	}
	name := t.Name()
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { run(t, seed) })
			if t.Failed() {
				t.Logf("replay with: go test ./internal/integration -run '^%s$' -args -sim.seed=%d", name, seed)
			}
		})
	}
}

const simDir = "rollcall/services/svc/"

// simulation is one cluster with registrants, a watcher and a schedule of faults.
type simulation struct {
	t       *testing.T
	rnd     *rand.Rand
	cluster *simetcd.Cluster
	began   time.Time
	log     []string

	registries []*rollcall.Registry
	regs       []*rollcall.Registration
	watcher    *rollcall.Watcher
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{
		t: t, rnd: rand.New(rand.NewPCG(seed, seed)), began: time.Now(),
		cluster: simetcd.New(simetcd.Options{Members: []string{"m1", "m2", "m3"}}),
	}
	for n := range 4 {
		reg := s.open()
		for i := range 3 {
			ttl := []time.Duration{5 * time.Second, 10 * time.Second}[i%2]
			r, err := reg.Register(s.ctx(time.Minute), "svc", rollcall.Instance{Addr: fmt.Sprintf("10.0.%d.%d:1", n, i)}, rollcall.WithTTL(ttl))
			if err != nil {
				t.Fatal(err)
			}
			s.regs = append(s.regs, r)
		}
	}
	s.watcher = s.open().Watch("svc")
	if _, err := s.watcher.Next(s.ctx(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *simulation) open() *rollcall.Registry {
	cfg := rollcall.ClientConfig(s.cluster.Endpoints()...)
	cfg.DialOptions = append(cfg.DialOptions, s.cluster.DialOption())
	reg, err := rollcall.Open(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.registries = append(s.registries, reg)
	return reg
}

func (s *simulation) ctx(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *simulation) note(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%8.3fs ", time.Since(s.began).Seconds())+fmt.Sprintf(format, args...))
}

func (s *simulation) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\ntimeline:\n%s", fmt.Sprintf(format, args...), strings.Join(s.log, "\n"))
}

// member returns a random one.
func (s *simulation) member() *simetcd.Member {
	return s.cluster.Member(s.rnd.IntN(len(s.cluster.Members())))
}

// minority makes one member fail for a while: the others are a quorum throughout.
func (s *simulation) minority() {
	m := s.member()
	if l := s.cluster.Leader(); l != nil && s.rnd.IntN(2) == 0 {
		m = l
	}
	faults := []struct {
		name       string
		begin, end func()
	}{
		{"hang", m.Hang, m.Resume},
		{"cut", m.Cut, m.Heal},
		{"lose requests", m.LoseRequests, m.Heal},
		{"lose replies", m.LoseReplies, m.Heal},
		{"kill", m.Kill, m.Start},
		{"isolate", m.Isolate, m.Rejoin},
	}
	f := faults[s.rnd.IntN(len(faults))]
	lasts := time.Duration(1+s.rnd.IntN(30)) * time.Second
	s.note("%s %s for %v", f.name, m.Name(), lasts)
	f.begin()
	time.Sleep(lasts)
	f.end()
	s.note("%s over", f.name)
}

// outage takes the whole cluster away and brings it back with its data.
func (s *simulation) outage() {
	lasts := time.Duration(1+s.rnd.IntN(120)) * time.Second
	s.note("all down for %v", lasts)
	for _, m := range s.cluster.Members() {
		m.Kill()
	}
	time.Sleep(lasts)
	for _, m := range s.cluster.Members() {
		m.Start()
	}
	s.note("all up")
}

// meddle does to the store what operators and disasters do.
func (s *simulation) meddle() {
	key := simDir + s.regs[s.rnd.IntN(len(s.regs))].Instance().ID
	switch s.rnd.IntN(6) {
	case 0:
		s.note("wipe")
		s.cluster.Wipe()
	case 1:
		snapshot := s.cluster.Snapshot()
		time.Sleep(time.Duration(s.rnd.IntN(20)) * time.Second)
		s.note("restore")
		s.cluster.Restore(snapshot, 0)
	case 2:
		s.note("compact")
		s.cluster.Compact()
	case 3:
		if leases := s.cluster.Leases(); len(leases) > 0 {
			l := leases[s.rnd.IntN(len(leases))]
			s.note("revoke %x", l)
			_ = s.cluster.RevokeLease(l)
		}
	case 4:
		s.note("delete %s", key)
		s.cluster.DeleteKey(key)
	case 5:
		if kv := s.cluster.Keys(key)[key]; kv != nil && kv.Lease != 0 {
			s.note("overwrite %s", key)
			_ = s.cluster.PutKey(key, `{"Addr":"10.66.6.6:1"}`, kv.Lease)
		}
	}
}

// run lets faults happen, one after another with pauses between, for the virtual time of a schedule.
func (s *simulation) run(faults ...func()) {
	for time.Since(s.began) < *simFor {
		time.Sleep(time.Duration(s.rnd.IntN(20_000)) * time.Millisecond)
		faults[s.rnd.IntN(len(faults))]()
		s.churn()
	}
}

// churn changes a registration now and then, so that there is something to lose.
func (s *simulation) churn() {
	r := s.regs[s.rnd.IntN(len(s.regs))]
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.rnd.IntN(5000))*time.Millisecond)
	defer cancel()
	weight := 1 + s.rnd.IntN(1000)
	err := r.Update(ctx, func(i *rollcall.Instance) { i.Weight = weight })
	s.note("weight %d of %s: %v", weight, r.Instance().ID, err)
}

// settle waits until the watcher's view, the store and the registrations agree, and fails if they do not within the
// bound after the last fault.
func (s *simulation) settle(within time.Duration) {
	s.note("settling")
	ctx := s.ctx(within)
	var v *rollcall.View
	for {
		next, err := s.watcher.Next(ctx)
		if err == nil {
			v = next
			continue
		}
		break // no news for the rest of the time
	}
	keys := s.cluster.Keys(simDir)
	want := map[string]string{} // id → incarnation and weight
	for _, r := range s.regs {
		if r.Err() != nil {
			s.fail("registration of %s ended: %v", r.Instance().ID, r.Err())
		}
		i := r.Instance()
		want[i.ID] = fmt.Sprintf("%s %d", i.Incarnation, i.Weight)
		if kv := keys[simDir+i.ID]; kv == nil || !strings.Contains(string(kv.Value), i.Incarnation) || !strings.Contains(string(kv.Value), fmt.Sprintf(`"Weight":%d,`, i.Weight)) {
			s.fail("etcd has not what %s wants (%s): %v", i.ID, want[i.ID], kv)
		}
	}
	if len(keys) != len(want) {
		s.fail("etcd has %v, wanted are %v", slices.Sorted(maps.Keys(keys)), slices.Sorted(maps.Keys(want)))
	}
	v = s.latest(v)
	got := map[string]string{}
	for _, i := range v.Instances {
		got[i.ID] = fmt.Sprintf("%s %d", i.Incarnation, i.Weight)
		if i.Suspect {
			s.fail("%s is a suspect still", i.ID)
		}
	}
	if !maps.Equal(got, want) || !v.StaleSince.IsZero() {
		s.fail("the view (stale since %v) is %v, want %v", v.StaleSince, got, want)
	}
}

// latest returns the view that the watcher is at, which may be older than the waiting.
func (s *simulation) latest(v *rollcall.View) *rollcall.View {
	if v != nil {
		return v
	}
	w := s.registries[len(s.registries)-1].Watch("svc")
	defer w.Close()
	v, err := w.Next(s.ctx(time.Minute))
	if err != nil {
		s.fail("no view: %v", err)
	}
	return v
}

// close ends everything, and checks that nothing is left.
func (s *simulation) close() {
	for _, reg := range s.registries {
		if err := reg.Close(s.ctx(10 * time.Second)); err != nil {
			s.fail("close: %v", err)
		}
	}
	if keys, leases := s.cluster.Keys(""), s.cluster.Leases(); len(keys) != 0 || len(leases) != 0 {
		s.fail("left in etcd: keys %v, leases %v", slices.Sorted(maps.Keys(keys)), leases)
	}
	s.cluster.Stop()
}

// noneExpired checks etcd's own history: no lease ran out, so no live instance was deleted for want of a heartbeat.
func (s *simulation) noneExpired() {
	for _, r := range s.cluster.History() {
		if r.Cause != "expiry" {
			continue
		}
		for _, e := range r.Events {
			if e.Type == mvccpb.Event_DELETE && strings.HasPrefix(string(e.Kv.Key), simDir) {
				s.fail("at %.3fs the lease of %s ran out", r.At.Sub(s.began).Seconds(), e.Kv.Key)
			}
		}
	}
}

func TestSimulatedMinorityFaultsAndOutagesDeleteNobody(t *testing.T) {
	forSeeds(t, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed)
		s.run(s.minority, s.minority, s.outage)
		s.settle(20 * time.Second)
		s.noneExpired()
		s.close()
	})
}

func TestSimulatedDisastersLoseNothingForGood(t *testing.T) {
	forSeeds(t, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed)
		s.run(s.minority, s.outage, s.meddle, s.meddle, s.meddle)
		s.settle(40 * time.Second)
		s.close()
	})
}

// Each member hangs in turn, the one that the watch is on among them, and says nothing of it.
func TestSimulatedMembersThatHangLeaveNoViewBehindInSilence(t *testing.T) {
	forSeeds(t, func(t *testing.T, seed uint64) {
		s := newSimulation(t, seed)
		for n := range 6 {
			m := s.cluster.Member(n % 3)
			s.note("hang %s", m.Name())
			m.Hang()
			time.Sleep(time.Duration(s.rnd.IntN(5000)) * time.Millisecond)
			id := fmt.Sprintf("late-%d", n)
			if err := s.cluster.PutKey(simDir+id, bare, 0); err != nil {
				t.Fatal(err)
			}
			s.note("put %s", id)
			s.seenOrStale(id, 10*time.Second)
			m.Resume()
			s.note("resume %s", m.Name())
			s.cluster.DeleteKey(simDir + id)
		}
		s.settle(20 * time.Second)
		s.noneExpired()
		s.close()
	})
}

// seenOrStale waits for a view that has an instance, or says that it may be missing some.
func (s *simulation) seenOrStale(id string, within time.Duration) {
	ctx := s.ctx(within)
	for {
		v, err := s.watcher.Next(ctx)
		if err != nil {
			s.fail("%s was put %v ago, and the view neither has it nor says that it is stale", id, within)
		}
		if _, has := v.Get(id); has || !v.StaleSince.IsZero() {
			return
		}
	}
}
