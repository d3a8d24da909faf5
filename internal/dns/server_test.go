package dns

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/rollcall-io/rollcall"
)

func TestAConfigThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]Config{
		"a domain with an empty label": {Domain: "a..b"},
		"the root":                     {Domain: "."},
		"a domain that is too long":    {Domain: strings.Repeat("a.", 100)},
		"a label that is too long":     {Domain: strings.Repeat("a", 64)},
		"half a second":                {TTL: time.Second / 2},
		"a second and a half":          {TTL: 3 * time.Second / 2},
		"a week":                       {TTL: 168 * time.Hour},
		"a negative staleness":         {MaxStale: -1},
		"a negative rate":              {Rate: -2},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s is taken", what)
		}
		if _, err := newServer(c); err == nil {
			t.Errorf("%s: a server is made", what)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestServeEndsWhenItsSocketDoes(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{})
	udp, tcp := listen(t)
	_ = udp.Close()
	if err := s.Serve(udp, tcp); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := tcp.Accept(); err == nil {
		t.Error("the listener is left open")
	}
	s.stop()
	s.stop()
	udp, tcp = listen(t)
	defer udp.Close()
	defer tcp.Close()
	if err := s.Serve(udp, tcp); err != nil {
		t.Errorf("a server that was stopped: %v", err)
	}
}

func TestStopEndsConnectionsThatNobodyUses(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("web", at("10.0.0.1:80")))
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	co := &mdns.Conn{Conn: conn}
	if err := co.WriteMsg(question("web.service.rollcall.", mdns.TypeA, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := co.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.stop()
	if took := time.Since(began); took > idleTimeout/2 {
		t.Errorf("stopping took %v", took)
	}
}

func TestStopCutsOffWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{}, view("web", many(4000)...))
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	msg := packed(t, question("web.service.rollcall.", mdns.TypeA, 0))
	go func() { // until the answers fill all buffers
		for {
			if _, err := (&mdns.Conn{Conn: conn}).Write(msg); err != nil {
				return
			}
		}
	}()
	last, since := int64(0), time.Now()
	tick := time.Tick(10 * time.Millisecond)
	for deadline := time.Now().Add(patience); last == 0 || time.Since(since) < 500*time.Millisecond; <-tick {
		if n := s.Stats().TCP; n != last { // still some are written
			last, since = n, time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatal("the answers do not fill the buffers")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if n := s.Stats().Conns; n > 0 {
		t.Errorf("%d connections are open", n)
	}
}

func TestAMistakeCostsOneAnswer(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	var broken atomic.Bool
	broken.Store(true)
	s := serve(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Sight: func() func(string) bool {
		return func(string) bool {
			if broken.CompareAndSwap(true, false) {
				panic("of a test")
			}
			return true
		}
	}}, view("web", at("10.0.0.1:80")))
	c := &mdns.Client{Timeout: 100 * time.Millisecond}
	if r, _, err := c.Exchange(question("web.service.rollcall.", mdns.TypeA, 0), s.addr); err == nil {
		t.Errorf("got %v", r)
	}
	s.told(view("api", at("10.0.0.2:80"))) // no lock is left behind
	if r := s.ask("udp", question("api.service.rollcall.", mdns.TypeA, 0)); len(r.Answer) != 1 {
		t.Errorf("got %v", r)
	}
	if text := log.String(); !strings.Contains(text, "of a test") || !strings.Contains(text, "level=ERROR") {
		t.Errorf("the log says nothing of it: %s", text)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Of 6 addresses that weigh 1, 2, 4, 8, 16 and 32, and then of 60, each is the first as often as its weight says, and the second as often as
// its weight among those that are left.
func TestTheOrderIsByChanceAndWeight(t *testing.T) {
	t.Parallel()
	for _, copies := range []int{1, 10} {
		var list []*rollcall.Instance
		total := 0.0
		weights := map[string]float64{}
		for n := range 6 * copies {
			i := many(n + 1)[n]
			i.Weight = 1 << (n % 6)
			list = append(list, i)
			weights[strings.TrimSuffix(i.Addr, ":50051")] = float64(i.Weight)
			total += float64(i.Weight)
		}
		s := prepared(t, Config{}, view("web", list...))
		for _, by := range []via{viaUDP, viaTCP} {
			first, second := map[string]float64{}, map[string]float64{}
			msg, d := packed(t, question("web.service.rollcall.", mdns.TypeA, 0)), &desk{}
			const rounds = 20_000
			for range rounds {
				out := s.answer(d, msg, nil, by)
				ip := func(n int) string { return net.IP(out[len(msg)+16*n+12 : len(msg)+16*n+16]).String() }
				first[ip(0)]++
				second[ip(1)]++
			}
			for ip, w := range weights {
				within(t, "first", ip, first[ip], rounds*w/total, rounds)
				p := 0.0
				for other, v := range weights {
					if other != ip {
						p += v / total * w / (total - v)
					}
				}
				within(t, "second", ip, second[ip], rounds*p, rounds)
			}
		}
	}
}

// within fails if a count is more than five standard deviations from what is expected.
func within(t *testing.T, what, ip string, got, want, rounds float64) {
	t.Helper()
	if deviation := math.Sqrt(want * (1 - want/rounds)); math.Abs(got-want) > 5*deviation+1 {
		t.Errorf("%s is the %s one %v times, want %.0f ± %.0f", ip, what, got, want, deviation)
	}
}

func TestOneThatWeighsFarMoreThanAllOthersDoesNotHideThem(t *testing.T) {
	t.Parallel()
	list := many(40)
	list[20].Weight = math.MaxInt
	s := prepared(t, Config{}, view("web", list...))
	m := question("web.service.rollcall.", mdns.TypeA, 1232)
	m.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_PADDING{Padding: make([]byte, 100)}}
	seen := map[string]bool{}
	for range 2000 {
		r := new(mdns.Msg)
		if err := r.Unpack(s.answer(&desk{}, packed(t, m), nil, viaUDP)); err != nil {
			t.Fatal(err)
		}
		one := map[string]bool{}
		for _, rr := range r.Answer {
			ip := rr.(*mdns.A).A.String()
			one[ip], seen[ip] = true, true
		}
		if len(one) != maxUDP || r.Answer[0].(*mdns.A).A.String() != "10.0.0.20" {
			t.Fatalf("%d different addresses: %v", len(one), r)
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 addresses were seen", len(seen))
	}
}

func TestOfThoseThatDoNotFitEachIsLeftOutAsOftenAsOthers(t *testing.T) {
	t.Parallel()
	s := prepared(t, Config{}, view("web", many(8000)...))
	counts := map[[4]byte]int{}
	msg, d := packed(t, question("web.service.rollcall.", mdns.TypeA, 0)), &desk{}
	const rounds = 400
	perAnswer := 0
	for range rounds {
		out := s.answer(d, msg, nil, viaTCP)
		perAnswer = (len(out) - len(msg)) / 16
		for at := len(msg); at < len(out); at += 16 {
			counts[[4]byte(out[at+12:])]++
		}
	}
	p := float64(perAnswer) / 8000
	want := rounds * p
	for ip, n := range counts {
		if math.Abs(float64(n)-want) > 6*math.Sqrt(want*(1-p)) {
			t.Errorf("%v was told %d times, want about %.0f", ip, n, want)
		}
	}
	if len(counts) != 8000 {
		t.Errorf("%d of 8000 were told", len(counts))
	}
}

func TestAFloodOfOneNetworkIsLimitedAndLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	s := serve(t, Config{Rate: 100}, view("web", at("10.0.0.1:80")))
	s.limit.everybody = true // there is nobody here but ourselves
	conn, err := net.Dial("udp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	msg := packed(t, question("web.service.rollcall.", mdns.TypeA, 0))
	counts := make(chan [2]int, 1)
	const sent = 5000
	began := time.Now()
	go func() {
		full, slipped, b := 0, 0, make([]byte, maxPayload)
		for {
			_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			n, err := conn.Read(b)
			switch {
			case err != nil:
				counts <- [2]int{full, slipped}
				return
			case b[2]&bitTruncated != 0 && n == len(msg):
				slipped++
			default:
				full++
			}
		}
	}()
	for n := range sent {
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		if n%50 == 0 { // as fast as they are read, so that the kernel drops none
			tick := time.Tick(100 * time.Microsecond)
			for deadline := time.Now().Add(patience); s.handled() < int64(n) && time.Now().Before(deadline); {
				<-tick
			}
		}
	}
	got := <-counts
	most := int(100*time.Since(began).Seconds()) + 101
	st := s.Stats()
	if got[0] < 100 || got[0] > most {
		t.Errorf("%d full answers, want 100 to %d", got[0], most)
	}
	if st.Limited < sent*8/10 || st.Slipped < st.Limited/2-1 || st.Slipped > st.Limited/2+1 || got[1] == 0 {
		t.Errorf("%d empty answers; %+v", got[1], st)
	}
	// By TCP whoever was sent there is answered.
	for range 300 {
		if r := s.reply("web.service.rollcall.", mdns.TypeA); len(r.Answer) != 1 {
			t.Fatalf("got %v", r)
		}
	}
	if r := s.ask("tcp", question("web.service.rollcall.", mdns.TypeA, 0)); len(r.Answer) != 1 {
		t.Errorf("got %v", r)
	}
}

// handled is how many packets were dealt with.
func (s *served) handled() int64 {
	st := s.Stats()
	return st.UDP + st.Limited
}

func TestTheLimitIsOfANetworkAndFillsUpAgain(t *testing.T) {
	t.Parallel()
	l := newLimit(10)
	ip := func(s string) bool { return l.allows(parse(s)) }
	for n := range 10 {
		if !ip("192.0.2.1") {
			t.Fatalf("answer %d is refused", n)
		}
	}
	for _, same := range []string{"192.0.2.1", "192.0.2.200", "::ffff:192.0.2.3"} {
		if ip(same) {
			t.Errorf("%s is not of the same network", same)
		}
	}
	for _, other := range []string{"192.0.3.1", "2001:db8::1", "203.0.113.9"} {
		if !ip(other) {
			t.Errorf("%s is of the same network", other)
		}
	}
	for range 9 {
		ip("2001:db8:0:00ff::1")
	}
	if ip("2001:db8:0:01::9") || !ip("2001:db8:0:100::1") {
		t.Error("a network of IPv6 is not a /56")
	}
	l.began = l.began.Add(-200 * time.Millisecond) // as if so much time had passed
	for range 2 {
		if !ip("192.0.2.1") {
			t.Error("it does not fill up again")
		}
	}
	for range 100 {
		if !ip("127.0.0.1") || !ip("::1") {
			t.Fatal("who is on this machine is limited")
		}
	}
	if newLimit(-1).allows(parse("192.0.2.1")) != true {
		t.Error("there is a limit where there is none")
	}
}
