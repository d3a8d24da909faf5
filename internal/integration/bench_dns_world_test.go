//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// dnsWorld is an etcd and the two servers of names that there are to compare, each a process of its own.
type dnsWorld struct {
	b       *testing.B
	client  *clientv3.Client
	etcdPid int
	servers []*dnsProcess // ours and CoreDNS
	fleet   *fleet
}

func newDNSWorld(b *testing.B) *dnsWorld {
	b.Helper()
	coredns := programOf(b, "coredns")
	program, err := theProgram()
	if err != nil {
		b.Fatal(err)
	}
	etcd := etcdtest.StartCluster(b, 1)
	w := &dnsWorld{b: b, client: etcd.Client(b), etcdPid: etcd.Member(0).Pid()}
	args := []string{
		"server", "--etcd", etcd.Endpoints()[0], "--canary", "0", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
		"--dns-listen", "127.0.0.1:0", "--dns-rate", "-1",
	}
	if pprof := os.Getenv(dnsPprofEnv); pprof != "" {
		args = append(args, "--pprof-listen", pprof)
	}
	ours := startDNS(b, "rollcall", program, args...)
	ours.addr = ours.said(b, "DNS ")
	theirs := startDNS(b, "coredns", coredns, "-conf", corefile(b, etcd.Endpoints()[0]))
	theirs.addr = theirs.said(b, "rollcall.:")
	w.servers = []*dnsProcess{ours, theirs}
	return w
}

// dnsPprofEnv, if set, is where the server shows its profiles while it is measured, host:port.
const dnsPprofEnv = "ROLLCALL_BENCH_DNS_PPROF"

// corefile writes CoreDNS's configuration. Its cache is for as long as our TTL.
func corefile(b *testing.B, etcd string) string {
	b.Helper()
	_, port, err := net.SplitHostPort(freeAddr(b))
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "Corefile")
	text := fmt.Sprintf("rollcall.:%s {\n bind 127.0.0.1\n etcd {\n path /skydns\n endpoint http://%s\n }\n cache 5\n}\n", port, strings.TrimPrefix(etcd, "http://"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// dnsProcess is a server of names.
type dnsProcess struct {
	name, addr string
	pid        int
	lines      chan string
	cursor     atomic.Int64 // which question it is asked next
}

func startDNS(b *testing.B, name, program string, args ...string) *dnsProcess {
	b.Helper()
	cmd := exec.Command(program, args...)
	tie(cmd)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p := &dnsProcess{name: name, pid: cmd.Process.Pid, lines: make(chan string)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			select {
			case p.lines <- in.Text():
			case <-b.Context().Done():
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
		if b.Failed() {
			b.Logf("%s says:\n%s", name, log.Bytes()[max(0, log.Len()-4000):])
		}
	})
	return p
}

// said waits until the process says where it is, behind a word, and returns the address.
func (p *dnsProcess) said(b *testing.B, word string) string {
	b.Helper()
	limit := time.After(processPatience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				b.Fatalf("%s ends", p.name)
			}
			at, has := strings.CutPrefix(strings.TrimSpace(line), word)
			if !has {
				continue
			}
			go func() { // whatever else it says
				for range p.lines {
					continue
				}
			}()
			at = strings.Fields(at)[0]
			return net.JoinHostPort("127.0.0.1", at[strings.LastIndexByte(at, ':')+1:])
		case <-limit:
			b.Fatalf("%s does not start", p.name)
		}
	}
}

// cpuOf returns what a process has used of the processors, in user and system mode, by its own clock, which counts nanoseconds.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const scheduler = 2 // which of a process's clocks: see the kernel's MAKE_PROCESS_CPUCLOCK
	var at unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &at); err != nil {
		b.Fatalf("read the clock of process %d: %v", pid, err)
	}
	return time.Duration(at.Nano())
}

// skydns is where CoreDNS's etcd plugin looks for services.
const skydns = "/skydns/rollcall/service/"

// skydnsOp writes an instance for CoreDNS, without a lease: of one that has it CoreDNS asks etcd for the rest of the time, each by each.
func skydnsOp(service string, n int, addr string) clientv3.Op {
	host, port, _ := net.SplitHostPort(addr)
	return clientv3.OpPut(fmt.Sprintf("%s%s/i%d", skydns, service, n), fmt.Sprintf(`{"host":%q,"port":%s,"weight":100,"ttl":5}`, host, port))
}

// fill writes the instances of one service for both, and waits until both tell all of them, or as many as go into an answer.
func (w *dnsWorld) fill(n int) {
	w.b.Helper()
	w.fleet = newFleet(w.b, w.client, "web", n)
	var ops []clientv3.Op
	for i, addr := range w.fleet.addrs {
		ops = append(ops, skydnsOp("web", i, addr))
	}
	w.fleet.commit(ops)
	w.await("web", n)
}

// fillNames writes so many services of one instance each, and returns their names.
func (w *dnsWorld) fillNames(n int) []string {
	w.b.Helper()
	f := &fleet{b: w.b, client: w.client}
	var ops []clientv3.Op
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("web-%d", i)
		one := &fleet{service: names[i], addrs: []string{f.newAddr()}, weights: []int{100}}
		ops = append(ops, one.put(0), skydnsOp(names[i], 0, one.addrs[0]))
	}
	f.commit(ops)
	for _, name := range []string{names[0], names[n-1]} {
		w.await(name, 1)
	}
	return names
}

// await waits until both servers tell all instances of a service, by TCP: that is what makes their costs comparable. Of A records a message
// has room for some 4,000, of servers with their addresses for some 700.
func (w *dnsWorld) await(service string, n int) {
	w.b.Helper()
	for rtype, room := range map[uint16]int{mdns.TypeA: 3_900, mdns.TypeSRV: 700} {
		want := min(n, room)
		for _, s := range w.servers {
			c := &mdns.Client{Net: "tcp", Timeout: processPatience}
			eventually(w.b, processPatience, fmt.Sprintf("%s tells %d %s records of %s", s.name, want, mdns.TypeToString[rtype], service), func() bool {
				r, _, err := c.Exchange(new(mdns.Msg).SetQuestion(service+".service.rollcall.", rtype), s.addr)
				return err == nil && len(r.Answer) >= want
			})
		}
	}
}

// during does something while ten instances a second, if there is churn, are replaced for both servers.
func (w *dnsWorld) during(b *testing.B, churn bool, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	if !churn {
		<-done
		return
	}
	for tick := time.Tick(time.Second / 10); ; {
		select {
		case <-done:
			return
		case <-tick:
			ops := w.fleet.replacement()
			w.fleet.commit(append(ops, skydnsOp(w.fleet.service, w.fleet.turn, w.fleet.addrs[w.fleet.turn])))
		}
	}
}
