package naming

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// nowhere returns a registry over a client that has no etcd: whatever asks etcd fails, by its context at the latest.
func nowhere(t *testing.T) *Registry {
	t.Helper()
	client, err := clientv3.New(rollcall.ClientConfig("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	names := New(client)
	t.Cleanup(func() {
		_ = names.Close(context.Background())
		_ = client.Close()
	})
	return names
}

// wantStatus holds an error against a code and words that its text has.
func wantStatus(t *testing.T, what string, err error, code codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%s: %v has the code %v, want %v", what, err, status.Code(err), code)
	}
	for _, word := range words {
		if !strings.Contains(status.Convert(err).Message(), word) {
			t.Errorf("%s: %v does not name %q", what, err, word)
		}
	}
}

func TestEveryCallNamesTheMissingClient(t *testing.T) {
	t.Parallel()
	names := New(nil)
	wantStatus(t, "add", names.Register(t.Context(), "jie-test", Update{Op: Add, Addr: "10.0.0.7:1"}), codes.InvalidArgument, "client nil")
	wantStatus(t, "delete", names.Register(t.Context(), "jie-test", Update{Op: Delete, Addr: "10.0.0.7:1"}), codes.InvalidArgument, "client nil")
	_, err := names.Resolve("jie-test")
	wantStatus(t, "resolve", err, codes.InvalidArgument, "client nil")
	if err := names.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestBadInputIsRefusedByName(t *testing.T) {
	t.Parallel()
	names := nowhere(t)
	good := Update{Op: Add, Addr: "10.0.0.7:1"}
	for what, c := range map[string]struct {
		target string
		update Update
		ttl    time.Duration
		words  []string
	}{
		"no target":           {"", good, DefaultTTL, []string{`service ""`}},
		"no service":          {"team/a/", good, DefaultTTL, []string{`service ""`}},
		"no service name":     {"team/a b", good, DefaultTTL, []string{`service "a b"`, "A-Z"}},
		"no directory":        {"te\xffam/a", good, DefaultTTL, []string{"directory", "UTF-8"}},
		"our own service":     {"rollcall", good, DefaultTTL, []string{`service "rollcall"`}},
		"no address":          {"jie-test", Update{}, DefaultTTL, []string{`Instance.Addr ""`, "host:port"}},
		"address of no port":  {"jie-test", Update{Addr: "10.0.0.7"}, DefaultTTL, []string{`Instance.Addr "10.0.0.7"`, "host:port"}},
		"delete of nothing":   {"jie-test", Update{Op: Delete}, DefaultTTL, []string{`Instance.ID ""`}},
		"delete in no target": {"-", Update{Op: Delete, Addr: good.Addr}, DefaultTTL, []string{`service "-"`}},
		"no TTL":              {"jie-test", good, 0, []string{"TTL 0s", "at least 5s"}},
		"half a second":       {"jie-test", good, 500 * time.Millisecond, []string{"TTL 500ms", "at least 5s"}},
		"half a second more":  {"jie-test", good, 5500 * time.Millisecond, []string{"TTL 5.5s", "whole seconds"}},
		"less than nothing":   {"jie-test", good, -time.Minute, []string{"TTL -1m0s", "at least 5s"}},
		"a channel":           {"jie-test", Update{Addr: good.Addr, Metadata: make(chan int)}, DefaultTTL, []string{"Update.Metadata of type chan int"}},
		"no number":           {"jie-test", Update{Addr: good.Addr, Metadata: math.NaN()}, DefaultTTL, []string{"Update.Metadata of type float64"}},
		"too much metadata":   {"jie-test", Update{Addr: good.Addr, Metadata: strings.Repeat("x", 17<<10)}, DefaultTTL, []string{"16 KiB"}},
	} {
		err := names.Register(t.Context(), c.target, c.update, WithTTL(c.ttl))
		wantStatus(t, what, err, codes.InvalidArgument, c.words...)
		if !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("%s: %v is not %v", what, err, rollcall.ErrInvalid)
		}
	}
	for _, target := range []string{"", "team/a/", "a b", "te\xffam/a", "rollcall"} {
		w, err := names.Resolve(target)
		wantStatus(t, "resolve "+target, err, codes.InvalidArgument)
		if w != nil {
			t.Errorf("resolve %s: a watcher beside the error", target)
		}
	}
	if len(names.slots) > 0 {
		t.Errorf("refused calls are remembered: %v", names.slots)
	}
}

func TestAnyOtherOpIsUnsupported(t *testing.T) {
	t.Parallel()
	names := nowhere(t)
	for _, op := range []Operation{Delete + 1, math.MaxUint8} {
		err := names.Register(t.Context(), "jie-test", Update{Op: op, Addr: "10.0.0.7:1"})
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || s.Message() != "unsupported op" {
			t.Errorf("op %d: %v", op, err)
		}
	}
}

func TestAClosedRegistryIsUnavailable(t *testing.T) {
	t.Parallel()
	names := nowhere(t)
	w, err := names.Resolve("jie-test")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := names.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	_, err = w.Next()
	wantStatus(t, "next", err, codes.Unavailable, "etcd watch closed")
	for _, op := range []Operation{Add, Delete} {
		err := names.Register(t.Context(), "jie-test", Update{Op: op, Addr: "10.0.0.7:1"})
		wantStatus(t, fmt.Sprint("register, op ", op), err, codes.Unavailable, "closed")
	}
	_, err = names.Resolve("jie-test")
	wantStatus(t, "resolve", err, codes.Unavailable, "closed")
}

func TestErrorsHaveTheCodesOfTheirReasons(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancelCause(t.Context())
	end(errors.New("no patience"))
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want codes.Code
	}{
		{ended, &rollcall.InvalidError{}, codes.InvalidArgument},
		{t.Context(), rollcall.ErrReplaced, codes.Aborted},
		{t.Context(), rollcall.ErrClosed, codes.Unavailable},
		{ended, &rollcall.UnreachableError{Err: context.Cause(ended)}, codes.Canceled},
		{t.Context(), &rollcall.UnreachableError{Err: errors.New("no answer")}, codes.Unavailable},
		{t.Context(), rpctypes.ErrPermissionDenied, codes.PermissionDenied},
		{t.Context(), status.Error(codes.ResourceExhausted, "too much"), codes.ResourceExhausted},
		{t.Context(), errors.New("what?"), codes.Unknown},
	} {
		err := statusOf(c.ctx, fmt.Errorf("register: %w", c.err))
		wantStatus(t, "", err, c.want, "register: "+c.err.Error())
		if !errors.Is(err, c.err) {
			t.Errorf("%v is not %v any more", err, c.err)
		}
	}
}

func TestCallsForOneAddressTakeTurns(t *testing.T) {
	t.Parallel()
	names := nowhere(t)
	first, err := names.enter(t.Context(), place{"jie-test", "10.0.0.7:1"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := names.enter(t.Context(), place{"jie-test", "10.0.0.8:1"})
	if err != nil {
		t.Fatalf("another address: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err = names.Register(ctx, "jie-test", Update{Op: Add, Addr: "10.0.0.7:1"})
	wantStatus(t, "the second call", err, codes.DeadlineExceeded, "jie-test/10.0.0.7:1")

	entered := make(chan *slot)
	go func() {
		s, _ := names.enter(context.Background(), place{"jie-test", "10.0.0.7:1"})
		entered <- s
	}()
	names.leave(first)
	names.leave(<-entered)
	names.leave(other)
	if len(names.slots) > 0 {
		t.Errorf("slots are left: %v", names.slots)
	}
}
