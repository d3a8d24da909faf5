// Command rollcall is the registry on the command line: it runs a server, registers instances, and lists and watches
// the services that are there. Run "rollcall help" for the commands, "rollcall help exit-codes" for what they exit with.
//
// Data goes to standard output, talk to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean end. After it signals do again what they do to any program: a second one ends
	// this one at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it: it executes args until they are done or ctx ends, and
// returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)

	// What fails before a command begins is the fault of the command line; cobra's errors do not tell.
	begun := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := fillFromEnvironment(cmd); err != nil {
			return err
		}
		begun = true
		return nil
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if !begun {
		err = &usageError{err}
	}
	code := exitCode(ctx, err)
	if code == exitInterrupted {
		err = errors.New("interrupted")
	}
	fmt.Fprintln(stderr, "rollcall:", strings.TrimSpace(inFlagWords(err)))
	if _, wrong := errors.AsType[*usageError](err); wrong {
		fmt.Fprintln(stderr, "usage:", cmd.UseLine())
	}
	switch code {
	case exitUsage:
		fmt.Fprintf(stderr, "Run '%s --help' for what it takes.\n", cmd.CommandPath())
	case exitUnreachable:
		fmt.Fprintln(stderr, "Is etcd running there? --etcd (env ROLLCALL_ETCD) says where to look; 'rollcall server' runs one.")
	}
	return code
}
