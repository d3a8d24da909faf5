//go:build unix

package channel

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/metadata"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/channeltest"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// picking is a way to pick among instances.
type picking struct {
	name, policy, config string
	vary                 func(int, *rollcall.Instance)
	ended                bool // with the word of the call's end
}

func pickings() []picking {
	weights := func(n int, i *rollcall.Instance) { i.Weight = 50 + n%11*10 }
	zones := func(n int, i *rollcall.Instance) { i.Zone = "zone-" + strconv.Itoa(n%3) }
	versions := func(n int, i *rollcall.Instance) { i.Version = "v" + strconv.Itoa(n%2+1) }
	return []picking{
		{"rr", "round_robin", `{}`, nil, false},
		{"rollcall", "rollcall", `{"subset":{"disabled":true}}`, nil, false},
		{"rollcall-ended", "rollcall", `{"subset":{"disabled":true}}`, nil, true},
		{"rollcall-weights", "rollcall", `{"subset":{"disabled":true}}`, weights, false},
		{"rollcall-zones", "rollcall", `{"subset":{"disabled":true}}`, zones, false},
		{"rollcall-split", "rollcall", `{"subset":{"disabled":true},"split":{"v2":10}}`, versions, false},
		{"rollcall-sticky", "rollcall", `{"subset":{"disabled":true},"split":{"v2":10},"splitHeader":"x-user"}`, versions, false},
		{"rollcall-subset", "rollcall", `{}`, weights, false},
		{"rollcall-least", "rollcall", `{"pick":"least_request","subset":{"disabled":true}}`, weights, true},
	}
}

// BenchmarkPick measures what a pick takes among N instances whose connections are all READY: with round_robin, and with
// rollcall's policy in its several ways; and with the word of the call's end, which that wants for ejections ("ended") and for
// least request. They take turns. "serial" is one caller, "parallel" as many as there are processors; its figure is the time
// that passes for a caller.
func BenchmarkPick(b *testing.B) {
	const turns, batch = 5, 20_000
	info := balancer.PickInfo{
		FullMethodName: "/helloworld.Greeter/SayHello",
		Ctx:            metadata.AppendToOutgoingContext(context.Background(), "x-user", "somebody"),
	}
	for _, n := range sizes(10, 100, 1000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			all := pickings()
			var pickers []balancer.Picker
			for _, p := range all {
				pickers = append(pickers, newPicker(b, p.policy, p.config, n, p.vary))
			}
			for _, callers := range []int{1, runtime.GOMAXPROCS(0)} {
				b.Run(map[bool]string{true: "serial", false: "parallel"}[callers == 1], func(b *testing.B) {
					took, allocs := make([][]float64, len(all)), make([]float64, len(all))
					for b.Loop() {
						for range turns {
							for k, p := range all {
								d, a := pickMany(b, pickers[k], info, p.ended, batch, callers)
								took[k], allocs[k] = append(took[k], float64(d)/batch), a/float64(batch*callers)
							}
						}
					}
					for k, p := range all {
						b.ReportMetric(middle(took[k]), p.name+"-ns")
						b.ReportMetric(math.Round(allocs[k]), p.name+"-allocs")
					}
					b.ReportMetric(0, "ns/op")
				})
			}
		})
	}
}

// pickMany has callers pick so often each, and returns how long that took and what was allocated.
func pickMany(b *testing.B, picker balancer.Picker, info balancer.PickInfo, ended bool, times, callers int) (time.Duration, float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for range times {
				pick(b, picker, info, ended)
			}
		})
	}
	calling.Wait()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return took, float64(after.Mallocs - before.Mallocs)
}

// pick picks as gRPC does for a call, that goes well and ends at once if it is to end.
func pick(b *testing.B, picker balancer.Picker, info balancer.PickInfo, ended bool) {
	result, err := picker.Pick(info)
	if err != nil {
		b.Error(err)
	}
	if ended {
		result.Done(balancer.DoneInfo{BytesSent: true, BytesReceived: true})
	}
}

// newPicker returns a policy's picker when all of n instances are connected, for a caller in zone-0.
func newPicker(b *testing.B, policy, config string, n int, vary func(int, *rollcall.Instance)) balancer.Picker {
	b.Helper()
	p := channeltest.Start(b, policy, config)
	v, _ := endpoints.NewReducer("svc", "zone-0", nil).Apply(channeltest.Instances(n, vary))
	p.Show(b, v.State())
	p.Settle(b)
	return p.Picker()
}
