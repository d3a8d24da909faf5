//go:build !linux

package integration

import "os/exec"

func tie(*exec.Cmd) {}
