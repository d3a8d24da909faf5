package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

func TestTheTimeLeftOfAnInstanceIsItsLeases(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	client, operator := etcd.Client(t), open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "held:1"})
	register(t, reg, "shop", rollcall.Instance{Addr: "held:2"})
	dying, err := client.Grant(within(t, steerPatience), 5)
	if err != nil {
		t.Fatal(err)
	}
	for id, opts := range map[string][]clientv3.OpOption{"none:1": nil, "dying:1": {clientv3.WithLease(dying.ID)}} {
		if _, err := client.Put(within(t, steerPatience), "rollcall/services/shop/"+id, `{"Addr":"`+id+`"}`, opts...); err != nil {
			t.Fatal(err)
		}
	}
	asked := []string{"held:1", "held:2", "none:1", "dying:1", "nobody:1"}
	least := time.Minute
	eventually(t, steerPatience, "the one that nobody renews to be gone", func() bool {
		left, err := operator.TimeLeft(within(t, steerPatience), "shop", asked...)
		if err != nil {
			t.Fatal(err)
		}
		for id, d := range left {
			if !slices.Contains([]string{"held:1", "held:2", "dying:1"}, id) {
				t.Fatalf("%s has %v left, and no lease", id, d)
			}
		}
		if held := left["held:1"]; held < rollcall.DefaultTTL/2 || held != left["held:2"] {
			t.Fatalf("two that are renewed together have %v and %v left", held, left["held:2"])
		}
		dying, there := left["dying:1"]
		if there {
			least = min(least, dying)
		}
		return !there
	})
	if least > time.Second {
		t.Errorf("the one that nobody renewed was gone when it had %v left", least)
	}
}

func TestTimeLeftIsToldByTheAPIOfSoManyAtOnce(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, etcdtest.Start(t), grpcapi.Config{})
	var ids []string
	for n := range 100 {
		ids = append(ids, fmt.Sprintf("a:%d", n+1))
		register(t, s.reg, "shop", rollcall.Instance{Addr: ids[n]})
	}
	resp, err := s.discovery.ListLeases(within(t, steerPatience), &rollcallv1.ListLeasesRequest{Service: "shop", Ids: ids})
	if err != nil || len(resp.GetLeases()) != len(ids) {
		t.Fatalf("%d of %d are told: %v", len(resp.GetLeases()), len(ids), err)
	}
	for n, l := range resp.GetLeases() {
		if left := l.GetLeft().AsDuration(); left < rollcall.DefaultTTL/2 || left > rollcall.DefaultTTL || n > 0 && l.GetId() <= resp.GetLeases()[n-1].GetId() {
			t.Errorf("%s has %v left", l.GetId(), left)
		}
	}
	_, err = s.discovery.ListLeases(within(t, steerPatience), &rollcallv1.ListLeasesRequest{Service: "shop", Ids: append(ids, "a:101")})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "at most 100") {
		t.Errorf("101 at once: %v", err)
	}
	if resp, err := s.discovery.ListLeases(within(t, steerPatience), &rollcallv1.ListLeasesRequest{Service: "shop"}); err != nil || len(resp.GetLeases()) != 0 {
		t.Errorf("nobody in particular: %v, %v", resp, err)
	}
}
