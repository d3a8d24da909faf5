package naming

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// errWatchClosed is the end of a watcher, in the words of the old package.
var errWatchClosed error = &statusError{code: codes.Unavailable, text: "etcd watch closed", err: rollcall.ErrClosed}

// statusError is an error of the library as a gRPC status.
type statusError struct {
	code codes.Code
	text string
	err  error
}

func (e *statusError) Error() string { return e.text }

func (e *statusError) Unwrap() error { return e.err }

// GRPCStatus is how package status finds the code.
func (e *statusError) GRPCStatus() *status.Status { return status.New(e.code, e.text) }

// statusOf makes an error that a call with the given context met a gRPC status; nil stays nil.
func statusOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return &statusError{code: codeOf(ctx, err), text: err.Error(), err: err}
}

func codeOf(ctx context.Context, err error) codes.Code {
	switch {
	case errors.Is(err, rollcall.ErrInvalid):
		return codes.InvalidArgument
	case errors.Is(err, rollcall.ErrReplaced):
		return codes.Aborted
	case errors.Is(err, rollcall.ErrClosed):
		return codes.Unavailable
	}
	// The errors of the etcd client are no statuses, but have a code.
	if refusal, ok := errors.AsType[interface {
		error
		Code() codes.Code
	}](err); ok {
		return refusal.Code()
	}
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Code()
	case errors.Is(err, rollcall.ErrUnreachable):
		return codes.Unavailable
	}
	return status.Code(err)
}
