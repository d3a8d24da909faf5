package metrics_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
	"github.com/rollcall-io/rollcall/metrics"
)

// world is an etcd in simulated time, and a registry on it.
type world struct {
	t    *testing.T
	etcd *simetcd.Cluster
	reg  *rollcall.Registry
}

// simulate runs a test in simulated time.
func simulate(t *testing.T, test func(*testing.T, *world), opts ...rollcall.Option) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, etcd: simetcd.New(simetcd.Options{})}
		t.Cleanup(w.etcd.Stop)
		w.reg = w.open(opts...)
		test(t, w)
	})
}

func (w *world) open(opts ...rollcall.Option) *rollcall.Registry {
	w.t.Helper()
	reg, err := rollcall.Open(w.etcd.Config(), opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = reg.Close(context.Background()) })
	return reg
}

func (w *world) register(reg *rollcall.Registry, service, addr string) *rollcall.Registration {
	w.t.Helper()
	g, err := reg.Register(w.t.Context(), service, rollcall.Instance{Addr: addr}, rollcall.WithTTL(10*time.Second))
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// settle lets everything happen that does within a second.
func (w *world) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// tell gathers, and returns the values by name and labels.
func tell(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "rollcall_")
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			told[name] = valueOf(m)
		}
	}
	return told
}

func valueOf(m *dto.Metric) float64 {
	if m.GetCounter() != nil {
		return m.GetCounter().GetValue()
	}
	return m.GetGauge().GetValue()
}

func (w *world) tell(opts ...metrics.Option) map[string]float64 {
	w.t.Helper()
	r := prometheus.NewPedanticRegistry() // who sees to it that what is collected is what was described
	r.MustRegister(metrics.NewCollector(w.reg, opts...))
	return tell(w.t, r)
}

// want wants some of the values to be as given.
func want(t *testing.T, got, want map[string]float64) {
	t.Helper()
	some := maps.Clone(got)
	maps.DeleteFunc(some, func(name string, _ float64) bool { _, ok := want[name]; return !ok })
	if diff := cmp.Diff(want, some); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestAServiceIsCountedWithWhatBecomesOfIt(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		others := w.open()
		watcher := w.reg.Watch("orders")
		defer watcher.Close()
		if _, err := watcher.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := w.register(others, "orders", "10.0.0.1:1")
		second := w.register(others, "orders", "10.0.0.2:1")
		w.register(others, "orders", "10.0.0.3:1")
		w.settle()
		if err := first.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := second.Deregister(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.settle()
		want(t, w.tell(), map[string]float64{
			"services":                              1,
			"service_instances{service=orders}":     2,
			"service_draining{service=orders}":      1,
			"service_suspects{service=orders}":      0,
			"service_unhealthy{service=orders}":     0,
			"service_watchers{service=orders}":      1,
			"updates_total{kind=joined}":            3,
			"updates_total{kind=changed}":           1,
			"updates_total{kind=left}":              1,
			"updates_total{kind=expired}":           0,
			"stale_seconds":                         0,
			"service_stale_seconds{service=orders}": 0,
		})
		if w.tell()["revision"] < 6 {
			t.Errorf("revision %v after five writes", w.tell()["revision"])
		}
	})
}

func TestAnOutageShowsInSeconds(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		watcher := w.reg.Watch("orders")
		defer watcher.Close()
		w.register(w.reg, "orders", "10.0.0.1:1")
		if _, err := watcher.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		calm := w.tell()
		want(t, calm, map[string]float64{
			"registrations{state=registered}": 1, "registrations{state=healing}": 0, "registered_total": 1, "leases": 1,
			"unreachable_seconds": 0, "stale_seconds": 0,
		})
		if age := calm["heartbeat_age_seconds"]; age < 0 || age > 4 {
			t.Errorf("the last heartbeat is %v s old, want at most a third of the TTL and a little", age)
		}
		w.etcd.Member(0).Kill()
		time.Sleep(30 * time.Second)
		ill := w.tell()
		want(t, ill, map[string]float64{"registrations{state=registered}": 0, "registrations{state=healing}": 1})
		for _, name := range []string{"unreachable_seconds", "heartbeat_age_seconds", "stale_seconds", "service_stale_seconds{service=orders}"} {
			if s := ill[name]; s < 20 || s > 40 {
				t.Errorf("%s is %v after 30 s", name, s)
			}
		}
		if ratio := ill["heartbeat_age_ratio"]; ratio < 2 || ratio > 4 {
			t.Errorf("heartbeat_age_ratio is %v after three TTLs", ratio)
		}
	})
}

func TestARegistrationThatIsReplacedIsCounted(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.register(w.reg, "orders", "10.0.0.1:1")
		w.register(w.open(), "orders", "10.0.0.1:1")
		w.settle()
		want(t, w.tell(), map[string]float64{"registrations{state=registered}": 0, "registered_total": 1, "registrations_replaced_total": 1})
		want(t, w.tell(), map[string]float64{"registrations_replaced_total": 1})
	})
}

// More services than have metrics of their own are told of together, however many there are.
func TestWhatIsToldIsBounded(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		for n := range 120 {
			w.register(w.reg, fmt.Sprintf("svc-%03d", n), "10.0.0.1:1")
		}
		w.settle()
		for own, tt := range map[int]struct{ lines, others float64 }{metrics.DefaultServices: {101, 20}, 3: {4, 117}, 0: {1, 120}, 120: {120, 0}} {
			opts := []metrics.Option{metrics.WithServices(own)}
			if own == metrics.DefaultServices {
				opts = nil
			}
			told := w.tell(opts...)
			lines := 0
			for _, name := range slices.Sorted(maps.Keys(told)) {
				if strings.HasPrefix(name, "service_instances{") {
					lines++
				}
			}
			if others := told["service_instances{service="+metrics.Others+"}"]; float64(lines) != tt.lines || others != tt.others {
				t.Errorf("with %d services of their own: %d lines, %v instances of others; want %v", own, lines, others, tt)
			}
			want(t, told, map[string]float64{"services": 120})
		}
	}, rollcall.WithFollowAll())
}

func TestSeveralRegistriesAreToldApartByALabel(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := prometheus.NewPedanticRegistry()
		w.register(w.reg, "orders", "10.0.0.1:1")
		for name, reg := range map[string]*rollcall.Registry{"a": w.reg, "b": w.open()} {
			prometheus.WrapRegistererWith(prometheus.Labels{"registry": name}, r).MustRegister(metrics.NewCollector(reg))
		}
		want(t, tell(t, r), map[string]float64{"registered_total{registry=a}": 1, "registered_total{registry=b}": 0})
	})
}

// What a single look finds has not happened just now.
func TestALookupIsNoChange(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.register(w.reg, "orders", "10.0.0.1:1")
		if _, err := w.reg.SetOverride(t.Context(), "orders", "10.0.0.1:1", rollcall.Override{Drain: true}); err != nil {
			t.Fatal(err)
		}
		v, err := w.reg.Lookup(t.Context(), "orders")
		if err != nil || len(v.Instances) != 1 || v.Instances[0].Override == nil {
			t.Fatalf("looked up %+v, %v", v, err)
		}
		want(t, w.tell(), map[string]float64{"views_total": 0, "updates_total{kind=joined}": 0, "updates_total{kind=changed}": 0, "services": 0})
	})
}

func TestWhatIsPutBackIsCounted(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		g := w.register(w.reg, "orders", "10.0.0.1:1")
		w.register(w.open(), "orders", "10.0.0.2:1")
		w.register(w.reg, "orders", "10.0.0.2:1") // takes the key over, which is no healing
		if err := g.Update(t.Context(), func(i *rollcall.Instance) { i.Weight = 7 }); err != nil {
			t.Fatal(err)
		}
		w.settle()
		want(t, w.tell(), map[string]float64{"registrations_healed_total": 0, "leases_lost_total": 0})

		if !w.etcd.DeleteKey("rollcall/services/orders/10.0.0.1:1") {
			t.Fatal("the key is not there")
		}
		w.settle()
		want(t, w.tell(), map[string]float64{"registrations_healed_total": 1, "leases_lost_total": 0})

		if err := w.etcd.RevokeLease(w.reg.Status().Leases[0].ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		want(t, w.tell(), map[string]float64{"registrations_healed_total": 3, "leases_lost_total": 1, "registrations{state=registered}": 2})
	})
}
