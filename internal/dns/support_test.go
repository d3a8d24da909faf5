package dns

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/rollcall-io/rollcall"
)

const patience = 20 * time.Second

// served is a server that is told by the test who is registered, and answers on loopback.
type served struct {
	*Server

	t        testing.TB
	addr     string // of UDP and of TCP
	revision int64
}

// serve makes a server that knows views, and serves it. Its rate is not limited unless cfg says so.
func serve(t testing.TB, cfg Config, views ...*rollcall.View) *served {
	t.Helper()
	s := prepared(t, cfg, views...)
	udp, tcp := listen(t)
	s.addr = udp.LocalAddr().String()
	result := make(chan error, 1)
	go func() { result <- s.Serve(udp, tcp) }()
	t.Cleanup(func() {
		s.stop()
		if err := <-result; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// prepared makes a server that serves nowhere.
func prepared(t testing.TB, cfg Config, views ...*rollcall.View) *served {
	t.Helper()
	if cfg.Rate == 0 {
		cfg.Rate = -1
	}
	inner, err := newServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inner.cancel)
	s := &served{Server: inner, t: t}
	s.tell(&rollcall.Overview{Complete: true, Services: views})
	return s
}

func (s *served) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		s.t.Errorf("Stop: %v", err)
	}
}

// tell has the server take what a registry would tell.
func (s *served) tell(o *rollcall.Overview) {
	s.revision++
	o.Revision = s.revision
	s.take(o)
}

// told tells of views, current and not all there are.
func (s *served) told(views ...*rollcall.View) { s.tell(&rollcall.Overview{Services: views}) }

// listen returns a socket and a listener at the same address.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if udp, err := net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return udp, tcp
		}
		_ = tcp.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// view makes a view of instances.
func view(service string, instances ...*rollcall.Instance) *rollcall.View {
	v := &rollcall.View{Service: service, Instances: instances}
	slices.SortFunc(v.Instances, func(a, b *rollcall.Instance) int { return strings.Compare(a.ID, b.ID) })
	return v
}

// at makes an instance by its address.
func at(addr string, change ...func(*rollcall.Instance)) *rollcall.Instance {
	i := &rollcall.Instance{ID: addr, Addr: addr, Weight: rollcall.DefaultWeight, State: rollcall.StateServing}
	for _, c := range change {
		c(i)
	}
	return i
}

// many makes instances of different addresses.
func many(n int) []*rollcall.Instance {
	list := make([]*rollcall.Instance, n)
	for i := range list {
		list[i] = at(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 50051).String())
	}
	return list
}

// sixes makes instances of IPv6.
func sixes(n int) []*rollcall.Instance {
	list := make([]*rollcall.Instance, n)
	for i := range list {
		list[i] = at(netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}), 50051).String())
	}
	return list
}

func weight(n int) func(*rollcall.Instance)     { return func(i *rollcall.Instance) { i.Weight = n } }
func zone(z string) func(*rollcall.Instance)    { return func(i *rollcall.Instance) { i.Zone = z } }
func version(v string) func(*rollcall.Instance) { return func(i *rollcall.Instance) { i.Version = v } }
func draining(i *rollcall.Instance)             { i.State = rollcall.StateDraining }
func suspect(i *rollcall.Instance)              { i.Suspect = true }
func id(s string) func(*rollcall.Instance)      { return func(i *rollcall.Instance) { i.ID = s } }
func port(name, addr string) func(*rollcall.Instance) {
	return func(i *rollcall.Instance) {
		if i.Addrs == nil {
			i.Addrs = map[string]string{}
		}
		i.Addrs[name] = addr
	}
}

// question makes a question, with EDNS of a size unless that is 0.
func question(name string, rtype uint16, size uint16) *mdns.Msg {
	m := new(mdns.Msg).SetQuestion(name, rtype)
	if size > 0 {
		m.SetEdns0(size, false)
	}
	return m
}

// ask asks by UDP or TCP, and checks what holds for every answer.
func (s *served) ask(network string, m *mdns.Msg) *mdns.Msg {
	s.t.Helper()
	c := &mdns.Client{Net: network, Timeout: patience}
	r, _, err := c.Exchange(m, s.addr)
	if err != nil {
		s.t.Fatalf("%s %v: %v", network, m.Question, err)
	}
	if r.RecursionAvailable || r.RecursionDesired != m.RecursionDesired || len(r.Question) != 1 || r.Question[0] != m.Question[0] {
		s.t.Fatalf("the answer to %v has another header or question:\n%v", m.Question, r)
	}
	return r
}

// get asks by UDP with EDNS, and by TCP if that is said to be needed, as resolvers do.
func (s *served) get(name string, rtype uint16) *mdns.Msg {
	s.t.Helper()
	m := question(name, rtype, 4096)
	r := s.ask("udp", m)
	if r.Truncated {
		r = s.ask("tcp", m)
	}
	return r
}

// lines writes an answer in short, sorted.
func lines(rrs []mdns.RR) []string {
	var list []string
	for _, rr := range rrs {
		if rr.Header().Rrtype != mdns.TypeOPT {
			list = append(list, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(list)
	return list
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func parse(ip string) netip.Addr { return netip.MustParseAddr(ip) }
