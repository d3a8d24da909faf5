package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

// digAnswer is what dig says of one answer.
type digAnswer struct {
	Status, Flags                 string
	Answer, Authority, Additional []string // records, sorted, as "name ttl type data"

	question string // as the answer repeats it
	size     int
	by       string // UDP or TCP
	text     string
}

var digLine = regexp.MustCompile(`^;; (?:->>HEADER<<- opcode: QUERY, status: (?P<status>\w+)|flags: (?P<flags>[a-z ]*);|(?P<section>[A-Z]+) SECTION:|SERVER: .*\((?P<by>UDP|TCP)\)|MSG SIZE  rcvd: (?P<size>\d+))`)

// dig asks our server, or another one on this machine.
func (w *foreignDNS) dig(args ...string) digAnswer {
	w.t.Helper()
	return digAt(w.t, w.port(), args...)
}

func digAt(t *testing.T, port string, args ...string) digAnswer {
	t.Helper()
	text := run(t, programOf(t, "dig"), append([]string{"-r", "@127.0.0.1", "-p", port, "+tries=3", "+time=5"}, args...)...)
	a, section := digAnswer{text: text}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := digLine.FindStringSubmatch(line); m != nil {
			named := func(name string) string { return m[digLine.SubexpIndex(name)] }
			a.Status, a.by = a.Status+named("status"), a.by+named("by")
			a.Flags += named("flags")
			section = named("section")
			_, _ = fmt.Sscan(named("size"), &a.size)
			continue
		}
		record := strings.ReplaceAll(strings.Join(strings.Fields(line), " "), " IN ", " ")
		switch {
		case record == "":
			section = ""
		case section == "QUESTION":
			a.question = record
		case section == "ANSWER":
			a.Answer = append(a.Answer, record)
		case section == "AUTHORITY":
			a.Authority = append(a.Authority, record)
		case section == "ADDITIONAL":
			a.Additional = append(a.Additional, record)
		}
	}
	slices.Sort(a.Answer)
	slices.Sort(a.Authority)
	slices.Sort(a.Additional)
	return a
}

// data returns the data of records without that of the first fields, sorted.
func data(records []string, fields int) (out []string) {
	for _, r := range records {
		out = append(out, strings.Join(strings.Fields(r)[3+fields:], " "))
	}
	slices.Sort(out)
	return out
}

// records makes records of a name, with our TTL.
func records(name string, data ...string) (out []string) {
	for _, d := range data {
		out = append(out, name+" 5 "+d)
	}
	return out
}

// startDigWorld has a service of three instances, of which one speaks IPv6 only.
func startDigWorld(t *testing.T) *foreignDNS {
	t.Helper()
	programOf(t, "dig")
	w := startForeignDNS(t)
	w.add("web",
		rollcall.Instance{Addr: "10.0.0.1:50051", Addrs: map[string]string{"http": "10.0.0.1:8080"}, Zone: "a", Version: "1.2"},
		rollcall.Instance{Addr: "10.0.0.2:50052", Zone: "b", Version: "1.2", Weight: 2 * rollcall.DefaultWeight},
		rollcall.Instance{Addr: "[2001:db8::3]:50053", Zone: "b", Version: "2"})
	register(t, w.reg, "OrderService", rollcall.Instance{Addr: "orders.example.com:443"})
	w.await("x--order--service", 1)
	return w
}

func TestDigIsToldWhatThereIsOfEachTypeByUDPAndTCP(t *testing.T) {
	t.Parallel()
	w := startDigWorld(t)
	const web, ns = "web.service.rollcall.", "ns.rollcall."
	apex := w.dig("rollcall.", "SOA")
	if len(apex.Answer) != 1 {
		t.Fatalf("SOA is answered:\n%s", apex.text)
	}
	soa := fmt.Sprintf("SOA ns.rollcall. hostmaster.rollcall. %s 3600 600 86400 5", strings.Fields(apex.Answer[0])[5])
	target := map[string]string{} // the instances' own names, by their ports
	for _, r := range data(w.dig(web, "SRV").Answer, 2) {
		port, name, _ := strings.Cut(r, " ")
		target[port] = name
	}
	denied := digAnswer{Status: "NOERROR", Authority: records("rollcall.", soa)}
	unknown := digAnswer{Status: "NXDOMAIN", Authority: denied.Authority}
	has := func(name string, data ...string) digAnswer {
		return digAnswer{Status: "NOERROR", Answer: records(name, data...)}
	}
	servers := has(web, "SRV 0 25 50051 "+target["50051"], "SRV 0 25 50053 "+target["50053"], "SRV 0 50 50052 "+target["50052"])
	servers.Additional = []string{target["50051"] + " 5 A 10.0.0.1", target["50052"] + " 5 A 10.0.0.2", target["50053"] + " 5 AAAA 2001:db8::3"}
	slices.Sort(servers.Additional)
	under := func(name string, a digAnswer) digAnswer {
		a.Answer = slices.Clone(a.Answer)
		for i, r := range a.Answer {
			a.Answer[i] = strings.Replace(r, web, name, 1)
		}
		return a
	}
	http := has("_http._tcp."+web, "SRV 0 100 8080 "+target["50051"])
	http.Additional = records(target["50051"], "A 10.0.0.1")
	nameServer := has("rollcall.", "NS "+ns)
	nameServer.Additional = records(ns, "A 127.0.0.1")
	for question, want := range map[string]digAnswer{
		web + " A":                                has(web, "A 10.0.0.1", "A 10.0.0.2"),
		web + " AAAA":                             has(web, "AAAA 2001:db8::3"),
		web + " SRV":                              servers,
		"_grpc._tcp." + web + " SRV":              under("_grpc._tcp."+web, servers),
		"_http._tcp." + web + " SRV":              http,
		"_admin._tcp." + web + " SRV":             unknown,
		"_tcp." + web + " SRV":                    denied,
		"b.zone." + web + " A":                    has("b.zone."+web, "A 10.0.0.2"),
		"c.zone." + web + " A":                    unknown,
		"1.2.version." + web + " A":               has("1.2.version."+web, "A 10.0.0.1", "A 10.0.0.2"),
		"2.version." + web + " A":                 denied,
		"b.zone.1.2.version." + web + " A":        has("b.zone.1.2.version."+web, "A 10.0.0.2"),
		"2.version.b.zone." + web + " AAAA":       has("2.version.b.zone."+web, "AAAA 2001:db8::3"),
		target["50052"] + " A":                    has(target["50052"], "A 10.0.0.2"),
		target["50052"] + " AAAA":                 denied,
		target["50053"] + " AAAA":                 has(target["50053"], "AAAA 2001:db8::3"),
		"x--order--service.service.rollcall. SRV": has("x--order--service.service.rollcall.", "SRV 0 100 443 orders.example.com."),
		"_grpc_config." + web + " TXT":            has("_grpc_config."+web, `TXT "grpc_config=[{\"serviceConfig\":{\"loadBalancingConfig\":[{\"round_robin\":{}}]}}]"`),
		"rollcall. NS":                            nameServer,
		"rollcall. SOA":                           has("rollcall.", soa),
		ns + " A":                                 has(ns, "A 127.0.0.1"),
		web + " ANY":                              has(web, `HINFO "RFC8482" ""`),
		web + " MX":                               denied,
		web + " TYPE65":                           denied, // HTTPS
		"service.rollcall. A":                     denied,
		"else.service.rollcall. A":                unknown,
		"nowhere.rollcall. A":                     unknown,
		"example.com. A":                          {Status: "REFUSED"},
		"version.bind. CH TXT":                    {Status: "REFUSED"},
	} {
		want.by = "UDP"
		w.wantDug(want, question, "+notcp")
		w.wantDug(want, question, "+notcp", "+norec")
		want.by = "TCP"
		w.wantDug(want, question, "+tcp")
	}
}

// wantDug wants an answer to dig, for which the flags are ours for a server that asks nobody else.
func (w *foreignDNS) wantDug(want digAnswer, question string, options ...string) {
	w.t.Helper()
	want.Flags = "qr aa"
	if want.Status == "REFUSED" {
		want.Flags = "qr"
	}
	if !slices.Contains(options, "+norec") {
		want.Flags += " rd"
	}
	got := w.dig(append(strings.Fields(question), options...)...)
	got.question, got.size, got.text = "", 0, ""
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(digAnswer{})); diff != "" {
		w.t.Errorf("%s %v (-want +got):\n%s", question, options, diff)
	}
}

func TestDigIsRefusedATransfer(t *testing.T) {
	t.Parallel()
	w := startDigWorld(t)
	const refusals = `rollcall_dns_answers_total{code="REFUSED"}`
	for n, kind := range []string{"AXFR", "IXFR=1"} {
		if got := w.dig("rollcall.", kind); !strings.Contains(got.text, "Transfer failed") || strings.Contains(got.text, "10.0.0.1") {
			t.Errorf("%s is answered:\n%s", kind, got.text)
		}
		if got := w.metric(refusals); got != float64(n+1) {
			t.Errorf("%v refusals after %s, want %d", got, kind, n+1)
		}
	}
}

// Resolvers that mix capital and small letters by chance compare them: an answer that has them otherwise is forged.
func TestDigIsAnsweredInTheLettersThatItAskedIn(t *testing.T) {
	t.Parallel()
	w := startDigWorld(t)
	const mixed = "wEb.SErvIce.RollCALL."
	got := w.dig(mixed, "A")
	mustEqual(t, "the question", got.question, ";"+mixed+" A")
	mustEqual(t, "the answer", got.Answer, records(mixed, "A 10.0.0.1", "A 10.0.0.2"))
}

func TestTheQuestionsInTheDocumentationAreAnswered(t *testing.T) {
	t.Parallel()
	programOf(t, "dig")
	w := startForeignDNS(t)
	w.add("web", rollcall.Instance{Addr: "10.0.0.1:50051"})
	answered := run(t, "sh", "-euxc", w.example("dig"))
	mustEqual(t, "questions", strings.Count(answered, "+ dig "), 3)
	for _, part := range []string{"A 10.0.0.1", "SRV 0 100 50051 ", `TXT "grpc_config=`} {
		if n := strings.Count(strings.Join(strings.Fields(answered), " "), " IN "+part); n == 0 {
			t.Errorf("there is no %s in\n%s", part, answered)
		}
	}
}
