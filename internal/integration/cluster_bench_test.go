package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// BenchmarkRegisterToViewOnACluster measures what BenchmarkRegisterToView does, on a cluster of three that syncs its
// writes and has nothing else to do: until another registry's view has the instance, from the call of Register and from
// its return.
//
//	go test -run '^$' -bench ViewOnACluster -benchtime 200x ./internal/integration
func BenchmarkRegisterToViewOnACluster(b *testing.B) {
	c := etcdtest.StartCluster(b, 3, etcdtest.WithFsync())
	reg := join(b, c.Endpoints()...)
	w := watch(b, join(b, c.Endpoints()...), "svc")
	next(b, w)
	register(b, reg, "other", rollcall.Instance{Addr: "10.0.0.1:1"}) // the lease exists, as it does below
	var called, returned []time.Duration
	for n := 0; b.Loop(); n++ {
		seen := make(chan time.Time, 1)
		go func() {
			for v, err := w.Next(b.Context()); err == nil && len(v.Instances) == 0; v, err = w.Next(b.Context()) {
			}
			seen <- time.Now()
		}()
		began := time.Now()
		r := register(b, reg, "svc", rollcall.Instance{Addr: fmt.Sprintf("10.0.0.1:%d", n%60000+1)})
		registered := time.Now()
		at := <-seen
		called, returned = append(called, at.Sub(began)), append(returned, max(0, at.Sub(registered)))
		if err := r.Deregister(b.Context()); err != nil {
			b.Fatal(err)
		}
		until(b, w, 10*time.Second, "it gone", func(v *rollcall.View) bool { return len(v.Instances) == 0 })
	}
	b.ReportMetric(micros(called, 50), "call→view-p50-µs")
	b.ReportMetric(micros(called, 99), "call→view-p99-µs")
	b.ReportMetric(micros(returned, 50), "return→view-p50-µs")
	b.ReportMetric(micros(returned, 99), "return→view-p99-µs")
}

// micros returns a percentile in microseconds.
func micros(d []time.Duration, percentile int) float64 {
	slices.Sort(d)
	return float64(d[(len(d)-1)*percentile/100].Microseconds())
}
