//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// passedOn are the signals that are for the program.
var passedOn = []os.Signal{
	unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT,
}

// startProgram starts a program in a process group of its own: what a terminal sends on ^C reaches rollcall alone, which drains first.
func startProgram(argv []string) (*program, error) {
	cmd := programCommand(argv)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithUs(cmd.SysProcAttr)
	p := &program{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() { // ends after the program
		runtime.LockOSThread() // the program is told of the death of the thread that started it, not of the process
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
			p.tty = openTerminal()
		}
		started <- err
		if err == nil {
			p.reap()
		}
	}()
	return p, <-started
}

// reap waits for the program, and for whatever else becomes a child of this process: the first process of a container
// is handed all orphans, and without it they would stay as zombies.
func (p *program) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return // nobody is left
		case pid == p.pid && status.Stopped():
			p.stopped(status.StopSignal())
		case pid == p.pid:
			p.code, p.how = status.ExitStatus(), fmt.Sprintf("exited with %d", status.ExitStatus())
			if status.Signaled() {
				p.code, p.how = signalled+int(status.Signal()), "was ended by "+unix.SignalName(status.Signal())
			}
			p.tty.takeBack(p.pid)
			close(p.ended)
		}
	}
}

// signal sends to the whole group, and wakes it up: one that is stopped would not hear it.
func (p *program) signal(s os.Signal) {
	_ = unix.Kill(-p.pid, s.(syscall.Signal))
	if s == unix.SIGTERM || s == unix.SIGINT {
		_ = unix.Kill(-p.pid, unix.SIGCONT)
	}
}

func (p *program) kill() { _ = unix.Kill(-p.pid, unix.SIGKILL) }

// left reports whether there is anybody left in the group.
func (p *program) left() bool { return unix.Kill(-p.pid, 0) == nil }

// pass hands a signal on. ^Z stops both, as the shell waits for that.
func (p *program) pass(s os.Signal) {
	if s == unix.SIGTSTP && p.tty != nil && leadsSession() {
		return // no shell could ever continue them
	}
	p.signal(s)
	if s == unix.SIGTSTP {
		_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
	}
}

// stopped is what happens when something stopped the program.
func (p *program) stopped(s syscall.Signal) {
	switch {
	case p.tty == nil:
	case s == unix.SIGTTIN || s == unix.SIGTTOU: // it wants the terminal
		if p.tty.inFront() == unix.Getpgrp() {
			p.tty.give(p.pid)
			p.signal(unix.SIGCONT)
		} else { // and is in the background, with us
			_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
		}
	case p.tty.inFront() == p.pid && !leadsSession(): // by ^Z, while it had the terminal
		p.tty.give(unix.Getpgrp())
		_ = unix.Kill(0, unix.SIGTSTP) // comes back to us as that
	case p.tty.inFront() == p.pid:
		p.signal(unix.SIGCONT)
	}
}

func leadsSession() bool {
	session, err := unix.Getsid(0)
	return err == nil && session == unix.Getpid()
}

// terminal is the one that the process belongs to.
type terminal struct{ fd int }

// openTerminal returns nil when there is none. It is called after the program was started, which must not inherit what is ignored here.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	signal.Ignore(unix.SIGTTOU) // or it would stop us when we take the terminal back
	return &terminal{fd}
}

// inFront returns the process group that the terminal's keys are for.
func (t *terminal) inFront() int {
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// give puts another process group in front.
func (t *terminal) give(group int) { _ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) }

// takeBack puts ours in front when that one was.
func (t *terminal) takeBack(group int) {
	if t != nil && t.inFront() == group {
		t.give(unix.Getpgrp())
	}
}
