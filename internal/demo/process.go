package demo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a server process, seen from the process that started it.
type process struct {
	cmd    *exec.Cmd
	stderr tail

	ending atomic.Bool   // it was told to end
	done   chan struct{} // closed when it has ended
	err    error         // how, once done is closed; nil for a clean end and for one by kill
}

// startServer starts the process of one server. It fails the demo if the process ends without having been told to.
func (d *demo) startServer(id string) error {
	a := assignment{Etcd: d.etcd, ID: id}
	if id == drainedServer {
		a.Sabotage = d.Sabotage
	}
	p, err := startProcess(d.Greeter, a, d.fail)
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	d.processes[id] = p
	return nil
}

// endProcesses kills what still runs and waits for it.
func (d *demo) endProcesses() {
	for _, p := range d.processes {
		_, _ = p.kill()
	}
	for _, p := range d.processes {
		<-p.done
	}
}

func startProcess(command []string, a assignment, fail func(error)) (*process, error) {
	if len(command) == 0 {
		return nil, errors.New("no command for it")
	}
	p := &process{cmd: exec.Command(command[0], command[1:]...), done: make(chan struct{})}
	p.cmd.Env = withoutRollcall(os.Environ())
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	// Its standard input stays open until it has ended, or until this process has, in whatever way: then it ends itself.
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait(a.ID, fail)
	if err := json.NewEncoder(stdin).Encode(a); err != nil {
		_, _ = p.kill()
		<-p.done
		return nil, cmp.Or(p.err, fmt.Errorf("tell it what to serve: %w", err))
	}
	return p, nil
}

// wait reaps the process; whoever has started it waits for done.
func (p *process) wait(id string, fail func(error)) {
	defer close(p.done)
	err := p.cmd.Wait()
	if said := p.stderr.String(); err != nil && said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case !p.ending.Load():
		fail(fmt.Errorf("%s ended by itself: %w", id, cmp.Or(err, errors.New("exit status 0"))))
	case exited && exit.ExitCode() == -1: // by a signal: ours
	case err != nil:
		p.err = fmt.Errorf("stop %s: %w", id, err)
	}
}

// kill sends SIGKILL and returns when it had been sent.
func (p *process) kill() (time.Time, error) {
	p.ending.Store(true)
	err := p.cmd.Process.Kill()
	at := time.Now()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return at, err
}

// terminate sends SIGTERM.
func (p *process) terminate() error {
	p.ending.Store(true)
	return p.cmd.Process.Signal(syscall.SIGTERM)
}

// withoutRollcall drops the variables that configure rollcall from an environment.
func withoutRollcall(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, v := range env {
		if !strings.HasPrefix(v, "ROLLCALL_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	t.kept = t.kept[max(0, len(t.kept)-most):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
