package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func awaitState(t *testing.T, r *rollcall.Registration, want rollcall.RegistrationState) rollcall.RegistrationStatus {
	t.Helper()
	var s rollcall.RegistrationStatus
	eventually(t, 30*time.Second, "the registration "+string(want), func() bool {
		s = r.Status()
		return s.State == want
	})
	return s
}

func TestARegistrationKnowsWhetherEtcdHasIt(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	began := time.Now()
	r := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
	if s := r.Status(); s != (rollcall.RegistrationStatus{State: rollcall.Registered}) {
		t.Fatalf("just registered: %+v", s)
	}

	etcd.Stop() // the lease may live on in its data, but after the TTL nobody can know
	s := awaitState(t, r, rollcall.Healing)
	if s.Since.Before(began) || time.Since(s.Since) < 5*time.Second || s.Err == nil {
		t.Errorf("%v after the last word of etcd: %+v; want healing since then, and why", time.Since(began), s)
	}
	etcd.Restart()
	if s := awaitState(t, r, rollcall.Registered); !s.Since.IsZero() || s.Err != nil {
		t.Errorf("registered again: %+v", s)
	}

	register(t, open(t, etcd.Endpoint()), "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	if s := awaitState(t, r, rollcall.Ended); !errors.Is(s.Err, rollcall.ErrReplaced) {
		t.Errorf("after another one took its id over: %+v", s)
	}

	other := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	if err := other.Deregister(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := other.Status(); s.State != rollcall.Ended || !errors.Is(s.Err, rollcall.ErrDeregistered) {
		t.Errorf("deregistered: %+v", s)
	}
}
