package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

func reasonOf(s *status.Status) string {
	for _, detail := range s.Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is && info.GetDomain() == Domain {
			return info.GetReason()
		}
	}
	return ""
}

func TestEveryErrorHasItsCodeAndItsReason(t *testing.T) {
	t.Parallel()
	within := func(err error) error { return fmt.Errorf("policy of svc: %w", err) }
	for _, c := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{&rollcall.InvalidError{Field: "service", Value: `"a/b"`, Rule: "no slash"}, codes.InvalidArgument, "INVALID"},
		{rollcall.ErrNotFound, codes.NotFound, "NOT_FOUND"},
		{rollcall.ErrDeregistered, codes.NotFound, "DEREGISTERED"},
		{&rollcall.ConflictError{Wanted: 3, Found: 5}, codes.Aborted, "CONFLICT"},
		{rollcall.ErrReplaced, codes.Aborted, "REPLACED"},
		{&rollcall.UnreachableError{Err: context.DeadlineExceeded}, codes.Unavailable, "ETCD_UNREACHABLE"},
		{&rollcall.UnreachableError{Err: context.Canceled, Last: rollcall.ErrPermissionDenied}, codes.Unavailable, "ETCD_UNREACHABLE"},
		{errSilent, codes.Unavailable, "ETCD_UNREACHABLE"},
		{fmt.Errorf("%w (%w)", rollcall.ErrNoSpace, rpctypes.ErrGRPCNoSpace), codes.ResourceExhausted, "ETCD_NO_SPACE"},
		{fmt.Errorf("%w (%w)", rollcall.ErrPermissionDenied, rpctypes.ErrGRPCPermissionDenied), codes.PermissionDenied, "ETCD_DENIED"},
		{fmt.Errorf("%w (%w)", rollcall.ErrUnauthenticated, rpctypes.ErrGRPCInvalidAuthToken), codes.Unavailable, "ETCD_UNAUTHENTICATED"},
		{rollcall.ErrClosed, codes.Unavailable, "STOPPING"},
		{errStopping, codes.Unavailable, "STOPPING"},
		{context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE"},
		{context.Canceled, codes.Canceled, "CANCELED"},
		{rpctypes.ErrGRPCUserNotFound, codes.Internal, "INTERNAL"},
		{errors.New("anything else"), codes.Internal, "INTERNAL"},
		{errPanic, codes.Internal, "INTERNAL"},
	} {
		s := StatusOf(within(c.err))
		if s.Code() != c.code || reasonOf(s) != c.reason || !strings.HasPrefix(s.Message(), "policy of svc: ") {
			t.Errorf("%v: %v %q %q, want %v %q", c.err, s.Code(), reasonOf(s), s.Message(), c.code, c.reason)
		}
	}
	if StatusOf(nil).Code() != codes.OK {
		t.Error("nil is an error")
	}
	if own := status.Error(codes.Unimplemented, "no"); StatusOf(own).Code() != codes.Unimplemented {
		t.Error("a status does not stay what it is")
	}
}

func TestEveryRuleThatIsBrokenIsNamed(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("register: %w", errors.Join(
		&rollcall.InvalidError{Field: "Instance.Addr", Value: `""`, Rule: "an address"},
		&rollcall.InvalidError{Field: "name in Instance.Addrs", Value: `" "`, Rule: "no space"},
		&rollcall.InvalidError{Field: `Instance.Addrs["HTTP.x"]`, Value: `"y"`, Rule: "an address"},
		&rollcall.InvalidError{Field: "Instance.RawMetadata", Value: "{}", Rule: "valid"},
		&rollcall.InvalidError{Field: "TTL", Value: "1s", Rule: "5 s"},
		&rollcall.InvalidError{Field: "Instance.ID", Value: "\xff", Rule: "UTF-8"},
		&rollcall.InvalidError{Field: "retry.maxBackoff", Value: "-1", Rule: "more"},
	))
	var got []string
	for _, detail := range StatusOf(err).Details() {
		if bad, is := detail.(*errdetails.BadRequest); is {
			for _, v := range bad.GetFieldViolations() {
				got = append(got, v.GetField())
			}
		}
	}
	want := `instance.addr, name in Instance.Addrs, instance.addrs["HTTP.x"], instance.rawMetadata, ttl, instance.id, retry.maxBackoff`
	if strings.Join(got, ", ") != want {
		t.Errorf("fields %s\nwant   %s", strings.Join(got, ", "), want)
	}
}

func TestAPanicEndsItsCallOnly(t *testing.T) {
	t.Parallel()
	a := New(rollcall.New(nil), Config{})
	defer a.Close()
	_, err := a.unary(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { panic("a secret") })
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "a secret") {
		t.Errorf("unary: %v", err)
	}
	err = a.stream(nil, nil, &grpc.StreamServerInfo{}, func(any, grpc.ServerStream) error { panic("a secret") })
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "a secret") {
		t.Errorf("stream: %v", err)
	}
}
