package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

// What run does when it is not told otherwise: docs/run.md says why.
const (
	defaultWait = time.Minute
	defaultStay = 2 * time.Second
	defaultStop = 10 * time.Second
)

type runCommand struct {
	connection
	ttl      time.Duration
	instance rollcall.Instance
	metadata pairs
	addrs    pairs
	check    checkType
	path     checkPath

	wait, stay, stop timeout
}

func newRunCommand() *cobra.Command {
	c := &runCommand{
		ttl: rollcall.DefaultTTL, metadata: pairs{form: "key=value"}, addrs: pairs{form: "name=host:port"},
		wait: timeout(defaultWait), stay: timeout(defaultStay), stop: timeout(defaultStop),
	}
	c.instance.Weight = rollcall.DefaultWeight
	cmd := &cobra.Command{
		Use:   "run SERVICE ADDR -- COMMAND [ARG]...",
		Short: "Run a program, and register it while it answers",
		Long: `Run a program, register it as an instance of a service once ADDR, host:port, answers, and deregister it before it is stopped.

On SIGTERM or SIGINT the instance drains, is deregistered, and only then does the program get the signal; a second one kills it at once. Other
signals are passed on. The exit code is the program's own, 128 and the signal's number when it died of one; 127 when there is no such program, 126
when it cannot be executed, 5 when a newer process registered the same id, for which the program is stopped. Standard output is the program's alone.`,
		Example: `  rollcall run web 127.0.0.1:8000 -- python3 -m http.server --bind 127.0.0.1 8000
  rollcall run web 10.0.0.7:8080 --check http --check-path /healthz --zone eu-1a -- ./server --listen :8080
  rollcall run web 10.0.0.7:8080 --drain 5s --stop-timeout 30s -- ./server`,
		Args: runArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0], args[1], args[2:]) },
	}
	c.bind(cmd)
	f := cmd.Flags()
	f.Var(&c.wait, "wait-timeout", "how long the program may take until ADDR answers; 0 waits for ever")
	f.Var(&c.stay, "drain", "how long it goes on serving after callers were told that it drains; 0 leaves that out")
	f.Var(&c.stop, "stop-timeout", "how long the program may take to end before it is killed; 0 waits for ever")
	f.Var(&c.check, "check", "what counts as an answer, and what servers check from then on: `tcp`, grpc or http; without it a connection, and no checks")
	f.Var(&c.path, "check-path", "of --check http: the `path` to get, beginning with /")
	f.Var((*lasting)(&c.ttl), "ttl", "how long it stays visible after rollcall died without a goodbye: whole seconds, at least 5s")
	f.StringVar(&c.instance.ID, "id", "", "names the instance within the service; the default is ADDR")
	f.Var((*whole)(&c.instance.Weight), "weight", "share of calls relative to the others; 0 means the default")
	f.StringVar(&c.instance.Zone, "zone", "", "where it runs")
	f.StringVar(&c.instance.Version, "version", "", "what it runs")
	f.Var(&c.metadata, "meta", "metadata, `key=value`; may be repeated")
	f.Var(&c.addrs, "addr", "a further address, `name=host:port`; may be repeated")
	return cmd
}

// runArgs wants the program after --, so that its flags are its own.
func runArgs(cmd *cobra.Command, args []string) error {
	dash := cmd.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	}
	if err := takes("SERVICE", "ADDR")(cmd, args[:dash]); err != nil {
		if len(args) == dash && dash > 2 {
			err = fmt.Errorf("%w: the program to run comes after --", err)
		}
		return err
	}
	if len(args) == dash || args[dash] == "" {
		return errors.New("the program to run is needed, after --")
	}
	return nil
}

func (c *runCommand) run(cmd *cobra.Command, service, addr string, argv []string) error {
	inst := c.instance
	inst.Addr, inst.Metadata, inst.Addrs = addr, c.metadata.values, c.addrs.values
	if c.path != "" && rollcall.CheckType(c.check) != rollcall.CheckHTTP {
		return &usageError{errors.New("--check-path goes with --check http")}
	}
	if c.check != "" {
		inst.Check = &rollcall.Check{Type: rollcall.CheckType(c.check), Path: string(c.path)}
	}
	reg, err := c.openRun(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeRun(cmd.Context(), reg)
	if err := reg.Check(service, inst, c.ttl); err != nil {
		return err
	}
	r := &runner{
		registry: reg, service: service, inst: inst, ttl: c.ttl, where: c.place(),
		wait: c.wait, stay: time.Duration(c.stay), stop: time.Duration(c.stop), etcdLeft: etcdPatience,
		name: filepath.Base(argv[0]), talk: cmd.ErrOrStderr(),
	}
	r.id = service + "/" + cell(cmp.Or(inst.ID, addr))
	return r.run(cmd.Context(), argv)
}

// closeRun gives up whatever is still registered.
func closeRun(ctx context.Context, reg runRegistry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostPatience)
	defer cancel()
	_ = reg.Close(ctx)
}

// say tells a person what happens. Standard output belongs to the program, and so does most of standard error.
func (r *runner) say(format string, args ...any) {
	_, _ = io.WriteString(r.talk, "rollcall: "+fmt.Sprintf(format, args...)+"\n")
}

// programExit is how a program ended, and no error of ours: rollcall ends in the same way, and has said what there was to say.
type programExit struct{ code int }

func (e *programExit) Error() string { return fmt.Sprintf("the program exited with %d", e.code) }

// checkType is the value of --check.
type checkType string

func (t *checkType) String() string { return string(*t) }
func (t *checkType) Type() string   { return "check" }

func (t *checkType) Set(s string) error {
	switch rollcall.CheckType(s) {
	case rollcall.CheckTCP, rollcall.CheckGRPC, rollcall.CheckHTTP:
		*t = checkType(s)
		return nil
	}
	return errors.New("a check is tcp, grpc or http")
}

// checkPath is the value of --check-path.
type checkPath string

func (p *checkPath) String() string { return string(*p) }
func (p *checkPath) Type() string   { return "path" }

func (p *checkPath) Set(s string) error {
	if !strings.HasPrefix(s, "/") || len(s) > 1<<10 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("a path begins with / and is at most 1 KiB of printable ASCII without spaces")
	}
	*p = checkPath(s)
	return nil
}
