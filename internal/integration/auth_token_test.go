package integration

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestEverythingGoesOnForLongerThanATokenLives(t *testing.T) {
	t.Parallel()
	for name, signed := range map[string]bool{"simple": false, "signed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd, root := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL, Signed: signed}, allOfIt...)
			var seen traffic
			l := newTenure(t, openAs(t, seen.of(login(t, etcd, "svc"))), root)
			began := time.Now()
			for range 3 {
				l.rest(t)
				l.prove(t)
			}
			seen.mustRest(t, began)

			etcd.Restart()
			restarted := time.Now()
			l.prove(t)
			<-time.After(tokenTTL)
			l.prove(t)
			seen.mustNotStorm(t, restarted)
			l.end(t)
		})
	}
}

// tenure is a registry in use: registrations, watchers, and an operator who deletes keys.
type tenure struct {
	reg     *rollcall.Registry
	root    *clientv3.Client
	regs    []*rollcall.Registration
	old     *rollcall.Watcher
	proved  int
	deleted []string // by the operator
}

const oldKey = "rollcall/services/old/10.0.0.1:1"

func newTenure(t *testing.T, reg *rollcall.Registry, root *clientv3.Client) *tenure {
	t.Helper()
	l := &tenure{reg: reg, root: root}
	l.register(t, "old", "10.0.0.1:1", rollcall.MinTTL) // its heartbeats are closer than a token lives
	l.register(t, "old", "10.0.0.2:1", 15*time.Second)  // and these are not
	l.old = watch(t, reg, "old")
	until(t, l.old, 10*time.Second, "both", hasIDs("10.0.0.1:1", "10.0.0.2:1"))
	return l
}

func (l *tenure) register(t *testing.T, service, addr string, ttl time.Duration) {
	t.Helper()
	l.regs = append(l.regs, register(t, l.reg, service, rollcall.Instance{Addr: addr}, rollcall.WithTTL(ttl)))
}

// prove shows that a new watch sees what is there and what comes, an old one what comes, and that keys which somebody
// deletes are put back: one that has been watched for long, and one that is new.
func (l *tenure) prove(t *testing.T) {
	t.Helper()
	const soon = 8 * time.Second
	l.proved++
	service := fmt.Sprintf("new-%d", l.proved)
	dir := "rollcall/services/" + service + "/"
	put(t, l.root, dir+"a", bare)
	w := watch(t, l.reg, service)
	until(t, w, soon, "what is there, in a new watch", hasIDs("a"))
	l.register(t, service, "10.0.0.3:1", rollcall.MinTTL)
	until(t, w, soon, "what comes, in a new watch", hasIDs("10.0.0.3:1", "a"))
	stranger := fmt.Sprintf("z-%d", l.proved)
	put(t, l.root, "rollcall/services/old/"+stranger, bare)
	until(t, l.old, soon, "what comes, in an old watch", func(v *rollcall.View) bool {
		_, ok := v.Get(stranger)
		return ok && v.StaleSince.IsZero()
	})
	until(t, w, soon, "a new key, put back", madeAfter("10.0.0.3:1", l.remove(t, dir+"10.0.0.3:1")))
	until(t, l.old, soon, "an old key, put back", madeAfter("10.0.0.1:1", l.remove(t, oldKey)))
}

// rest waits for longer than a token lives. Etcd answers all the while, and nothing may say that it does not.
func (l *tenure) rest(t *testing.T) {
	t.Helper()
	var away error
	for end := time.Now().Add(tokenTTL + time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if s := l.reg.Status(); !s.UnreachableSince.IsZero() {
			away = s.LastError
		}
	}
	if away != nil {
		t.Errorf("etcd was said to be out of reach: %v", away)
	}
}

func (l *tenure) remove(t *testing.T, key string) int64 {
	t.Helper()
	l.deleted = append(l.deleted, key)
	return remove(t, l.root, key)
}

// end shows that nothing was ever lost, and that nothing stays.
func (l *tenure) end(t *testing.T) {
	t.Helper()
	for _, r := range l.regs {
		if r.Err() != nil {
			t.Errorf("%s/%s ended: %v", r.Service(), r.Instance().ID, r.Err())
		}
	}
	mustEqual(t, "deletions, ever", deletedKeys(t, l.root), l.deleted)
	if err := l.reg.Close(within(t, 10*time.Second)); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, r := range l.regs {
		key := "rollcall/services/" + r.Service() + "/" + r.Instance().ID
		mustEqual(t, "left of "+key, len(keys(t, l.root, key)), 0)
	}
	mustEqual(t, "leases left", len(leases(t, l.root)), 0)
}
