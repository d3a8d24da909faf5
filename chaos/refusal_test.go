package chaos

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/judge"
	"github.com/rollcall-io/rollcall/chaos/world"
)

const (
	unnamedRefusals = "refusals for lack of space that do not say so"
	loginsPerSecond = "logins per second at etcd"
)

// Etcd answers, and says no.
func refusals() []scenario {
	return []scenario{{
		name: "no-space", ttl: 5 * time.Second, quick: true, without: "retry",
		fault: "etcd uses up its quota (NOSPACE) while a process is stopped until its lease is lost and another one begins; then room is made",
		expect: journal.Expect{
			Visible: 10 * time.Second, Back: 6 * time.Second, Converge: 12 * time.Second, Close: 15 * time.Second,
			Most: map[string]float64{unnamedRefusals: 0},
		},
		cluster: cluster.Options{Args: []string{"--quota-backend-bytes=8388608"}},
		play:    noSpace,
	}, {
		name: "tokens", ttl: 5 * time.Second, quick: true, without: "freshstream",
		fault: "tokens live two seconds; a member restarts, which forgets all; one user's role is revoked for ten seconds",
		expect: journal.Expect{
			Visible: 12 * time.Second, Back: 15 * time.Second, Converge: 20 * time.Second, Close: 15 * time.Second,
			Most: map[string]float64{loginsPerSecond: 6},
		},
		cluster: cluster.Options{Args: []string{"--auth-token-ttl=2", "--bcrypt-cost=4"}},
		judge:   []judge.Option{judge.WithLogin("root", "secret")},
		login:   [2]string{"root", "secret"},
		play:    tokens,
	}}
}

func noSpace(t testing.TB, w *world.World) ([]*world.Process, int) {
	all := w.Instances(10)
	watchers := w.Watchers(2, 10)
	w.Fault("no space", world.Etcd)
	fillUp(w)
	late := w.Register("late")
	all[0].Stop()
	w.Last(w.Expect.TTL * 3 / 2)
	all[0].Continue()
	w.Last(4 * time.Second)
	unnamed := 1.0
	if e := late.Last(journal.Registered); strings.Contains(e.Err, "out of space") {
		unnamed = 0
	}
	w.Measured(unnamedRefusals, unnamed)
	makeRoom(w)
	w.Healed("no space", world.Etcd)
	return watchers, 11
}

// fillUp writes until etcd raises its alarm.
func fillUp(w *world.World) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	block := strings.Repeat("x", 500_000)
	for {
		_, err := w.Cluster.Client().Put(ctx, "elsewhere/filling", block)
		if err != nil && strings.Contains(err.Error(), "space") {
			return
		}
		if ctx.Err() != nil {
			w.T.Fatalf("etcd cannot be filled up: %v", err)
		}
	}
}

// makeRoom does what etcd's manual says: compact, defragment, disarm.
func makeRoom(w *world.World) {
	w.T.Helper()
	w.Compact()
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	c := w.Cluster.Client()
	var errs []error
	for _, m := range w.Cluster.Members() {
		_, err := c.Defragment(ctx, m.Endpoint())
		errs = append(errs, err)
	}
	_, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	if err := errors.Join(append(errs, err)...); err != nil {
		w.T.Fatalf("make room: %v", err)
	}
}

func tokens(t testing.TB, w *world.World) ([]*world.Process, int) {
	enableAuth(w)
	login := []string{"-user", "service", "-password", "pass"}
	w.Instances(5, login...)
	// The second one of these comes when the token is dead that the process began with.
	w.Register("two", append(login, "-count", "2", "-stagger", "4s")...)
	other := w.Register("other", "-user", "other", "-password", "pass", "-prefix", "rollcall")
	watchers := w.Watchers(2, 8, login...)
	before, began := w.Requests("Authenticate"), time.Now()
	w.Last(5 * time.Second) // every token is dead
	w.Register("during", login...)
	w.Last(3 * time.Second)
	w.Meddled("two1")
	meddle(w, 0, key("two1"))
	w.Last(2 * time.Second)
	m := w.Cluster.Followers()[w.Rand.IntN(2)]
	lasting(w, "restart", m.Name, 0, m.Kill, m.Start)
	w.Register("during2", login...)
	w.Last(3 * time.Second)

	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	w.Fault("revoked", "other")
	w.Lost(other)
	if _, err := w.Cluster.Client().UserRevokeRole(ctx, "other", "writer"); err != nil {
		w.T.Fatal(err)
	}
	w.Last(10 * time.Second)
	if _, err := w.Cluster.Client().UserGrantRole(ctx, "other", "writer"); err != nil {
		w.T.Fatal(err)
	}
	w.Found(other)
	w.Healed("revoked", "other")
	w.Measured(loginsPerSecond, (w.Requests("Authenticate")-before)/time.Since(began).Seconds())
	return watchers, 10
}

// enableAuth makes a root and two users that may write under the prefix, and has etcd ask everybody who he is.
func enableAuth(w *world.World) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	c := w.Cluster.Client()
	var errs []error
	step := func(_ any, err error) { errs = append(errs, err) }
	step(c.RoleAdd(ctx, "root"))
	step(c.UserAdd(ctx, "root", "secret"))
	step(c.UserGrantRole(ctx, "root", "root"))
	step(c.RoleAdd(ctx, "writer"))
	step(c.RoleGrantPermission(ctx, "writer", "rollcall/", clientv3.GetPrefixRangeEnd("rollcall/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	for _, user := range []string{"service", "other"} {
		step(c.UserAdd(ctx, user, "pass"))
		step(c.UserGrantRole(ctx, user, "writer"))
	}
	step(c.AuthEnable(ctx))
	if err := errors.Join(errs...); err != nil {
		w.T.Fatalf("enable authentication: %v", err)
	}
	w.Cluster.Login("root", "secret")
}
