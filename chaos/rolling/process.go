package rolling

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
)

// patience bounds every wait for a process.
const patience = 60 * time.Second

// process is a server or a caller. Its methods are for the goroutine of the test.
type process struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
	lines *work.Reader  // of its journal, as far as they were read
	seen  map[work.What]int
	good  int                      // calls that it made and that succeeded
	addr  string                   // where it listens
	since time.Duration            // when it began to listen
	last  map[string]time.Duration // by the address of a server, when that has last answered a call that it made
}

// start starts a program that keeps a journal, which is in dir with its log.
func start(t testing.TB, dir, name string, env []string, command ...string) *process {
	t.Helper()
	return launch(t, dir, name, env, append(command[:len(command):len(command)], "-journal", filepath.Join(dir, name+work.Extension))...)
}

// launch starts a program that need not keep a journal.
func launch(t testing.TB, dir, name string, env []string, command ...string) *process {
	t.Helper()
	journal := work.Open(filepath.Join(dir, name+work.Extension))
	p := &process{t: t, name: name, done: make(chan struct{}), lines: journal, seen: map[work.What]int{}, last: map[string]time.Duration{}}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = log, log, append(os.Environ(), env...)
	cluster.Tie(p.cmd)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() { // ends with the process, which the cleanup waits for
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

// read reads what the process has written since.
func (p *process) read() {
	p.t.Helper()
	for {
		l, more, err := p.lines.Next()
		if err != nil {
			p.t.Fatal(err)
		}
		if !more {
			return
		}
		p.seen[l.What]++
		switch {
		case l.What == work.Listening:
			p.addr, p.since = l.Addr, l.At
		case l.What == work.Called && l.Code == work.OK:
			p.good++
			if l.Addr != "" {
				p.last[l.Addr] = l.End
			}
		}
	}
}

// await waits until the process has written what makes it so, for a while at most. It tells whether it has.
func (p *process) await(d time.Duration, so func() bool) bool {
	p.t.Helper()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		ended := p.ended()
		if p.read(); so() {
			return true
		}
		if ended {
			return false
		}
	}
	return false
}

// must waits for a line of a kind; a process that does not write it makes no run.
func (p *process) must(what work.What) {
	p.t.Helper()
	if !p.await(patience, func() bool { return p.seen[what] > 0 }) {
		said := p.said()
		p.t.Fatalf("%s is not %s within %v; it has said:\n%s", p.name, what, patience, said[max(0, len(said)-2000):])
	}
}

// said is what the process has written to its log.
func (p *process) said() []byte {
	p.t.Helper()
	text, err := os.ReadFile(p.cmd.Stderr.(*os.File).Name())
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tell tells the process to end.
func (p *process) tell() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// end waits until the process, which was told to, has ended, and returns what was wrong with that.
func (p *process) end() string {
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		return fmt.Sprintf("it did not end within %v", patience)
	}
	if !p.cmd.ProcessState.Success() {
		return p.cmd.ProcessState.String()
	}
	return ""
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	p.lines.Close()
}
