package gateway

import (
	"errors"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/rollcall-io/rollcall"
)

func TestAServersNoIsTheLibrarysError(t *testing.T) {
	because := func(reason string, metadata map[string]string) protoadapt.MessageV1 {
		return &errdetails.ErrorInfo{Reason: reason, Domain: "rollcall.v1", Metadata: metadata}
	}
	for name, tc := range map[string]struct {
		code    codes.Code
		details []protoadapt.MessageV1
		want    error
		again   bool // another server may say something else
	}{
		"invalid":         {codes.InvalidArgument, []protoadapt.MessageV1{because("INVALID", nil), &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "service", Description: "bad"}}}}, rollcall.ErrInvalid, false},
		"invalid, plain":  {codes.InvalidArgument, nil, rollcall.ErrInvalid, false},
		"not found":       {codes.NotFound, nil, rollcall.ErrNotFound, false},
		"conflict":        {codes.Aborted, []protoadapt.MessageV1{because("CONFLICT", map[string]string{"wanted": "3", "found": "5"})}, rollcall.ErrConflict, false},
		"replaced":        {codes.Aborted, []protoadapt.MessageV1{because("REPLACED", nil)}, rollcall.ErrReplaced, false},
		"denied":          {codes.PermissionDenied, nil, rollcall.ErrPermissionDenied, false},
		"unauthenticated": {codes.Unauthenticated, nil, rollcall.ErrUnauthenticated, false},
		"no space":        {codes.ResourceExhausted, []protoadapt.MessageV1{because("ETCD_NO_SPACE", nil)}, rollcall.ErrNoSpace, false},
		"too many":        {codes.ResourceExhausted, nil, nil, true},
		"unavailable":     {codes.Unavailable, nil, nil, true},
		"late":            {codes.DeadlineExceeded, nil, nil, true},
	} {
		s, err := status.New(tc.code, "because").WithDetails(tc.details...)
		if err != nil {
			t.Fatal(err)
		}
		if got := transient(s.Err()); got != tc.again {
			t.Errorf("%s: to be tried again: %v", name, got)
		}
		if got := refusal(s.Err()); tc.want != nil && !errors.Is(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
		if conflict, is := errors.AsType[*rollcall.ConflictError](refusal(s.Err())); name == "conflict" && (!is || conflict.Wanted != 3 || conflict.Found != 5) {
			t.Errorf("%s: %+v", name, conflict)
		}
	}
}
