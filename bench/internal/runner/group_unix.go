//go:build unix

package runner

import (
	"os/exec"
	"syscall"
)

// asGroup has a process, and all that it starts, end together when its context does: an etcd that is left behind would take
// part in everything that is measured after it.
func asGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// endGroup ends what a process that has ended has left behind.
func endGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // there is nobody, as a rule
	}
}
