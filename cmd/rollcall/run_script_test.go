//go:build unix

package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func init() {
	maps.Copy(signals, map[string]os.Signal{
		"HUP": unix.SIGHUP, "QUIT": unix.SIGQUIT, "USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "WINCH": unix.SIGWINCH, "TSTP": unix.SIGTSTP, "CONT": unix.SIGCONT,
	})
}

func TestProgramsAreRunAsTheScriptsSay(t *testing.T) {
	t.Parallel()
	needProgram(t, "python3")
	server, err := filepath.Abs("testdata/run/server.py")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/run",
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(4 * time.Minute), // nothing takes that long: a command hangs
		Setup: func(env *testscript.Env) error {
			env.Values[stageKey{}] = &stage{t: env.T().(testing.TB), processes: map[string]*process{}}
			env.Setenv(noDNS())
			env.Setenv("SERVER", server)
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "own-processes" { // may one make a namespace of processes here
				return exec.Command("unshare", "--pid", "--fork", "true").Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"etcd":     etcdCommand,
			"freeport": freeportCommand,
			"occupy":   occupyCommand,
			"start":    startCommand,
			"end":      endCommand,
			"exits":    exitsCommand,
			"waitfor":  waitforCommand,
			"until":    untilCommand,
		},
	})
}
