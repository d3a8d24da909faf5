package integration

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

func TestADeregisterAfterACloseThatFailedDoesNotConfirmIt(t *testing.T) {
	t.Parallel()
	p := faultproxy.Start(t, etcdtest.Start(t).Endpoint())
	reg, err := rollcall.Open(rollcall.ClientConfig(p.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	p.Cut()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	closed := reg.Close(short)
	if closed == nil {
		t.Fatal("Close without etcd says that all is well")
	}
	mustEqual(t, "Deregister", fmt.Sprint(r.Deregister(t.Context())), closed.Error())
	mustEqual(t, "Close again", fmt.Sprint(reg.Close(t.Context())), closed.Error())
}

func TestTheLastTryThatAnErrorTellsIsOfItsCall(t *testing.T) {
	t.Parallel()
	reg, proxy, _ := behindProxy(t)
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	t.Cleanup(proxy.Heal)
	update := func(d time.Duration) *rollcall.UnreachableError {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		err := r.Update(ctx, func(i *rollcall.Instance) { i.Weight++ })
		u, ok := errors.AsType[*rollcall.UnreachableError](err)
		if !ok {
			t.Fatalf("Update without etcd: %v", err)
		}
		return u
	}
	proxy.Cut()
	if u := update(700 * time.Millisecond); u.Last == nil {
		t.Errorf("it does not tell what a try met: %v", u)
	}
	proxy.Heal()
	if err := r.Update(within(t, 10*time.Second), func(i *rollcall.Instance) { i.Weight++ }); err != nil {
		t.Fatal(err)
	}
	proxy.BlackHole()
	if u := update(200 * time.Millisecond); u.Last != nil {
		t.Errorf("no try came back, and it tells of one: %v", u)
	}
}
