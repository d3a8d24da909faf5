package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// passedOn is empty: Windows has no signals but the two that end a program.
var passedOn []os.Signal

// terminal needs no care here.
type terminal struct{}

// startProgram starts a program in a process group of its own: ^C reaches rollcall alone, which drains first.
func startProgram(argv []string) (*program, error) {
	cmd := programCommand(argv)
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &program{pid: cmd.Process.Pid, cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the program
		defer close(p.ended)
		_ = cmd.Wait()
		p.code = cmd.ProcessState.ExitCode()
		p.how = fmt.Sprintf("exited with %d", p.code)
	}()
	return p, nil
}

// signal sends ctrl-break, which is the only one that can be sent to a group; without a console it ends the program.
func (p *program) signal(os.Signal) {
	if windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.pid)) != nil {
		p.kill()
	}
}

func (p *program) kill() { _ = p.cmd.Process.Kill() }

func (p *program) pass(os.Signal) {}

// left is not known here: processes that the program left behind stay.
func (p *program) left() bool { return false }
