package etcdtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// errPortTaken says that somebody else listens where a member should.
var errPortTaken = errors.New("port is taken")

// Member is one member of a cluster, a process of its own while it runs.
type Member struct {
	t     testing.TB
	spec  memberSpec
	log   string        // the file that the process writes its log to
	cmd   *exec.Cmd     // nil while it does not run
	input io.Closer     // the process's standard input, whose end ends it
	says  *bufio.Reader // its standard output
	hangs bool
}

// Endpoint is where clients find the member: host:port, the same for its whole life.
func (m *Member) Endpoint() string { return m.spec.Client }

// Client returns a client of this member alone, which is closed when t ends.
func (m *Member) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	return newClient(t, m.Endpoint())
}

// Pid is the number of the member's process; 0 while it does not run.
func (m *Member) Pid() int {
	if m.cmd == nil {
		return 0
	}
	return m.cmd.Process.Pid
}

// Hang makes the member do nothing any more, as a machine without memory or a dead disk does: its connections stay open
// and nothing is ever heard on them. The member must run. Continue ends it, and so does Kill.
func (m *Member) Hang() {
	m.t.Helper()
	if err := suspend(m.cmd.Process); err != nil {
		m.t.Fatalf("hang member %s: %v", m.spec.Name, err)
	}
	m.hangs = true
}

// Continue lets a member that hangs go on where it was, with the clock on the wall moved.
func (m *Member) Continue() {
	m.t.Helper()
	if err := resume(m.cmd.Process); err != nil {
		m.t.Fatalf("let member %s go on: %v", m.spec.Name, err)
	}
	m.hangs = false
}

// Kill ends the member's process without warning, as kill -9 does; a member that does not run stays so.
func (m *Member) Kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	_ = m.input.Close()
	m.cmd, m.hangs = nil, false
}

// Start starts a member that does not run, on its port and with its data, and waits until it listens. When it answers
// depends on the others; [Cluster.Await] waits for that.
func (m *Member) Start() {
	m.t.Helper()
	if m.cmd != nil {
		m.t.Fatalf("start member %s: it runs", m.spec.Name)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := m.launch()
		if err == nil {
			err = m.listening()
		}
		if err == nil {
			return
		}
		if !errors.Is(err, errPortTaken) || time.Now().After(deadline) {
			m.t.Fatalf("start member %s: %v", m.spec.Name, err)
		}
	}
}

// launch starts the member's process; listening must follow.
func (m *Member) launch() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this test's binary: %w", err)
	}
	spec, err := json.Marshal(m.spec)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open a member's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), memberEnv+"="+string(spec))
	cmd.Stderr = log
	tie(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a member: %w", err)
	}
	m.cmd, m.input, m.says = cmd, in, bufio.NewReader(out)
	return nil
}

// listening waits until the process says that its ports are open. If it does not, it is killed.
func (m *Member) listening() error {
	process := m.cmd.Process
	limit := time.AfterFunc(patience, func() { _ = process.Kill() })
	defer limit.Stop()
	line, err := m.says.ReadString('\n')
	if err == nil && line == saysListening {
		return nil
	}
	m.Kill()
	if line == saysTaken {
		return errPortTaken
	}
	return fmt.Errorf("member %s says %q, %w; its log ends with:\n%s", m.spec.Name, line, err, m.logTail())
}

// await waits until the member answers a linearizable read.
func (m *Member) await(ctx context.Context) error {
	client, err := clientv3.New(rollcall.ClientConfig(m.Endpoint()))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := client.Get(try, "head", clientv3.WithCountOnly())
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
}

// logTail returns the last lines that the member logged.
func (m *Member) logTail() string {
	data, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
