package integration

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// balanced is HAProxy in front of a service, and a client that asks for a page of it again and again.
type balanced struct {
	*foreignDNS
	url   string
	stats string // where HAProxy is asked how it is

	mu     sync.Mutex
	tally  map[string]int // pages, by the backend that they are from
	losses []string
}

// startHAProxy runs HAProxy as the documentation says, with what it leaves out.
func startHAProxy(t *testing.T, change func(example string) string) *balanced {
	t.Helper()
	programOf(t, "haproxy")
	return startForeignDNS(t).startHAProxy(change)
}

func (w *foreignDNS) startHAProxy(change func(example string) string) *balanced {
	t := w.t
	t.Helper()
	program := programOf(t, "haproxy")
	b := &balanced{foreignDNS: w, stats: freeAddr(t), tally: map[string]int{}}
	front := freeAddr(t)
	b.url = "http://" + front
	runDaemon(t, program, "-db", "-f", writeFile(t, "haproxy.cfg", fmt.Sprintf(`
global
    stats socket ipv4@%s level admin
defaults
    mode http
    timeout connect 2s
    timeout client 20s
    timeout server 20s
frontend front
    bind %s
    default_backend web
%s`, b.stats, front, change(b.example("HAProxy")))))
	return b
}

func asDocumented(example string) string { return example }

// servers returns the ports of those that HAProxy has requests for: it knows their addresses, and they are up.
func (b *balanced) servers() (ports []string) {
	conn, err := net.Dial("tcp", b.stats)
	if err != nil {
		return nil // it has not started yet
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(processPatience))
	_, _ = io.WriteString(conn, "show servers state web\n")
	text, err := io.ReadAll(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		// Of its columns the 5th is the address, the 6th the state, of which 2 is up, and the 19th the port.
		if f := strings.Fields(line); len(f) > 18 && f[0] != "#" && f[4] != "-" && f[5] == "2" {
			ports = append(ports, f[18])
		}
	}
	slices.Sort(ports)
	return ports
}

// httpBackend is one server of the service, whose page is its address.
type httpBackend struct {
	*http.Server
	addr, port string
	hold       *rollcall.Registration
}

// serve runs one more backend. A page takes the given time.
func (b *balanced) serve(work time.Duration) *httpBackend {
	b.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	p := &httpBackend{addr: lis.Addr().String()}
	_, p.port, _ = net.SplitHostPort(p.addr)
	p.Server = &http.Server{ReadHeaderTimeout: processPatience, Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(work):
			_, _ = io.WriteString(out, p.addr)
		case <-r.Context().Done():
		}
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.Serve(lis)
	}()
	b.t.Cleanup(func() {
		_ = p.Close()
		<-ended
	})
	p.hold = register(b.t, b.reg, "web", rollcall.Instance{ID: p.port, Addr: "127.0.0.1:1", Addrs: map[string]string{"http": p.addr}})
	return p
}

// ask asks for pages, once every few milliseconds, whether or not the last one has come, until the test ends.
func (b *balanced) ask(pause time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{}, Timeout: processPatience}
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				wg.Go(func() { b.one(client) })
			case <-ctx.Done():
				return
			}
		}
	})
	b.t.Cleanup(func() {
		stop()
		wg.Wait()
		client.CloseIdleConnections()
	})
}

func (b *balanced) one(client *http.Client) {
	began, text := time.Now(), []byte(nil)
	resp, err := client.Post(b.url, "text/plain", nil) // what is to be posted Go does not try once more by itself
	if err == nil {
		text, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", resp.Status)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.losses = append(b.losses, fmt.Sprintf("%v after %v", err, time.Since(began)))
		return
	}
	b.tally[string(text)]++
}

// takeLosses returns what has failed since it was asked last.
func (b *balanced) takeLosses() (losses []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	losses, b.losses = b.losses, nil
	return losses
}

// until waits until HAProxy has exactly these backends, and the client pages of each.
func (b *balanced) until(pages ...*httpBackend) {
	b.t.Helper()
	var ports, addrs []string
	for _, p := range pages {
		ports, addrs = append(ports, p.port), append(addrs, p.addr)
	}
	slices.Sort(ports)
	slices.Sort(addrs)
	began := time.Now()
	eventually(b.t, processPatience, fmt.Sprint("HAProxy to have the backends ", ports), func() bool { return slices.Equal(b.servers(), ports) })
	b.t.Logf("HAProxy has %v after %v", ports, time.Since(began))
	eventually(b.t, processPatience, fmt.Sprint("pages of ", addrs, " only"), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		got, all := slices.Sorted(maps.Keys(b.tally)), 0
		for _, n := range b.tally {
			all += n
		}
		if all < 8*len(addrs) {
			return false
		}
		clear(b.tally)
		return slices.Equal(got, addrs)
	})
}

// leave ends a backend as a service should that is behind DNS: it drains, goes on for as long as it may still be told of, and stops then.
func (b *balanced) leave(p *httpBackend, others ...*httpBackend) {
	b.t.Helper()
	if err := p.hold.Drain(within(b.t, processPatience)); err != nil {
		b.t.Fatal(err)
	}
	b.until(others...)
	if err := p.hold.Deregister(within(b.t, processPatience)); err != nil {
		b.t.Fatal(err)
	}
	if err := p.Shutdown(within(b.t, processPatience)); err != nil {
		b.t.Fatal(err)
	}
}

func TestHAProxyLosesNoRequestWhileBackendsComeDrainAndLeave(t *testing.T) {
	t.Parallel()
	b := startHAProxy(t, asDocumented)
	work := 150 * time.Millisecond // so that each has requests at any time
	first, second := b.serve(work), b.serve(work)
	eventually(t, processPatience, "HAProxy to have both", func() bool { return len(b.servers()) == 2 })
	b.ask(10 * time.Millisecond)
	b.until(first, second)
	third, fourth := b.serve(work), b.serve(work) // a scale-out
	b.until(first, second, third, fourth)

	// A drain, of one that stays there, and is taken back.
	if err := first.hold.Drain(within(t, processPatience)); err != nil {
		t.Fatal(err)
	}
	b.until(second, third, fourth)
	if err := first.hold.Update(within(t, processPatience), func(i *rollcall.Instance) { i.State = rollcall.StateServing }); err != nil {
		t.Fatal(err)
	}
	b.until(first, second, third, fourth)

	b.leave(first, second, third, fourth) // a scale-in
	b.leave(second, third, fourth)
	b.until(third, fourth)
	if losses := b.takeLosses(); len(losses) > 0 {
		t.Errorf("%d requests failed, the first one with %s", len(losses), losses[0])
	}

	// The control of the above: this client sees when a backend does not leave as it should.
	hasty := b.serve(work)
	b.until(third, fourth, hasty)
	_ = hasty.Close()
	eventually(t, processPatience, "a request to fail", func() bool { return len(b.takeLosses()) > 0 })
}

func TestHAProxyByTCPHasAllOfAHundredServersAndByUDPAFewThatChange(t *testing.T) {
	t.Parallel()
	larger := func(example string) string {
		return strings.NewReplacer("server-template web 20", "server-template web 120", " check", "").Replace(example)
	}
	for _, c := range []struct {
		by     string
		change func(string) string
		most   int
	}{
		{"TCP", larger, manyInstances},
		{"UDP", func(e string) string { return strings.Replace(larger(e), "tcp@", "", 1) }, 16},
	} {
		t.Run(c.by, func(t *testing.T) {
			t.Parallel()
			b := startHAProxy(t, c.change)
			var all []rollcall.Instance
			for n := range manyInstances {
				all = append(all, rollcall.Instance{Addr: fmt.Sprintf("10.1.0.%d:1", n+1), Addrs: map[string]string{"http": fmt.Sprintf("10.1.0.%d:%d", n+1, 8001+n)}})
			}
			b.add("web", all...)
			if c.most == manyInstances {
				eventually(t, processPatience, "HAProxy to have all servers", func() bool { return len(b.servers()) == manyInstances })
				return
			}
			seen := map[string]bool{}
			eventually(t, processPatience, "HAProxy to have had more servers than one answer has", func() bool {
				now := b.servers()
				if len(now) > c.most {
					t.Fatalf("HAProxy has %d servers by UDP, in which an answer has %d at most: is tcp@ still needed?", len(now), c.most)
				}
				for _, port := range now {
					seen[port] = true
				}
				return len(seen) > c.most
			})
		})
	}
}

// By itself HAProxy has no server any more when it was answered by nobody for half a minute, which is too long to wait for here.
func TestHAProxyKeepsItsServersWhileNobodyAnswers(t *testing.T) {
	t.Parallel()
	programOf(t, "haproxy")
	w := startForeignDNS(t)
	patient := w.startHAProxy(asDocumented)
	hasty := w.startHAProxy(func(example string) string { return strings.ReplaceAll(example, "1h", "1s") })
	first, second := patient.serve(0), patient.serve(0)
	both := []string{first.port, second.port}
	slices.Sort(both)
	for _, b := range []*balanced{patient, hasty} {
		eventually(t, processPatience, "HAProxy to have both", func() bool { return slices.Equal(b.servers(), both) })
	}
	w.stop()
	eventually(t, processPatience, "the one that waits for a second to have no server", func() bool { return len(hasty.servers()) == 0 })
	mustEqual(t, "the servers of the one that waits for an hour", patient.servers(), both)
}
