package world

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
)

// Process is one that a run watches: it has instances, or follows a service. Its journal goes to a file, and what it told
// last can be asked for.
type Process struct {
	Name string
	w    *World
	cmd  *exec.Cmd
	in   io.Closer
	done chan struct{} // closed when it has ended and all that it told is written

	mu     sync.Mutex
	told   bool                 // to end, or killed; guarded by mu, as all below
	seen   map[journal.Kind]int // events of each kind without an error
	last   map[journal.Kind]journal.Event
	trying map[string]bool           // ids whose Register has not succeeded
	view   map[string]journal.Member // as the watcher's latest view has it
}

// Start starts a program as a process with a name, which must be the run's only one. The name, as the flag -name, and where
// etcd is are put behind the first argument.
func (w *World) Start(name, program string, args ...string) *Process {
	w.T.Helper()
	out, err := os.Create(filepath.Join(w.Dir, name+".jsonl"))
	if err != nil {
		w.T.Fatalf("start %s: %v", name, err)
	}
	return w.launch(name, func(p *Process, says io.Reader) { p.listen(says, out) }, program, args...)
}

// launch starts a program as a process, and has somebody hear all that it says on its standard output.
func (w *World) launch(name string, hear func(*Process, io.Reader), program string, args ...string) *Process {
	w.T.Helper()
	log, err := os.Create(filepath.Join(w.Dir, name+".log"))
	if err != nil {
		w.T.Fatalf("start %s: %v", name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	p := &Process{
		Name: name, w: w, cmd: w.command(program, args...), done: make(chan struct{}),
		seen: map[journal.Kind]int{}, last: map[journal.Kind]journal.Event{}, view: map[string]journal.Member{}, trying: map[string]bool{},
	}
	p.cmd.Stderr = log
	p.cmd.Env = append(os.Environ(), w.Env...)
	cluster.Tie(p.cmd)
	in, err := p.cmd.StdinPipe()
	if err != nil {
		w.T.Fatal(err)
	}
	says, err := p.cmd.StdoutPipe()
	if err != nil {
		w.T.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.T.Fatalf("start %s: %v", name, err)
	}
	p.in = in
	w.processes = append(w.processes, p)
	go func() { // ends with the process, which the end of the run waits for
		defer close(p.done)
		hear(p, says)
		err := p.cmd.Wait()
		p.mu.Lock()
		told := p.told
		p.mu.Unlock()
		e := journal.Event{What: journal.Exited, Target: name, Told: told, Code: p.cmd.ProcessState.ExitCode()}
		if err != nil {
			e.Err = err.Error()
		}
		w.nemesis.Tell(e)
	}()
	return p
}

// listen keeps what the process tells until it tells no more.
func (p *Process) listen(says io.Reader, out io.WriteCloser) {
	defer func() { _ = out.Close() }()
	lines := bufio.NewReaderSize(says, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		_, _ = out.Write(line)
		var e journal.Event
		if json.Unmarshal(line, &e) == nil {
			p.note(e)
		}
	}
}

func (p *Process) note(e journal.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[e.What] = e
	if e.Err == "" {
		p.seen[e.What]++
	}
	switch {
	case e.What == journal.Registering:
		p.trying[e.ID] = true
	case e.What == journal.Registered && e.Err == "":
		delete(p.trying, e.ID)
	}
	if e.What != journal.Viewed {
		return
	}
	for _, m := range e.Changed {
		p.view[m.ID] = m
	}
	for _, id := range e.Left {
		delete(p.view, id)
	}
}

// Seen is how many events of a kind, without an error, the process has told.
func (p *Process) Seen(what journal.Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[what]
}

// unanswered is how many ids the process is trying to register.
func (p *Process) unanswered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.trying)
}

// Last is the last event of a kind that the process told; the zero event if none.
func (p *Process) Last(what journal.Kind) journal.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[what]
}

// Shows tells whether the watcher's latest view is fresh, doubts nobody and has n instances.
func (p *Process) Shows(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, found := p.last[journal.Viewed]
	if !found || v.Stale || len(p.view) != n {
		return false
	}
	for _, m := range p.view {
		if m.Suspect {
			return false
		}
	}
	return true
}

// Stop stops the process for a while, as a machine does that is paused.
func (p *Process) Stop() {
	p.w.T.Helper()
	p.w.Lost(p)
	if err := cluster.Suspend(p.cmd.Process.Pid); err != nil {
		p.w.T.Fatalf("stop %s: %v", p.Name, err)
	}
}

// Continue lets a process that was stopped go on.
func (p *Process) Continue() {
	p.w.T.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		p.w.T.Fatalf("let %s go on: %v", p.Name, err)
	}
	p.w.Found(p)
}

// Kill ends the process without warning, for good.
func (p *Process) Kill() {
	p.expectEnd()
	p.w.Lost(p)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Terminate asks the process to end; Wait waits until it has.
func (p *Process) Terminate() {
	p.expectEnd()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
}

// Wait waits until the process has ended. One that does not within the time is killed.
func (p *Process) Wait(d time.Duration) {
	select {
	case <-p.done:
	case <-time.After(d):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *Process) expectEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = true
}

// Complaint is the last line that the process wrote to its standard error.
func (p *Process) Complaint() string {
	said, err := os.ReadFile(filepath.Join(p.w.Dir, p.Name+".log"))
	if err != nil {
		return err.Error()
	}
	said = bytes.TrimSpace(said)
	return string(said[bytes.LastIndexByte(said, '\n')+1:])
}

// Runs tells whether the process has not ended.
func (p *Process) Runs() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
