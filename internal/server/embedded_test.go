package server

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

func TestSettingsReachEtcd(t *testing.T) {
	t.Parallel()
	addr, err := probePort(t.Context(), "http://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		cfg     Config
		history time.Duration
		quota   int64
	}{
		{"by default", Config{}, 24 * time.Hour, 2 << 30},
		{"as configured", Config{History: 90 * time.Minute, QuotaBytes: 64 << 20}, 90 * time.Minute, 64 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			etcd, err := startEtcd(t.Context(), tt.cfg.withDefaults(), etcdConfig(tt.cfg.withDefaults(), t.TempDir(), addr))
			if err != nil {
				t.Fatal(err)
			}
			defer etcd.stop()
			running := etcd.etcd.Server.Cfg
			if running.AutoCompactionMode != embed.CompactorModePeriodic || running.AutoCompactionRetention != tt.history {
				t.Errorf("etcd compacts by %s and keeps %v, want periodic and %v", running.AutoCompactionMode, running.AutoCompactionRetention, tt.history)
			}
			if running.QuotaBackendBytes != tt.quota {
				t.Errorf("etcd's quota is %d, want %d", running.QuotaBackendBytes, tt.quota)
			}
			if running.UnsafeNoFsync {
				t.Error("etcd does not sync its writes")
			}
			if n := len(etcd.etcd.Peers); n != 0 {
				t.Errorf("etcd has %d peer listeners, want none", n)
			}
		})
	}
}

// halfACluster makes the data directory of one of two members.
func halfACluster(t *testing.T, addr string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	cfg := etcdConfig(Config{}.withDefaults(), dir, addr)
	cfg.InitialCluster += ",other=http://127.0.0.1:1"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.Server.HardStop()
	e.Close()
	return dir
}

func TestAnEtcdWithoutALeaderCanBeStopped(t *testing.T) {
	t.Parallel()
	addr, err := probePort(t.Context(), "http://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{DataDir: halfACluster(t, addr), ClientURL: "http://" + addr}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, func(i Info) { t.Errorf("the server is ready: %+v", i) }) }()
	select {
	case err := <-ended:
		if err != nil || ctx.Err() == nil {
			t.Errorf("Run returns %v, want nil when its context ends", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the server does not end")
	}
}

func TestVersionsCompareByNumber(t *testing.T) {
	t.Parallel()
	for version, old := range map[string]bool{
		"3.4.23": true, "3.5.33": true, "3.6.9": true, "3.6.13": true, "3.6.14": false, "3.10.0": false, "3.8.0-alpha.0": false, "4.0.0": false, "": true,
	} {
		if got := tooOld(version); got != old {
			t.Errorf("version %q is too old: %t, want %t", version, got, old)
		}
	}
}
