package main

import (
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// What is asked is the same service, at a server or in the command's own process: each script passes with either.
func TestTheSameCommandsWorkWithAServerAndWithoutOne(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"server", "etcd"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, testscript.Params{
				Dir:                 "testdata/cli",
				RequireExplicitExec: true,
				Deadline:            time.Now().Add(4 * time.Minute), // nothing takes that long: a command hangs
				Setup: func(env *testscript.Env) error {
					env.Values[stageKey{}] = &stage{t: env.T().(testing.TB), processes: map[string]*process{}}
					env.Setenv(noDNS())
					env.Setenv("WHERE", where)
					return nil
				},
				Condition: func(cond string) (bool, error) { return cond == where, nil },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"registry": registryCommand,
					"etcd":     etcdCommand,
					"freeport": freeportCommand,
					"start":    startCommand,
					"end":      endCommand,
					"exits":    exitsCommand,
					"waitfor":  waitforCommand,
					"until":    untilCommand,
					"scrub":    scrubCommand,
				},
			})
		})
	}
}

var grpcLine = regexp.MustCompile(`(?m)^  gRPC +(\S+)$`)

// registry [ARGS...] starts an etcd and, if that is where the commands are to ask, a server with these arguments in front of it.
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, "registry [ARGS...]")
	etcdCommand(ts, false, []string{"start"})
	if ts.Getenv("WHERE") != "server" {
		return
	}
	endpoint := ts.Getenv("ROLLCALL_ETCD")
	ts.Setenv("ROLLCALL_ETCD", "")
	startCommand(ts, false, append([]string{"server", "server", "--etcd", endpoint, "--grpc-listen", "127.0.0.1:0", "--http-listen", "", "--canary", "0"}, args...))
	waitforCommand(ts, false, []string{"server.out", " is up$"})
	ts.Setenv("ROLLCALL_SERVER", grpcLine.FindStringSubmatch(ts.ReadFile("server.out"))[1])
}
