package dns

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// member is an instance as DNS tells of it. It is made once for each time that an instance was written.
type member struct {
	instance *rollcall.Instance
	address  address // that calls go to
	more     map[string]address
	weight   uint64
}

// address is a host and a port that can be told of. The zero address cannot.
type address struct {
	port uint16
	ip   netip.Addr
	host string // in a message, if it is a name and no ip
	id   uint64 // of the instance, at this host
}

func (a address) valid() bool { return a.port != 0 }

// maxWeight keeps the sum of any number of weights within 64 bits.
const maxWeight = 1 << 32

func newMember(service string, i *rollcall.Instance) *member {
	m := &member{instance: i, weight: rollcall.DefaultWeight}
	if w := i.EffectiveWeight(); w > 0 {
		m.weight = min(uint64(w), maxWeight)
	}
	own := idOf(service, i.ID, "")
	host := ""
	m.address, host = parseAddress(i.Addr)
	m.address.id = own
	for name, addr := range i.Addrs {
		a, other := parseAddress(addr)
		if a.id = own; other != host {
			a.id = idOf(service, i.ID, other)
		}
		if m.more == nil {
			m.more = make(map[string]address, len(i.Addrs))
		}
		m.more[name] = a
	}
	return m
}

// port returns the address of a name; "" is the main one.
func (m *member) port(name string) address {
	if name == "" {
		return m.address
	}
	return m.more[name]
}

// parseAddress returns an address and its host in the one way of writing it.
func parseAddress(addr string) (a address, host string) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return address{}, host
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return address{}, host
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Zone() != "" || ip.IsUnspecified() {
			return address{}, host // it means something else on every machine
		}
		ip = ip.Unmap()
		return address{port: uint16(port), ip: ip}, ip.String()
	}
	name, ok := appendHost(nil, host)
	if !ok {
		return address{}, host
	}
	return address{port: uint16(port), host: string(name)}, strings.ToLower(host)
}

// An instance's label has its service's part, by which the service is found, and its own. Each is cut off a hash, so that all servers use
// the same ones.
const (
	serviceChars = 6
	ownChars     = 10
	serviceBits  = 5 * serviceChars
	ownBits      = 5 * ownChars
)

var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// hash returns the first bits of a hash of some texts, which are told apart by their lengths.
func hash(bits int, texts ...string) uint64 {
	var b []byte
	for _, t := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:]) >> (64 - bits)
}

func serviceID(service string) uint32 { return uint32(hash(serviceBits, service)) }

func idOf(service, id, host string) uint64 { return hash(ownBits, service, id, host) }

// appendID appends the label of an instance.
func appendID(b []byte, service uint32, own uint64) []byte {
	var bits [16]byte
	high := uint64(service)<<(64-serviceBits) | own>>(ownBits-(64-serviceBits))
	binary.BigEndian.PutUint64(bits[:], high)
	binary.BigEndian.PutUint64(bits[8:], own<<(64-ownBits+64-serviceBits))
	return alphabet.AppendEncode(append(b, serviceChars+ownChars), bits[:(serviceBits+ownBits)/8])
}

// parseID reads what appendID has written, in lower case.
func parseID(label []byte) (service uint32, own uint64, ok bool) {
	if len(label) != serviceChars+ownChars {
		return 0, 0, false
	}
	var bits [16]byte
	if _, err := alphabet.Decode(bits[:], label); err != nil {
		return 0, 0, false
	}
	high, low := binary.BigEndian.Uint64(bits[:]), binary.BigEndian.Uint64(bits[8:])
	return uint32(high >> (64 - serviceBits)), (high<<serviceBits>>serviceBits)<<(ownBits-(64-serviceBits)) | low>>(64-ownBits+64-serviceBits), true
}

// membersOf returns the members of a view, those that were there before as they were.
func membersOf(v *rollcall.View, before []*member) []*member {
	list := make([]*member, len(v.Instances))
	for n, i := range v.Instances {
		for len(before) > 0 && before[0].instance.ID < i.ID {
			before = before[1:]
		}
		if len(before) > 0 && before[0].instance == i {
			list[n] = before[0]
		} else {
			list[n] = newMember(v.Service, i)
		}
	}
	return list
}

// callable returns those that take calls. A suspect does, as far as anybody knows. When none does, all are returned: callers do the same.
func callable(list []*member) []*member {
	out := slices.Clone(list)
	out = slices.DeleteFunc(out, func(m *member) bool { return !m.instance.Serving() })
	if len(out) == 0 {
		return list
	}
	return out
}
