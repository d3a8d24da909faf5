package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// foreignDNS is an etcd and a server on it, which programs ask for names that have no line of this project in them.
type foreignDNS struct {
	t    *testing.T
	reg  *rollcall.Registry // of the services
	info server.Info
	stop func() // ends the server
}

// startForeignDNS has names answered at a port of its own.
func startForeignDNS(t *testing.T) *foreignDNS {
	t.Helper()
	return startForeignDNSWith(t, server.Config{DNSListen: "127.0.0.1:0"})
}

func startForeignDNSWith(t *testing.T, cfg server.Config) *foreignDNS {
	t.Helper()
	reg, etcd := start(t)
	cfg.Etcd, cfg.Prefix, cfg.HTTPListen = []string{etcd.Endpoint()}, rollcall.DefaultPrefix, "127.0.0.1:0"
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan server.Info, 1), make(chan error, 1)
	go func() { ended <- server.Run(ctx, cfg, func(i server.Info) { ready <- i }) }()
	w := &foreignDNS{t: t, reg: reg}
	select {
	case w.info = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	w.stop = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// port is where names are asked for.
func (w *foreignDNS) port() string {
	_, port, _ := net.SplitHostPort(w.info.DNS)
	return port
}

// add registers instances of a service, and waits until names tell of all of them.
func (w *foreignDNS) add(service string, instances ...rollcall.Instance) []*rollcall.Registration {
	w.t.Helper()
	var all []*rollcall.Registration
	for _, i := range instances {
		all = append(all, register(w.t, w.reg, service, i))
	}
	w.await(service, len(instances))
	return all
}

// addMany registers as many instances of a service, of which the addresses are made by number, from 1 on.
func (w *foreignDNS) addMany(service string, n int, addr func(n int) string) (hosts []string) {
	w.t.Helper()
	var instances []rollcall.Instance
	for i := range n {
		instances = append(instances, rollcall.Instance{Addr: addr(i + 1)})
		host, _, err := net.SplitHostPort(addr(i + 1))
		if err != nil {
			w.t.Fatal(err)
		}
		hosts = append(hosts, host)
	}
	w.add(service, instances...)
	return hosts
}

// await waits until the service has so many instances that take calls, as Go's own resolver sees it.
func (w *foreignDNS) await(service string, n int) {
	w.t.Helper()
	eventually(w.t, processPatience, fmt.Sprintf("%d instances of %s", n, service), func() bool {
		_, found, _ := w.resolver().LookupSRV(within(w.t, processPatience), "", "", service+".service.rollcall.")
		return len(found) == n
	})
}

// resolver is Go's own, which asks our server.
func (w *foreignDNS) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, w.info.DNS)
	}}
}

// metric returns what the server's metrics say of one, 0 if they have no such one.
func (w *foreignDNS) metric(name string) (value float64) {
	w.t.Helper()
	resp, err := http.Get(w.info.HTTP + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, name+" "); is {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return value
}

// example returns what the documentation says for a program, but with our server's port.
func (w *foreignDNS) example(program string) string {
	w.t.Helper()
	text, err := os.ReadFile("../../docs/dns.md")
	if err != nil {
		w.t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### "+program+"\n")
	match := regexp.MustCompile("(?s)```[a-z]*\n(.*?)```").FindStringSubmatch(section)
	if match == nil {
		w.t.Fatalf("the documentation has no example for %s", program)
	}
	return strings.ReplaceAll(match[1], "7053", w.port())
}

// run runs a program of the machine to its end, and returns what it says.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(within(t, processPatience), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// runDaemon has a program run for as long as the test does.
func runDaemon(t *testing.T, program string, args ...string) {
	t.Helper()
	var said strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	tie(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s says:\n%s", program, said.String())
		}
	})
}

// writeFile writes a file for a program, and returns where it is.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := t.TempDir() + "/" + name
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// addressOf makes the nth address of a network of less than 250.
func addressOf(network string, port int) func(n int) string {
	return func(n int) string { return fmt.Sprintf("%s.%d:%d", network, n, port) }
}
