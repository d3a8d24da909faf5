package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// errEnded says that a server has ended by itself.
var errEnded = errors.New("its process has ended")

// Member is one member of a cluster, a process of its own while it runs.
type Member struct {
	Name string

	c            *Cluster
	host         Host
	program      string // the etcd that it runs, or will run when it is started next
	dir, log     string
	client, peer string // host:port
	all          string // the initial cluster, as etcd wants it

	cmd   *exec.Cmd     // nil while it does not run
	ended chan struct{} // closed when the process has
	hangs bool
}

// Endpoint is where clients find the member: host:port, the same for its whole life.
func (m *Member) Endpoint() string { return m.client }

// Index is the member's place among the members, from 0.
func (m *Member) Index() int { return slices.Index(m.c.members, m) }

// Pid is the number of the member's process; it must run.
func (m *Member) Pid() int { return m.cmd.Process.Pid }

// Log is the file that the member's process writes its log to.
func (m *Member) Log() string { return m.log }

// Hang makes the member do nothing any more, as a dead disk or a paused machine does: its connections stay open and
// nothing is ever heard on them. It returns when the process has stopped.
func (m *Member) Hang() {
	m.c.t.Helper()
	if err := Suspend(m.cmd.Process.Pid); err != nil {
		m.c.t.Fatalf("hang %s: %v", m.Name, err)
	}
	m.hangs = true
}

// Continue lets a member that hangs go on where it was.
func (m *Member) Continue() {
	m.c.t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		m.c.t.Fatalf("let %s go on: %v", m.Name, err)
	}
	m.hangs = false
}

// Kill ends the member's process without warning; a member that does not run stays so.
func (m *Member) Kill() { m.endBy(syscall.SIGKILL) }

// Stop ends the member's process as an upgrade does, by asking it to.
func (m *Member) Stop() { m.endBy(syscall.SIGTERM) }

func (m *Member) endBy(signal syscall.Signal) {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(signal)
	select {
	case <-m.ended:
	case <-time.After(patience):
		_ = m.cmd.Process.Kill()
		<-m.ended
	}
	m.cmd, m.hangs = nil, false
}

// Start starts a member that does not run, with its data, and waits until it answers if it can have a leader.
func (m *Member) Start() {
	m.c.t.Helper()
	err := m.launch()
	if err == nil && 2*len(m.c.answering()) > len(m.c.members) {
		ctx, cancel := context.WithTimeout(m.c.t.Context(), patience)
		defer cancel()
		err = m.await(ctx)
	}
	if err != nil {
		m.c.t.Fatalf("start %s: %v; its log ends with:\n%s", m.Name, err, m.logTail())
	}
}

// Died tells whether the member has ended by itself. If so, it does not run any more.
func (m *Member) Died() bool {
	select {
	case <-m.ended:
		m.cmd, m.hangs = nil, false
		return true
	default:
		return false
	}
}

// Use makes the member run another etcd from its next start on.
func (m *Member) Use(program string) { m.program = program }

func (m *Member) launch() error {
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	args := []string{
		"--name", m.Name, "--data-dir", m.dir, "--initial-cluster", m.all, "--initial-cluster-token", "chaos",
		"--listen-client-urls", "http://" + m.client, "--advertise-client-urls", "http://" + m.client,
		"--listen-peer-urls", "http://" + m.peer, "--initial-advertise-peer-urls", "http://" + m.peer,
	}
	if !m.c.opts.Fsync {
		args = append(args, "--unsafe-no-fsync")
	}
	cmd := m.host.Command(m.program, append(args, m.c.opts.Args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if m.c.opts.Env != nil {
		cmd.Env = append(os.Environ(), m.c.opts.Env(m.Index())...)
	}
	Tie(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd, m.ended = cmd, make(chan struct{})
	go func() { // ends with the process, which Kill waits for
		_ = cmd.Wait()
		close(m.ended)
	}()
	return nil
}

// await waits until the member answers a read that takes a leader.
func (m *Member) await(ctx context.Context) error {
	var client *clientv3.Client
	for { // a client that logs in cannot be made before it can
		var err error
		if client, err = m.c.dial(m.client); err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	defer func() { _ = client.Close() }()
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := client.Status(try, m.client)
		if err == nil {
			_, err = client.Get(try, "head", clientv3.WithCountOnly())
		}
		cancel()
		if err == nil {
			return nil
		}
		if m.c.lost() {
			return errEnded // perhaps not this one; without the others it may never answer
		}
		select {
		case <-m.ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
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

// freePorts finds two ports of an address that are free now.
func freePorts(ip string) (one, other string, err error) {
	if ip != "127.0.0.1" {
		return net.JoinHostPort(ip, "2379"), net.JoinHostPort(ip, "2380"), nil // a host of its own has all ports free
	}
	if one, err = FreePort(ip); err == nil {
		other, err = FreePort(ip)
	}
	return one, other, err
}

// FreePort finds a port of an address that is free now: host:port. Ports are handed out in turns, so the same one does not
// come again soon.
func FreePort(ip string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}
