//go:build linux

package registry

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

const (
	contenderEnv = "ROLLCALL_BENCH_CONTENDER" // makes this test binary the named contender
	storeEnv     = "ROLLCALL_BENCH_STORE"     // makes it an etcd with its data in the named directory
	storePortEnv = "ROLLCALL_BENCH_PORT"      // where that listens, host:port
	answersFD    = 3                          // where a process answers: libraries that it links print on standard output
	patience     = time.Minute                // for whatever must work
)

// process is this test binary once more, as somebody else. It ends at the end of its standard input.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Reader
	file    *os.File
}

// launch starts a process. Who starts it ends it.
func launch(env ...string) (*process, error) {
	answers, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{out}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives this one
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_ = answers.Close()
		return nil, err
	}
	return &process{cmd: cmd, in: in, answers: bufio.NewReader(answers), file: answers}, nil
}

// ask sends a job and waits for what becomes of it.
func (p *process) ask(j job) (a answer, err error) {
	if err = json.NewEncoder(p.in).Encode(j); err != nil {
		return a, fmt.Errorf("ask for %s: %w", j.Do, err)
	}
	if err = p.read(&a); err == nil && a.Err != "" {
		err = fmt.Errorf("%s: %s", j.Do, a.Err)
	}
	return a, err
}

func (p *process) read(v any) error {
	_ = p.file.SetReadDeadline(time.Now().Add(patience))
	line, err := p.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		return fmt.Errorf("a process says %q: %w", line, err)
	}
	return nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end ends the process at once: nothing that it holds is given back in order.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	_ = p.in.Close()
	_ = p.cmd.Wait()
	_ = p.file.Close()
}

// start starts a contender, which lives as long as the benchmark.
func start(tb testing.TB, name string) *process {
	tb.Helper()
	p, err := launch(contenderEnv + "=" + name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.end)
	return p
}
