// Package slowdisk makes the disk of one process slow: strace holds each of its calls that wait for the disk.
//
//	stop := slowdisk.Slow(t, leader.Pid(), time.Second)
//	…
//	stop()
//
// It needs Linux, strace 4.22 or newer (Debian package strace) and the right to trace other processes, which root has;
// [Available] tells what is missing. All other system calls of the process take some ten microseconds longer meanwhile.
package slowdisk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds the waits for strace, which takes some milliseconds to come and to go.
const patience = 30 * time.Second

// Available tells by name what is missing, or returns nil when disks can be slowed down. Having looked for strace it
// tries once, on a process of its own: a kernel may forbid to trace.
func Available() error { return available() }

var available = sync.OnceValue(func() error {
	if err := missing(); err != nil {
		return err
	}
	victim := exec.Command("sleep", "60")
	if err := victim.Start(); err != nil {
		return err
	}
	defer func() {
		_ = victim.Process.Kill()
		_ = victim.Wait()
	}()
	tr, err := attach(victim.Process.Pid, time.Millisecond)
	if err != nil {
		return fmt.Errorf("slow disks cannot be made on this machine: %w", err)
	}
	return tr.detach()
})

func missing() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("slow disks need strace, which is in the Debian package strace")
	}
	return nil
}

// Slow makes each fsync and fdatasync of a process take at least d more, from now until stop is called or t ends; the
// process lives on. It may be called for many processes, but once only for each at a time. Where it cannot be done the
// test is skipped, or fails when the variable CI is true.
func Slow(t testing.TB, pid int, d time.Duration) (stop func()) {
	t.Helper()
	need(t)
	tr, err := attach(pid, d)
	if err != nil {
		t.Fatalf("slow down the disk of process %d: %v", pid, err)
	}
	stop = sync.OnceFunc(func() {
		if err := tr.detach(); err != nil {
			t.Errorf("give process %d its disk back: %v", pid, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func need(t testing.TB) {
	t.Helper()
	if err := Available(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// tracer is an strace that runs.
type tracer struct {
	cmd    *exec.Cmd
	says   bytes.Buffer
	exited chan struct{} // closed when it has exited; says is complete then
}

// attach starts to trace a process, all threads of which are traced when it returns.
func attach(pid int, d time.Duration) (*tracer, error) {
	tr := &tracer{exited: make(chan struct{})}
	tr.cmd = exec.Command("strace", "-f", "-p", strconv.Itoa(pid), "-o", os.DevNull,
		"-e", "trace=fsync,fdatasync", "-e", fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", d.Microseconds()))
	tr.cmd.Stderr = &tr.says
	tr.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tr.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(tr.exited)
		_ = tr.cmd.Wait()
	}()
	deadline := time.After(patience)
	for {
		if traces(tr.cmd.Process.Pid, pid) {
			return tr, nil
		}
		select {
		case <-tr.exited:
			return nil, fmt.Errorf("strace has ended: %s", strings.TrimSpace(tr.says.String()))
		case <-deadline:
			return nil, errors.Join(errors.New("strace does not attach"), tr.detach())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// traces tells whether all threads of a process are traced by the tracer.
func traces(tracer, pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err == nil && !strings.Contains(string(status), fmt.Sprintf("\nTracerPid:\t%d\n", tracer)) {
			return false
		}
	}
	return len(threads) > 0
}

// detach ends the tracing, not the process.
func (tr *tracer) detach() error {
	_ = tr.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-tr.exited:
		return nil
	case <-time.After(patience):
		_ = tr.cmd.Process.Kill()
		<-tr.exited
		return errors.New("strace does not detach, and was killed")
	}
}
