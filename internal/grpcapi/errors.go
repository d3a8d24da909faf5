package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/message"
)

// Domain is that of the reasons in a status's ErrorInfo.
const Domain = "rollcall.v1"

var (
	errPanic      = errors.New("the server has made a mistake, which is in its log")
	errUnreadable = errors.New("what lies in etcd cannot be read")
)

// reasons is the one table of errors; docs/api.md has it for people. Of the lines that an error is, the first counts.
var reasons = []struct {
	is     error
	code   codes.Code
	reason string // for programs; never changes
}{
	{rollcall.ErrInvalid, codes.InvalidArgument, "INVALID"},
	{errUnreadable, codes.DataLoss, "UNREADABLE"},
	{rollcall.ErrNotFound, codes.NotFound, "NOT_FOUND"},
	{rollcall.ErrDeregistered, codes.NotFound, "DEREGISTERED"},
	{rollcall.ErrConflict, codes.Aborted, "CONFLICT"},
	{rollcall.ErrReplaced, codes.Aborted, "REPLACED"},
	{rollcall.ErrAlive, codes.FailedPrecondition, "ALIVE"},
	{rollcall.ErrRevision, codes.OutOfRange, "NO_SUCH_REVISION"},
	{rollcall.ErrUnreachable, codes.Unavailable, "ETCD_UNREACHABLE"},
	{errSilent, codes.Unavailable, "ETCD_UNREACHABLE"},
	{rollcall.ErrNoSpace, codes.ResourceExhausted, "ETCD_NO_SPACE"},
	{rollcall.ErrPermissionDenied, codes.PermissionDenied, "ETCD_DENIED"},
	{rollcall.ErrUnauthenticated, codes.Unavailable, "ETCD_UNAUTHENTICATED"},
	{rollcall.ErrClosed, codes.Unavailable, "STOPPING"},
	{errNoHistory, codes.Unimplemented, "NOT_HERE"},
	{errNoXds, codes.Unimplemented, "NOT_HERE"},
	{errNoEtcd, codes.Unimplemented, "NOT_HERE"},
	{errors.ErrUnsupported, codes.Unimplemented, "NOT_HERE"},
	{errStopping, codes.Unavailable, "STOPPING"},
	{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE"},
	{context.Canceled, codes.Canceled, "CANCELED"},
}

// StatusOf returns the status with which the API answers an error of the registry, or of its own: the code, a text that says what to do, and
// as details a google.rpc.ErrorInfo with a reason for programs and, when a request breaks rules, a google.rpc.BadRequest. A status stays
// what it is, unless it is etcd's: that is an error of the server's and not of the caller's.
func StatusOf(err error) *status.Status {
	if own, is := err.(interface{ GRPCStatus() *status.Status }); is || err == nil {
		if err == nil {
			return nil
		}
		return own.GRPCStatus()
	}
	code, reason := reasonFor(err)
	info := &errdetails.ErrorInfo{Reason: reason, Domain: Domain}
	details := []protoadapt.MessageV1{info}
	if conflict, is := errors.AsType[*rollcall.ConflictError](err); is {
		info.Metadata = map[string]string{"wanted": strconv.FormatInt(conflict.Wanted, 10), "found": strconv.FormatInt(conflict.Found, 10)}
	}
	if bad := violations(err); len(bad) > 0 {
		details = append(details, &errdetails.BadRequest{FieldViolations: bad})
	}
	s := status.New(code, message.Text(err.Error()))
	if with, err := s.WithDetails(details...); err == nil {
		return with
	}
	return s
}

// reasonFor looks an error up.
func reasonFor(err error) (codes.Code, string) {
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return r.code, r.reason
		}
	}
	return codes.Internal, "INTERNAL"
}

// violations returns every rule that an error says was broken.
func violations(err error) []*errdetails.BadRequest_FieldViolation {
	switch e := err.(type) {
	case *rollcall.InvalidError:
		return []*errdetails.BadRequest_FieldViolation{{Field: message.Text(fieldOf(e.Field)), Description: message.Text(e.Value + ": " + e.Rule)}}
	case interface{ Unwrap() []error }:
		var all []*errdetails.BadRequest_FieldViolation
		for _, one := range e.Unwrap() {
			all = append(all, violations(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return violations(e.Unwrap())
	}
	return nil
}

// fieldOf turns the name that a field has in Go into the one that it has in the API: Instance.Addrs["http"] into instance.addrs["http"].
func fieldOf(field string) string {
	name, rest, quoted := strings.Cut(field, "[")
	if !strings.Contains(name, " ") && (strings.Contains(name, ".") || name == strings.ToUpper(name)) {
		name = strings.ToLower(name[:1]) + name[1:]
		if before, after, dotted := strings.Cut(name, "."); dotted && after != "" {
			name = before + "." + strings.ToLower(after[:1]) + after[1:]
		}
		name = strings.NewReplacer("ID", "id", "iD", "id", "tTL", "ttl", "TTL", "ttl").Replace(name)
	}
	if quoted {
		return name + "[" + rest
	}
	return name
}

func (a *API) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		err = a.ended(info.FullMethod, err, recover())
	}()
	return handle(ctx, req)
}

func (a *API) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() {
		err = a.ended(info.FullMethod, err, recover())
	}()
	return handle(srv, stream)
}

// ended turns what a call ended with into a status. A mistake of ours ends its call, and no other.
func (a *API) ended(method string, err error, panicked any) error {
	if panicked != nil {
		a.logger.Error("a call panicked", "method", method, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		err = errPanic
	}
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return StatusOf(err).Err()
}
