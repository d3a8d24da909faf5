package gateway

import (
	"fmt"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// transient reports whether an error is the connection's, or the server's state: another server may answer.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.Unknown:
		return true
	case codes.ResourceExhausted:
		return reasonOf(err).GetReason() != "ETCD_NO_SPACE"
	}
	return false
}

func reasonOf(err error) *errdetails.ErrorInfo {
	for _, d := range status.Convert(err).Details() {
		if info, is := d.(*errdetails.ErrorInfo); is {
			return info
		}
	}
	return nil
}

// refusal returns what the library calls a server's no. The text is the server's.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	info, text := reasonOf(err), status.Convert(err).Message()
	named := func(is error) error { return fmt.Errorf("%w (%s)", is, text) }
	switch status.Code(err) {
	case codes.InvalidArgument:
		return invalidOf(err, text)
	case codes.NotFound:
		return named(rollcall.ErrNotFound)
	case codes.Aborted:
		if info.GetReason() != "CONFLICT" {
			return named(rollcall.ErrReplaced)
		}
		wanted, _ := strconv.ParseInt(info.GetMetadata()["wanted"], 10, 64)
		found, _ := strconv.ParseInt(info.GetMetadata()["found"], 10, 64)
		return &rollcall.ConflictError{Wanted: wanted, Found: found}
	case codes.FailedPrecondition:
		return named(rollcall.ErrAlive)
	case codes.OutOfRange:
		return named(rollcall.ErrRevision)
	case codes.PermissionDenied:
		return named(rollcall.ErrPermissionDenied)
	case codes.Unauthenticated:
		return named(rollcall.ErrUnauthenticated)
	case codes.ResourceExhausted:
		return named(rollcall.ErrNoSpace)
	}
	return err
}

// invalidOf returns the rule that was broken as the library has it.
func invalidOf(err error, text string) error {
	for _, d := range status.Convert(err).Details() {
		if bad, is := d.(*errdetails.BadRequest); is && len(bad.GetFieldViolations()) > 0 {
			v := bad.GetFieldViolations()[0]
			return &rollcall.InvalidError{Field: v.GetField(), Value: "", Rule: v.GetDescription()}
		}
	}
	return fmt.Errorf("%w: %s", rollcall.ErrInvalid, text)
}
