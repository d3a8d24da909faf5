package dns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

func TestAnswersAreWhatTheProtocolAsksFor(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("web", at("10.0.0.1:80")))
	const web = "web.service.rollcall."
	with := func(change func(*mdns.Msg)) *mdns.Msg {
		m := question(web, mdns.TypeA, 0)
		change(m)
		return m
	}
	for what, c := range map[string]struct {
		m     *mdns.Msg
		rcode int
	}{
		"a question":               {question(web, mdns.TypeA, 0), mdns.RcodeSuccess},
		"one by EDNS":              {question(web, mdns.TypeA, 4096), mdns.RcodeSuccess},
		"another domain":           {question("web.service.example.com.", mdns.TypeA, 0), mdns.RcodeRefused},
		"one that only ends alike": {question("xrollcall.", mdns.TypeA, 0), mdns.RcodeRefused},
		"the root":                 {question(".", mdns.TypeNS, 0), mdns.RcodeRefused},
		"a transfer":               {question("rollcall.", mdns.TypeAXFR, 0), mdns.RcodeRefused},
		"an incremental one":       {with(func(m *mdns.Msg) { m.SetIxfr("rollcall.", 1, "a.", "b.") }), mdns.RcodeRefused},
		"another class":            {with(func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS }), mdns.RcodeRefused},
		"any class":                {with(func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassANY }), mdns.RcodeRefused},
		"a notification":           {with(func(m *mdns.Msg) { m.SetNotify("rollcall.") }), mdns.RcodeNotImplemented},
		"an update":                {with(func(m *mdns.Msg) { m.SetUpdate("rollcall.") }), mdns.RcodeNotImplemented},
		"a later EDNS":             {with(func(m *mdns.Msg) { m.SetEdns0(4096, true); m.IsEdns0().SetVersion(1) }), mdns.RcodeBadVers},
		"EDNS twice":               {with(func(m *mdns.Msg) { m.SetEdns0(4096, true); m.SetEdns0(512, true) }), mdns.RcodeFormatError},
		"EDNS out of place":        {with(func(m *mdns.Msg) { m.SetEdns0(4096, true); m.Answer, m.Extra = m.Extra, nil }), mdns.RcodeFormatError},
		"EDNS with options": {with(func(m *mdns.Msg) {
			m.SetEdns0(4096, true)
			m.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_COOKIE{Code: mdns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
		}), mdns.RcodeSuccess},
		"a name with a pointer in its records": {with(func(m *mdns.Msg) {
			m.Compress, m.Extra = true, []mdns.RR{&mdns.TXT{Hdr: mdns.RR_Header{Name: web, Rrtype: mdns.TypeTXT, Class: 1}, Txt: []string{"x"}}}
		}), mdns.RcodeSuccess},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r := s.ask(network, c.m)
			if r.Rcode != c.rcode || r.Opcode != c.m.Opcode || r.AuthenticatedData {
				t.Errorf("%s by %s: %v", what, network, r)
			}
			asked, got := c.m.IsEdns0(), r.IsEdns0()
			broken := c.rcode == mdns.RcodeFormatError || c.m.Opcode != 0
			if !broken && (asked == nil) != (got == nil) || got != nil && (got.Version() != 0 || got.UDPSize() != maxPayload || asked.Do() != got.Do() || len(got.Option) > 0) {
				t.Errorf("%s by %s: EDNS %v for %v", what, network, got, asked)
			}
			if (r.Rcode == mdns.RcodeSuccess) != (len(r.Answer) == 1) || (r.Rcode == mdns.RcodeSuccess) != r.Authoritative {
				t.Errorf("%s by %s: %v", what, network, r)
			}
		}
	}
}

// exchange sends bytes and returns those that come back; nil: none, which a second question shows that is answered.
func (s *served) exchange(network string, msg []byte, answered bool) []byte {
	s.t.Helper()
	conn, err := net.Dial(network, s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	co, b := &mdns.Conn{Conn: conn}, make([]byte, maxMessage)
	other := packed(s.t, question("other.service.rollcall.", mdns.TypeA, 0))
	for _, m := range [][]byte{msg, other} {
		if _, err := co.Write(m); err != nil {
			s.t.Fatal(err)
		}
	}
	for { // packets are read by several at a time, and answered in any order
		n, err := co.Read(b)
		switch {
		case err != nil:
			return nil
		case !bytes.Equal(b[:2], other[:2]):
			return b[:n]
		case !answered:
			_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
		}
	}
}

func TestWhatIsNoQuestionGetsNoAnswerAndWhatIsBrokenIsToldSo(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("web", at("10.0.0.1:80")))
	good := packed(t, question("web.service.rollcall.", mdns.TypeA, 0))
	edns := packed(t, question("web.service.rollcall.", mdns.TypeA, 4096))
	changed := func(b []byte, at int, to ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], to)
		return b
	}
	pointer := append(changed(good[:12], 4, 0, 1), 0xC0, 12, 0, 1, 0, 1)
	long := append(changed(good[:12], 4, 0, 1), bytes.Repeat([]byte("\x3f"+strings.Repeat("a", 63)), 5)...)
	for what, c := range map[string]struct {
		msg  []byte
		code int // -1: no answer
	}{
		"an answer":                    {changed(good, 2, 0x81), -1},
		"a part of a header":           {good[:11], -1},
		"a header":                     {good[:12], codeFormErr},
		"a header without questions":   {changed(good[:12], 4, 0, 0), codeFormErr},
		"two questions":                {append(changed(good, 4, 0, 2), good[12:]...), codeFormErr},
		"a name that is cut off":       {good[:20], codeFormErr},
		"a question that is cut off":   {good[:len(good)-1], codeFormErr},
		"a name with a pointer":        {pointer, codeFormErr},
		"a name that is too long":      {append(long, 0, 0, 1, 0, 1), codeFormErr},
		"a record that is cut off":     {edns[:len(edns)-1], codeFormErr},
		"a record that is not there":   {changed(good, 10, 0, 1), codeFormErr},
		"a record of too much":         {changed(edns, len(edns)-2, 0xff, 0xff), codeFormErr},
		"something behind the message": {append(bytes.Clone(good), 0), codeFormErr},
		"all bits set":                 {changed(good, 2, 0x7f, 0xff), codeNotImp},
	} {
		for _, network := range []string{"udp", "tcp"} {
			got := s.exchange(network, c.msg, c.code >= 0)
			switch {
			case got == nil && c.code < 0:
			case got == nil || c.code < 0:
				t.Errorf("%s by %s: %x", what, network, got)
			case int(got[3]&15) != c.code || !bytes.Equal(got[:2], c.msg[:2]) || got[2]&bitResponse == 0 || got[3]&0x80 != 0 || len(got) > len(c.msg):
				t.Errorf("%s by %s: code %d, want %d: %x", what, network, got[3]&15, c.code, got)
			}
		}
	}
}

// Resolvers write a name in letters of any case, and know a forged answer by the wrong ones.
func TestAQuestionIsEchoedByteForByte(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("web", at("10.0.0.1:80")))
	for _, name := range []string{"wEb.SERVICE.rollCALL.", "nObody.service.ROLLcall.", "example.COM."} {
		m := question(name, mdns.TypeA, 0)
		m.CheckingDisabled, m.RecursionDesired = true, name[0] == 'w'
		msg := packed(t, m)
		got := s.exchange("udp", msg, true)
		if !bytes.Equal(got[12:len(msg)], msg[12:]) || got[2]&1 != msg[2]&1 || got[3]&bitUnchecked == 0 {
			t.Errorf("%s: %x is answered by %x", name, msg, got)
		}
	}
}

func TestAnAnswerByUDPIsSmallAndSaysWhenItIsNotAll(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("one", many(1)...), view("fifteen", many(15)...), view("hundred", many(100)...), view("thousand", many(1000)...), view("six", sixes(100)...))
	for name, n := range map[string]int{"one": 1, "fifteen": 15, "hundred": 100, "thousand": 1000, "six": 100} {
		for _, rtype := range []uint16{mdns.TypeA, mdns.TypeSRV} {
			if name == "six" && rtype == mdns.TypeA {
				rtype = mdns.TypeAAAA
			}
			for _, edns := range []uint16{0, 1, 512, 700, 1232, 4096, 65535} {
				for _, padding := range []int{0, 20, 100, 400, 2000} {
					if padding > 0 && edns == 0 {
						continue
					}
					m := question(name+".service.rollcall.", rtype, edns)
					if padding > 0 {
						m.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_PADDING{Padding: make([]byte, padding)}}
					}
					msg := packed(t, m)
					got := s.answer(&desk{}, msg, nil, viaUDP)
					r := new(mdns.Msg)
					if err := r.Unpack(got); err != nil {
						t.Fatal(err)
					}
					limit := min(max(512, int(edns)), 1232, 5*len(msg)-1)
					if len(got) > limit || len(r.Answer) > 16 || r.Truncated != (len(r.Answer) < n) {
						t.Errorf("%s, type %d, EDNS %d: %d bytes, at most %d; %d records, truncated: %v", name, rtype, edns, len(got), limit, len(r.Answer), r.Truncated)
					}
					size := map[uint16]int{mdns.TypeA: 16, mdns.TypeAAAA: 28, mdns.TypeSRV: 12 + 6 + 36}[rtype]
					if rest := limit - len(got); r.Truncated && len(r.Answer) < 16 && rest >= size {
						t.Errorf("%s, type %d, EDNS %d: %d bytes are left, and a record is left out", name, rtype, edns, rest)
					}
				}
			}
		}
	}
}

func TestByTCPThereIsAllThatFits(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("some", many(1000)...), view("many", many(9000)...))
	for _, c := range []struct {
		name  string
		rtype uint16
		want  int
	}{{"some", mdns.TypeA, 1000}, {"some", mdns.TypeSRV, 1000}, {"many", mdns.TypeA, 4000}, {"many", mdns.TypeSRV, 1100}} {
		r := s.ask("tcp", question(c.name+".service.rollcall.", c.rtype, 4096))
		seen := map[string]bool{}
		for _, rr := range r.Answer {
			seen[strings.TrimPrefix(rr.String(), rr.Header().String())] = true
		}
		exact := c.want == 1000
		if len(seen) != len(r.Answer) || r.Truncated || exact && len(seen) != c.want || len(seen) < c.want {
			t.Errorf("%s, type %d: %d records, %d different ones, want %d", c.name, c.rtype, len(r.Answer), len(seen), c.want)
		}
	}
}

func TestAConnectionAnswersOneQuestionAfterTheOther(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s := serve(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, view("web", many(40)...))
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	var all []byte
	for n := range 50 {
		m := question("web.service.rollcall.", mdns.TypeA, 0)
		m.Id = uint16(n)
		msg := packed(t, m)
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(msg))), msg...)
	}
	for len(all) > 0 { // in pieces that have nothing to do with the messages
		n := min(7, len(all))
		if _, err := conn.Write(all[:n]); err != nil {
			t.Fatal(err)
		}
		all = all[n:]
	}
	co := &mdns.Conn{Conn: conn}
	for n := range 50 {
		r, err := co.ReadMsg()
		if err != nil || r.Id != uint16(n) || len(r.Answer) != 40 {
			t.Fatalf("answer %d: %v, %v", n, r, err)
		}
	}
	if _, err := conn.Write([]byte{0xff, 0xff}); err != nil { // far more than a question has
		t.Fatal(err)
	}
	if _, err := co.ReadMsg(); err == nil {
		t.Error("a message of 64 KiB is waited for")
	}
	if log.String() != "" {
		t.Errorf("the log has %s", log.String())
	}
}

func TestTheNumberOfConnectionsIsLimited(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("web", at("10.0.0.1:80")))
	var open []*mdns.Conn
	defer func() {
		for _, co := range open {
			_ = co.Close()
		}
	}()
	for range maxConnsFrom {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		open = append(open, &mdns.Conn{Conn: conn})
	}
	works := func(co *mdns.Conn) error {
		err := co.WriteMsg(question("web.service.rollcall.", mdns.TypeA, 0))
		if err == nil {
			_, err = co.ReadMsg()
		}
		return err
	}
	for n, co := range open {
		if err := works(co); err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
	}
	dial := func() *mdns.Conn {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		return &mdns.Conn{Conn: conn}
	}
	more := dial()
	defer more.Close()
	if err := works(more); err == nil {
		t.Error("one more connection of the same network is served")
	}
	if st := s.Stats(); st.Conns != maxConnsFrom || st.TurnedAway != 1 {
		t.Errorf("%+v", st)
	}
	_ = open[0].Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		more := dial()
		err := works(more)
		_ = more.Close()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a connection that is closed still counts")
		}
	}
}

// The answer has to come from the address that was asked: a connected socket takes no other.
func TestAServerOfAllAddressesAnswersFromTheOneThatWasAsked(t *testing.T) {
	t.Parallel()
	for network, listen := range map[string]string{"udp4": "0.0.0.0:0", "udp": "[::]:0"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			udp, err := net.ListenPacket(network, listen)
			if err != nil {
				t.Skip(err)
			}
			s := prepared(t, Config{}, view("web", at("10.0.0.1:80")))
			result := make(chan error, 1)
			go func() { result <- s.Serve(udp, nil) }()
			defer func() {
				s.stop()
				if err := <-result; err != nil {
					t.Error(err)
				}
			}()
			_, port, _ := net.SplitHostPort(udp.LocalAddr().String())
			for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"} {
				s.addr = net.JoinHostPort(host, port)
				if c, err := net.Dial("udp", s.addr); err != nil {
					t.Skip(err) // not every system has all of 127/8
				} else {
					_ = c.Close()
				}
				for range 3 {
					if r := s.ask("udp", question("web.service.rollcall.", mdns.TypeA, 0)); len(r.Answer) != 1 {
						t.Errorf("%s: %v", host, r)
					}
				}
			}
		})
	}
}

func TestWhatIsCountedIsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("web", many(100)...))
	s.ask("udp", question("web.service.rollcall.", mdns.TypeA, 0))
	s.ask("tcp", question("web.service.rollcall.", mdns.TypeA, 0))
	s.ask("udp", question("nobody.service.rollcall.", mdns.TypeSRV, 0))
	s.ask("udp", question("web.service.rollcall.", mdns.TypeMX, 0))
	s.ask("udp", question("example.com.", mdns.TypeAXFR, 0))
	st := s.Stats()
	got := fmt.Sprint(st.UDP, st.TCP, st.Truncated, st.Types["A"], st.Types["SRV"], st.Types["other"], st.Codes["NOERROR"], st.Codes["NXDOMAIN"], st.Codes["REFUSED"], st.Limited, st.Stale, st.Services)
	if want := "4 1 1 2 1 2 3 1 1 0 0 1"; got != want {
		t.Errorf("got %s, want %s: %+v", got, want, st)
	}
}
