//go:build linux

package server

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a process.
const patience = 20 * time.Second

// process is one that a benchmark has started.
type process struct {
	name string
	pid  int
	in   io.WriteCloser
	out  io.ReadCloser
	hear *json.Decoder
	log  *tail
}

// play starts this binary in one of its roles.
func play(b *testing.B, role string, args any) *process {
	b.Helper()
	text, err := json.Marshal(args)
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, argsEnv+"="+string(text))
	p := start(b, role, cmd)
	p.hear = json.NewDecoder(p.out)
	return p
}

// start starts a process that ends with the benchmark, or with this process however that ends.
func start(b *testing.B, name string, cmd *exec.Cmd) *process {
	b.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{name: name, log: new(tail)}
	cmd.Stderr = p.log
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
	p.pid, p.in, p.out = cmd.Process.Pid, in, out
	b.Cleanup(func() {
		_ = p.in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if b.Failed() {
			b.Logf("%s says at last:\n%s", name, p.log)
		}
	})
	return p
}

// ask gives the process an order, if there is one, and waits for what it answers.
func (p *process) ask(b *testing.B, order, answer any) {
	b.Helper()
	if order != nil {
		if err := json.NewEncoder(p.in).Encode(order); err != nil {
			b.Fatalf("%s hears no order: %v", p.name, err)
		}
	}
	late := time.AfterFunc(patience, func() { _ = p.out.Close() })
	defer late.Stop()
	if err := p.hear.Decode(answer); err != nil {
		b.Fatalf("%s does not answer: %v", p.name, err)
	}
}

// tail is the end of what somebody writes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - 4000; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}
