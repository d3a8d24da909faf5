package server_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall/internal/server"
)

// told collects what a supervisor is told.
type told chan string

func (c told) next(t *testing.T, within time.Duration) string {
	t.Helper()
	select {
	case state := <-c:
		return state
	case <-time.After(within):
		return ""
	}
}

func TestASupervisorHearsNothingOfAServerWhoseAPIHangs(t *testing.T) {
	t.Parallel()
	heard := make(told, 1000)
	var hangs atomic.Bool
	cfg := onFreePort(filepath.Join(t.TempDir(), "data"))
	cfg.GRPCListen = "127.0.0.1:0"
	cfg.Supervisor = server.Supervisor{Notify: func(state string) { heard <- state }, Watchdog: 150 * time.Millisecond}
	cfg.Guard.Unary = func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if hangs.Load() {
			<-ctx.Done()
		}
		return handler(ctx, req)
	}
	_, stop := start(t, cfg)
	if diff := cmp.Diff("READY=1\nSTATUS=up", heard.next(t, timeout)); diff != "" {
		t.Errorf("the first that a supervisor hears (-want +got):\n%s", diff)
	}
	if got := heard.next(t, timeout); got != "WATCHDOG=1" {
		t.Errorf("of a server that answers it hears %q", got)
	}

	hangs.Store(true)
	for n := 0; heard.next(t, 500*time.Millisecond) != ""; n++ {
		if n > 3 {
			t.Fatal("it hears that a server lives whose API hangs")
		}
	}
	hangs.Store(false)
	if got := heard.next(t, timeout); got != "WATCHDOG=1" {
		t.Errorf("of a server that answers again it hears %q", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	var last string
	for len(heard) > 0 {
		last = <-heard
	}
	if !strings.HasPrefix(last, "STOPPING=1\n") {
		t.Errorf("the last that it hears is %q", last)
	}
}

func TestAServerThatServesNobodyYetIsNotReady(t *testing.T) {
	t.Parallel()
	heard := make(told, 1000)
	cfg := onFreePort(filepath.Join(t.TempDir(), "data"))
	cfg.Supervisor = server.Supervisor{Notify: func(state string) { heard <- state }}
	cfg.GRPCListen = "127.0.0.1:0"
	var open atomic.Bool
	cfg.Guard.Unary = func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !open.Load() {
			return nil, context.Canceled
		}
		return handler(ctx, req)
	}
	start(t, cfg)
	if got := heard.next(t, 300*time.Millisecond); got != "" {
		t.Errorf("of a server that answers nobody a supervisor hears %q", got)
	}
	open.Store(true)
	if got := heard.next(t, timeout); !strings.HasPrefix(got, "READY=1\n") {
		t.Errorf("of one that does it hears %q", got)
	}
}

func TestAMemberThatWaitsForTheOthersAsksForMoreTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	t.Parallel()
	heard := make(told, 10)
	cfg := members(t)[0]
	cfg.Supervisor = server.Supervisor{Notify: func(state string) { heard <- state }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, cfg, nil) }()
	want := "STATUS=waiting for a majority of the cluster's members\nEXTEND_TIMEOUT_USEC=20000000"
	if diff := cmp.Diff(want, heard.next(t, timeout)); diff != "" {
		t.Errorf("a supervisor hears (-want +got):\n%s", diff)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
