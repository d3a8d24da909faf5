package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// What the process exits with. The numbers are a contract with scripts.
const (
	exitDone        = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitNotFound    = 4
	exitConflict    = 5
	exitDenied      = 6
	exitWarning     = 7
	exitCritical    = 8
	exitInterrupted = 130
	exitUnheard     = 141 // what a shell makes of the death by SIGPIPE that other programs die
)

var exitMeanings = []struct {
	code    int
	meaning string
}{
	{exitDone, "done; for server and register also: stopped as asked, by SIGINT or SIGTERM"},
	{exitFailure, "failure"},
	{exitUsage, "usage: an unknown command or flag, or an argument that breaks a rule; nobody was asked"},
	{exitUnreachable, "unreachable: neither a server nor etcd answered in time"},
	{exitNotFound, "not found: the service has no instances, no such instance, or no policy; or that moment of the past is forgotten"},
	{exitConflict, "conflict: the registration was replaced by a newer one of the same id, somebody else decided at the same time, or the instance is alive"},
	{exitDenied, "denied: the server or etcd refused the credentials or the permission"},
	{exitWarning, "doctor has found something that will hurt"},
	{exitCritical, "doctor has found something that hurts, or will soon"},
	{exitInterrupted, "interrupted by SIGINT or SIGTERM before it was done"},
	{exitUnheard, "unheard: whoever read the output has gone; what was registered is deregistered"},
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// notFoundError says that there is nothing under a name.
type notFoundError struct{ what string }

func (e *notFoundError) Error() string { return e.what }

// errInterrupted ends a command by a key that is as good as a signal.
var errInterrupted = errors.New("interrupted")

// exitCode is the one place where errors become exit codes. ctx is the one that a signal ends.
func exitCode(ctx context.Context, err error) int {
	_, wrongUsage := errors.AsType[*usageError](err)
	_, notFound := errors.AsType[*notFoundError](err)
	sound, found := errors.AsType[*soundError](err)
	switch {
	case err == nil:
		return exitDone
	case found:
		return sound.code
	case errors.Is(err, syscall.EPIPE):
		return exitUnheard
	case wrongUsage, errors.Is(err, rollcall.ErrInvalid):
		return exitUsage
	case errors.Is(err, errInterrupted), ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, rollcall.ErrReplaced), errors.Is(err, rollcall.ErrConflict), errors.Is(err, rollcall.ErrAlive):
		return exitConflict
	case notFound, errors.Is(err, rollcall.ErrNotFound):
		return exitNotFound
	case denied(err):
		return exitDenied
	case errors.Is(err, rollcall.ErrUnreachable), errors.Is(err, context.DeadlineExceeded):
		return exitUnreachable
	}
	return exitFailure
}

// denied reports whether a server or etcd refused who we are or what we may do.
func denied(err error) bool {
	if e, ok := errors.AsType[*rollcall.UnreachableError](err); ok {
		return denied(e.Last) // what is tried again and again does not fail by being refused, but is no less refused
	}
	if errors.Is(err, rollcall.ErrPermissionDenied) || errors.Is(err, rollcall.ErrUnauthenticated) {
		return true
	}
	known, _ := statusOf(err)
	code, text := known.Code(), known.Message()
	// To etcd a call without credentials, or with wrong ones, is an invalid argument.
	return code == codes.PermissionDenied || code == codes.Unauthenticated || text == rpctypes.ErrUserEmpty.Error() || text == rpctypes.ErrAuthFailed.Error()
}

// statusOf returns the status with which etcd, or the connection to it, refused; false when err is something else.
func statusOf(err error) (*status.Status, bool) {
	if e, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return e.GRPCStatus(), true
	}
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return status.New(e.Code(), e.Error()), true
	}
	return nil, false
}

// newExitCodesTopic is help without a command: "rollcall help exit-codes".
func newExitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("rollcall exits with:\n\n")
	for _, e := range exitMeanings {
		fmt.Fprintf(&b, "  %3d  %s\n", e.code, e.meaning)
	}
	b.WriteString("\nA second SIGINT or SIGTERM ends the process at once, as it would any other.")
	return &cobra.Command{Use: "exit-codes", Short: "What the commands exit with", Long: b.String()}
}
