package check

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// rules say what a probe may connect to. Who registers an instance chooses its address, and what the servers stand near to is not all
// his to touch: what is to be refused is refused here, by address and not by name, whatever way it is written.
type rules struct {
	loopback    bool           // the servers and all that they check are on one host
	allow, deny []netip.Prefix // allow counts first
}

func newRules(loopback bool, allow, deny []netip.Prefix) rules {
	return rules{loopback: loopback, allow: plain(allow), deny: plain(deny)}
}

// plain writes networks of IPv4 as such: one that is written as a part of IPv6 would contain nothing.
func plain(networks []netip.Prefix) []netip.Prefix {
	out := slices.Clone(networks)
	for n, p := range out {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			out[n] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return out
}

// refusal is why a probe is not made.
type refusal string

func (r refusal) Error() string { return "refused by policy: " + string(r) }

const (
	refusedAddress   refusal = "not an address"
	refusedMetadata  refusal = "metadata service"
	refusedNetwork   refusal = "denied network"
	refusedLoopback  refusal = "loopback"
	refusedLinkLocal refusal = "link-local"
	refusedMulticast refusal = "multicast"
	refusedBroadcast refusal = "broadcast"
	refusedNone      refusal = "unspecified"
	refusedReserved  refusal = "reserved"
)

// metadataNames are names by which machines in a cloud reach what hands out their credentials.
var metadataNames = []string{"metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "instance-data", "instance-data.ec2.internal", "metadata.tencentyun.com", "metadata.platformequinix.com"}

// metadataAddrs are those of their addresses that are not link-local, as most are.
var metadataAddrs = []netip.Addr{
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("192.0.0.192"),     // Oracle
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("fd00:42::42"),     // Scaleway
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	futureUse   = netip.MustParsePrefix("240.0.0.0/4")
	broadcast   = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// split reads an address as it was registered, and refuses names that are always refused.
func (rules) split(addr string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsAny(host, "/\\@?#\x00 \t\r\n") {
		return "", 0, refusedAddress
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() != "" {
		return "", 0, refusedLinkLocal // nothing else has zones
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, refusedAddress
	}
	if slices.Contains(metadataNames, strings.ToLower(strings.TrimRight(host, "."))) {
		return "", 0, refusedMetadata
	}
	return host, uint16(n), nil
}

// judge returns why an address is refused, nil when it is not. One that carries another one inside is refused for either.
func (r rules) judge(ip netip.Addr) error {
	ip = ip.WithZone("").Unmap()
	if err := r.judgeAlways(ip); err != nil {
		return err
	}
	allowed := contains(r.allow, ip)
	if !allowed && contains(r.deny, ip) {
		return refusedNetwork
	}
	if ip.IsLoopback() && !r.loopback && !allowed {
		return refusedLoopback
	}
	for _, inner := range embedded(ip) {
		if err := r.judge(inner); err != nil {
			return err
		}
	}
	return nil
}

// judgeAlways is about what no operator can allow.
func (rules) judgeAlways(ip netip.Addr) error {
	switch {
	case !ip.IsValid():
		return refusedAddress
	case ip.IsUnspecified() || thisNetwork.Contains(ip):
		return refusedNone
	case slices.Contains(metadataAddrs, ip):
		return refusedMetadata
	case ip.IsLinkLocalUnicast():
		return refusedLinkLocal
	case ip.IsMulticast():
		return refusedMulticast
	case ip == broadcast:
		return refusedBroadcast
	case futureUse.Contains(ip), ip.Is6() && !ip.IsLoopback() && !contains(inUse, ip):
		return refusedReserved
	}
	return nil
}

// inUse are the parts of IPv6 in which there is anybody to be met: what is outside of them is reserved, or is known to be something else by
// the operators of some network only, such as 64:ff9b:1::/48, which has an IPv4 address somewhere inside.
var inUse = []netip.Prefix{netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("fc00::/7"), compatible, translated, nat64}

func contains(networks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

var (
	compatible = netip.MustParsePrefix("::/96")           // the oldest form of IPv4 in IPv6
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // SIIT
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

// embedded returns the IPv4 addresses that an address of IPv6 may lead to, by a gateway on the way or in this machine.
func embedded(ip netip.Addr) []netip.Addr {
	if !ip.Is6() || ip.IsLoopback() {
		return nil
	}
	b := ip.As16()
	four := func(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }
	last := four(b[12], b[13], b[14], b[15])
	isatap := b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
	switch {
	case compatible.Contains(ip), translated.Contains(ip), nat64.Contains(ip), isatap:
		return []netip.Addr{last}
	case sixToFour.Contains(ip):
		return []netip.Addr{four(b[2], b[3], b[4], b[5])}
	case teredo.Contains(ip):
		return []netip.Addr{four(b[4], b[5], b[6], b[7]), four(^b[12], ^b[13], ^b[14], ^b[15])}
	}
	return nil
}
