package etcdtest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestAClusterGoesOnWithoutAMemberThatHangsAndWithoutOneThatIsKilled(t *testing.T) {
	t.Parallel()
	c := etcdtest.StartCluster(t, 3)

	hung := c.Leader(t)
	hung.Hang()
	next := c.Leader(t)
	if next == hung {
		t.Error("the leader is one that hangs")
	}
	put(t, next.Client(t), "key", "written while one hangs")
	hung.Continue()
	c.Await(t)
	if got := get(t, hung.Client(t), "key"); got != "written while one hangs" {
		t.Errorf("key is %q at the member that hung", got)
	}

	killed := c.Leader(t)
	pid := killed.Pid()
	killed.Kill()
	if !refuses(t, killed.Endpoint()) {
		t.Error("a member that was killed accepts connections")
	}
	put(t, c.Leader(t).Client(t), "key", "written while one is dead")
	killed.Start()
	c.Await(t)
	if now := killed.Pid(); now == pid || now == os.Getpid() {
		t.Errorf("the process of the member is %d, was %d; the test's is %d", now, pid, os.Getpid())
	}
	if got := get(t, killed.Client(t), "key"); got != "written while one is dead" {
		t.Errorf("key is %q at the member that was killed", got)
	}
}

func TestOnlyWithFsyncAClusterSyncsItsWrites(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		opts  []etcdtest.ClusterOption
		syncs bool
	}{{nil, false}, {[]etcdtest.ClusterOption{etcdtest.WithFsync()}, true}} {
		t.Run(fmt.Sprintf("syncs=%t", row.syncs), func(t *testing.T) {
			c := etcdtest.StartCluster(t, 1, row.opts...)
			const syncs = "etcd_disk_wal_fsync_duration_seconds_count"
			before := metric(t, c.Member(0), syncs)
			put(t, c.Client(t), "key", "value")
			if after := metric(t, c.Member(0), syncs); (after != before) != row.syncs {
				t.Errorf("etcd had synced %s times before a write and %s times after it", before, after)
			}
		})
	}
}

func refuses(t *testing.T, endpoint string) bool {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", endpoint)
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

// metric returns the value of one of a member's metrics, as text.
func metric(t *testing.T, m *etcdtest.Member, name string) string {
	t.Helper()
	resp, err := http.Get("http://" + m.Endpoint() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)`).FindSubmatch(body)
	if found == nil {
		t.Fatalf("etcd has no metric %s", name)
	}
	return string(found[1])
}
