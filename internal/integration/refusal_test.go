package integration

import (
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// noSpace raises etcd's alarm, as it does itself when its quota is used up.
func noSpace(t *testing.T, c *clientv3.Client, action pb.AlarmRequest_AlarmAction) {
	t.Helper()
	members, err := c.MemberList(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	_, err = pb.NewMaintenanceClient(c.ActiveConnection()).Alarm(within(t, 5*time.Second),
		&pb.AlarmRequest{Action: action, MemberID: members.Members[0].ID, Alarm: pb.AlarmType_NOSPACE})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnEtcdOutOfSpaceKeepsWhatIsThereAndSaysSoToWhoComes(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client := etcd.Client(t)
	stays := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.WithTTL(5*time.Second))
	leaves := register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.2:1"}, rollcall.WithTTL(5*time.Second))
	w := watch(t, reg, "svc")
	next(t, w)

	noSpace(t, client, pb.AlarmRequest_ACTIVATE)
	for _, ttl := range []time.Duration{5 * time.Second, 30 * time.Second} { // under a lease that is there, and a new one
		_, err := reg.Register(within(t, 10*time.Second), "svc", rollcall.Instance{Addr: "10.0.0.3:1"}, rollcall.WithTTL(ttl))
		if !errors.Is(err, rollcall.ErrNoSpace) {
			t.Errorf("Register with TTL %v: %v", ttl, err)
		}
	}
	if err := stays.Update(within(t, 10*time.Second), func(i *rollcall.Instance) { i.Weight = 7 }); !errors.Is(err, rollcall.ErrNoSpace) {
		t.Errorf("Update: %v", err)
	}
	if err := leaves.Deregister(within(t, 10*time.Second)); err != nil {
		t.Errorf("Deregister: %v", err)
	}
	until(t, w, 5*time.Second, "one left", hasIDs("10.0.0.1:1"))
	<-time.After(6 * time.Second) // longer than the TTL: it is heartbeats that keep it
	mustEqual(t, "keys", len(keys(t, client, "rollcall/services/svc/")), 1)

	noSpace(t, client, pb.AlarmRequest_DEACTIVATE)
	v := until(t, w, 10*time.Second, "the update, written at last", func(v *rollcall.View) bool { return v.Instances[0].Weight == 7 })
	mustEqual(t, "ids", ids(v), []string{"10.0.0.1:1"})
	register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.3:1"})
}

// secured returns an etcd's endpoint and a root client, with authentication on and a user "svc" whose role may do what is
// given.
func secured(t *testing.T, grants func(role string, root *clientv3.Client)) (endpoint string, root *clientv3.Client) {
	t.Helper()
	_, etcd := start(t)
	c := etcd.Client(t)
	ctx := within(t, 20*time.Second)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"root", "svc"} {
		must(c.RoleAdd(ctx, user))
		must(c.UserAdd(ctx, user, "secret"))
		must(c.UserGrantRole(ctx, user, user))
	}
	grants("svc", c)
	must(c.AuthEnable(ctx))
	cfg := rollcall.ClientConfig(etcd.Endpoint())
	cfg.Username, cfg.Password = "root", "secret"
	root, err := clientv3.New(cfg)
	must(nil, err)
	t.Cleanup(func() {
		_, err := root.AuthDisable(within(t, 10*time.Second)) // for the cleanups that come after
		if err != nil {
			t.Error(err)
		}
		root.Close()
	})
	return etcd.Endpoint(), root
}

func TestARoleForOneServiceIsEnoughAndNoMore(t *testing.T) {
	t.Parallel()
	dir := "rollcall/services/mine/"
	endpoint, root := secured(t, func(role string, c *clientv3.Client) {
		if _, err := c.RoleGrantPermission(within(t, 5*time.Second), role, dir, clientv3.GetPrefixRangeEnd(dir), clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
			t.Fatal(err)
		}
	})
	cfg := rollcall.ClientConfig(endpoint)
	cfg.Username, cfg.Password = "svc", "secret"
	reg, err := rollcall.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close(within(t, 10*time.Second))

	r := register(t, reg, "mine", rollcall.Instance{Addr: "10.0.0.1:1"})
	w := watch(t, reg, "mine")
	mustEqual(t, "ids", ids(next(t, w)), []string{"10.0.0.1:1"})
	if _, err := root.Delete(within(t, 5*time.Second), dir+"10.0.0.1:1"); err != nil { // the own key is watched too
		t.Fatal(err)
	}
	until(t, w, 20*time.Second, "put back", func(v *rollcall.View) bool {
		return len(v.Instances) == 1 && v.Instances[0].CreateRevision > 0 && len(v.Updates) > 0
	})

	_, err = reg.Register(within(t, 10*time.Second), "others", rollcall.Instance{Addr: "10.0.0.1:1"})
	if !errors.Is(err, rollcall.ErrPermissionDenied) {
		t.Errorf("Register of another service: %v", err)
	}
	if _, err := reg.Lookup(within(t, 10*time.Second), "others"); !errors.Is(err, rollcall.ErrPermissionDenied) {
		t.Errorf("Lookup of another service: %v", err)
	}
	if err := r.Drain(within(t, 10*time.Second)); err != nil {
		t.Errorf("the own registration suffers: %v", err)
	}

	anonymous := open(t, endpoint)
	if _, err := anonymous.Lookup(within(t, 10*time.Second), "mine"); !errors.Is(err, rollcall.ErrUnauthenticated) {
		t.Errorf("without credentials: %v", err)
	}
}
