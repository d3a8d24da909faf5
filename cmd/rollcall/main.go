// Command rollcall is the registry on the command line: it runs a server, registers instances, lists and watches the
// services that are there, and steers who is called and how. Run "rollcall help" for the commands, "rollcall help exit-codes" for what they exit with.
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
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	ctx, interrupt := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// With it caught, a write that nobody reads is an error, and does not end the process without a goodbye.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
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
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	out := &output{w: stdout, abandon: abandon}
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)

	// What fails before a command begins is the fault of the command line; cobra's errors do not tell.
	begun := false
	var filled map[string]string
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if filled, err = fillFromEnvironment(cmd); err != nil {
			return err
		}
		begun = true
		return nil
	}
	cmd, err := root.ExecuteContextC(ctx)
	if failed := out.failed(); failed != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = failed // which is why it was abandoned
	}
	if err == nil {
		return exitDone
	}
	if program, ended := errors.AsType[*programExit](err); ended {
		return program.code // of run, which has said why
	}
	if !begun {
		err = &usageError{err}
	}
	code := exitCode(ctx, err)
	if code == exitInterrupted {
		err = errors.New("interrupted")
	}
	if code == exitUnheard {
		return code // as quietly as any other program whose reader has gone
	}
	fmt.Fprintln(stderr, "rollcall:", strings.TrimSpace(inFlagWords(err, filled)))
	if _, wrong := errors.AsType[*usageError](err); wrong {
		fmt.Fprintln(stderr, "usage:", cmd.UseLine())
	}
	switch code {
	case exitUsage:
		fmt.Fprintf(stderr, "Run '%s --help' for what it takes.\n", cmd.CommandPath())
	case exitUnreachable:
		fmt.Fprintln(stderr, advice(err))
	}
	return code
}

// output is where the data goes. When it cannot go there the command is abandoned, as if it were interrupted: what it
// registered it deregisters.
type output struct {
	w       io.Writer
	abandon context.CancelFunc

	mu  sync.Mutex
	err error // of the first write that failed
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	if err != nil {
		o.err = fmt.Errorf("print: %w", err)
		o.abandon()
	}
	return n, err
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
