package simulation

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// secured is a family whose etcd wants a password.
var secured = family{passwords: true}

const other = "other" // a service beside

// allow has clients do everything to some services, and nothing else.
func (w *world) allow(services ...string) {
	permissions := make([]*authpb.Permission, len(services))
	for n, name := range services {
		permissions[n] = simetcd.Permission("rollcall/services/" + name + "/")
	}
	w.cluster.SetPermission("app", permissions...)
}

// allowAll lets clients do everything to every service.
func (w *world) allowAll() { w.cluster.SetPermission("app", simetcd.Permission("rollcall/")) }

// Keys that are refused together are tried again together, and ever more slowly.
func TestRefusedWritesAreTriedSlowlyHoweverManyTheyAre(t *testing.T) {
	n := fewer(200)
	for what, refuse := range map[string]func(*world){
		"a password was changed": func(w *world) {
			w.cluster.AddUser("app", "another", simetcd.Permission(dir))
			w.cluster.ExpireTokens()
		},
		"a permission was withdrawn": func(w *world) { w.allow(other) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			scene(t, secured, func(w *world) {
				w.join().provide(service, numbered(n)...)
				w.pass(20 * time.Second)
				refuse(w)
				w.cluster.Restart()
				w.pass(time.Minute)
				asked := w.bill(what, func() { w.pass(time.Minute) })
				w.hold(what, asked, bill{"Txn": 4 * n, "WatchCreate": 4 * n, "Authenticate": 20, rest: 100})
				w.setAuth()
				w.pass(time.Minute)
				if got := len(w.cluster.Keys(dir)); got != n {
					t.Errorf("a minute after all is allowed again etcd has %d of %d keys", got, n)
				}
			})
		})
	}
}

// The password of a whole etcd may be wrong for a while, as after a restore. Heartbeats need it as soon as it is right.
func TestAPasswordThatIsWrongForAMomentCostsNoInstance(t *testing.T) {
	t.Parallel()
	scene(t, secured, func(w *world) {
		r := w.join()
		for _, id := range []string{"a", "b", "c"} {
			r.register(id, patience)
		}
		w.pass(20 * time.Second)
		w.cluster.AddUser("app", "another", simetcd.Permission(dir))
		w.strike(w.cluster.Restart)
		w.pass(sceneTTL - 7*time.Second)
		w.cluster.AddUser("app", "secret", simetcd.Permission(dir))
		w.pass(time.Minute)
		w.oracle.judgeWanted()
	})
}

// Etcd renews no lease with a key on it that may not be written, wanted or not.
func TestADeregisterThatEtcdForbidsIsToldAtOnceAndCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	scene(t, secured, func(w *world) {
		w.allow(service, other)
		r := w.join()
		r.ttls = []time.Duration{5 * time.Second}
		forbidden := r.provide(other, "forbidden")[0]
		r.register("lives", patience)
		w.pass(10 * time.Second)
		w.allow(service)
		began := time.Now()
		ctx, cancel := within(patience)
		defer cancel()
		if err := forbidden.Deregister(ctx); !errors.Is(err, rollcall.ErrPermissionDenied) {
			t.Errorf("deregister: %v, want %v", err, rollcall.ErrPermissionDenied)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it was told after %v", took)
		}
		w.pass(30 * time.Second) // the oracle sees to it that the other one lives
		w.oracle.judgeWanted()
		w.allow(service, other)
	})
}
