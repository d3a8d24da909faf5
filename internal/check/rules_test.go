package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// never are addresses that no rule allows, in the ways that they can be written in.
var never = map[string]refusal{
	"169.254.169.254:80":                refusedLinkLocal,
	"169.254.170.2:80":                  refusedLinkLocal,
	"[::ffff:169.254.169.254]:80":       refusedLinkLocal,
	"[::ffff:a9fe:a9fe]:80":             refusedLinkLocal,
	"[::169.254.169.254]:80":            refusedLinkLocal,
	"[64:ff9b::169.254.169.254]:80":     refusedLinkLocal,
	"[64:ff9b:1::169.254.169.254]:80":   refusedReserved,
	"[64:ff9b:1:a9fe:a9:fe00::]:80":     refusedReserved,
	"[::ffff:0:169.254.169.254]:80":     refusedLinkLocal,
	"[2002:a9fe:a9fe::1]:80":            refusedLinkLocal,
	"[2001:0:a9fe:a9fe::1]:80":          refusedLinkLocal,
	"[2001:0:101:101::5601:5601]:80":    refusedLinkLocal,
	"[2001:db8::5efe:a9fe:a9fe]:80":     refusedLinkLocal,
	"[2001:db8::200:5efe:a9fe:a9fe]:80": refusedLinkLocal,
	"[fe80::1]:80":                      refusedLinkLocal,
	"[fe80::1%eth0]:80":                 refusedLinkLocal,
	"[::1:0:0]:80":                      refusedReserved,
	"[fec0::1]:80":                      refusedReserved,
	"[100::1]:80":                       refusedReserved,
	"[febf::1]:80":                      refusedLinkLocal,
	"[fd00:ec2::254]:80":                refusedMetadata,
	"[fd00:0ec2:0:0:0:0:0:0254]:80":     refusedMetadata,
	"[fd20:ce::254]:80":                 refusedMetadata,
	"100.100.100.200:80":                refusedMetadata,
	"[::ffff:168.63.129.16]:80":         refusedMetadata,
	"[2002:6464:64c8::]:80":             refusedMetadata,
	"metadata.google.internal:80":       refusedMetadata,
	"Metadata.Google.Internal.:80":      refusedMetadata,
	"metadata:80":                       refusedMetadata,
	"instance-data:80":                  refusedMetadata,
	"224.0.0.1:80":                      refusedMulticast,
	"[ff02::1]:80":                      refusedMulticast,
	"[::ffff:224.0.0.1]:80":             refusedMulticast,
	"0.0.0.0:80":                        refusedNone,
	"0.1.2.3:80":                        refusedNone,
	"[::]:80":                           refusedNone,
	"[::ffff:0.0.0.0]:80":               refusedNone,
	"[64:ff9b::]:80":                    refusedNone,
	"255.255.255.255:80":                refusedBroadcast,
	"240.0.0.1:80":                      refusedReserved,
	"/run/etcd.sock:80":                 refusedAddress,
	"unix:///run/etcd.sock":             refusedAddress,
	"unix:/run/etcd.sock:80":            refusedAddress,
	"@abstract:80":                      refusedAddress,
	"user@10.0.0.1:80":                  refusedAddress,
	"10.0.0.1/x:80":                     refusedAddress,
	"10.0.0.1":                          refusedAddress,
	"10.0.0.1:0":                        refusedAddress,
	"10.0.0.1:http":                     refusedAddress,
	"10.0.0.1:65536":                    refusedAddress,
	":80":                               refusedAddress,
	"":                                  refusedAddress,
	"10.0.0.1:80\r\nX: y:80":            refusedAddress,
}

// verdictOn is what a dialer says of an address whose host is no name.
func verdictOn(t testing.TB, r rules, addr string) error {
	t.Helper()
	d := newDialer(r, nil)
	d.lookup = nil // none of these is a name
	_, err := d.resolve(t.Context(), addr)
	return err
}

func TestSomeAddressesAreNeverProbedHoweverTheyAreWritten(t *testing.T) {
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, r := range []rules{newRules(false, nil, nil), newRules(true, everything, nil)} {
		for addr, want := range never {
			if err := verdictOn(t, r, addr); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", addr, err, want)
			}
		}
	}
}

func TestLoopbackIsProbedOnlyByAServerThatIsThereItselfOrIsToldTo(t *testing.T) {
	own := []string{"127.0.0.1:80", "127.8.9.10:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[::127.0.0.1]:80", "[64:ff9b::127.0.0.1]:80", "[2002:7f00:1::]:80", "[::ffff:0:127.0.0.1]:80"}
	for _, addr := range own {
		if err := verdictOn(t, newRules(false, nil, nil), addr); !errors.Is(err, refusedLoopback) {
			t.Errorf("%s: %v, want %v", addr, err, refusedLoopback)
		}
		if err := verdictOn(t, newRules(true, nil, nil), addr); err != nil {
			t.Errorf("%s, of a server on loopback: %v", addr, err)
		}
		if err := verdictOn(t, newRules(false, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, nil), addr); err != nil {
			t.Errorf("%s, which is allowed: %v", addr, err)
		}
	}
}

func TestNetworksAreDeniedAndExceptionsAllowed(t *testing.T) {
	prefixes := func(texts ...string) []netip.Prefix {
		var out []netip.Prefix
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	for _, row := range []struct {
		name         string
		allow, deny  []netip.Prefix
		well, denied []string
	}{
		{"nothing said", nil, nil, []string{"10.0.0.1:80", "192.168.1.1:22", "8.8.8.8:53", "[fd00::1]:80", "[2a00::1]:80"}, nil},
		{"some denied", nil, prefixes("10.0.0.0/8", "fd00::/8"), []string{"11.0.0.1:80", "[2a00::1]:80"}, []string{"10.1.2.3:80", "[fd00::1]:80", "[::ffff:10.1.2.3]:80", "[64:ff9b::10.1.2.3]:80"}},
		{"an exception", prefixes("10.1.0.0/16"), prefixes("10.0.0.0/8"), []string{"10.1.2.3:80", "[::ffff:10.1.2.3]:80"}, []string{"10.2.0.1:80"}},
		{"only some allowed", prefixes("10.1.0.0/16"), prefixes("0.0.0.0/0", "::/0"), []string{"10.1.2.3:80"}, []string{"10.2.0.1:80", "8.8.8.8:53", "[2a00::1]:80"}},
		{"written as IPv6", nil, prefixes("::ffff:10.0.0.0/104"), []string{"11.0.0.1:80"}, []string{"10.1.2.3:80"}},
	} {
		r := newRules(false, row.allow, row.deny)
		for _, addr := range row.well {
			if err := verdictOn(t, r, addr); err != nil {
				t.Errorf("%s: %s: %v", row.name, addr, err)
			}
		}
		for _, addr := range row.denied {
			if err := verdictOn(t, r, addr); !errors.Is(err, refusedNetwork) {
				t.Errorf("%s: %s: %v, want %v", row.name, addr, err, refusedNetwork)
			}
		}
	}
}

// harmful says of an address, by other means than the rules do, whether it is one that must never be dialled.
func harmful(ip netip.Addr) bool {
	std := net.IP(ip.AsSlice())
	return std.IsLoopback() || std.IsLinkLocalUnicast() || std.IsLinkLocalMulticast() || std.IsMulticast() || std.IsUnspecified() ||
		std.Equal(net.IPv4bcast) || std.Equal(net.ParseIP("fd00:ec2::254")) || std.To4() != nil && (std.To4()[0] == 0 || std.To4()[0] >= 224)
}

// What passes is an address that is harmless itself and, read as IPv4 wherever one may be inside, carries nothing harmful.
func FuzzNoHarmfulAddressPasses(f *testing.F) {
	for addr := range never {
		f.Add(addr)
	}
	for _, addr := range []string{"127.0.0.1:80", "[::1]:1", "[2002:7f00:1::]:80", "10.0.0.1:80", "0x7f.1:80", "0177.0.0.1:80", "2130706433:80", "127.1:80", "[::ffff:7f00:1]:80", "localhost:80", "１２７.0.0.1:80"} {
		f.Add(addr)
	}
	d := newDialer(newRules(false, nil, nil), nil)
	asked := ""
	d.lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		asked = host
		return nil, errors.New("names are not what this is about")
	}
	f.Fuzz(func(t *testing.T, addr string) {
		asked = ""
		addrs, err := d.resolve(t.Context(), addr)
		if err != nil {
			outcome := outcomeOf(err, outcomeNoConn)
			if len(outcome) > 64 || strings.ContainsFunc(outcome, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%q: the outcome %q", addr, outcome)
			}
			if asked != "" {
				if _, err := netip.ParseAddr(asked); err == nil {
					t.Fatalf("%q: an address was looked up as a name", addr)
				}
			}
			return
		}
		for _, ap := range addrs {
			ip := ap.Addr()
			if harmful(ip) {
				t.Fatalf("%q passes as %v", addr, ip)
			}
			if b := ip.As16(); ip.Is6() && (strings.HasPrefix(ip.String(), "64:ff9b:") || strings.HasPrefix(ip.StringExpanded(), "0000:")) && harmful(netip.AddrFrom4([4]byte(b[12:]))) {
				t.Fatalf("%q passes as %v", addr, ip)
			}
			if b := ip.As16(); b[0] == 0x20 && b[1] == 0x02 && harmful(netip.AddrFrom4([4]byte(b[2:6]))) {
				t.Fatalf("%q passes as %v", addr, ip)
			}
			if _, port, err := net.SplitHostPort(addr); err != nil || strconv.Itoa(int(ap.Port())) != strings.TrimLeft(port, "0") {
				t.Fatalf("%q: port %d", addr, ap.Port())
			}
			if err := d.last(ap.String()); err != nil {
				t.Fatalf("%q is allowed and refused at last: %v", addr, err)
			}
		}
	})
}
