//go:build !linux

package etcdtest

import (
	"errors"
	"os"
	"os/exec"
)

const canTieProcesses = false

func tie(*exec.Cmd) {}

func suspend(*os.Process) error { return errors.ErrUnsupported }

func resume(*os.Process) error { return errors.ErrUnsupported }
