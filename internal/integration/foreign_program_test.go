package integration

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// foreignProgram is a program in another language that keeps an instance registered until it is asked to leave.
type foreignProgram struct {
	t     *testing.T
	name  string
	addr  string // of its instance, which is its id
	cmd   *exec.Cmd
	ended chan struct{}

	mu   sync.Mutex
	said []string
}

// foreignRuntime is what runs programs of a language, and where.
type foreignRuntime struct {
	program, dir string
	env          []string
}

// startForeign starts a program of testdata/foreign.
func startForeign(t *testing.T, r foreignRuntime, name, server, service, addr string) *foreignProgram {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("testdata/foreign", name))
	if err != nil {
		t.Fatal(err)
	}
	p := &foreignProgram{t: t, name: name, addr: addr, ended: make(chan struct{})}
	p.cmd = exec.Command(r.program, script, server, service, addr)
	p.cmd.Dir, p.cmd.Env = r.dir, append(os.Environ(), r.env...)
	tie(p.cmd)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.said = append(p.said, lines.Text())
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s says:\n%s", name, p.all())
		}
	})
	return p
}

// describeAPI writes the API's description into a folder, as the documentation says.
func describeAPI(t *testing.T, dir string) {
	t.Helper()
	buf, err := filepath.Abs("../../tools/node_modules/.bin/buf")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(buf); err != nil {
		lacking(t, fmt.Errorf("buf is missing, make deps installs it: %w", err))
	}
	api, err := filepath.Abs("../../api")
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), buf, "build", api, "-o", "rollcall.binpb")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("buf build: %v\n%s", err, out)
	}
}

func (p *foreignProgram) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.said, "\n")
}

// leave asks the program to leave and wants it to go as it should.
func (p *foreignProgram) leave() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(processPatience):
		p.t.Fatalf("%s does not leave", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || !strings.HasSuffix(p.all(), "left") {
		p.t.Errorf("%s has exited with %d", p.name, code)
	}
	if n := strings.Count(p.all(), "registered\n"); n != 1+strings.Count(p.all(), "deregistered\n") {
		p.t.Errorf("%s has registered %d times", p.name, n)
	}
}

// foreignRegistration is one program to test: its name, and whether it speaks HTTP.
type foreignRegistration struct {
	name string
	http bool
}

// stayThroughARestart has programs registered, restarts their server, and has them leave. A watcher that speaks to etcd alone looks on.
func stayThroughARestart(t *testing.T, r foreignRuntime, programs ...foreignRegistration) {
	t.Helper()
	reg, etcd := start(t)
	client := etcd.Client(t)
	s := serveProcess(t, etcd)
	w := watch(t, reg, "foreign")
	var running []*foreignProgram
	var want []string
	for i, program := range programs {
		server, addr := s.grpc, fmt.Sprintf("10.0.0.%d:8080", i+1)
		if program.http {
			server = s.url()
		}
		running = append(running, startForeign(t, r, program.name, server, "foreign", addr))
		want = append(want, addr)
	}
	until(t, w, processPatience, "all programs", hasIDs(want...))

	before := holders(t, client)
	s.stop()
	s.start()
	eventually(t, processPatience, "the server that was started has all programs back", func() bool {
		now := holders(t, client)
		for _, addr := range want {
			if now[addr] == "" || now[addr] == before[addr] {
				return false
			}
		}
		return true
	})
	wantUnbroken(t, client, len(want))
	for _, p := range running {
		p.leave()
		wantGoodbye(t, w, p.addr)
	}
}

// holders returns, by instance, the lease that each lies under: it is its server's.
func holders(t *testing.T, client *clientv3.Client) map[string]string {
	t.Helper()
	const prefix = "rollcall/services/foreign/"
	resp, err := client.Get(within(t, processPatience), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, kv := range resp.Kvs {
		found[strings.TrimPrefix(string(kv.Key), prefix)] = fmt.Sprint(kv.Lease)
	}
	return found
}

// wantGoodbye wants an instance to be gone, and to have said so.
func wantGoodbye(t *testing.T, w *rollcall.Watcher, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), processPatience)
	defer cancel()
	for {
		v, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s to leave: %v", id, err)
		}
		for _, u := range v.Updates {
			if u.Op != rollcall.Delete || u.Instance.ID != id {
				continue
			}
			if u.Expired {
				t.Errorf("%s is gone without a goodbye", id)
			}
			return
		}
	}
}

func TestProgramsInPythonStayRegisteredThroughARestart(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // Debian's own, which its packages are for
	if out, err := exec.Command(python, "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		lacking(t, fmt.Errorf("Python's gRPC is missing, make deps installs it: %w, %s", err, out))
	}
	r := foreignRuntime{program: python, dir: t.TempDir()}
	describeAPI(t, r.dir)
	stayThroughARestart(t, r, foreignRegistration{name: "register.py"}, foreignRegistration{name: "session.py"}, foreignRegistration{"register_json.py", true})
}

func TestProgramsForNodeStayRegisteredThroughARestart(t *testing.T) {
	t.Parallel()
	node := programOf(t, "node")
	tools, err := filepath.Abs("../../tools/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(tools, "@grpc/grpc-js")); err != nil {
		lacking(t, fmt.Errorf("Node's gRPC is missing, make deps installs it: %w", err))
	}
	api, err := filepath.Abs("../../api")
	if err != nil {
		t.Fatal(err)
	}
	r := foreignRuntime{node, t.TempDir(), []string{"NODE_PATH=" + tools, "API=" + api}}
	stayThroughARestart(t, r, foreignRegistration{name: "register.js"}, foreignRegistration{"register_json.js", true})
}
