package integration

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// tokenTTL is the life of a token in these tests, where etcd gives it five minutes unless told otherwise.
const tokenTTL = 5 * time.Second

// rooted are the commands that every etcd with authentication begins with.
var rooted = []string{"user add root", "role add root", "user grant-role root root"}

// allOfIt are the commands for a user "svc" who may do everything under the default prefix.
var allOfIt = []string{
	"role add all", `role grant-permission all readwrite rollcall/ --prefix`, "user add svc", "user grant-role svc all",
}

// withAuth returns an etcd with authentication on and a client of its root, after the commands were carried out.
func withAuth(t *testing.T, security etcdtest.Security, commands ...string) (*etcdtest.Secured, *clientv3.Client) {
	t.Helper()
	etcd := etcdtest.StartSecured(t, security)
	client := dialAs(t, etcd.Config(t, "root"))
	ctl(t, client, rooted...)
	ctl(t, client, commands...)
	ctl(t, client, "auth enable")
	return etcd, dialAs(t, login(t, etcd, "root"))
}

// secretOf is the password that a user gets who gets one.
func secretOf(user string) string { return user + "'s secret" }

// login returns the configuration of a client that is a user by password.
func login(t *testing.T, etcd *etcdtest.Secured, user string) clientv3.Config {
	t.Helper()
	cfg := etcd.Config(t, "no user at all")
	cfg.Username, cfg.Password = user, secretOf(user)
	return cfg
}

func dialAs(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// openAs returns a registry with a client of this configuration. It is closed when the test ends, come what may of it:
// what a test says about closing it says itself.
func openAs(t *testing.T, cfg clientv3.Config, opts ...rollcall.Option) *rollcall.Registry {
	t.Helper()
	reg, err := rollcall.Open(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close(context.Background()) })
	return reg
}

// traffic counts what a client asks of etcd.
type traffic struct {
	mu     sync.Mutex
	logins []time.Time // passwords sent
	calls  int         // those included, and streams
}

// of returns the configuration with its traffic counted.
func (c *traffic) of(cfg clientv3.Config) clientv3.Config {
	cfg.DialOptions = append(cfg.DialOptions,
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			c.note(method)
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			c.note(method)
			return open(ctx, desc, cc, method, opts...)
		}))
	return cfg
}

func (c *traffic) note(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if strings.HasSuffix(method, "/Authenticate") {
		c.logins = append(c.logins, time.Now())
	}
}

// since returns the number of logins after a moment.
func (c *traffic) since(t time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, at := range c.logins {
		if at.After(t) {
			n++
		}
	}
	return n
}

func (c *traffic) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// mustRest fails the test if there were two logins a second or more since a moment.
func (c *traffic) mustRest(t *testing.T, since time.Time) {
	t.Helper()
	n, took := c.since(since), time.Since(since)
	t.Logf("%d logins in %v", n, took.Round(100*time.Millisecond))
	if rate := float64(n) / took.Seconds(); rate >= 2 {
		t.Errorf("%.1f logins a second", rate)
	}
}

// mustNotStorm fails the test if the logins since a moment were more than each stream and call that was under way then
// accounts for, and a few later ones.
func (c *traffic) mustNotStorm(t *testing.T, since time.Time) {
	t.Helper()
	n := c.since(since)
	t.Logf("%d logins in the %v after the restart", n, time.Since(since).Round(100*time.Millisecond))
	if n > 15 {
		t.Errorf("%d logins after a restart", n)
	}
}

// deletedKeys returns the keys that were ever deleted, in order, as etcd itself remembers it.
func deletedKeys(t *testing.T, root *clientv3.Client) []string {
	t.Helper()
	const end = "the end of history"
	put(t, root, end, "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var deleted []string
	for resp := range root.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		for _, e := range resp.Events {
			if e.Type == clientv3.EventTypeDelete {
				deleted = append(deleted, string(e.Kv.Key))
			}
			if string(e.Kv.Key) == end {
				return deleted
			}
		}
	}
	t.Fatal("etcd does not tell its history")
	return nil
}

// remove deletes a key as an operator does, and returns the revision of it.
func remove(t *testing.T, root *clientv3.Client, key string) int64 {
	t.Helper()
	resp, err := root.Delete(within(t, 5*time.Second), key)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Deleted != 1 {
		t.Fatalf("%s is not there to be deleted", key)
	}
	return resp.Header.Revision
}

// madeAfter says that an instance was written anew after a revision.
func madeAfter(id string, revision int64) func(*rollcall.View) bool {
	return func(v *rollcall.View) bool {
		i, ok := v.Get(id)
		return ok && i.CreateRevision > revision
	}
}
