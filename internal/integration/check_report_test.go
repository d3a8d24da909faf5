package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// accuse reports an instance as failing.
func accuse(t *testing.T, reg *rollcall.Registry, i *rollcall.Instance, h *rollcall.Health) {
	t.Helper()
	if err := reg.ReportHealth(within(t, grpcPatience), "orders", i.ID, i.Incarnation, h); err != nil {
		t.Fatal(err)
	}
}

func accusation(by string) *rollcall.Health {
	return &rollcall.Health{Failing: true, Since: time.Date(2026, 11, 22, 6, 31, 0, 0, time.UTC), Detail: "timeout", Checker: by}
}

func TestAReportReachesEveryViewAndIsTakenBack(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, checker := open(t, etcd.Endpoint()), open(t, etcd.Endpoint())
	all := open(t, etcd.Endpoint(), rollcall.WithFollowAll())
	register(t, reg, "orders", rollcall.Instance{Addr: "10.0.0.1:80"})
	register(t, reg, "orders", rollcall.Instance{Addr: "10.0.0.2:80"})
	one, every := watch(t, reg, "orders"), watch(t, all, "orders")
	i, _ := untilHealth(t, one, grpcPatience, 2).Get("10.0.0.1:80")
	untilHealth(t, every, grpcPatience, 2)

	accuse(t, checker, i, accusation("x"))
	for _, w := range []*rollcall.Watcher{one, every} {
		v := untilHealth(t, w, grpcPatience, 2, "10.0.0.1:80")
		got, _ := v.Get("10.0.0.1:80")
		want := accusation("x")
		want.Revision = got.Health.Revision
		mustEqual(t, "report", got.Health, want)
		mustEqual(t, "instances to be called", readyIDs(v), []string{"10.0.0.2:80"})
		mustEqual(t, "updates", describe(v.Updates), []string{"modify 10.0.0.1:80"})
		if got.Health.Revision == 0 || got.Revision != i.Revision || got.Incarnation != i.Incarnation {
			t.Errorf("the instance is %+v, the report of revision %d", got, got.Health.Revision)
		}
	}
	for what, r := range map[string]*rollcall.Registry{"that follows everything": all, "that follows the service": reg, "that follows nothing": open(t, etcd.Endpoint())} {
		v, err := r.Lookup(within(t, grpcPatience), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := v.Get("10.0.0.1:80"); got.Healthy() {
			t.Errorf("a lookup by a registry %s finds nothing against it", what)
		}
	}
	accuse(t, checker, i, nil)
	untilHealth(t, one, grpcPatience, 2)
	untilHealth(t, every, grpcPatience, 2)
	accuse(t, checker, i, nil) // once more is nothing
	if keys := keys(t, etcd.Client(t), "rollcall/control/"); len(keys) != 0 {
		t.Errorf("left in etcd: %v", keys)
	}
}

func TestAReportIsOfOneIncarnation(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, checker := open(t, etcd.Endpoint()), open(t, etcd.Endpoint())
	register(t, reg, "orders", rollcall.Instance{Addr: "10.0.0.1:80"})
	w := watch(t, reg, "orders")
	i := untilHealth(t, w, grpcPatience, 1).Instances[0]
	accuse(t, checker, i, accusation("x"))
	untilHealth(t, w, grpcPatience, 1, i.ID)
	register(t, reg, "orders", rollcall.Instance{Addr: "10.0.0.1:80"})
	v := untilHealth(t, w, grpcPatience, 1)
	if v.Instances[0].Incarnation == i.Incarnation {
		t.Fatal("it is still the one before")
	}
	accuse(t, checker, i, accusation("late"))
	accuse(t, checker, v.Instances[0], accusation("in time"))
	v = untilHealth(t, w, grpcPatience, 1, i.ID)
	mustEqual(t, "checker", v.Instances[0].Health.Checker, "in time")
}

func TestTheLastReportCountsAndTheOneBeforeItCannotTakeItAway(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, first, second := open(t, etcd.Endpoint()), open(t, etcd.Endpoint()), open(t, etcd.Endpoint())
	register(t, reg, "orders", rollcall.Instance{Addr: "10.0.0.1:80"})
	w := watch(t, reg, "orders")
	i := untilHealth(t, w, grpcPatience, 1).Instances[0]
	by := func(name string) func(*rollcall.View) bool {
		return func(v *rollcall.View) bool {
			return v.Instances[0].Health != nil && v.Instances[0].Health.Checker == name
		}
	}
	accuse(t, first, i, accusation("first"))
	untilTold(t, w, "the first report", by("first"))
	accuse(t, second, i, accusation("second"))
	untilTold(t, w, "the second report", by("second"))
	accuse(t, first, i, nil)
	if v, err := reg.Lookup(within(t, grpcPatience), "orders"); err != nil || len(keys(t, etcd.Client(t), "rollcall/control/")) != 1 {
		t.Errorf("the second report is gone: %v, %v", v, err)
	}
	if err := second.Close(within(t, grpcPatience)); err != nil {
		t.Fatal(err)
	}
	untilHealth(t, w, grpcPatience, 1)
	accuse(t, first, i, accusation("again"))
	untilTold(t, w, "a report after all", by("again"))
}

func TestReportsThatBreakARuleAreRefused(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	for what, h := range map[string]*rollcall.Health{
		"a long detail":  {Failing: true, Detail: strings.Repeat("x", 254)},
		"no UTF-8":       {Failing: true, Detail: "\xff"},
		"a long checker": {Failing: true, Checker: strings.Repeat("x", 254)},
	} {
		if err := reg.ReportHealth(t.Context(), "orders", "a", "b", h); !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := reg.ReportHealth(t.Context(), "a/b", "a", "b", nil); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("a bad service: %v", err)
	}
	if err := reg.ReportHealth(t.Context(), "orders", "", "b", nil); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("no id: %v", err)
	}
}

func TestWhatAnInstanceAsksForLiesInEtcdAndComesBack(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	asked := map[string]*rollcall.Check{
		"a": {Type: rollcall.CheckTCP},
		"b": {Type: rollcall.CheckHTTP, Addr: "http", Path: "/healthz?full=1", TLS: true, Interval: 5 * time.Second, Timeout: 250 * time.Millisecond, Fall: 5, Rise: 1},
		"c": {Type: rollcall.CheckGRPC, Service: "orders.Orders", Interval: time.Hour},
		"d": nil,
	}
	for id, c := range asked {
		register(t, reg, "orders", rollcall.Instance{ID: id, Addr: "10.0.0.1:80", Addrs: map[string]string{"http": "10.0.0.1:8080"}, Check: c})
	}
	got := map[string]*rollcall.Check{}
	for _, i := range until(t, watch(t, open(t, etcd.Endpoint()), "orders"), grpcPatience, "all", func(v *rollcall.View) bool { return len(v.Instances) == len(asked) }).Instances {
		got[i.ID] = i.Check
	}
	mustEqual(t, "checks", got, asked)
}

func TestChecksThatBreakARuleAreRefused(t *testing.T) {
	t.Parallel()
	reg, _ := start(t)
	for what, c := range map[string]rollcall.Check{
		"no type":              {},
		"a type of its own":    {Type: "icmp"},
		"no such address":      {Type: rollcall.CheckTCP, Addr: "admin"},
		"a service by TCP":     {Type: rollcall.CheckTCP, Service: "x"},
		"a path by gRPC":       {Type: rollcall.CheckGRPC, Path: "/"},
		"a path that is a URL": {Type: rollcall.CheckHTTP, Path: "http://10.0.0.1/"},
		"a path with a break":  {Type: rollcall.CheckHTTP, Path: "/\r\nHost: x"},
		"a path with a space":  {Type: rollcall.CheckHTTP, Path: "/a b"},
		"TLS by TCP":           {Type: rollcall.CheckTCP, TLS: true},
		"too often":            {Type: rollcall.CheckTCP, Interval: 999 * time.Millisecond},
		"too rarely":           {Type: rollcall.CheckTCP, Interval: time.Hour + 1},
		"before all time":      {Type: rollcall.CheckTCP, Interval: -time.Second},
		"too patient":          {Type: rollcall.CheckTCP, Timeout: 2*time.Second + 1},
		"longer than it waits": {Type: rollcall.CheckTCP, Interval: time.Second, Timeout: time.Second},
		"a timeout of less":    {Type: rollcall.CheckTCP, Timeout: -1},
		"a negative fall":      {Type: rollcall.CheckTCP, Fall: -1},
		"never":                {Type: rollcall.CheckTCP, Fall: 101},
		"a negative rise":      {Type: rollcall.CheckTCP, Rise: -1},
		"for ever":             {Type: rollcall.CheckTCP, Rise: 101},
	} {
		err := reg.Validate("orders", &rollcall.Instance{Addr: "10.0.0.1:80", Check: &c})
		invalid, is := errors.AsType[*rollcall.InvalidError](err)
		if !is || !strings.HasPrefix(invalid.Field, "Instance.Check.") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
