package dns

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"github.com/rollcall-io/rollcall"
)

// fleet is a service of which the tests ask about everything.
func fleet() []*rollcall.View {
	return []*rollcall.View{
		view("web",
			at("10.0.0.1:80", zone("eu.west"), version("1.2.3"), weight(300), port("http", "10.0.0.1:8080"), port("grpc", "10.0.0.1:9090")),
			at("10.0.0.2:80", zone("us"), version("v2"), weight(100), port("http", "10.9.9.9:8081")),
			at("[2001:db8::1]:80", zone("us"), version("1.2.3"), weight(1)),
			at("10.0.0.3:80", zone("us"), version("old"), draining, port("admin", "10.0.0.3:99")),
		),
		view("helloworld.Greeter", at("10.0.1.1:80")),
		view("deep.er.name", at("10.0.2.1:80")),
		view("named", at("db-1.Example.com:5432", weight(50)), at("10.0.3.1:5432", weight(50)), at("bad..name:1")),
		{Service: "policy-only", Policy: &rollcall.Policy{Balancer: "pick_first"}},
		view("leaving", at("10.0.4.1:80", draining), at("10.0.4.2:80", draining)),
		view("doubted", at("10.0.5.1:80", suspect), at("10.0.5.2:80")),
		view("twice", at("10.0.6.1:80", id("a"), weight(10)), at("10.0.6.1:80", id("b"), weight(20)), at("[::ffff:10.0.6.1]:81", id("c"), weight(20))),
		view("sick", at("10.0.7.1:80", func(i *rollcall.Instance) { i.Health = &rollcall.Health{Failing: true} }), at("10.0.7.2:80")),
		view("local", at("[fe80::1%eth0]:80")),
	}
}

func TestEachNameHasTheRecordsThatItShould(t *testing.T) {
	t.Parallel()
	views := fleet()
	if views[8].Instances[0].Serving() {
		t.Fatal("an instance that is meant to be sick is well")
	}
	s := serve(t, Config{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}}, views...)
	for _, c := range []struct {
		name  string
		rtype uint16
		want  string // records in short, of the answer and then of what comes with it
	}{
		{"web.service", mdns.TypeA, "A 10.0.0.1; A 10.0.0.2"},
		{"WEB.Service", mdns.TypeA, "A 10.0.0.1; A 10.0.0.2"},
		{"web.service", mdns.TypeAAAA, "AAAA 2001:db8::1"},
		{"web.service", mdns.TypeSRV, "SRV 0 1 80 ID; SRV 0 25 80 ID; SRV 0 75 80 ID + A 10.0.0.1; A 10.0.0.2; AAAA 2001:db8::1"},
		{"_grpc._tcp.web.service", mdns.TypeSRV, "SRV 0 1 80 ID; SRV 0 25 80 ID; SRV 0 75 80 ID + A 10.0.0.1; A 10.0.0.2; AAAA 2001:db8::1"},
		{"_http._tcp.web.service", mdns.TypeSRV, "SRV 0 25 8081 ID; SRV 0 75 8080 ID + A 10.0.0.1; A 10.9.9.9"},
		{"_x--3grpc._tcp.web.service", mdns.TypeSRV, "SRV 0 100 9090 ID + A 10.0.0.1"},
		{"_admin._tcp.web.service", mdns.TypeSRV, "SRV 0 100 99 ID + A 10.0.0.3"}, // nobody else has it
		{"_http._tcp.us.zone.web.service", mdns.TypeSRV, "SRV 0 100 8081 ID + A 10.9.9.9"},
		{"eu.west.zone.web.service", mdns.TypeA, "A 10.0.0.1"},
		{"us.zone.web.service", mdns.TypeA, "A 10.0.0.2"},
		{"1.2.3.version.web.service", mdns.TypeA, "A 10.0.0.1"},
		{"1.2.3.version.web.service", mdns.TypeAAAA, "AAAA 2001:db8::1"},
		{"1.2.3.version.us.zone.web.service", mdns.TypeAAAA, "AAAA 2001:db8::1"},
		{"us.zone.1.2.3.version.web.service", mdns.TypeAAAA, "AAAA 2001:db8::1"},
		{"old.version.web.service", mdns.TypeA, "A 10.0.0.3"}, // drains, and is all there is
		{"helloworld.x--greeter.service", mdns.TypeA, "A 10.0.1.1"},
		{"deep.er.name.service", mdns.TypeA, "A 10.0.2.1"},
		{"named.service", mdns.TypeA, "A 10.0.3.1"},
		{"named.service", mdns.TypeSRV, "SRV 0 50 5432 ID; SRV 0 50 5432 db-1.Example.com. + A 10.0.3.1"},
		{"leaving.service", mdns.TypeA, "A 10.0.4.1; A 10.0.4.2"},
		{"doubted.service", mdns.TypeA, "A 10.0.5.1; A 10.0.5.2"},
		{"twice.service", mdns.TypeA, "A 10.0.6.1"},
		{"twice.service", mdns.TypeSRV, "SRV 0 20 80 ID; SRV 0 40 80 ID; SRV 0 40 81 ID + A 10.0.6.1; A 10.0.6.1; A 10.0.6.1"},
		{"sick.service", mdns.TypeA, "A 10.0.7.2"},
		{"web.service", mdns.TypeANY, `HINFO "RFC8482" ""`},
		{"_http._tcp.web.service", mdns.TypeANY, `HINFO "RFC8482" ""`},
		{"", mdns.TypeANY, `HINFO "RFC8482" ""`},
		{"", mdns.TypeNS, "NS ns.rollcall. + A 192.0.2.53; AAAA 2001:db8::53"},
		{"", mdns.TypeSOA, "SOA ns.rollcall. hostmaster.rollcall. 1 3600 600 86400 5"},
		{"ns", mdns.TypeA, "A 192.0.2.53"},
		{"ns", mdns.TypeAAAA, "AAAA 2001:db8::53"},
		{"ns", mdns.TypeANY, `HINFO "RFC8482" ""`},

		// There is a name, and nothing of the type.
		{"", mdns.TypeA, "NODATA"},
		{"ns", mdns.TypeTXT, "NODATA"},
		{"service", mdns.TypeA, "NODATA"},
		{"instance", mdns.TypeA, "NODATA"},
		{"web.service", mdns.TypeTXT, "NODATA"},
		{"web.service", mdns.TypeMX, "NODATA"},
		{"helloworld.x--greeter.service", mdns.TypeAAAA, "NODATA"},
		{"x--greeter.service", mdns.TypeA, "NODATA"},
		{"name.service", mdns.TypeA, "NODATA"},
		{"er.name.service", mdns.TypeANY, "NODATA"},
		{"zone.web.service", mdns.TypeA, "NODATA"},
		{"west.zone.web.service", mdns.TypeA, "NODATA"},
		{"version.web.service", mdns.TypeA, "NODATA"},
		{"2.3.version.web.service", mdns.TypeA, "NODATA"},
		{"version.us.zone.web.service", mdns.TypeA, "NODATA"},
		{"v2.version.eu.west.zone.web.service", mdns.TypeA, "NODATA"},
		{"_tcp.web.service", mdns.TypeSRV, "NODATA"},
		{"_tcp.us.zone.web.service", mdns.TypeSRV, "NODATA"},
		{"_http._tcp.web.service", mdns.TypeA, "NODATA"},
		{"_admin._tcp.us.zone.1.2.3.version.web.service", mdns.TypeSRV, "NODATA"},
		{"_grpc_config.web.service", mdns.TypeA, "NODATA"},
		{"policy-only.service", mdns.TypeA, "NODATA"},
		{"_grpc._tcp.policy-only.service", mdns.TypeSRV, "NODATA"},
		{"local.service", mdns.TypeAAAA, "NODATA"},
		{"local.service", mdns.TypeSRV, "NODATA"},

		// There is no such name.
		{"nobody.service", mdns.TypeA, "NXDOMAIN"},
		{"nobody.service", mdns.TypeANY, "NXDOMAIN"},
		{"nothing", mdns.TypeA, "NXDOMAIN"},
		{"a.ns", mdns.TypeA, "NXDOMAIN"},
		{"a.web.service", mdns.TypeA, "NXDOMAIN"},
		{"greeter.service", mdns.TypeA, "NXDOMAIN"},
		{"eep.er.name.service", mdns.TypeA, "NXDOMAIN"},
		{"mars.zone.web.service", mdns.TypeA, "NXDOMAIN"},
		{"eu.zone.web.service", mdns.TypeA, "NXDOMAIN"},
		{"a.west.zone.web.service", mdns.TypeA, "NXDOMAIN"},
		{"us.zone.us.zone.web.service", mdns.TypeA, "NXDOMAIN"},
		{"zone.zone.web.service", mdns.TypeA, "NXDOMAIN"},
		{"us.zone.version.web.service", mdns.TypeA, "NXDOMAIN"},
		{"v9.version.us.zone.web.service", mdns.TypeA, "NXDOMAIN"},
		{"us.zone.v9.version.web.service", mdns.TypeA, "NXDOMAIN"},
		{"zone.service", mdns.TypeA, "NXDOMAIN"},
		{"us.zone.nobody.service", mdns.TypeA, "NXDOMAIN"},
		{"zone.leaving.service", mdns.TypeA, "NXDOMAIN"},
		{"us.zone.x--greeter.service", mdns.TypeA, "NXDOMAIN"},
		{"_nothing._tcp.web.service", mdns.TypeSRV, "NXDOMAIN"},
		{"_http._udp.web.service", mdns.TypeSRV, "NXDOMAIN"},
		{"_http.web.service", mdns.TypeSRV, "NXDOMAIN"},
		{"a._tcp.service", mdns.TypeSRV, "NXDOMAIN"},
		{"_tcp.service", mdns.TypeSRV, "NXDOMAIN"},
		{"_tcp.zone.web.service", mdns.TypeSRV, "NXDOMAIN"},
		{"_grpc._tcp.x--greeter.service", mdns.TypeSRV, "NXDOMAIN"},
		{"_grpc_config.service", mdns.TypeTXT, "NXDOMAIN"},
		{"a.instance", mdns.TypeA, "NXDOMAIN"},
		{"aaaaaaaaaaaaaaaa.instance", mdns.TypeA, "NXDOMAIN"},
		{"a.ppe5couoeljqp53z.instance", mdns.TypeA, "NXDOMAIN"},
	} {
		name := strings.TrimPrefix(c.name+".rollcall.", ".")
		full := s.ask("tcp", question(name, c.rtype, 4096))
		if got := short(t, full, name); got != c.want {
			t.Errorf("%s %s:\n got %s\nwant %s", name, mdns.TypeToString[c.rtype], got, c.want)
		}
		if r := s.ask("udp", question(name, c.rtype, 0)); r.Rcode != full.Rcode || len(r.Answer) < len(full.Answer) && !r.Truncated || len(r.Ns) != len(full.Ns) {
			t.Errorf("%s %s: by UDP the answer is another one:\n%v", name, mdns.TypeToString[c.rtype], r)
		}
	}
}

// short writes an answer in one line, and checks what holds for all of them.
func short(t *testing.T, r *mdns.Msg, name string) string {
	t.Helper()
	if !r.Authoritative {
		t.Errorf("%s: the answer is not authoritative", name)
	}
	data := func(rrs []mdns.RR, owner string) string {
		var list []string
		for _, line := range lines(rrs) {
			fields := strings.Fields(line)
			if owner != "" && fields[0] != owner || fields[1] != "5" || fields[2] != "IN" {
				t.Errorf("%s: a record of another name or TTL: %s", name, line)
			}
			for n, f := range fields {
				if label, ok := strings.CutSuffix(f, ".instance.rollcall."); ok && len(label) == 16 {
					fields[n] = "ID"
				}
			}
			list = append(list, strings.Join(fields[3:], " "))
		}
		// Sorted again, without what differs from run to run.
		return strings.Join(sorted(list), "; ")
	}
	if len(r.Answer) == 0 {
		if len(r.Ns) != 1 || r.Ns[0].Header().Rrtype != mdns.TypeSOA || r.Ns[0].Header().Name != "rollcall." {
			t.Errorf("%s: no SOA says for how long there is nothing: %v", name, r.Ns)
		}
		if r.Rcode == mdns.RcodeSuccess {
			return "NODATA"
		}
		return mdns.RcodeToString[r.Rcode]
	}
	got := data(r.Answer, name)
	if extra := data(r.Extra, ""); extra != "" {
		got += " + " + extra
	}
	return got
}

func TestTheTargetsOfServersResolve(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, fleet()...)
	for _, c := range []struct{ name, want string }{
		{"_http._tcp.web.service.rollcall.", "10.0.0.1:8080 10.9.9.9:8081"},
		{"web.service.rollcall.", "10.0.0.1:80 10.0.0.2:80 [2001:db8::1]:80"},
		{"leaving.service.rollcall.", "10.0.4.1:80 10.0.4.2:80"}, // those that drain keep their names
		{"twice.service.rollcall.", "10.0.6.1:80 10.0.6.1:80 10.0.6.1:81"},
	} {
		var got []string
		for _, rr := range s.get(c.name, mdns.TypeSRV).Answer {
			srv := rr.(*mdns.SRV)
			for _, rtype := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
				for _, rr := range s.get(srv.Target, rtype).Answer {
					ip := netip.MustParseAddr(strings.Fields(rr.String())[4])
					got = append(got, netip.AddrPortFrom(ip, srv.Port).String())
				}
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(sorted(got), " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestAnInstanceThatIsANameIsAnAlias(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, fleet()...)
	name := text(appendID(nil, serviceID("named"), idOf("named", "db-1.Example.com:5432", ""))) + ".instance.rollcall."
	for _, rtype := range []uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeCNAME, mdns.TypeANY} {
		if got := short(t, s.get(name, rtype), name); got != "CNAME db-1.Example.com." {
			t.Errorf("type %d: %s", rtype, got)
		}
	}
	ip := text(appendID(nil, serviceID("named"), idOf("named", "10.0.3.1:5432", ""))) + ".instance.rollcall."
	for rtype, want := range map[uint16]string{mdns.TypeA: "A 10.0.3.1", mdns.TypeAAAA: "NODATA", mdns.TypeCNAME: "NODATA", mdns.TypeANY: `HINFO "RFC8482" ""`} {
		if got := short(t, s.get(ip, rtype), ip); got != want {
			t.Errorf("type %d: %s, want %s", rtype, got, want)
		}
	}
}

func TestTheDomainMayHaveSeveralLabels(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{Domain: "RC.example.com", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}, view("web", at("10.0.0.1:80")))
	for name, want := range map[string][]string{
		"web.service.rc.example.com.": {"web.service.rc.example.com. 5 IN A 10.0.0.1"},
		"ns.rc.example.com.":          {"ns.rc.example.com. 5 IN A 192.0.2.53"},
	} {
		if diff := cmp.Diff(want, lines(s.get(name, mdns.TypeA).Answer)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	srv := s.get("web.service.rc.example.com.", mdns.TypeSRV)
	if len(srv.Extra) != 2 || !strings.HasSuffix(srv.Answer[0].(*mdns.SRV).Target, ".instance.rc.example.com.") {
		t.Errorf("got %v", srv)
	}
	for _, name := range []string{"example.com.", "web.service.example.com.", "web.service.rollcall.", "xrc.example.com.", "com.", "."} {
		if r := s.get(name, mdns.TypeA); r.Rcode != mdns.RcodeRefused || len(r.Ns) > 0 || r.Authoritative {
			t.Errorf("%s: %v", name, r)
		}
	}
	nx := s.get("nobody.service.rc.example.com.", mdns.TypeA)
	if len(nx.Ns) != 1 || !strings.Contains(nx.Ns[0].String(), "ns.rc.example.com. hostmaster.rc.example.com.") {
		t.Errorf("got %v", nx)
	}
}

func TestWhatNobodyMayBeToldOfIsUnknown(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	s := serve(t, Config{Sight: func() func(string) bool {
		return func(service string) bool { return open.Load() || !strings.HasPrefix(service, "secret") }
	}}, view("web", at("10.0.0.1:80")), view("secret", at("10.0.0.2:80", zone("a"))), view("secret.of.all", at("10.0.0.3:80")))
	target := text(appendID(nil, serviceID("secret"), idOf("secret", "10.0.0.2:80", ""))) + ".instance.rollcall."
	names := []string{
		"secret.service.rollcall.", "a.zone.secret.service.rollcall.", "_grpc._tcp.secret.service.rollcall.",
		"_grpc_config.secret.service.rollcall.", "all.service.rollcall.", "of.all.service.rollcall.", "secret.of.all.service.rollcall.", target,
	}
	for _, name := range names {
		if r := s.get(name, mdns.TypeANY); r.Rcode != mdns.RcodeNameError {
			t.Errorf("%s: %v", name, r)
		}
	}
	if r := s.get("web.service.rollcall.", mdns.TypeA); len(r.Answer) != 1 {
		t.Errorf("what may be told is not: %v", r)
	}
	open.Store(true)
	for _, name := range names {
		if r := s.get(name, mdns.TypeANY); r.Rcode != mdns.RcodeSuccess {
			t.Errorf("%s may be told, and is not: %v", name, r)
		}
	}
}
