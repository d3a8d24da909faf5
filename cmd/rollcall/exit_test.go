package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

func TestEveryErrorHasItsExitCode(t *testing.T) {
	t.Parallel()
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	invalid := &rollcall.InvalidError{Field: "TTL", Value: "4s", Rule: "the rule"}
	late := &rollcall.UnreachableError{Err: context.DeadlineExceeded}
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"nothing", t.Context(), nil, exitDone},
		{"anything", t.Context(), errors.New("anything"), exitFailure},
		{"a command line", t.Context(), &usageError{errors.New("unknown flag")}, exitUsage},
		{"a bad argument", t.Context(), fmt.Errorf("register: %w", invalid), exitUsage},
		{"several bad arguments", t.Context(), errors.Join(invalid, invalid), exitUsage},
		{"a bad argument, interrupted", interrupted, invalid, exitUsage},
		{"etcd out of reach", t.Context(), fmt.Errorf("list: %w", late), exitUnreachable},
		{"a deadline", t.Context(), context.DeadlineExceeded, exitUnreachable},
		{"a goodbye that came too late after the interrupt", interrupted, late, exitUnreachable},
		{"an interrupt", interrupted, &rollcall.UnreachableError{Err: context.Canceled}, exitInterrupted},
		{"no such service", t.Context(), &notFoundError{"nobody"}, exitNotFound},
		{"replaced", t.Context(), fmt.Errorf("x: %w", rollcall.ErrReplaced), exitConflict},
		{"somebody else decided", t.Context(), again(fmt.Errorf("x: %w", &rollcall.ConflictError{Found: 7}), "look"), exitConflict},
		{"no policy", t.Context(), fmt.Errorf("x: %w", rollcall.ErrNotFound), exitNotFound},
		{"a bad document", t.Context(), &documentError{"policy.yaml", invalid}, exitUsage},
		{"a bad value in etcd", t.Context(), stored(fmt.Errorf("x: %w", invalid)), exitFailure},
		{"permission", t.Context(), fmt.Errorf("x: %w", rpctypes.ErrPermissionDenied), exitDenied},
		{"no credentials", t.Context(), fmt.Errorf("x: %w", rpctypes.ErrUserEmpty), exitDenied},
		{"no credentials, raw", t.Context(), fmt.Errorf("x: %w", rpctypes.ErrGRPCUserEmpty), exitDenied},
		{"refused again and again", t.Context(), &rollcall.UnreachableError{Last: rpctypes.ErrPermissionDenied, Err: context.DeadlineExceeded}, exitDenied},
		{"wrong credentials", t.Context(), fmt.Errorf("x: %w", status.Error(codes.Unauthenticated, "who?")), exitDenied},
		{"nobody reads", interrupted, fmt.Errorf("print: %w", &os.PathError{Op: "write", Err: syscall.EPIPE}), exitUnheard},
		{"closed", t.Context(), rollcall.ErrClosed, exitFailure},
	} {
		if got := exitCode(c.ctx, c.err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}
