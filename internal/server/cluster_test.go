package server_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/internal/server"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) count(level slog.Level) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.buf.String(), "level="+level.String())
}

func (b *syncBuffer) wait(t *testing.T, level slog.Level, want int) {
	t.Helper()
	for deadline := time.Now().Add(timeout); b.count(level) < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d lines of level %v, want %d", b.count(level), level, want)
		}
	}
}

func onCluster(endpoint string, log *syncBuffer) server.Config {
	return server.Config{Etcd: []string{endpoint}, Prefix: "here", Logger: slog.New(slog.NewTextHandler(log, nil))}
}

func TestAnExistingClusterIsFollowedThroughItsAbsence(t *testing.T) {
	t.Parallel()
	etcd, log := etcdtest.Start(t), new(syncBuffer)
	info, stop := start(t, onCluster(etcd.Endpoint(), log))
	status, err := etcd.Client(t).Status(bounded(t), etcd.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	want := server.Info{Endpoints: []string{etcd.Endpoint()}, Version: status.Version, Prefix: "here"}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	if n := log.count(slog.LevelInfo); n != 1 {
		t.Errorf("%d lines about a cluster that answers, want its version", n)
	}

	etcd.Stop()
	log.wait(t, slog.LevelWarn, 1)
	etcd.Restart()
	log.wait(t, slog.LevelInfo, 2)
	if n := log.count(slog.LevelWarn); n != 1 {
		t.Errorf("%d warnings of one absence", n)
	}
	if err := stop(); err != nil {
		t.Errorf("a stopped server returns %v, want nil", err)
	}
}

func TestAClusterThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	etcd.Stop()
	err := refused(t, onCluster(etcd.Endpoint(), new(syncBuffer)))
	unreachable, ok := errors.AsType[*rollcall.UnreachableError](err)
	if !ok {
		t.Fatalf("error is %v, want an UnreachableError", err)
	}
	if diff := cmp.Diff([]string{etcd.Endpoint()}, unreachable.Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	wantText(t, err, etcd.Endpoint(), "connection refused")
}

func TestAStopDuringTheWaitForAClusterIsClean(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	p := faultproxy.Start(t, etcd.Endpoint())
	p.BlackHole()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := server.Run(ctx, onCluster(p.Addr(), new(syncBuffer)), nil); err != nil {
		t.Errorf("Run returns %v, want nil", err)
	}
}

func TestAClusterThatRefusesUsAnswers(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	enableAuth(t, etcd.Client(t))
	log := new(syncBuffer)
	info, _ := start(t, onCluster(etcd.Endpoint(), log))
	if info.Version != "" || log.count(slog.LevelWarn) != 1 {
		t.Errorf("version is %q with %d warnings, want none, and a warning that says so", info.Version, log.count(slog.LevelWarn))
	}
}

func enableAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := bounded(t)
	if _, err := client.RoleAdd(ctx, "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserAdd(ctx, "root", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
}
