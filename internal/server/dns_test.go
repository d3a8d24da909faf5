package server_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// askDNS asks a server for a name, and returns the code of the answer and the records in it.
func askDNS(t *testing.T, network, addr, name string, qtype uint16) (code string, records []string) {
	t.Helper()
	client := &dns.Client{Net: network}
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	resp, _, err := client.ExchangeContext(bounded(t), m, addr)
	if err != nil {
		t.Fatalf("ask %s for %s by %s: %v", addr, name, network, err)
	}
	for _, rr := range resp.Answer {
		switch r := rr.(type) {
		case *dns.A:
			records = append(records, r.A.String())
		case *dns.SRV:
			records = append(records, net.JoinHostPort(r.Target, "port"))
		default:
			records = append(records, rr.String())
		}
	}
	slices.Sort(records)
	return dns.RcodeToString[resp.Rcode], records
}

func TestNamesAreAnsweredByUDPAndTCP(t *testing.T) {
	t.Parallel()
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.DNSListen, cfg.DNSDomain, cfg.Prefix = "127.0.0.1:0", "corp.example", rollcall.DefaultPrefix
	info, stop := start(t, cfg)
	defer func() { _ = stop() }()
	reg, err := rollcall.Open(rollcall.ClientConfig(info.Endpoints...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reg.Close(t.Context()) }()
	if _, err := reg.Register(bounded(t), "Web.shop", rollcall.Instance{Addr: "10.0.0.7:80"}); err != nil {
		t.Fatal(err)
	}
	const name = "x--web.shop.service.corp.example."
	for _, network := range []string{"udp", "tcp"} {
		poll(t, "the name is there", func() bool {
			code, records := askDNS(t, network, info.DNS, name, dns.TypeA)
			return code == "NOERROR" && slices.Equal(records, []string{"10.0.0.7"})
		})
	}
	if code, _ := askDNS(t, "udp", info.DNS, "other.service.corp.example.", dns.TypeA); code != "NXDOMAIN" {
		t.Errorf("a name that nobody has registered is %s", code)
	}
	if code, _ := askDNS(t, "udp", info.DNS, "web.service.rollcall.", dns.TypeA); code != "REFUSED" {
		t.Errorf("a name of another domain is %s", code)
	}
	if code, records := askDNS(t, "udp", info.DNS, "ns.corp.example.", dns.TypeA); code != "NOERROR" || !slices.Equal(records, []string{"127.0.0.1"}) {
		t.Errorf("the server itself is %s %q", code, records)
	}
	_, page, err := get(t, info.HTTP+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`rollcall_dns_answers_total{code="NXDOMAIN"} `, `rollcall_dns_answers_total{code="REFUSED"} 1`, `rollcall_dns_questions_total{type="A"} `} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	lis, err := net.ListenPacket("udp", info.DNS)
	if err != nil {
		t.Fatalf("after the stop its port is still taken: %v", err)
	}
	_ = lis.Close()
}

func TestDNSTellsWhatAnybodyMayRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(rules, []byte("rules:\n- identities: [anonymous]\n  verbs: [read]\n  services: [open]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := serving(filepath.Join(dir, "data"))
	cfg.DNSListen, cfg.Prefix, cfg.Authz, cfg.Insecure = "127.0.0.1:0", rollcall.DefaultPrefix, rules, true
	info, stop := start(t, cfg)
	defer func() { _ = stop() }()
	reg, err := rollcall.Open(rollcall.ClientConfig(info.Endpoints...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reg.Close(t.Context()) }()
	for _, service := range []string{"hidden", "open"} {
		if _, err := reg.Register(bounded(t), service, rollcall.Instance{Addr: "10.0.0.7:80"}); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, "what everybody may read is told", func() bool {
		code, _ := askDNS(t, "udp", info.DNS, "open.service.rollcall.", dns.TypeA)
		return code == "NOERROR"
	})
	hidden, _ := askDNS(t, "udp", info.DNS, "hidden.service.rollcall.", dns.TypeSRV)
	unknown, _ := askDNS(t, "udp", info.DNS, "unknown.service.rollcall.", dns.TypeSRV)
	if hidden != "NXDOMAIN" || unknown != hidden {
		t.Errorf("a hidden service is %s, an unknown one %s", hidden, unknown)
	}
}

func TestATakenPortOfDNSIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cfg := onFreePort(filepath.Join(t.TempDir(), "data"))
	cfg.Prefix, cfg.DNSListen = rollcall.DefaultPrefix, taken.LocalAddr().String()
	err = server.Run(bounded(t), cfg, nil)
	wantText(t, err, taken.LocalAddr().String(), "--dns-listen")
}
