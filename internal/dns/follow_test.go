package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// reply is an answer without a socket.
func (s *served) reply(name string, rtype uint16) *mdns.Msg {
	s.t.Helper()
	r := new(mdns.Msg)
	if err := r.Unpack(s.answer(&desk{}, packed(s.t, question(name, rtype, 1232)), nil, viaTCP)); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// brief is an answer's code, how many records it has, and for how long it may be kept.
func brief(r *mdns.Msg) string {
	kept := ""
	for _, rr := range append(r.Answer, r.Ns...) {
		if soa, ok := rr.(*mdns.SOA); ok && soa.Minttl != soa.Hdr.Ttl {
			return "the SOA contradicts itself: " + soa.String()
		}
		kept = fmt.Sprintf(" for %ds", rr.Header().Ttl)
	}
	return fmt.Sprintf("%s %d%s", mdns.RcodeToString[r.Rcode], len(r.Answer), kept)
}

func (s *served) expect(when, name string, want string) {
	s.t.Helper()
	if got := brief(s.reply(name, mdns.TypeA)); got != want {
		s.t.Errorf("%s: %s: %s, want %s", when, name, got, want)
	}
}

func TestWithoutEtcdWhatWasKnownIsToldForAWhileAndThenNothing(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{TTL: 30 * time.Second, MaxStale: time.Hour}, view("web", at("10.0.0.1:80"), at("10.0.0.2:80")))
	now := time.Now()
	s.now = func() time.Time { return now }
	const web, nobody, apex = "web.service.rollcall.", "nobody.service.rollcall.", "service.rollcall."
	target := text(appendID(nil, serviceID("web"), idOf("web", "10.0.0.1:80", ""))) + ".instance.rollcall."
	all := func(when, ofWeb, ofNobody, ofTarget string) {
		t.Helper()
		s.expect(when, web, ofWeb)
		s.expect(when, nobody, ofNobody)
		s.expect(when, target, ofTarget)
	}
	all("at first", "NOERROR 2 for 30s", "NXDOMAIN 0 for 30s", "NOERROR 1 for 30s")
	s.tell(&rollcall.Overview{StaleSince: now, StaleErr: errors.New("gone")})
	all("without etcd", "NOERROR 2 for 1s", "NXDOMAIN 0 for 1s", "NOERROR 1 for 1s")
	now = now.Add(time.Hour)
	all("after an hour", "NOERROR 2 for 1s", "NXDOMAIN 0 for 1s", "NOERROR 1 for 1s")
	now = now.Add(time.Second)
	all("after more than that", "SERVFAIL 0", "SERVFAIL 0", "SERVFAIL 0")
	s.expect("always", apex, "NOERROR 0 for 1s")
	s.expect("always", "example.com.", "REFUSED 0")
	s.told(view("web", at("10.0.0.1:80")))
	s.settle("web")
	all("with etcd again", "NOERROR 1 for 30s", "NXDOMAIN 0 for 30s", "NOERROR 1 for 30s")
	if st := s.Stats(); st.Stale != 10 || st.Codes["SERVFAIL"] != 3 {
		t.Errorf("%+v", st)
	}
}

func TestBeforeAnythingIsKnownNothingIsSaidToBeMissing(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{})
	s.known.Store(false)
	for name, want := range map[string]string{
		"web.service.rollcall.": "SERVFAIL 0", "aaaaaaaaaaaaaaaa.instance.rollcall.": "SERVFAIL 0",
		"service.rollcall.": "NOERROR 0 for 5s", "nothing.rollcall.": "NXDOMAIN 0 for 5s", "example.com.": "REFUSED 0",
	} {
		s.expect("at first", name, want)
	}
	s.told(view("web", at("10.0.0.1:80")))
	s.expect("then", "web.service.rollcall.", "NOERROR 1 for 5s")
}

func TestAServiceComesChangesAndGoes(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{}, view("web", at("10.0.0.1:80")), view("a.b.web", at("10.0.0.9:80")))
	s.expect("at first", "web.service.rollcall.", "NOERROR 1 for 5s")
	s.expect("at first", "b.web.service.rollcall.", "NOERROR 0 for 5s")
	s.told(view("web", at("10.0.0.1:80"), at("10.0.0.2:80")), view("api", at("10.0.1.1:80")))
	s.settle("web")
	s.expect("with one more", "web.service.rollcall.", "NOERROR 2 for 5s")
	s.expect("that came", "api.service.rollcall.", "NOERROR 1 for 5s")
	s.told(view("web"), view("a.b.web"))
	s.expect("that went", "web.service.rollcall.", "NXDOMAIN 0 for 5s")
	s.expect("that went", "b.web.service.rollcall.", "NXDOMAIN 0 for 5s")
	s.tell(&rollcall.Overview{Complete: true, Services: []*rollcall.View{view("c.b.web", at("10.0.0.1:80"))}})
	s.expect("that an overview of everything does not have", "api.service.rollcall.", "NXDOMAIN 0 for 5s")
	s.expect("that has a child now", "web.service.rollcall.", "NOERROR 0 for 5s")
	if n, ids, names := len(s.parents), len(s.ids), len(s.byName); n != 2 || ids != 1 || names != 1 {
		t.Errorf("left behind: %d, %d, %d", n, ids, names)
	}
}

// settle has a service arranged anew with the next question, however long the last time took.
func (s *served) settle(service string) {
	s.mu.RLock()
	sv := s.byName[service]
	s.mu.RUnlock()
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.next = time.Time{}
}

func TestAnInstancesNameFollowsIt(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{}, view("web", at("10.0.0.1:80", id("one")), at("10.0.0.2:80", id("two"))))
	name := func(id string) string {
		return text(appendID(nil, serviceID("web"), idOf("web", id, ""))) + ".instance.rollcall."
	}
	answer := func(id string) string {
		s.settle("web")
		return strings.Join(lines(s.reply(name(id), mdns.TypeA).Answer), " ")
	}
	for _, c := range []struct {
		view *rollcall.View
		want map[string]string
	}{
		{view("web", at("10.0.0.1:80", id("one")), at("10.0.0.2:80", id("two"))), map[string]string{"one": "10.0.0.1", "two": "10.0.0.2", "three": ""}},
		{view("web", at("10.0.0.9:80", id("one")), at("10.0.0.3:80", id("three"))), map[string]string{"one": "10.0.0.9", "two": "", "three": "10.0.0.3"}},
		{view("web", at("10.0.0.3:80", id("three")), at("10.0.0.2:80", id("two"), draining)), map[string]string{"one": "", "two": "10.0.0.2", "three": "10.0.0.3"}},
	} {
		s.told(c.view)
		for id, want := range c.want {
			if got := answer(id); !strings.HasSuffix(got, want) || (got == "") != (want == "") {
				t.Errorf("%s: %q, want %s", id, got, want)
			}
		}
	}
}

func TestWhatNobodyAsksForIsNotMadeAndOneChangeCostsOneMember(t *testing.T) {
	t.Parallel()
	list := many(100)
	s := prepared(t, Config{}, view("web", list...), view("api", many(3)...))
	sv := s.byName["web"]
	s.expect("at first", "api.service.rollcall.", "NOERROR 3 for 5s")
	if sv.arranged.Load() != nil {
		t.Fatal("a service that nobody asked for was arranged")
	}
	s.expect("at first", "web.service.rollcall.", "NOERROR 100 for 5s")
	first := sv.arranged.Load()
	if len(first.sets) != 1 || first.ports != nil || sv.targets != nil {
		t.Errorf("more was made than asked for: %v", first.sets)
	}
	list[7] = at(list[7].Addr, weight(5))
	s.told(view("web", list...))
	if sv.arranged.Load() != first {
		t.Error("a change was arranged before anybody asked")
	}
	s.settle("web")
	s.expect("then", "web.service.rollcall.", "NOERROR 100 for 5s")
	kept := 0
	for n, m := range sv.arranged.Load().members {
		if m == first.members[n] {
			kept++
		}
	}
	if kept != 99 {
		t.Errorf("%d of 99 members were kept", kept)
	}
}

func TestALargeServiceThatChangesAllTheTimeIsNotArrangedAllTheTime(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{}, view("web", many(10)...))
	s.expect("at first", "web.service.rollcall.", "NOERROR 10 for 5s")
	sv := s.byName["web"]
	sv.mu.Lock()
	sv.delayLocked(time.Hour)
	wait := time.Until(sv.next)
	sv.mu.Unlock()
	if wait > maxRest || wait < maxRest/2 {
		t.Errorf("it rests for %v", wait)
	}
	s.told(view("web", many(11)...))
	first := sv.arranged.Load()
	s.reply("web.service.rollcall.", mdns.TypeA)
	if time.Since(sv.next) < 0 && sv.arranged.Load() != first {
		t.Error("it did not rest")
	}
	s.settle("web")
	s.expect("then", "web.service.rollcall.", "NOERROR 11 for 5s")
}

func TestHowManyAnswersAreKeptIsLimited(t *testing.T) {
	t.Parallel()
	var list []*rollcall.Instance
	for n := range 40 {
		for m := range 40 {
			list = append(list, at(fmt.Sprintf("10.0.%d.%d:80", n, m), zone(fmt.Sprint("z", n)), version(fmt.Sprint("v", m))))
		}
	}
	s := prepared(t, Config{}, view("web", list...))
	for n := range 40 {
		for m := range 40 {
			s.expect("always", fmt.Sprintf("v%d.version.z%d.zone.web.service.rollcall.", m, n), "NOERROR 1 for 5s")
		}
	}
	if n := len(s.byName["web"].arranged.Load().sets); n > maxSets || n == 0 {
		t.Errorf("%d are kept", n)
	}
}

func TestAServiceWhoseNameIsTooLongIsSaidSoOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	long := strings.Repeat("a", 64)
	s := prepared(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, view(long, at("10.0.0.1:80")), view("web", at("10.0.0.1:80")))
	s.told(view(long, at("10.0.0.2:80")))
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "service="+long) {
		t.Errorf("%d warnings: %s", n, &log)
	}
	if st := s.Stats(); st.Services != 1 {
		t.Errorf("%+v", st)
	}
	s.told(view(long))
	if len(s.byName) != 1 {
		t.Error("it is remembered when it is gone")
	}
}

func TestAnswersAreWholeWhileEverythingChanges(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{}, view("web", many(20)...), view("other", many(3)...))
	changing, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	names := []string{"web.service.rollcall.", "_http._tcp.web.service.rollcall.", "a.zone.web.service.rollcall.", "other.service.rollcall."}
	for n := range 3 {
		wg.Go(func() {
			for i := n; changing.Err() == nil; i++ {
				r := s.reply(names[i%len(names)], mdns.TypeSRV)
				if r.Rcode == mdns.RcodeServerFailure || len(r.Answer) > 40 {
					t.Errorf("got %v", r)
				}
				for _, rr := range r.Answer {
					s.reply(rr.(*mdns.SRV).Target, mdns.TypeA)
				}
				s.Stats()
			}
		})
	}
	for n := range 300 {
		list := many(20 + n%20)
		for i, m := range list {
			if (i+n)%3 == 0 {
				m.Zone, m.Addrs = "a", map[string]string{"http": "10.7.7.7:80"}
			}
		}
		s.told(view("web", list...))
		if n%3 == 0 {
			s.told(view("other"))
		} else {
			s.told(view("other", many(n%5)...))
		}
		s.settle("web")
	}
	stop()
	wg.Wait()
}

// simulated is a registry in simulated time, and the server on it.
func simulated(t *testing.T, cfg Config) (*simetcd.Cluster, *rollcall.Registry, *served) {
	t.Helper()
	etcd := simetcd.New(simetcd.Options{})
	t.Cleanup(etcd.Stop)
	reg, err := rollcall.Open(etcd.Config(), rollcall.WithFollowAll())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close(context.Background()) })
	inner, err := New(reg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{Server: inner, t: t}
	t.Cleanup(s.stop)
	return etcd, reg, s
}

func TestInstancesAppearAndLeaveByTheirRegistry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, reg, s := simulated(t, Config{})
		s.expect("before etcd has told", "web.service.rollcall.", "SERVFAIL 0")
		time.Sleep(time.Second)
		s.expect("before it registers", "web.service.rollcall.", "NXDOMAIN 0 for 5s")
		r, err := reg.Register(t.Context(), "web", rollcall.Instance{Addr: "10.0.0.1:80"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.expect("registered", "web.service.rollcall.", "NOERROR 1 for 5s")
		if _, err := reg.SetPolicy(t.Context(), "api", rollcall.Policy{Balancer: "pick_first"}); err != nil {
			t.Fatal(err)
		}
		if err := r.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.expect("after its goodbye", "web.service.rollcall.", "NXDOMAIN 0 for 5s")
		s.expect("with a policy only", "api.service.rollcall.", "NOERROR 0 for 5s")
	})
}

func TestEtcdMayBeAwayForAsLongAsIsSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		etcd, reg, s := simulated(t, Config{MaxStale: 5 * time.Minute})
		if _, err := reg.Register(t.Context(), "web", rollcall.Instance{Addr: "10.0.0.1:80"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.expect("at first", "web.service.rollcall.", "NOERROR 1 for 5s")
		etcd.Member(0).Kill()
		time.Sleep(time.Minute)
		s.expect("after a minute without etcd", "web.service.rollcall.", "NOERROR 1 for 1s")
		time.Sleep(3 * time.Minute)
		s.expect("after nearly five", "web.service.rollcall.", "NOERROR 1 for 1s")
		time.Sleep(2 * time.Minute)
		s.expect("after more than five", "web.service.rollcall.", "SERVFAIL 0")
		s.expect("after more than five", "nobody.service.rollcall.", "SERVFAIL 0")
		etcd.Member(0).Start()
		time.Sleep(time.Minute)
		s.expect("with etcd again", "web.service.rollcall.", "NOERROR 1 for 5s")
	})
}

func TestARegistryThatDoesNotFollowEverythingIsRefused(t *testing.T) {
	t.Parallel()
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close(t.Context())
	if _, err := New(reg, Config{}); err == nil {
		t.Error("it is taken")
	} else if _, is := errors.AsType[*rollcall.InvalidError](err); !is {
		t.Errorf("got %v", err)
	}
}

func TestARegistryThatIsClosedIsStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, reg, s := simulated(t, Config{})
		if _, err := reg.SetPolicy(t.Context(), "web", rollcall.Policy{Balancer: "pick_first"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.expect("at first", "web.service.rollcall.", "NOERROR 0 for 5s")
		if err := reg.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.expect("then", "web.service.rollcall.", "NOERROR 0 for 1s")
	})
}
