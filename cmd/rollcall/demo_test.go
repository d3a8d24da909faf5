package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The demo is run as "make run" does, by a program in bin, with variables set that would lead it astray if it read them.
func TestTheDemoKeepsItsPromisesAndWhatItSaysToTryNextWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 12 s")
	}
	t.Parallel()
	dir := t.TempDir()
	installAs(t, filepath.Join(dir, "bin", "rollcall"))

	demo := startShell(t, dir, "bin/rollcall demo --for 10s", "ROLLCALL_ETCD=192.0.2.1:1", "ROLLCALL_PREFIX=astray")
	demo.ends(t, 0)
	said := demo.output.String()
	for _, want := range []string{"starting etcd", "joined", "killing", "expired", "draining", "left", "calls: 2000 made"} {
		if !strings.Contains(said, want) {
			t.Errorf("the demo said nothing of %q", want)
		}
	}
	next := lastLines(said, 3)
	want := []string{"bin/rollcall server", "bin/rollcall register jie-test 127.0.0.1:50051", "bin/rollcall watch jie-test"}
	if diff := cmp.Diff(want, next); diff != "" {
		t.Fatalf("what to try next (-want +got):\n%s\nall that was said:\n%s", diff, said)
	}

	// They are on the default port, which is the machine's only one.
	if l, err := net.Listen("tcp", defaultEndpoint); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the default port must be free: %v", err)
		}
		t.Skipf("something else uses the default port: %v", err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	server := startShell(t, dir, next[0])
	server.says(t, "is up")
	register := startShell(t, dir, next[1])
	register.says(t, "registered jie-test/127.0.0.1:50051")
	watch := startShell(t, dir, next[2])
	watch.says(t, "127.0.0.1:50051")

	register.interrupt(t)
	register.ends(t, 0)
	watch.says(t, "left")
	watch.interrupt(t)
	watch.ends(t, exitInterrupted)
	server.interrupt(t)
	server.ends(t, 0)
}

// installAs gives the test binary, which is rollcall when it is called so, a further name: as a link, because a file that
// was written a moment ago can be too busy to be run.
func installAs(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Link(self, path) == nil {
		return
	}
	program, err := os.ReadFile(self) // another file system
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
}

func lastLines(text string, n int) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// command is a command line that a shell runs.
type command struct {
	line   string
	cmd    *exec.Cmd
	output *transcript
	done   chan struct{} // closed when it has ended
}

// startShell runs line as somebody would who types it in dir, with no ROLLCALL variables but those given.
func startShell(t *testing.T, dir, line string, env ...string) *command {
	t.Helper()
	c := &command{line: line, output: &transcript{}, done: make(chan struct{})}
	c.cmd = exec.Command("sh", "-c", "exec "+line)
	c.cmd.Dir = dir
	c.cmd.Stdout, c.cmd.Stderr = c.output, io.MultiWriter(c.output, t.Output())
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ROLLCALL_") {
			c.cmd.Env = append(c.cmd.Env, v)
		}
	}
	c.cmd.Env = append(c.cmd.Env, env...)
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", line, err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.done
	})
	return c
}

func (c *command) interrupt(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatalf("interrupt %s: %v", c.line, err)
	}
}

// ends waits for the end and checks the exit code.
func (c *command) ends(t *testing.T, code int) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		t.Fatalf("%s still runs after %v; it said:\n%s", c.line, patience, c.output)
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s exited with %d, want %d; it said:\n%s", c.line, got, code, c.output)
	}
}

// says waits until the output has some words.
func (c *command) says(t *testing.T, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !c.output.waitFor(ctx, words) {
		t.Fatalf("%s did not say %q; it said:\n%s", c.line, words, c.output)
	}
}

// transcript is what a command said so far.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed by the next Write; nil while nobody waits
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return s.text.Write(b)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *transcript) waitFor(ctx context.Context, words string) bool {
	for {
		s.mu.Lock()
		found := strings.Contains(s.text.String(), words)
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-more:
		case <-ctx.Done():
			return false
		}
	}
}
