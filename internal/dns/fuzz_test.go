package dns

import (
	"bytes"
	"net/netip"
	"testing"

	mdns "github.com/miekg/dns"
)

func FuzzPackets(f *testing.F) {
	names := []string{
		"web.service.rollcall.", "WEB.service.rollcall.", "us.zone.web.service.rollcall.", "1.2.3.version.us.zone.web.service.rollcall.",
		"_http._tcp.web.service.rollcall.", "_grpc_config.web.service.rollcall.", "ppe5couoeljqp53z.instance.rollcall.", "rollcall.", "ns.rollcall.",
		"service.rollcall.", "zone.service.rollcall.", "_tcp.service.rollcall.", "zone.zone.zone.service.rollcall.", "example.com.", ".", "many.service.rollcall.",
	}
	for _, name := range names {
		for _, rtype := range []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeTXT, mdns.TypeANY, mdns.TypeSOA, mdns.TypeNS, mdns.TypeAXFR} {
			f.Add(packed(f, question(name, rtype, 0)))
			m := question(name, rtype, 4096)
			f.Add(packed(f, m))
			m.IsEdns0().SetVersion(1)
			f.Add(packed(f, m))
		}
	}
	f.Add([]byte{})
	f.Add(make([]byte, headerLen))
	f.Add(append([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xC0, 12, 0, 1, 0, 1}, 0))
	f.Add(append([]byte{0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0, 1}, bytes.Repeat([]byte{0}, 300)...))
	s := prepared(f, Config{Addrs: []netip.Addr{parse("192.0.2.53"), parse("2001:db8::53")}}, append(fleet(), view("many", many(3000)...))...)
	f.Fuzz(func(t *testing.T, msg []byte) {
		d := &desk{}
		for by, limit := range map[via]int{viaUDP: min(maxPayload, amplifyLimit*len(msg)-1), viaTCP: maxMessage} {
			out := s.answer(d, msg, nil, by)
			checkAnswer(t, msg, out, limit)
		}
		if out := s.slip(d, msg, nil); out != nil {
			checkAnswer(t, msg, out, len(msg))
			if out[2]&bitTruncated == 0 {
				t.Fatalf("%x sends nobody to TCP", out)
			}
		}
	})
}

func checkAnswer(t *testing.T, msg, out []byte, limit int) {
	t.Helper()
	if len(msg) < headerLen || msg[2]&bitResponse != 0 {
		if out != nil {
			t.Fatalf("%x is no question, and is answered by %x", msg, out)
		}
		return
	}
	if len(out) > limit || len(out) < headerLen {
		t.Fatalf("%x is answered by %d bytes, at most %d", msg, len(out), limit)
	}
	if !bytes.Equal(out[:2], msg[:2]) || out[2]&bitResponse == 0 || out[3]&0x80 != 0 {
		t.Fatalf("%x is answered by the header %x", msg, out[:headerLen])
	}
	r := new(mdns.Msg)
	if err := r.Unpack(out); err != nil {
		t.Fatalf("%x is answered by %x: %v", msg, out, err)
	}
	q := new(mdns.Msg)
	if err := q.Unpack(msg); err != nil || len(q.Question) != 1 {
		return
	}
	if end := headerLen + questionLen(msg); end > len(out) || !bytes.Equal(msg[headerLen:end], out[headerLen:end]) {
		if r.Rcode != mdns.RcodeFormatError { // a name with a pointer, which miekg takes
			t.Fatalf("the question of %x is not in %x", msg, out)
		}
	}
	if q.IsEdns0() == nil && r.IsEdns0() != nil {
		t.Fatalf("%x is answered with EDNS: %x", msg, out)
	}
}

// questionLen is how long the first question of a message is, if its name has no pointer.
func questionLen(msg []byte) int {
	at := headerLen
	for at < len(msg) && msg[at] > 0 && msg[at] <= maxLabel {
		at += 1 + int(msg[at])
	}
	return at + 5 - headerLen
}
