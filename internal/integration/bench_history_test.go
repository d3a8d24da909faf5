package integration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
	past "github.com/rollcall-io/rollcall/internal/history"
)

// BenchmarkHistoryFromThePast is how long a history takes to read etcd's past: instances that register, change, say goodbye and are deleted.
// Etcd, which does not sync, is in the same process.
func BenchmarkHistoryFromThePast(b *testing.B) {
	for _, changes := range []int{10_000, 30_000, 100_000} {
		b.Run(fmt.Sprint(changes), func(b *testing.B) {
			etcd := etcdtest.Start(b)
			fillPast(b, etcd.Client(b), changes)
			b.ResetTimer()
			var took time.Duration
			for b.Loop() {
				began := time.Now()
				h := keepHistory(b, etcd.Endpoint(), past.Config{})
				took += time.Since(began)
				if n := h.Stats().Events; n < changes*3/4 {
					b.Fatalf("%d events of %d changes", n, changes)
				}
				b.StopTimer()
				h.stop()
				b.StartTimer()
			}
			b.ReportMetric(took.Seconds()/float64(b.N)/float64(changes)*10_000, "s/10,000")
		})
	}
}

// fillPast makes so many changes of instances.
func fillPast(b *testing.B, c *clientv3.Client, changes int) {
	const writers = 64
	ctx := within(b, 5*time.Minute)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := w; n < changes/4; n += writers {
				key := fmt.Sprintf("rollcall/services/service-%d/10.%d.%d.%d:50051", n/100, n>>16, n>>8&255, n&255)
				value := func(state string, weight int) string {
					return fmt.Sprintf(`{"Op":0,"Addr":"10.%d.%d.%d:50051","Metadata":{"team":"a"},"ID":"10.%d.%d.%d:50051","Incarnation":"INCARNATION%015d",`+
						`"Holder":"h","State":%q,"Weight":%d,"Zone":"a","Version":"v1.2.3","TTL":15,"Registered":"2026-03-01T12:00:00Z"}`,
						n>>16, n>>8&255, n&255, n>>16, n>>8&255, n&255, n, state, weight)
				}
				for _, op := range []clientv3.Op{
					clientv3.OpPut(key, value("serving", 100)), clientv3.OpPut(key, value("serving", 50)), clientv3.OpPut(key, value("leaving", 50)),
					clientv3.OpDelete(key),
				} {
					if _, err := c.Do(ctx, op); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
