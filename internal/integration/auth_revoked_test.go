package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// Etcd renews a lease only for somebody who may write every key under it.
func TestAPermissionTakenAwayFromOneServiceCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	names := []string{"billing", "orders", "stock"}
	commands := []string{"role add three", "user add svc", "user grant-role svc three"}
	for _, name := range names {
		commands = append(commands, "role grant-permission three readwrite rollcall/services/"+name+"/ --prefix")
	}
	etcd, root := withAuth(t, etcdtest.Security{TokenTTL: tokenTTL}, commands...)
	var log recorder
	var seen traffic
	reg := openAs(t, seen.of(login(t, etcd, "svc")), rollcall.WithLogger(log.logger()))
	key := func(name string) string { return "rollcall/services/" + name + "/10.0.0.1:1" }
	regs := map[string]*rollcall.Registration{}
	for _, name := range names {
		regs[name] = register(t, reg, name, rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(rollcall.MinTTL))
	}
	mustEqual(t, "leases that the three share", len(leases(t, root)), 1)

	ctl(t, root, "role revoke-permission three rollcall/services/orders/ --prefix")
	taken, calls := time.Now(), seen.total()
	err := regs["orders"].Update(within(t, 10*time.Second), func(i *rollcall.Instance) { i.Weight = 7 })
	if !errors.Is(err, rollcall.ErrPermissionDenied) {
		t.Errorf("Update of what may not be written: %v", err)
	}
	eventually(t, 15*time.Second, "the key that nobody renews has run out", func() bool { return len(keys(t, root, key("orders"))) == 0 })
	<-time.After(rollcall.MinTTL + time.Second)
	mustEqual(t, "deletions, ever", deletedKeys(t, root), []string{key("orders")})
	if s := regs["orders"].Status(); s.State != rollcall.Healing || s.Since.Before(taken) || !errors.Is(s.Err, rollcall.ErrPermissionDenied) {
		t.Errorf("a registration whose key may not be written is %+v; want it healing since, and why", s)
	}
	for _, name := range []string{"billing", "stock"} {
		if s := regs[name].Status(); s.State != rollcall.Registered {
			t.Errorf("%s is %+v", name, s)
		}
		if err := regs[name].Update(within(t, 10*time.Second), func(i *rollcall.Instance) { i.Weight = 7 }); err != nil {
			t.Errorf("Update of %s: %v", name, err)
		}
	}
	if n := log.count("level=WARN"); n == 0 || n > 10 {
		t.Errorf("%d warnings", n)
	}
	if rate := float64(seen.total()-calls) / time.Since(taken).Seconds(); rate > 10 {
		t.Errorf("%.1f calls a second", rate)
	}

	ctl(t, root, "role grant-permission three readwrite rollcall/services/orders/ --prefix")
	w := watch(t, reg, "orders")
	v := until(t, w, 20*time.Second, "the instance, now that it may be", hasIDs("10.0.0.1:1"))
	mustEqual(t, "what was wanted of it meanwhile", v.Instances[0].Weight, 7)
	mustEqual(t, "deletions, ever", deletedKeys(t, root), []string{key("orders")})
	for name, r := range regs {
		if s := r.Status(); s.State != rollcall.Registered {
			t.Errorf("%s is %+v", name, s)
		}
	}
	if err := reg.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
	mustEqual(t, "keys left", len(keys(t, root, "rollcall/")), 0)
	mustEqual(t, "leases left", len(leases(t, root)), 0)
}
