package main

import "syscall"

// endWithUs has the kernel kill the program when this process is killed. It does so for that process alone, not for those it started, and
// not if it changes its user by being executed.
func endWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
