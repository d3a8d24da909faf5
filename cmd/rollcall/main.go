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
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, interrupt := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-signals
		interrupt()
		second := <-signals
		dieOf(second)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// dieOf ends the process at once, as the signal ends a program that does not catch it. The first signal asks for a
// clean end; whoever sends a second does not want to wait for it.
func dieOf(s os.Signal) {
	signal.Reset(s)
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Signal(s)
	}
	time.Sleep(time.Second) // the signal is delivered within that; where signals cannot be sent, this does it:
	os.Exit(exitInterrupted)
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
