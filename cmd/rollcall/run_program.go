package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// What shells exit with: for a program that cannot be executed, one that is not there, and what is added to the number of a signal.
const (
	exitNotExecutable = 126
	exitNoProgram     = 127
	signalled         = 128
)

// program is what run runs: a process with a process group of its own.
type program struct {
	pid   int
	cmd   *exec.Cmd
	tty   *terminal     // nil without one
	ended chan struct{} // closed when the process has ended; its group may live on
	code  int           // then: what it exited with, or signalled and the signal
	how   string        // the same in words
}

// programCommand is the program as it is started: everything that is open here is its own.
func programCommand(argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "NOTIFY_SOCKET=") || strings.HasPrefix(v, "WATCHDOG_") // systemd hears from rollcall
	})
	return cmd
}

// exit is how it ended, for whoever waits for it no longer.
func (p *program) exit() *programExit {
	select {
	case <-p.ended:
		return &programExit{p.code}
	default:
		return &programExit{signalled + int(syscall.SIGKILL)}
	}
}

// notStarted says why a program was not, and exits as a shell does.
func (r *runner) notStarted(err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNoProgram
	}
	why := err
	if e, ok := errors.AsType[*exec.Error](err); ok {
		why = e.Err
	} else if e, ok := errors.AsType[syscall.Errno](err); ok {
		why = e
	}
	r.say("%s was not started: %v", r.name, why)
	return &programExit{code}
}
