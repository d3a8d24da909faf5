//go:build unix

package integration

import (
	"context"
	"strconv"
	"testing"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/metadata"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	_ "github.com/rollcall-io/rollcall/balancer"
	"github.com/rollcall-io/rollcall/internal/channeltest"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

const costInstances = 1000

func TestAPickTakesNoMemory(t *testing.T) {
	const noSubset = `{"subset":{"disabled":true}}`
	weights := func(n int, i *rollcall.Instance) { i.Weight = 50 + n%11*10 }
	zones := func(n int, i *rollcall.Instance) { i.Zone = "zone-" + strconv.Itoa(n%3) }
	versions := func(n int, i *rollcall.Instance) { i.Version = "v" + strconv.Itoa(n%2+1) }
	for _, c := range []struct {
		name, config string
		vary         func(int, *rollcall.Instance)
		most         float64
	}{
		{"alike", noSubset, nil, 0},
		{"weights", noSubset, weights, 0},
		{"zones", noSubset, zones, 0},
		{"split", `{"subset":{"disabled":true},"split":{"v2":10}}`, versions, 0},
		{"subset", `{}`, weights, 0},
		{"least request", `{"pick":"least_request","subset":{"disabled":true}}`, weights, 0},
		{"by header", `{"subset":{"disabled":true},"split":{"v2":10},"splitHeader":"x-user"}`, versions, 3}, // gRPC copies the headers
	} {
		p := channeltest.Start(t, "rollcall", c.config)
		p.Show(t, firstView(c.vary).State())
		picker := p.Picker()
		info := lb.PickInfo{FullMethodName: "/pkg.Service/Method", Ctx: metadata.AppendToOutgoingContext(context.Background(), "x-user", "somebody")}
		if got := testing.AllocsPerRun(1000, func() {
			picked, err := picker.Pick(info)
			if err != nil {
				t.Fatal(err)
			}
			if picked.Done != nil {
				picked.Done(lb.DoneInfo{BytesSent: true, BytesReceived: true})
			}
		}); got > c.most {
			t.Errorf("%s: %v allocations a pick, want at most %v", c.name, got, c.most)
		}
	}
}

// firstView is the view of a thousand instances.
func firstView(vary func(int, *rollcall.Instance)) *endpoints.View {
	v, _ := endpoints.NewReducer("svc", "zone-0", nil).Apply(channeltest.Instances(costInstances, vary))
	return v
}

// The connections are not real: what is compared is what the policies do themselves. By the whole process it was 1/18 of the processor
// time when this was written.
func TestAChangeOfAWeightCostsAPolicyASmallPartOfRoundRobin(t *testing.T) {
	const changes = 20
	ours, its := channeltest.Start(t, "rollcall", `{"subset":{"disabled":true}}`), channeltest.Start(t, "round_robin", `{}`)
	reducer := endpoints.NewReducer("svc", "", nil)
	view, _ := reducer.Apply(channeltest.Instances(costInstances, nil))
	ours.Show(t, view.State())
	its.Show(t, asList(view))
	turn := 0
	// next is the state after another weight has changed, once as a view and once as a list that etcd's resolver would make.
	next := func() (byView, byList grpcresolver.State) {
		old := view.Instances[turn%costInstances]
		now := old.Clone()
		now.Weight ^= 16
		turn++
		view, _ = reducer.Apply([]rollcall.Update{{Op: rollcall.Modify, Instance: now, Prev: old}})
		return view.State(), asList(view)
	}
	var a, b spent
	atMost(t, "processor time for a change, beside round_robin", 1.0/7, func() float64 {
		var views, lists []grpcresolver.State
		for range changes {
			byView, byList := next()
			views, lists = append(views, byView), append(lists, byList)
		}
		a = costOf(changes, func() { showAll(t, ours, views) })
		b = costOf(changes, func() { showAll(t, its, lists) })
		return float64(a.cpu) / float64(b.cpu)
	})
	t.Logf("%+v beside %+v", a, b)
	if ratio := a.bytes / b.bytes; ratio > 0.06 {
		t.Errorf("a change allocates %.0f bytes, and %.0f with round_robin: %.3f", a.bytes, b.bytes, ratio)
	}
	if a.allocs > 100 {
		t.Errorf("a change among %d allocates %.0f times, and %.0f with round_robin", costInstances, a.allocs, b.allocs)
	}
}

// asList is a state without the view.
func asList(v *endpoints.View) grpcresolver.State {
	var s grpcresolver.State
	for _, i := range v.Instances {
		s.Endpoints = append(s.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: i.Addr}}})
	}
	return s
}

func showAll(t *testing.T, p *channeltest.Policy, states []grpcresolver.State) {
	for _, s := range states {
		p.Show(t, s)
	}
}
