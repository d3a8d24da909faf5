package integration

import (
	"errors"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestTheDocumentedRolesOfOperatorsSteerAndRegisterNothing(t *testing.T) {
	t.Parallel()
	etcd, _ := withDocumentedRoles(t, etcdtest.Security{TokenTTL: tokenTTL},
		"user add chief", "user grant-role chief rollcall-operator", "user add ada", "user grant-role ada orders-operator")
	for _, user := range []string{"chief", "ada"} {
		reg := openAs(t, login(t, etcd, user))
		for what, do := range steering(t) {
			if err := do(reg, "orders"); err != nil {
				t.Errorf("%s: %s: %v", user, what, err)
			}
			if err := do(reg, "billing"); user == "ada" && !errors.Is(err, rollcall.ErrPermissionDenied) {
				t.Errorf("%s: %s of another service: %v", user, what, err)
			}
		}
		if _, err := reg.Lookup(within(t, steerPatience), "orders"); err != nil {
			t.Errorf("%s: Lookup: %v", user, err)
		}
		if _, err := reg.Register(within(t, steerPatience), "orders", rollcall.Instance{Addr: "10.0.0.1:1"}); !errors.Is(err, rollcall.ErrPermissionDenied) {
			t.Errorf("%s: Register: %v", user, err)
		}
	}
	for _, user := range []string{"web-1", "orders-1"} { // a caller, a server
		reg := openAs(t, login(t, etcd, user))
		for what, do := range steering(t) {
			if err := do(reg, "orders"); !errors.Is(err, rollcall.ErrPermissionDenied) && !(what == "read" && err == nil && user == "web-1") {
				t.Errorf("%s: %s: %v", user, what, err)
			}
		}
	}
}

// steering is everything that an operator does.
func steering(t *testing.T) map[string]func(reg *rollcall.Registry, service string) error {
	ctx := within(t, time.Minute)
	return map[string]func(reg *rollcall.Registry, service string) error{
		"set a policy": func(reg *rollcall.Registry, service string) error {
			_, err := reg.SetPolicy(ctx, service, rollcall.Policy{Timeout: time.Second, Revision: rollcall.AnyRevision})
			return err
		},
		"delete a policy": func(reg *rollcall.Registry, service string) error {
			return reg.DeletePolicy(ctx, service, rollcall.AnyRevision)
		},
		"drain": func(reg *rollcall.Registry, service string) error {
			_, err := reg.SetOverride(ctx, service, "a", rollcall.Override{Drain: true, Until: time.Now().Add(time.Hour), Revision: rollcall.AnyRevision})
			return err
		},
		"undo": func(reg *rollcall.Registry, service string) error {
			return reg.DeleteOverride(ctx, service, "a", rollcall.AnyRevision)
		},
		"accept": func(reg *rollcall.Registry, service string) error { return reg.Accept(ctx, service, "", "") },
		"read": func(reg *rollcall.Registry, service string) error {
			_, err := reg.Policy(ctx, service)
			if errors.Is(err, rollcall.ErrNotFound) {
				return nil
			}
			return err
		},
	}
}

func TestWhoMayNotReadDecisionsDoesWithoutIsWarnedOnceAndGetsThemWithThePermission(t *testing.T) {
	t.Parallel()
	etcd, root := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL}, append(allOfIt,
		"role add narrow", "role grant-permission narrow read rollcall/services/ --prefix",
		"user add caller", "user grant-role caller narrow")...)
	server := openAs(t, login(t, etcd, "svc"))
	register(t, server, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	setPolicy(t, server, "svc", rollcall.Policy{Timeout: time.Second})
	override(t, server, "svc", "a", rollcall.Override{Drain: true})
	var log recorder
	caller := openAs(t, login(t, etcd, "caller"), rollcall.WithLogger(log.logger()))
	w := watch(t, caller, "svc")
	for what, v := range map[string]*rollcall.View{"Watch": next(t, w), "Lookup": lookUp(t, caller, "svc")} {
		if i := get(t, v, "a"); v.Policy != nil || i.Override != nil || !i.Serving() || !v.StaleSince.IsZero() {
			t.Errorf("%s: policy %+v, a %+v, stale since %v", what, v.Policy, i, v.StaleSince)
		}
	}
	register(t, server, "svc", rollcall.Instance{ID: "b", Addr: "10.0.0.2:1"})
	until(t, w, steerPatience, "who joins", hasIDs("a", "b"))
	next(t, watch(t, caller, "svc2"))

	ctl(t, root, "role grant-permission narrow read rollcall/control/ --prefix")
	until(t, w, 30*time.Second, "what was decided", func(v *rollcall.View) bool {
		if !v.StaleSince.IsZero() {
			t.Errorf("stale since %v: %v", v.StaleSince, v.StaleErr)
		}
		return timeout(time.Second)(v) && effective("a", rollcall.StateDraining)(v)
	})
	if v := lookUp(t, caller, "svc"); v.Policy == nil || get(t, v, "a").Serving() {
		t.Errorf("Lookup with the permission: %+v", v)
	}
	if err := caller.Close(within(t, steerPatience)); err != nil {
		t.Error(err)
	}
	mustEqual(t, "warnings", log.count("policies and overrides cannot be read"), 1)
}
