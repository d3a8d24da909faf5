//go:build unix

package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

// apiProcess is a server of the API, a process of its own.
type apiProcess struct {
	addr string
	in   io.WriteCloser
	out  *bufio.Reader
	cmd  *exec.Cmd
}

// apiAccount is what a server says of itself: the CPU that it has used when it is asked and once it has collected its garbage, and what it
// has in memory then.
type apiAccount struct {
	CPU, After time.Duration
	Memory     uint64
}

func startAPIProcess(b *testing.B, etcd string) *apiProcess {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestAPIProgram$")
	cmd.Env = append(os.Environ(), registrationsEnv+"="+etcd)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p := &apiProcess{in: in, out: bufio.NewReader(out), cmd: cmd}
	b.Cleanup(p.end)
	p.read(b, &p.addr)
	return p
}

func (p *apiProcess) read(b *testing.B, v any) {
	b.Helper()
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		b.Fatalf("the server says %q: %v", line, err)
	}
}

func (p *apiProcess) account(b *testing.B) (a apiAccount) {
	b.Helper()
	if _, err := io.WriteString(p.in, "account\n"); err != nil {
		b.Fatal(err)
	}
	p.read(b, &a)
	return a
}

// end ends the server in order: what profiles it writes them then.
func (p *apiProcess) end() {
	_ = p.in.Close()
	late := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.cmd.Wait()
}

// TestAPIProgram is no test: it is the program of startAPIProcess.
func TestAPIProgram(t *testing.T) {
	etcd := os.Getenv(registrationsEnv)
	if etcd == "" {
		return
	}
	s := serveAPIAt(t, etcd, grpcapi.Config{})
	if path := os.Getenv(profileEnv); path != "" {
		f, err := os.Create(fmt.Sprintf("%s.%d", path, os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			t.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(s.addr)
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		a := apiAccount{CPU: processCPU()}
		a.Memory = memoryInUse()
		a.After = processCPU()
		_ = out.Encode(a)
	}
}

// etcdReading is what an etcd says of itself.
type etcdReading struct {
	requests float64 // messages that it was sent, on streams as well
	cpu      float64 // seconds
}

var (
	etcdRequests = regexp.MustCompile(`(?m)^grpc_server_msg_received_total\{.*\} (\S+)$`)
	etcdCPU      = regexp.MustCompile(`(?m)^process_cpu_seconds_total (\S+)$`)
)

func etcdAccount(b *testing.B, etcd *etcdtest.Cluster) etcdReading {
	b.Helper()
	resp, err := http.Get("http://" + etcd.Endpoints()[0] + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	sum := func(metric *regexp.Regexp) (total float64) {
		found := metric.FindAllSubmatch(text, -1)
		if found == nil {
			b.Fatalf("etcd has no metric %s", metric)
		}
		for _, one := range found {
			n, err := strconv.ParseFloat(string(one[1]), 64)
			if err != nil {
				b.Fatal(err)
			}
			total += n
		}
		return total
	}
	return etcdReading{sum(etcdRequests), sum(etcdCPU)}
}
