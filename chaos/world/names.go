package world

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	askEvery   = 100 * time.Millisecond // each question
	answerWait = 3 * time.Second        // far longer than an answer may take
)

// announced is where a rollcall server that is up says that it answers DNS.
var announced = regexp.MustCompile(`^ +DNS +(\S+)$`)

// Named starts a process with an instance that is found by its address: no two have the same one.
func (w *World) Named(n int) *Process {
	w.T.Helper()
	return w.Register(fmt.Sprintf("n%d", n), "-addr", fmt.Sprintf("10.77.0.%d:%d", n, 7000+n))
}

// idOf is who has an address, or the address if it is nobody's.
func idOf(ip net.IP, port uint16) string {
	if ip = ip.To4(); ip == nil || ip[0] != 10 || ip[1] != 77 || ip[2] != 0 || port != 0 && port != 7000+uint16(ip[3]) {
		return net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))
	}
	return fmt.Sprintf("n%d", ip[3])
}

// Names starts a rollcall server that answers DNS, with further flags, and somebody who asks it all the time from the moment that it knows of so
// many instances until the run is over.
func (w *World) Names(instances int, args ...string) *Process {
	w.T.Helper()
	const name = "names"
	said := make(chan string, 1)
	p := w.launch(name, func(_ *Process, says io.Reader) {
		for lines := bufio.NewScanner(says); lines.Scan(); {
			if m := announced.FindStringSubmatch(lines.Text()); m != nil {
				said <- m[1]
				break
			}
		}
		_, _ = io.Copy(io.Discard, says)
	}, w.rollcall, append([]string{
		"server", "--etcd", strings.Join(w.Endpoints, ","), "--canary", "0",
		"--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--dns-listen", "127.0.0.1:0",
	}, args...)...)
	a := &asker{target: name, out: w.journal("asker"), last: map[string]journal.Event{}}
	select {
	case a.server = <-said:
	case <-p.done:
		w.T.Fatalf("%s has ended: %s", name, p.Complaint())
	case <-time.After(time.Minute):
		w.T.Fatalf("%s is not up within a minute: %s", name, p.Complaint())
	}
	w.journal(name).Tell(journal.Event{What: journal.Started})
	questions := []question{
		{Service + ".service.rollcall.", dns.TypeA, Service},
		{"_grpc._tcp." + Service + ".service.rollcall.", dns.TypeSRV, Service},
		{"nobody.service.rollcall.", dns.TypeA, "nobody"},
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.Await("DNS tells of everybody", time.Minute, func() bool {
		e, _ := a.ask(ctx, questions[0])
		return len(e.Found) == instances
	})
	var wg sync.WaitGroup
	for _, q := range questions {
		wg.Go(func() { a.askOn(ctx, q) })
	}
	a.stop = func() {
		cancel()
		wg.Wait()
	}
	w.asker = a
	w.T.Cleanup(a.stop)
	return p
}

// asker asks for names.
type asker struct {
	target string // the process that is asked
	server string // where it is
	out    *journal.Writer
	stop   func()

	mu      sync.Mutex
	last    map[string]journal.Event // the last answer to each question; guarded by mu, as all below
	answers int
	slowest time.Duration
}

type question struct {
	name    string
	rtype   uint16
	service string
}

// end ends it, if there is one.
func (a *asker) end() {
	if a != nil {
		a.stop()
	}
}

// stopAsking ends it before the server ends, and tells how much there was.
func (w *World) stopAsking() {
	if a := w.asker; a != nil {
		a.end()
		w.Measured("answers by DNS", float64(a.answers))
		w.Measured("seconds until the slowest of them", a.slowest.Seconds())
	}
}

// current reports whether the server has said last that it knows everything, if there is one.
func (a *asker) current() bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.last {
		if e.TTL <= time.Second {
			return false
		}
	}
	return true
}

// askOn asks one question until ctx ends, and tells every answer.
func (a *asker) askOn(ctx context.Context, q question) {
	for next := time.NewTicker(askEvery); ; {
		if e, ok := a.ask(ctx, q); ok {
			a.out.Tell(e)
			a.mu.Lock()
			a.last[e.Name] = e
			a.answers, a.slowest = a.answers+1, max(a.slowest, e.Took)
			a.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
	}
}

// ask asks as a resolver does: by UDP, and for what has no room there by TCP. Not ok: the run is over.
func (a *asker) ask(ctx context.Context, q question) (e journal.Event, ok bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerWait, context.DeadlineExceeded)
	defer cancel()
	m := new(dns.Msg).SetQuestion(q.name, q.rtype).SetEdns0(1232, false)
	asked := journal.Now()
	answer, _, err := (&dns.Client{Timeout: answerWait}).ExchangeContext(ctx, m, a.server)
	if err == nil && answer.Truncated {
		answer, _, err = (&dns.Client{Net: "tcp", Timeout: answerWait}).ExchangeContext(ctx, m, a.server)
	}
	e = journal.Event{At: journal.Now(), What: journal.Answered, Name: q.name + " " + dns.TypeToString[q.rtype], Service: q.service, Target: a.target}
	e.Took = e.At - asked
	if err != nil {
		e.Err = err.Error()
		return e, ctx.Err() == nil || context.Cause(ctx) == context.DeadlineExceeded
	}
	e.Text = dns.RcodeToString[answer.Rcode]
	for _, rr := range append(answer.Answer, answer.Ns...) {
		e.TTL = max(e.TTL, time.Duration(rr.Header().Ttl)*time.Second)
	}
	for _, rr := range answer.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			e.Found = append(e.Found, idOf(rr.A, 0))
		case *dns.SRV:
			e.Found = append(e.Found, a.resolve(ctx, answer, rr))
		}
	}
	return e, true
}

// resolve returns who a server is, by the address that came with the answer or else is asked for; or its name, if it has none.
func (a *asker) resolve(ctx context.Context, answer *dns.Msg, srv *dns.SRV) string {
	if !slices.ContainsFunc(answer.Extra, func(rr dns.RR) bool { return rr.Header().Name == srv.Target }) {
		var err error
		if answer, _, err = new(dns.Client).ExchangeContext(ctx, new(dns.Msg).SetQuestion(srv.Target, dns.TypeA), a.server); err != nil {
			return srv.Target + " " + err.Error()
		}
	}
	for _, rr := range append(answer.Extra, answer.Answer...) {
		if host, is := rr.(*dns.A); is && host.Hdr.Name == srv.Target {
			return idOf(host.A, srv.Port)
		}
	}
	return srv.Target
}
