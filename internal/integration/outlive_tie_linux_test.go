package integration

import (
	"os/exec"
	"syscall"
)

// tie makes the kernel end a process when this one is gone, however that ended.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
