package authz

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func TestARegistrationCountsForAsLongAsItLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := new(account)
		k, other := key{"shop", "a"}, key{"shop", "b"}
		free := func() bool { _, ok := a.ledger.take(other, 1); a.ledger.drop(other); return ok }
		if _, ok := a.ledger.take(k, 1); !ok || free() {
			t.Fatal("one of one does not count")
		}
		a.ledger.touch(k, 10*time.Second)
		time.Sleep(9 * time.Second)
		a.ledger.touch(k, 10*time.Second) // a heartbeat
		time.Sleep(9 * time.Second)
		if free() {
			t.Error("after a heartbeat it does not count")
		}
		time.Sleep(2 * time.Second)
		if !free() {
			t.Error("it counts after its end")
		}
		a.hold(k)
		a.hold(k)
		time.Sleep(time.Hour)
		if free() {
			t.Error("what sessions hold does not count")
		}
		a.letGo(k, 10*time.Second)
		time.Sleep(time.Hour)
		if free() {
			t.Error("what the other session holds does not count")
		}
		a.letGo(k, 10*time.Second)
		time.Sleep(9 * time.Second)
		if free() {
			t.Error("what a session held does not count for a TTL")
		}
		time.Sleep(2 * time.Second)
		if !free() || !a.ledger.empty(time.Now()) {
			t.Error("what a session held counts for ever")
		}
	})
}

func TestWhatCameOfARequestSettlesItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{}
		g.rules.Store(mustParse(t, "rules: [{identities: ['*'], verbs: [register], services: ['*']}]\nlimits: {registrations: 1}"))
		g.logger = discard
		c := named("token:ci", "10.0.0.1:1")
		take := func(id string) (*entry, error) {
			req := &rollcallv1.RegisterRequest{Service: "shop", Instance: &rollcallv1.Instance{Addr: id}}
			return g.reserve(c, ask{verb: register, service: "shop"}, rollcallv1.RegistrationService_Register_FullMethodName, req)
		}
		e, err := take("a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := take("b"); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("while the first is under way: %v", err)
		}
		e.settle(nil, errors.New("refused"))
		e, err = take("b")
		if err != nil {
			t.Fatalf("after the first was refused: %v", err)
		}
		e.settle(&rollcallv1.RegisterResponse{HeartbeatInterval: durationpb.New(20 * time.Second)}, nil)
		time.Sleep(59 * time.Second)
		if _, err := take("c"); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("before its TTL: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := take("c"); err != nil {
			t.Errorf("after its TTL: %v", err)
		}
	})
}

func TestIdentitiesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := mustParse(t, "rules: [{identities: ['*'], verbs: [read], services: ['*']}]")
		as := new(accounts)
		leave, err := as.enter(named("token:stays", ""), r)
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		for n := range 3 * manyAccounts {
			if n == 2*manyAccounts {
				time.Sleep(2 * idleAccount)
			}
			_ = as.spend(named(fmt.Sprintf("token:%d", n), ""), r)
		}
		if n := len(as.all); n > manyAccounts+2 || as.all["token:stays"] == nil {
			t.Errorf("%d identities are remembered", n)
		}
	})
}
