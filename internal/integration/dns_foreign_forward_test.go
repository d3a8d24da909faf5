package integration

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// forwarder is a resolver that asks our server for those who ask it.
type forwarder struct {
	*foreignDNS
	addr string
}

// forwardedTTL is shorter than ours is, for the sake of tests that wait for its end.
const forwardedTTL = 2 * time.Second

func startForwardedDNS(t *testing.T) *foreignDNS {
	t.Helper()
	return startForeignDNSWith(t, server.Config{DNSListen: "127.0.0.1:0", DNSTTL: forwardedTTL})
}

// startUnbound runs unbound as the documentation says, and does not let it ask anybody else. It validates: without a word of ours it would ask
// the root whether there is such a domain.
func (w *foreignDNS) startUnbound() forwarder {
	w.t.Helper()
	unbound := programOf(w.t, "unbound")
	f := forwarder{w, freeAddr(w.t)}
	runDaemon(w.t, unbound, "-d", "-p", "-c", writeFile(w.t, "unbound.conf", fmt.Sprintf(`
server:
    interface: 127.0.0.1
    port: %s
    outgoing-interface: 127.0.0.1
    directory: %q
    chroot: ""
    username: ""
    use-syslog: no
    use-caps-for-id: yes
    harden-below-nxdomain: yes
    trust-anchor: ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
%s`, f.port(), w.t.TempDir(), w.example("unbound"))))
	f.up()
	return f
}

// startCoreDNS runs CoreDNS as the documentation says, but at another port, which is on loopback only.
func (w *foreignDNS) startCoreDNS() forwarder {
	w.t.Helper()
	coredns := programOf(w.t, "coredns")
	f := forwarder{w, freeAddr(w.t)}
	runDaemon(w.t, coredns, "-conf", writeFile(w.t, "Corefile", strings.Replace(w.example("CoreDNS"), ":53 {", ":"+f.port()+" {\n    bind 127.0.0.1", 1)))
	f.up()
	return f
}

func (f forwarder) port() string {
	_, port, _ := net.SplitHostPort(f.addr)
	return port
}

func (f forwarder) dig(args ...string) digAnswer {
	f.t.Helper()
	return digAt(f.t, f.port(), args...)
}

func (f forwarder) up() {
	f.t.Helper()
	programOf(f.t, "dig")
	eventually(f.t, processPatience, "a forwarder to listen", func() bool {
		conn, err := net.Dial("tcp", f.addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// tells wants all that we tell to be told by a forwarder, too: it is what a client without our port sees.
func (f forwarder) tells() {
	t := f.t
	t.Helper()
	big := f.many("big")
	f.add("web", rollcall.Instance{Addr: "10.0.0.1:50051", Addrs: map[string]string{"http": "10.0.0.1:8080"}},
		rollcall.Instance{Addr: "10.0.0.2:50051", Zone: "b"}, rollcall.Instance{Addr: "[2001:db8::3]:50051"})
	const web = "web.service.rollcall."
	http := f.dig("_http._tcp."+web, "SRV")
	if len(http.Answer) != 1 || !strings.HasPrefix(data(http.Answer, 0)[0], "0 100 8080 ") {
		t.Fatalf("SRV is answered:\n%s", http.text)
	}
	target := data(http.Answer, 3)[0]
	for question, want := range map[string][]string{
		web + " A":                     {"10.0.0.1", "10.0.0.2"},
		web + " AAAA":                  {"2001:db8::3"},
		"b.zone." + web + " A":         {"10.0.0.2"},
		target + " A":                  {"10.0.0.1"},
		target + " AAAA":               nil,
		web + " MX":                    nil,
		"service.rollcall. A":          nil,
		"_grpc_config." + web + " TXT": {`"grpc_config=[{\"serviceConfig\":{\"loadBalancingConfig\":[{\"round_robin\":{}}]}}]"`},
	} {
		got := f.dig(strings.Fields(question)...)
		mustEqual(t, "the status of "+question, got.Status, "NOERROR")
		mustEqual(t, question, data(got.Answer, 0), want)
		if want == nil && len(got.Authority) != 1 {
			t.Errorf("%s: the authority for that there is nothing is %v, want the SOA", question, got.Authority)
		}
	}
	unknown := f.dig("else.service.rollcall.", "A")
	mustEqual(t, "the status of a name that nobody has", unknown.Status, "NXDOMAIN")

	// More than an answer by UDP has, of ours and of the forwarder's.
	whole := f.dig("big.service.rollcall.", "A")
	if mustEqual(t, "by", whole.by, "TCP"); !strings.Contains(whole.text, "Truncated, retrying in TCP mode") {
		t.Errorf("dig was not sent to TCP:\n%s", whole.text)
	}
	mustEqual(t, "all addresses", data(whole.Answer, 0), big)
	servers := f.dig("_grpc._tcp.big.service.rollcall.", "SRV")
	mustEqual(t, "SRV records", len(slices.Compact(data(servers.Answer, 3))), len(big))
	for _, s := range data(servers.Answer, 0) {
		if !strings.HasPrefix(s, "0 1 8080 ") {
			t.Errorf("an SRV record is %s", s)
		}
	}
}

// remembersDenials wants what is not there to be asked for once in a TTL, and to be found when it has passed.
func (f forwarder) remembersDenials() {
	t := f.t
	t.Helper()
	const denials, questions = `rollcall_dns_answers_total{code="NXDOMAIN"}`, 10
	for try := 0; ; try++ {
		name := fmt.Sprintf("late-%d", try)
		before, began := f.metric(denials), time.Now()
		for range questions {
			got := f.dig(name+".service.rollcall.", "A")
			if mustEqual(t, "status", got.Status, "NXDOMAIN"); len(got.Authority) != 1 || !strings.HasSuffix(got.Authority[0], " 3600 600 86400 2") {
				t.Fatalf("the SOA of a denial is %v", got.Authority)
			}
		}
		asked, took := f.metric(denials)-before, time.Since(began)
		if took > forwardedTTL && try < 5 {
			continue // on a busy machine the TTL has passed meanwhile
		}
		if asked != 1 {
			t.Errorf("%d questions in %v were %v to our server, want 1", questions, took, asked)
		}
		f.add(name, rollcall.Instance{Addr: "10.0.0.9:1"})
		var got digAnswer
		eventually(t, processPatience, "a service that was denied to be found", func() bool {
			got = f.dig(name+".service.rollcall.", "A")
			return got.Status == "NOERROR"
		})
		mustEqual(t, "the late one", data(got.Answer, 0), []string{"10.0.0.9"})
		return
	}
}

// forgets wants what has left to be told for no longer than the TTL says.
func (f forwarder) forgets() {
	t := f.t
	t.Helper()
	both := f.add("leaving", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.Instance{Addr: "10.0.0.2:1"})
	mustEqual(t, "both", data(f.dig("leaving.service.rollcall.").Answer, 0), []string{"10.0.0.1", "10.0.0.2"})
	if err := both[0].Drain(within(t, processPatience)); err != nil {
		t.Fatal(err)
	}
	f.await("leaving", 1)
	left := time.Now()
	eventually(t, processPatience, "only the other one to be told of", func() bool {
		return slices.Equal(data(f.dig("leaving.service.rollcall.").Answer, 0), []string{"10.0.0.2"})
	})
	if took := time.Since(left); took > 20*time.Second {
		t.Errorf("one that drains was told of for %v more, with a TTL of %v", took, forwardedTTL)
	}
}

func TestUnboundTellsAllThatWeTell(t *testing.T) {
	t.Parallel()
	startForwardedDNS(t).startUnbound().tells()
}

func TestUnboundAsksForWhatIsNotThereOnceInATTL(t *testing.T) {
	t.Parallel()
	startForwardedDNS(t).startUnbound().remembersDenials()
}

func TestUnboundForgetsWhoDrainsWithTheTTL(t *testing.T) {
	t.Parallel()
	startForwardedDNS(t).startUnbound().forgets()
}

func TestCoreDNSTellsAllThatWeTell(t *testing.T) {
	t.Parallel()
	startForwardedDNS(t).startCoreDNS().tells()
}

func TestCoreDNSAsksForWhatIsNotThereOnceInATTL(t *testing.T) {
	t.Parallel()
	startForwardedDNS(t).startCoreDNS().remembersDenials()
}

func TestCoreDNSForgetsWhoDrainsWithTheTTL(t *testing.T) {
	t.Parallel()
	startForwardedDNS(t).startCoreDNS().forgets()
}
