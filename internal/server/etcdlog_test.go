package server

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

// textLogger returns a logger that writes from level on, without times.
func textLogger(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})), &out
}

func TestEtcdLogsThroughSlogQuietly(t *testing.T) {
	t.Parallel()
	logger, out := textLogger(slog.LevelDebug)
	etcd := etcdLogger(logger, new(atomic.Bool)).With(zap.String("member", "a"))
	etcd.Debug("too much")
	etcd.Info("published", zap.Int("index", 7), zap.Duration("took", time.Second))
	etcd.Warn("apply is slow", zap.Error(errors.New("disk")))
	etcd.Error("gone")
	etcd.Warn("Running http and grpc server on single port. This is not recommended for production.")
	want := `level=DEBUG msg=published logger=etcd member=a index=7 took=1s
level=WARN msg="apply is slow" logger=etcd member=a error=disk
level=ERROR msg=gone logger=etcd member=a
level=DEBUG msg="Running http and grpc server on single port. This is not recommended for production." logger=etcd member=a
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestAHealthyEtcdHasNothingToSayAboveDebug(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for _, run := range []string{"first start", "restart"} {
		addr, err := probePort(t.Context(), "http://127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		logger, out := textLogger(slog.LevelDebug)
		etcd, err := startEtcd(t.Context(), Config{Logger: logger}.withDefaults(), etcdConfig(Config{}.withDefaults(), dir, addr))
		if err != nil {
			t.Fatal(err)
		}
		etcd.stop()
		if !strings.Contains(out.String(), "level=DEBUG") {
			t.Errorf("%s: etcd's log does not arrive", run)
		}
		for line := range strings.Lines(out.String()) {
			if !strings.HasPrefix(line, "level=DEBUG") {
				t.Errorf("%s: %s", run, line)
			}
		}
	}
}
