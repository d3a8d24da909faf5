package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// prey is what is somebody else's: a key of the service stock, under a lease.
type prey struct {
	key   string
	lease clientv3.LeaseID
	own   string // a key that the attacker may write
}

// attack is something that an etcd with a known hole lets a user do who may not.
type attack struct {
	cve, name string
	users     []string // who try; "" has no credentials
	do        func(context.Context, *clientv3.Client, prey) error
}

const (
	unauthorized = "CVE-2026-33413" // leases, alarms, compaction and members without a check
	nested       = "CVE-2026-33343" // transactions within transactions without a check
	nestedPut    = "etcd pull requests 21681 and 21685"
	fromKey      = "CVE-2026-73499" // a watch from a key on that reads everything behind it
)

// The regressions of etcd's own holes, as far as a user with a role of docs/etcd-roles.md could use them. Root does the same with success, so
// that no row is refused for another reason.
func TestKnownHolesOfEtcdAreClosedToTheDocumentedRoles(t *testing.T) {
	t.Parallel()
	etcd, root := withDocumentedRoles(t, etcdtest.Security{TokenTTL: time.Minute},
		"role add scribe", "role grant-permission scribe write rollcall/services/stock/ --prefix", "user add scribe", "user grant-role scribe scribe",
		"user grant-role scribe orders-server",
		"role add one-key", "role grant-permission one-key read rollcall/services/orders/a", "user add one-key", "user grant-role one-key one-key")
	clients := map[string]*clientv3.Client{"": dialAs(t, etcd.Config(t, ""))}
	for _, user := range []string{"orders-1", "web-1", "scribe", "one-key"} {
		clients[user] = dialAs(t, login(t, etcd, user))
	}
	for n, a := range attacks {
		t.Run(a.cve+": "+a.name, func(t *testing.T) {
			p := newPrey(t, root, n)
			before := p.describe(t, root)
			for _, user := range a.users {
				refusal := rpctypes.ErrPermissionDenied
				if user == "" {
					refusal = rpctypes.ErrUserEmpty
				}
				// By its text: of a watch there is nothing else.
				if err := a.do(within(t, 10*time.Second), clients[user], p); err == nil || !strings.Contains(err.Error(), refusal.Error()) {
					t.Errorf("%q is not refused: %v", user, err)
				}
				mustEqual(t, "after "+user, p.describe(t, root), before)
			}
			if err := a.do(within(t, 10*time.Second), root, p); err != nil {
				t.Errorf("root is refused: %v", err)
			}
		})
	}
}

// docs/etcd-roles.md says so.
func TestEveryUserOfEtcdMaySeeTheClusterAndTakeLeases(t *testing.T) {
	t.Parallel()
	etcd, _ := withDocumentedRoles(t, etcdtest.Security{TokenTTL: time.Minute})
	for _, a := range attacks {
		if len(a.users) == 1 && a.users[0] == "" {
			if err := a.do(within(t, 10*time.Second), dialAs(t, login(t, etcd, "web-1")), prey{lease: 4711}); err != nil && codeOf(err) != codes.NotFound {
				t.Errorf("%s: %v", a.name, err)
			}
		}
	}
}

func newPrey(t *testing.T, root *clientv3.Client, n int) prey {
	t.Helper()
	lease, err := root.Grant(within(t, 10*time.Second), 60)
	if err != nil {
		t.Fatal(err)
	}
	p := prey{fmt.Sprintf("rollcall/services/stock/%d", n), lease.ID, fmt.Sprintf("rollcall/services/orders/%d", n)}
	if _, err := root.Put(within(t, 10*time.Second), p.key, "a secret", clientv3.WithLease(p.lease)); err != nil {
		t.Fatal(err)
	}
	return p
}

// describe tells everything that an attack could have changed.
func (p prey) describe(t *testing.T, root *clientv3.Client) string {
	t.Helper()
	ctx := within(t, 10*time.Second)
	got, err := root.Get(ctx, p.key)
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("the key has gone: %v", err)
	}
	lease, err := root.TimeToLive(ctx, p.lease, clientv3.WithAttachedKeys())
	if err != nil {
		t.Fatal(err)
	}
	members, err := root.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	leases, err := root.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v at revision %d; lease lives: %v, with %s; %d leases; %d members", got.Kvs[0], got.Header.Revision, lease.TTL > 0, lease.Keys, len(leases.Leases), len(members.Members))
}

func anonymous() []string { return []string{""} }
func anybody() []string   { return []string{"", "orders-1", "web-1"} }

var attacks = []attack{
	{unauthorized, "who are the members", anonymous(), func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.MemberList(ctx)
		return err
	}},
	{unauthorized, "change a member", anybody(), func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.MemberUpdate(ctx, 4711, []string{"http://127.0.0.1:1"})
		return unless(err, codes.NotFound) // there is none: for those who may
	}},
	{unauthorized, "list alarms", anonymous(), func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.AlarmList(ctx)
		return err
	}},
	{unauthorized, "disarm alarms", anybody(), func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: 4711, Alarm: 1})
		return err
	}},
	{unauthorized, "forget history", anybody(), func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.Compact(ctx, 2)
		return unless(err, codes.OutOfRange)
	}},
	{unauthorized, "take a lease", anonymous(), func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.Grant(ctx, 60)
		return err
	}},
	{unauthorized, "list all leases", anybody(), func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.Leases(ctx)
		return err
	}},
	{unauthorized, "see the keys of a lease", anybody(), func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.TimeToLive(ctx, p.lease, clientv3.WithAttachedKeys())
		return err
	}},
	{unauthorized, "see how long a lease lives", anonymous(), func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.TimeToLive(ctx, p.lease)
		return err
	}},
	{unauthorized, "revoke a lease", anybody(), func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.Revoke(ctx, p.lease)
		return err
	}},
	{unauthorized, "renew a lease", anybody(), func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.KeepAliveOnce(ctx, p.lease)
		return err
	}},
	{unauthorized, "put a key of one's own under a lease", []string{"", "orders-1"}, func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.Put(ctx, p.own, "", clientv3.WithLease(p.lease))
		return err
	}},

	{nested, "put", anybody(), nestedly(func(p prey) clientv3.Op { return clientv3.OpPut(p.key, "mine") })},
	{nested, "get", []string{"", "orders-1"}, nestedly(func(p prey) clientv3.Op { return clientv3.OpGet(p.key) })},
	{nested, "get all", anybody(), nestedly(func(prey) clientv3.Op { return clientv3.OpGet("", clientv3.WithFromKey()) })},
	{nested, "delete", anybody(), nestedly(func(p prey) clientv3.Op { return clientv3.OpDelete(p.key) })},
	{nested, "delete all that is behind a key", anybody(), nestedly(func(p prey) clientv3.Op {
		return clientv3.OpDelete(p.key, clientv3.WithFromKey())
	})},
	{nested, "put in a branch that is not taken", []string{"", "orders-1"}, func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.Txn(ctx).Then(clientv3.OpTxn(nil, nil, []clientv3.Op{clientv3.OpPut(p.key, "mine")})).Commit()
		return err
	}},
	{nested, "put two levels down", []string{"", "orders-1"}, nestedly(func(p prey) clientv3.Op {
		return clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(p.own, ""), clientv3.OpPut(p.key, "mine")}, nil)
	})},
	{nested, "compare", []string{"", "orders-1"}, func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.Txn(ctx).Then(clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value(p.key), "=", "a secret")}, nil, nil)).Commit()
		return err
	}},

	{nestedPut, "read what is replaced", []string{"scribe"}, nestedly(func(p prey) clientv3.Op {
		return clientv3.OpPut(p.key, "mine", clientv3.WithPrevKV())
	})},
	{nestedPut, "read what is deleted", []string{"scribe"}, nestedly(func(p prey) clientv3.Op {
		return clientv3.OpDelete(p.key, clientv3.WithPrevKV())
	})},
	{nestedPut, "put a key of one's own under a lease", []string{"", "orders-1"}, nestedly(func(p prey) clientv3.Op {
		return clientv3.OpPut(p.own, "", clientv3.WithLease(p.lease))
	})},

	{fromKey, "watch everything behind a key of one's own", []string{"", "orders-1", "one-key"}, watchOf("rollcall/services/orders/a", clientv3.WithFromKey())},
	{fromKey, "watch everything behind what one may read", anybody(), watchOf("rollcall/services/orders/", clientv3.WithFromKey())},
	{fromKey, "watch a wider range", anybody(), watchOf("rollcall/services/orders/", clientv3.WithRange("rollcall/services/t"))},
	{fromKey, "watch everything", anybody(), watchOf("", clientv3.WithFromKey())},
	{fromKey, "get everything behind a key of one's own", []string{"", "orders-1", "one-key"}, func(ctx context.Context, c *clientv3.Client, _ prey) error {
		_, err := c.Get(ctx, "rollcall/services/orders/a", clientv3.WithFromKey())
		return err
	}},
}

// nestedly is a transaction within a transaction, which does one thing.
func nestedly(op func(prey) clientv3.Op) func(context.Context, *clientv3.Client, prey) error {
	return func(ctx context.Context, c *clientv3.Client, p prey) error {
		_, err := c.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{op(p)}, nil)).Commit()
		return err
	}
}

// watchOf returns why a watch from the beginning of history is refused; nil when it tells anything.
func watchOf(key string, opts ...clientv3.OpOption) func(context.Context, *clientv3.Client, prey) error {
	return func(ctx context.Context, c *clientv3.Client, _ prey) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp, told := <-c.Watch(ctx, key, append(opts, clientv3.WithCreatedNotify(), clientv3.WithRev(1))...)
		if !told {
			return errors.New("the watch says nothing")
		}
		return resp.Err()
	}
}

// unless returns err, but nil when it has a code that only those see who may.
func unless(err error, code codes.Code) error {
	if codeOf(err) == code {
		return nil
	}
	return err
}

// GHSA-3wh4-j44w-pg92: with a listener of its own for HTTP etcd did not look at revocations on gRPC's.
func TestARevokedCertificateIsRefusedByEtcd(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	good, revoked := authority.Issue(t, "good"), authority.Issue(t, "revoked")
	etcd := etcdtest.StartSecured(t, etcdtest.Security{TokenTTL: time.Minute, Authority: authority, Revoked: authority.Revoke(t, revoked)})
	put := func(id etcdtest.Identity) error {
		cfg := etcd.Config(t, "template")
		cfg.TLS.Certificates = []tls.Certificate{id.Certificate}
		client, err := clientv3.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = client.Put(ctx, "k", "v")
		return err
	}
	if err := put(good); err != nil {
		t.Errorf("one that is good: %v", err)
	}
	if err := put(revoked); err == nil {
		t.Error("one that is revoked is let in")
	}
}
