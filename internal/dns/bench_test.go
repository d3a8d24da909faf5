package dns

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

func packed(t testing.TB, m *mdns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What one answer costs, from the bytes of the question to those of the answer.
func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		s := prepared(b, Config{}, view("web", many(n)...))
		for _, c := range []struct {
			what string
			m    *mdns.Msg
			by   via
		}{
			{"A", question("web.service.rollcall.", mdns.TypeA, 1232), viaUDP},
			{"AAAA", question("web.service.rollcall.", mdns.TypeAAAA, 1232), viaUDP},
			{"SRV", question("_grpc._tcp.web.service.rollcall.", mdns.TypeSRV, 1232), viaUDP},
			{"NXDOMAIN", question("nobody.service.rollcall.", mdns.TypeA, 1232), viaUDP},
			{"A-TCP", question("web.service.rollcall.", mdns.TypeA, 1232), viaTCP},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.what, n), func(b *testing.B) {
				msg, out, d := packed(b, c.m), make([]byte, 0, maxMessage), &desk{}
				b.ReportAllocs()
				for b.Loop() {
					if s.answer(d, msg, out, c.by) == nil {
						b.Fatal("no answer")
					}
				}
			})
		}
	}
}

// An answer costs no memory: nothing is to be collected, however many are asked for. Nothing else runs meanwhile.
func TestAnAnswerTakesNoMemory(t *testing.T) {
	for _, n := range []int{10, 1_000} {
		s := prepared(t, Config{Rate: 1 << 30}, view("web", many(n)...))
		r := &receiver{out: make([]byte, 0, maxPayload)}
		whole := make([]byte, 0, maxMessage)
		for _, c := range []struct {
			what string
			m    *mdns.Msg
		}{
			{"A", question("web.service.rollcall.", mdns.TypeA, 1232)},
			{"AAAA", question("web.service.rollcall.", mdns.TypeAAAA, 1232)},
			{"SRV", question("_grpc._tcp.web.service.rollcall.", mdns.TypeSRV, 1232)},
			{"NXDOMAIN", question("nobody.service.rollcall.", mdns.TypeA, 1232)},
			{"not ours", question("example.com.", mdns.TypeA, 1232)},
		} {
			msg := packed(t, c.m)
			for by, answer := range map[string]func() []byte{
				"UDP": func() []byte { return s.answerPacket(r, msg, netip.AddrFrom4([4]byte{127, 0, 0, 1})) },
				"TCP": func() []byte { return s.answer(&r.desk, msg, whole, viaTCP) },
			} {
				if got := testing.AllocsPerRun(200, func() {
					if answer() == nil {
						t.Error("no answer")
					}
				}); got > 0 {
					t.Errorf("%s by %s of %d: %v allocations", c.what, by, n, got)
				}
			}
		}
	}
}

// A packet costs no memory, from the socket to the socket.
func TestAPacketTakesNoMemory(t *testing.T) {
	s := prepared(t, Config{}, view("web", many(10)...))
	udp, tcp := listen(t)
	defer udp.Close()
	defer tcp.Close()
	r := &receiver{packets: newPackets(udp), in: make([]byte, packetBuffer), out: make([]byte, 0, maxPayload), control: make([]byte, 128)}
	client, err := net.Dial("udp", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_ = udp.SetDeadline(time.Now().Add(patience))
	_ = client.SetDeadline(time.Now().Add(patience))
	msg, in := packed(t, question("web.service.rollcall.", mdns.TypeA, 1232)), make([]byte, maxPayload)
	if got := testing.AllocsPerRun(200, func() {
		if _, err := client.Write(msg); err != nil {
			t.Fatal(err)
		}
		if err := s.packet(r); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(in); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

// What one change costs whoever asks next.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := many(n)
			s := prepared(b, Config{}, view("web", list...))
			msg, out, d := packed(b, question("web.service.rollcall.", mdns.TypeA, 1232)), make([]byte, 0, maxPayload), &desk{}
			s.answer(d, msg, out, viaUDP)
			sv, _ := s.named([]byte("\x03web"))
			b.ReportAllocs()
			for b.Loop() {
				list[n/2] = at(list[n/2].Addr)
				s.told(view("web", list...))
				sv.mu.Lock()
				sv.next = sv.next.AddDate(-1, 0, 0) // without the pause, which is there so that this costs little
				sv.mu.Unlock()
				s.answer(d, msg, out, viaUDP)
			}
		})
	}
}

// Questions and answers over loopback: as many at a time as there are processors, each by a socket of its own.
func BenchmarkLoopback(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := serve(b, Config{}, view("web", many(n)...))
			msg := packed(b, question("web.service.rollcall.", mdns.TypeA, 1232))
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("udp", s.addr)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				in := make([]byte, maxPayload)
				for pb.Next() {
					if _, err := conn.Write(msg); err != nil {
						b.Error(err)
						return
					}
					if _, err := conn.Read(in); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
