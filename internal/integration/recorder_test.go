package integration

import (
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// recorder keeps what is logged, a line each.
type recorder struct {
	mu  sync.Mutex
	log strings.Builder
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *recorder) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

// verbose returns a logger that keeps everything.
func (r *recorder) verbose() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (r *recorder) count(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.log.String(), text)
}

var watcherGauge = regexp.MustCompile(`(?m)^etcd_debugging_mvcc_watcher_total (\d+)`)

// etcdWatchers returns how many watches this process's embedded servers serve.
func etcdWatchers(t *testing.T, s *etcdtest.Server) int {
	t.Helper()
	resp, err := http.Get("http://" + s.Endpoint() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := watcherGauge.FindSubmatch(body)
	if m == nil {
		t.Fatal("etcd does not tell its watchers")
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}
