package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

// hook records every connection that a dialer is about to make, and every name that it asks for. It stands below all rules but the last.
type hook struct {
	mu       sync.Mutex
	attempts []string
	asked    []string
}

func (h *hook) watch(d *dialer) {
	control := d.net.ControlContext
	d.net.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		h.mu.Lock()
		h.attempts = append(h.attempts, address)
		h.mu.Unlock()
		return control(ctx, network, address, c)
	}
}

// answering is a resolver that answers each question with the next of some addresses, and with the last of them from then on.
func (h *hook) answering(answers ...[]string) func(context.Context, string, string) ([]netip.Addr, error) {
	return func(_ context.Context, _, host string) ([]netip.Addr, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		n := min(len(h.asked), len(answers)-1)
		h.asked = append(h.asked, host)
		var out []netip.Addr
		for _, text := range answers[n] {
			out = append(out, netip.MustParseAddr(text))
		}
		return out, nil
	}
}

func (h *hook) dialled() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.attempts)
}

// all are checks of every type.
func allChecks() []rollcall.Check {
	var out []rollcall.Check
	for _, c := range []rollcall.Check{
		{Type: rollcall.CheckTCP}, {Type: rollcall.CheckHTTP}, {Type: rollcall.CheckHTTP, TLS: true}, {Type: rollcall.CheckGRPC}, {Type: rollcall.CheckGRPC, TLS: true},
	} {
		out = append(out, c.WithDefaults())
	}
	return out
}

func TestRefusedAddressesAreNeverDialled(t *testing.T) {
	t.Parallel()
	var h hook
	d := newDialer(newRules(false, nil, nil), h.answering([]string{"169.254.169.254"}))
	h.watch(d)
	p := newProber(d)
	for _, c := range allChecks() {
		for addr, want := range never {
			if outcome := p.probe(t.Context(), addr, c); outcome != want.Error() {
				t.Errorf("%s %s: %q, want %q", c.Type, addr, outcome, want)
			}
		}
		for addr, want := range map[string]refusal{"127.0.0.1:80": refusedLoopback, "innocent.example:80": refusedLinkLocal} {
			if outcome := p.probe(t.Context(), addr, c); outcome != want.Error() {
				t.Errorf("%s %s: %q, want %q", c.Type, addr, outcome, want)
			}
		}
	}
	if got := h.dialled(); len(got) > 0 {
		t.Errorf("dialled all the same: %v", got)
	}
}

// A name that stands for something harmless when it is looked at, and for something else when it is dialled.
func TestANameIsResolvedOnceForEachProbeAndWhatWasJudgedIsDialled(t *testing.T) {
	t.Parallel()
	for _, c := range allChecks() {
		var h hook
		// 192.0.2.1 is of a network for documentation: nobody is there.
		d := newDialer(newRules(false, nil, nil), h.answering([]string{"192.0.2.1"}, []string{"127.0.0.1"}))
		h.watch(d)
		p := newProber(d)
		c.Timeout = 100 * time.Millisecond
		if outcome := p.probe(t.Context(), "rebinding.example:80", c); outcome == outcomeWell {
			t.Errorf("%s: the first probe was answered", c.Type)
		}
		if diff := cmp.Diff([]string{"192.0.2.1:80"}, h.dialled()); diff != "" || len(h.asked) != 1 {
			t.Errorf("%s: dialled (-want +got), asked %v:\n%s", c.Type, h.asked, diff)
		}
		if outcome := p.probe(t.Context(), "rebinding.example:80", c); outcome != refusedLoopback.Error() {
			t.Errorf("%s: the second probe: %q, want %q", c.Type, outcome, refusedLoopback)
		}
		if n := len(h.dialled()); n != 1 {
			t.Errorf("%s: dialled after the name led elsewhere: %v", c.Type, h.dialled())
		}
	}
}

func TestANameIsRefusedForOneOfItsAddresses(t *testing.T) {
	t.Parallel()
	var h hook
	d := newDialer(newRules(false, nil, nil), h.answering([]string{"192.0.2.1", "2001:db8::1", "::ffff:127.0.0.1"}))
	h.watch(d)
	if _, err := d.dial(t.Context(), "mixed.example:80"); !errors.Is(err, refusedLoopback) {
		t.Errorf("%v, want %v", err, refusedLoopback)
	}
	if got := h.dialled(); len(got) > 0 {
		t.Errorf("dialled: %v", got)
	}
}

// Should an address ever get past all that judges it, the operating system's side of the connection refuses it.
func TestTheLastRuleHoldsByItself(t *testing.T) {
	t.Parallel()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	d := newDialer(newRules(false, nil, nil), nil)
	if conn, err := d.dialOne(t.Context(), netip.MustParseAddrPort(lis.Addr().String()), 1); !errors.Is(err, refusedLoopback) {
		t.Errorf("a connection %v, %v, want %v", conn, err, refusedLoopback)
	}
}

func TestAllAddressesOfANameAreTriedWithinTheTimeout(t *testing.T) {
	t.Parallel()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	_, port, _ := net.SplitHostPort(lis.Addr().String())
	var h hook
	d := newDialer(newRules(true, nil, nil), h.answering([]string{"192.0.2.1", "127.0.0.1"}))
	h.watch(d)
	c := rollcall.Check{Type: rollcall.CheckTCP, Timeout: time.Second}.WithDefaults()
	if outcome := newProber(d).probe(t.Context(), "two.example:"+port, c); outcome != outcomeWell {
		t.Errorf("%q, of a name whose second address answers", outcome)
	}
	if n := len(h.dialled()); n != 2 {
		t.Errorf("dialled %v, want both", h.dialled())
	}
}

func TestANameThatIsNoneIsTold(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		outcomeNoHost:     &net.DNSError{Err: "it is not there", IsNotFound: true},
		outcomeUnresolved: &net.DNSError{Err: "the server is sick"},
		outcomeTimeout:    &net.DNSError{Err: "the server is slow", IsTimeout: true},
	} {
		d := newDialer(newRules(false, nil, nil), func(context.Context, string, string) ([]netip.Addr, error) { return nil, err })
		for _, c := range allChecks() {
			if outcome := newProber(d).probe(t.Context(), "name.example:80", c); outcome != want {
				t.Errorf("%s: %q, want %q", c.Type, outcome, want)
			}
		}
	}
}
