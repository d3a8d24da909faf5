package etcdtest

import (
	"os"
	"os/exec"
	"syscall"
)

// canTieProcesses tells whether tie holds for a process that hangs, too.
const canTieProcesses = true

// tie makes the kernel kill the process when this one is gone, however it ended. The end of its standard input alone
// would not reach a process that hangs. The kernel takes the thread that starts the process for its parent; threads of a
// Go program last as long as the program, unless a goroutine ends that has locked itself to one.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

func suspend(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
