package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestAWrongPasswordIsToldAtOnceAndTriedSlowlyUntilItIsRight(t *testing.T) {
	t.Parallel()
	etcd, root := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL}, allOfIt...)
	cfg := login(t, etcd, "svc")
	cfg.Password = "forgotten"
	var seen traffic
	began := time.Now()
	reg := openAs(t, seen.of(cfg))

	_, err := reg.Register(within(t, 5*time.Second), "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	if !errors.Is(err, rollcall.ErrUnauthenticated) {
		t.Errorf("Register: %v", err)
	}
	if _, err := reg.Lookup(within(t, 5*time.Second), "svc"); !errors.Is(err, rollcall.ErrUnauthenticated) {
		t.Errorf("Lookup: %v", err)
	}
	w := watch(t, reg, "svc")
	for range 20 { // calls are answered from what the last login met, they try none
		_, _ = reg.Lookup(within(t, 5*time.Second), "svc")
	}
	<-time.After(4 * time.Second)
	if n := seen.since(began); n < 2 || n > 5 {
		t.Errorf("%d logins in %v with a password that is refused", n, time.Since(began))
	}

	if _, err := root.UserChangePassword(within(t, 5*time.Second), "svc", cfg.Password); err != nil {
		t.Fatal(err)
	}
	until(t, w, 15*time.Second, "a view, now that the password is right", func(v *rollcall.View) bool { return v.Revision > 0 && v.StaleSince.IsZero() })
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	until(t, w, 5*time.Second, "the instance", hasIDs("10.0.0.1:1"))
}

func TestWithAPasswordOpenDoesNotWaitForEtcdAndCallsDo(t *testing.T) {
	t.Parallel()
	etcd, root := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL}, allOfIt...)
	etcd.Stop()
	var seen traffic
	began := time.Now()
	reg := openAs(t, seen.of(login(t, etcd, "svc")))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Open took %v with etcd down", took)
	}
	_, err := reg.Register(within(t, 500*time.Millisecond), "svc", rollcall.Instance{Addr: "10.0.0.9:1"})
	if !errors.Is(err, rollcall.ErrUnreachable) {
		t.Errorf("Register, for half a second: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := reg.Register(within(t, 40*time.Second), "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
		done <- err
	}()
	w := watch(t, reg, "svc")
	eventually(t, 20*time.Second, "some logins", func() bool { return seen.since(began) >= 2 })
	select {
	case err := <-done:
		t.Fatalf("Register returned with etcd down: %v", err)
	default:
	}
	etcd.Restart()
	if err := <-done; err != nil {
		t.Errorf("Register: %v", err)
	}
	until(t, w, 10*time.Second, "the instance, and only that", hasIDs("10.0.0.1:1"))
	mustEqual(t, "keys in etcd", len(keys(t, root, "rollcall/services/svc/")), 1)
}

// Nobody without the password can renew a lease: what is registered is lost. What counts is what becomes of etcd
// meanwhile, and of the registrations afterwards.
func TestAPasswordThatIsChangedBehindARegistryIsToldAndDoesNotHammerEtcd(t *testing.T) {
	t.Parallel()
	etcd, root := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL}, allOfIt...)
	cfg := login(t, etcd, "svc")
	var seen traffic
	reg := openAs(t, seen.of(cfg))
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(rollcall.MinTTL))
	all := watchMany(t, reg, root, 8)

	if _, err := root.UserChangePassword(within(t, 5*time.Second), "svc", "another"); err != nil {
		t.Fatal(err)
	}
	etcd.Restart() // so that every stream has to be opened again
	changed := time.Now()
	eventually(t, 5*time.Second, "the refusal, in the status", func() bool {
		return errors.Is(reg.Status().LastError, rollcall.ErrUnauthenticated)
	})
	<-time.After(1500 * time.Millisecond) // what was under way tried once
	settled := time.Now()
	<-time.After(3500 * time.Millisecond)
	if n, all := seen.since(settled), seen.since(changed); n > 4 || all > 30 {
		t.Errorf("%d logins with a password that is refused, %d of them in the last %v", all, n, time.Since(settled))
	}
	for _, w := range all {
		v := until(t, w, 5*time.Second, "a view that says that it is stale", func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
		mustEqual(t, "what is known", ids(v), []string{"a"})
	}
	if _, err := reg.Lookup(within(t, 5*time.Second), "other"); !errors.Is(err, rollcall.ErrUnauthenticated) {
		t.Errorf("Lookup: %v", err)
	}

	if _, err := root.UserChangePassword(within(t, 5*time.Second), "svc", cfg.Password); err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		until(t, w, 45*time.Second, "a fresh view", func(v *rollcall.View) bool { return v.StaleSince.IsZero() })
	}
	eventually(t, 35*time.Second, "the registration is back", func() bool { return len(keys(t, root, "rollcall/services/svc/")) == 1 })
	if r.Err() != nil {
		t.Errorf("the registration ended: %v", r.Err())
	}
}

func TestAuthenticationThatIsTurnedOnUnderARegistryWithoutAPasswordIsTold(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.StartSecured(t, etcdtest.Security{TokenTTL: tokenTTL})
	admin := dialAs(t, etcd.Config(t, "root"))
	ctl(t, admin, rooted...)
	var seen traffic
	var log recorder
	reg := openAs(t, seen.of(etcd.Config(t, "nobody")), rollcall.WithLogger(log.logger()))
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(rollcall.MinTTL))
	all := watchMany(t, reg, admin, 8)

	ctl(t, admin, "auth enable")
	root := dialAs(t, login(t, etcd, "root"))
	etcd.Restart() // so that every stream has to be opened again
	eventually(t, 10*time.Second, "the refusal, in the status", func() bool {
		return errors.Is(reg.Status().LastError, rollcall.ErrUnauthenticated)
	})
	if _, err := reg.Lookup(within(t, 5*time.Second), "svc"); !errors.Is(err, rollcall.ErrUnauthenticated) {
		t.Errorf("Lookup: %v", err)
	}
	eventually(t, 15*time.Second, "the refusal, in the log", func() bool { return log.count("user name is empty") > 0 })
	for _, w := range all {
		v := until(t, w, 15*time.Second, "a view that says that it is stale", func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
		mustEqual(t, "what is known", ids(v), []string{"a"})
	}
	settled, before := time.Now(), seen.total()
	<-time.After(6 * time.Second)
	if rate := float64(seen.total()-before) / time.Since(settled).Seconds(); rate > 6 {
		t.Errorf("%.1f calls a second, all of them refused", rate)
	}

	ctl(t, root, "auth disable")
	for _, w := range all {
		until(t, w, 35*time.Second, "a fresh view", func(v *rollcall.View) bool { return v.StaleSince.IsZero() })
	}
	eventually(t, 10*time.Second, "the registration is back", func() bool {
		v, err := reg.Lookup(within(t, 5*time.Second), "svc")
		return err == nil && hasIDs("10.0.0.1:1")(v)
	})
	if r.Err() != nil {
		t.Errorf("the registration ended: %v", r.Err())
	}
	if err := reg.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// A program is given its password before etcd wants one: nothing is lost at the moment when it does.
func TestAPasswordThatIsThereBeforeItIsNeededServesFromTheMomentItIs(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.StartSecured(t, etcdtest.Security{TokenTTL: tokenTTL})
	admin := dialAs(t, etcd.Config(t, "root"))
	ctl(t, admin, rooted...)
	ctl(t, admin, allOfIt...)
	u := newTenure(t, openAs(t, login(t, etcd, "svc")), admin)
	u.prove(t)

	ctl(t, admin, "auth enable")
	u.root = dialAs(t, login(t, etcd, "root"))
	u.prove(t)
	<-time.After(tokenTTL + time.Second)
	u.prove(t)

	ctl(t, u.root, "auth disable")
	u.root = admin
	u.prove(t)
	u.end(t)
}

// watchMany watches some services with one instance each, whose id is "a".
func watchMany(t *testing.T, reg *rollcall.Registry, root *clientv3.Client, n int) (all []*rollcall.Watcher) {
	t.Helper()
	for i := range n {
		service := fmt.Sprintf("many-%d", i)
		put(t, root, "rollcall/services/"+service+"/a", bare)
		w := watch(t, reg, service)
		until(t, w, 10*time.Second, "what is there", hasIDs("a"))
		all = append(all, w)
	}
	return all
}

// Etcd goes on with a watch that is open and tells what happens; but nobody may read any more, and that what was told is
// current takes a read.
func TestAViewThatNothingProvesAnyMoreSaysSo(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.StartSecured(t, etcdtest.Security{TokenTTL: tokenTTL})
	admin := dialAs(t, etcd.Config(t, "root"))
	ctl(t, admin, rooted...)
	reg := openAs(t, etcd.Config(t, "nobody"))
	all := watchMany(t, reg, admin, 2)

	ctl(t, admin, "auth enable")
	for _, w := range all {
		until(t, w, 15*time.Second, "a view that says that it is stale", func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
	}
	for _, s := range reg.Status().Services {
		if !errors.Is(s.Err, rollcall.ErrUnauthenticated) {
			t.Errorf("%s is stale because of: %v", s.Service, s.Err)
		}
	}
	root := dialAs(t, login(t, etcd, "root"))
	ctl(t, root, "auth disable")
	for _, w := range all {
		until(t, w, 35*time.Second, "a fresh view", func(v *rollcall.View) bool { return v.StaleSince.IsZero() })
	}
}
