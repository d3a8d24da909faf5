package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// processPatience is how long a process may take to start, or to stop, on a machine that runs much else.
const processPatience = 40 * time.Second

// theProgram is the program rollcall, built as this test was, so that compiled packages are shared with it. It stays where it is for the
// next time, when there may be nothing to do.
var theProgram = sync.OnceValues(func() (string, error) {
	dir, args := "test", []string{"build", "-buildvcs=false"}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		dir, args = "test-race", append(args, "-race")
	}
	path, err := filepath.Abs(filepath.Join("../../bin", dir, "rollcall"))
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", append(args, "-o", path, "../../cmd/rollcall")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build rollcall: %w\n%s", err, out)
	}
	return path, nil
})

// serverProcess is `rollcall server` as a process, at the same addresses for its whole life.
type serverProcess struct {
	t          *testing.T
	args       []string
	grpc, http string // host:port
	cmd        *exec.Cmd
	ended      chan error
	log        string
}

// serveProcess starts a server on an etcd.
func serveProcess(t *testing.T, etcd *etcdtest.Server) *serverProcess {
	t.Helper()
	return serveProcessWith(t, "--etcd", etcd.Endpoint())
}

func serveProcessWith(t *testing.T, args ...string) *serverProcess {
	t.Helper()
	s := &serverProcess{t: t, grpc: freeAddr(t), http: freeAddr(t), log: filepath.Join(t.TempDir(), "log")}
	s.args = append([]string{"server", "--canary", "0", "--grpc-listen", s.grpc, "--http-listen", s.http, "--dns-listen", ""}, args...)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			text, _ := os.ReadFile(s.log)
			t.Logf("the log of the server at %s ends with:\n%s", s.grpc, text[max(0, len(text)-4000):])
		}
	})
	s.start()
	return s
}

// freeAddr picks a loopback port that is free now, below those that systems give to whoever asks for any.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10240+rand.IntN(32768-10240)))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts a server that does not run, and waits until it is up.
func (s *serverProcess) start() {
	s.t.Helper()
	program, err := theProgram()
	if err != nil {
		s.t.Fatal(err)
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	s.cmd = exec.Command(program, s.args...)
	s.cmd.Stderr = log
	tie(s.cmd)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	up, ended, cmd := make(chan bool, 1), make(chan error, 1), s.cmd
	s.ended = ended
	go func() {
		said := bufio.NewScanner(out)
		for said.Scan() && !strings.HasPrefix(said.Text(), "try: ") {
		}
		up <- said.Err() == nil && strings.HasPrefix(said.Text(), "try: ")
		_, _ = io.Copy(io.Discard, out)
		ended <- cmd.Wait()
	}()
	limit := time.AfterFunc(processPatience, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	if !<-up {
		s.t.Fatal("a server does not start")
	}
}

// stop asks the server to go, and waits until it has gone, as it should.
func (s *serverProcess) stop() {
	s.t.Helper()
	s.terminate()
	s.await()
}

func (s *serverProcess) terminate() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
}

func (s *serverProcess) await() {
	s.t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Fatalf("a server that was asked to stop ended with %v", err)
		}
	case <-time.After(processPatience):
		s.t.Fatal("a server that was asked to stop goes on")
	}
	s.cmd = nil
}

// kill ends the server as a crash does; one that does not run stays so.
func (s *serverProcess) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

func (s *serverProcess) url() string { return "http://" + s.http }

// lacking skips a test for something that the machine lacks, or with CI=true fails it: there nothing may be left out.
func lacking(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// programOf finds a program, on the path or where make deps puts it.
func programOf(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	ours, wrong := filepath.Abs(filepath.Join("../../bin", name))
	if _, missing := os.Stat(ours); wrong == nil && missing == nil {
		return ours
	}
	lacking(t, errors.Join(fmt.Errorf("%s is missing, make deps installs it", name), err))
	return ""
}
