package integration

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// lookedUp has a resolver look up addresses, "ip4" or "ip6", and returns them sorted.
func lookedUp(t *testing.T, r *net.Resolver, network, name string) (found []string) {
	t.Helper()
	ips, err := r.LookupNetIP(within(t, processPatience), network, name)
	if err != nil {
		t.Errorf("%s %s: %v", network, name, err)
	}
	for _, ip := range ips {
		found = append(found, ip.String())
	}
	slices.Sort(found)
	return found
}

func TestGosResolverFindsWhatThereIs(t *testing.T) {
	t.Parallel()
	w := startForeignDNS(t)
	w.add("web", rollcall.Instance{Addr: "10.0.0.1:50051", Addrs: map[string]string{"http": "10.0.0.1:8080"}},
		rollcall.Instance{Addr: "10.0.0.2:50052", Weight: 3 * rollcall.DefaultWeight}, rollcall.Instance{Addr: "[2001:db8::3]:50053"})
	big := w.many("big")
	const web = "web.service.rollcall."
	r := w.resolver()
	mustEqual(t, "A", lookedUp(t, r, "ip4", web), []string{"10.0.0.1", "10.0.0.2"})
	mustEqual(t, "AAAA", lookedUp(t, r, "ip6", web), []string{"2001:db8::3"})
	mustEqual(t, "both", lookedUp(t, r, "ip", web), []string{"10.0.0.1", "10.0.0.2", "2001:db8::3"})
	mustEqual(t, "more than one answer by UDP has", lookedUp(t, r, "ip4", "big.service.rollcall."), big)

	_, servers, err := r.LookupSRV(within(t, processPatience), "http", "tcp", web)
	if err != nil || len(servers) != 1 || servers[0].Port != 8080 || servers[0].Priority != 0 || servers[0].Weight != 100 {
		t.Fatalf("SRV: %v, %v", servers, err)
	}
	mustEqual(t, "the address of its target", lookedUp(t, r, "ip", servers[0].Target), []string{"10.0.0.1"})
	_, servers, err = r.LookupSRV(within(t, processPatience), "grpc", "tcp", web)
	if err != nil {
		t.Fatal(err)
	}
	weights := map[uint16]uint16{}
	for _, s := range servers {
		weights[s.Port] = s.Weight
	}
	mustEqual(t, "weights by port", weights, map[uint16]uint16{50051: 20, 50052: 60, 50053: 20})
	if _, servers, err = r.LookupSRV(within(t, processPatience), "grpc", "tcp", "big.service.rollcall."); err != nil || len(servers) != manyInstances {
		t.Errorf("%d SRV records, %v, want %d", len(servers), err, manyInstances)
	}
	if _, err := r.LookupNetIP(within(t, processPatience), "ip4", "else.service.rollcall."); !isNotFound(err) {
		t.Errorf("a name that nobody has: %v", err)
	}
	if _, err := r.LookupNetIP(within(t, processPatience), "ip4", "service.rollcall."); !isNotFound(err) {
		t.Errorf("a name without addresses: %v", err)
	}
}

func isNotFound(err error) bool {
	missing, is := errors.AsType[*net.DNSError](err)
	return is && missing.IsNotFound
}

// A client that takes the first address only is sent to each as its weight says.
func TestTheFirstAddressIsAnotherOneByChanceAndWeight(t *testing.T) {
	t.Parallel()
	w := startForeignDNSWith(t, server.Config{DNSListen: "127.0.0.1:0", DNSRate: -1}) // Go waits 5 s for an answer that a limit holds back
	w.add("web", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.Instance{Addr: "10.0.0.2:1", Weight: 3 * rollcall.DefaultWeight})
	first := map[string]int{}
	const lookups = 800 // what is allowed to either side is 6 standard deviations
	for range lookups {
		ips, err := w.resolver().LookupHost(within(t, processPatience), "web.service.rollcall.")
		if err != nil || len(ips) != 2 {
			t.Fatal(ips, err)
		}
		first[ips[0]]++
	}
	if part := 100 * float64(first["10.0.0.2"]) / lookups; part < 65 || part > 85 {
		t.Errorf("the one of three quarters of the weight is first in %.0f %% of the answers: %v", part, strings.TrimPrefix(fmt.Sprint(first), "map"))
	}
}
