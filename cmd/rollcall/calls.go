package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

// Between two tries of a call that nobody has answered.
const (
	retryMin = 100 * time.Millisecond
	retryMax = time.Second
)

// ask makes a call of the API until somebody answers or ctx ends. What names it in errors.
func (c *client) ask(ctx context.Context, what string, call func(context.Context) error) error {
	began, rest := time.Now(), retryMin
	var last error
	for {
		err := call(ctx)
		if err == nil {
			return nil
		}
		if !transient(err) {
			return fmt.Errorf("%s: %w", what, refusal(err))
		}
		if ctx.Err() == nil {
			last = err
		}
		if !wait(ctx, rest) {
			return fmt.Errorf("%s: %w", what, &rollcall.UnreachableError{
				Who: rollcall.RemoteName, Endpoints: c.addrs, Since: began, Last: last, Err: context.Cause(ctx),
			})
		}
		rest = min(2*rest, retryMax)
	}
}

// wait reports whether ctx still lives after a while.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// transient reports whether a try may go better next time.
func transient(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	return false
}

// reasonOf returns what a server says to programs of why it refuses; nil when it is no server of ours that refuses.
func reasonOf(s *status.Status) *errdetails.ErrorInfo {
	for _, d := range s.Details() {
		if info, is := d.(*errdetails.ErrorInfo); is && info.GetDomain() == grpcapi.Domain {
			return info
		}
	}
	return nil
}

// answered reports whether a status is a server's own, and not that of the way to it.
func answered(s *status.Status) bool {
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return reasonOf(s) != nil
	}
	return true
}

// refusal is a server's no in the words of the command line.
func refusal(err error) error {
	s := status.Convert(err)
	for _, d := range s.Details() {
		if bad, is := d.(*errdetails.BadRequest); is {
			var errs []error
			for _, v := range bad.GetFieldViolations() {
				value, rule, _ := strings.Cut(v.GetDescription(), ": ")
				errs = append(errs, &rollcall.InvalidError{Field: v.GetField(), Value: value, Rule: rule})
			}
			return errors.Join(errs...)
		}
	}
	switch s.Code() {
	case codes.NotFound:
		return &notFoundError{s.Message()}
	case codes.OutOfRange:
		return &notFoundError{s.Message() + "; 'rollcall history -o wide' has the revisions that are known, and says where they begin"}
	case codes.Unimplemented:
		return fmt.Errorf("the server does not know how: it is of an earlier version, or does not keep one (%s)", s.Message())
	case codes.PermissionDenied, codes.Unauthenticated:
		return &deniedError{s}
	}
	return errors.New(s.Message())
}

// deniedError says who may not do what.
type deniedError struct{ s *status.Status }

func (e *deniedError) Error() string              { return e.s.Message() }
func (e *deniedError) GRPCStatus() *status.Status { return e.s }

// summaries returns all services that meet a request.
func (c *client) summaries(ctx context.Context, req *rollcallv1.ListServicesRequest) (all []*rollcallv1.ServiceSummary, first *rollcallv1.ListServicesResponse, err error) {
	for {
		var resp *rollcallv1.ListServicesResponse
		err := c.ask(ctx, "list services", func(ctx context.Context) (err error) {
			resp, err = rollcallv1.NewDiscoveryServiceClient(c.conn).ListServices(ctx, req)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if first == nil {
			first = resp
		}
		all = append(all, resp.GetServices()...)
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return all, first, nil
		}
	}
}
