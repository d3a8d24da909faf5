package integration

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// moody is a server that refuses as many calls as it is told to, and then answers.
type moody struct {
	pb.UnimplementedGreeterServer
	addr    string
	work    time.Duration // what a call takes that is answered
	refusal atomic.Int64  // so many more calls
	calls   atomic.Int64
}

func (f *moody) SayHello(ctx context.Context, _ *pb.HelloRequest) (*pb.HelloReply, error) {
	f.calls.Add(1)
	if f.refusal.Add(-1) >= 0 {
		return nil, status.Error(codes.Unavailable, "not now")
	}
	select {
	case <-time.After(f.work):
		return &pb.HelloReply{Message: f.addr}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serveMoody registers such a server as the only one of a service.
func serveMoody(t *testing.T, reg *rollcall.Registry, service string, work time.Duration) *moody {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, srv, ended := &moody{addr: lis.Addr().String(), work: work}, grpc.NewServer(), make(chan error, 1)
	pb.RegisterGreeterServer(srv, f)
	go func() { ended <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		<-ended
	})
	register(t, reg, service, rollcall.Instance{Addr: f.addr})
	return f
}

// inEach has each language do something with a service of its own, at once.
func (w *foreignXDS) inEach(do func(t *testing.T, a *asker, service string)) {
	for _, r := range w.runtimes {
		w.t.Run(r.language, func(t *testing.T) {
			t.Parallel()
			a := r.ask(t, bootstrapOf(t, "--server", w.server.grpc))
			t.Log(a.version)
			do(t, a, "for-"+strings.ToLower(r.language))
		})
	}
}

func TestRetriesOfAPolicyTakeEffectInGoPythonAndNode(t *testing.T) {
	t.Parallel()
	w := newForeignXDS(t, "")
	w.inEach(func(t *testing.T, a *asker, service string) {
		f := serveMoody(t, w.reg, service, 0)
		for _, step := range []struct {
			policy rollcall.Policy
			code   string
			calls  int64
		}{
			{rollcall.Policy{}, "UNAVAILABLE", 1},
			{rollcall.Policy{Retry: &rollcall.Retry{Attempts: 3}}, "OK", 3},
			{rollcall.Policy{Retry: &rollcall.Retry{Attempts: 2}}, "UNAVAILABLE", 2},
			{rollcall.Policy{Retry: &rollcall.Retry{Attempts: 3, On: []string{"RESOURCE_EXHAUSTED"}}}, "UNAVAILABLE", 1},
			{rollcall.Policy{Retry: &rollcall.Retry{Attempts: 3, On: []string{"RESOURCE_EXHAUSTED", "UNAVAILABLE"}}}, "OK", 3},
			{rollcall.Policy{}, "UNAVAILABLE", 1},
		} {
			w.decide(t, service, step.policy)
			var last string
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("with %+v: %s", step.policy, last)
				}
			})
			what := fmt.Sprintf("%s after %d calls, two of which are refused, by %+v", step.code, step.calls, step.policy.Retry)
			eventually(t, xdsPatience, what, func() bool {
				f.refusal.Store(2)
				f.calls.Store(0)
				o := a.begin(service, xdsPatience)()
				last = fmt.Sprintf("%s after %d calls, %v", o.code, f.calls.Load(), o.loss)
				return o.code == step.code && f.calls.Load() == step.calls && (o.code != "OK" || o.who == f.addr)
			})
		}
	})
}

// C-core 1.51 takes up to two seconds off the time limits of its configuration.
func TestTheTimeLimitOfAPolicyTakesEffectInGoPythonAndNode(t *testing.T) {
	t.Parallel()
	const limit, work, patience = 3 * time.Second, 4500 * time.Millisecond, time.Minute
	w := newForeignXDS(t, "")
	w.inEach(func(t *testing.T, a *asker, service string) {
		f := serveMoody(t, w.reg, service, work)
		before := a.begin(service, patience)
		eventually(t, xdsPatience, "a call under way", func() bool { return f.calls.Load() == 1 })
		w.decide(t, service, rollcall.Policy{Timeout: limit})
		w.settled(t, service, 1)

		short := a.begin(service, 500*time.Millisecond)
		var cut fate
		eventually(t, xdsPatience, "a call that ends by the policy's limit", func() bool {
			cut = a.begin(service, patience)()
			return cut.code != "OK"
		})
		t.Logf("the policy's limit of %v: %v", limit, cut)
		least := limit - 100*time.Millisecond
		if a.language == "Python" {
			least -= 2 * time.Second
		}
		if !atItsLimit(a, cut) || cut.took < least {
			t.Errorf("a call with a policy's limit of %v: %v", limit, cut)
		}
		if o := short(); !atItsLimit(a, o) || o.took >= least {
			t.Errorf("a call with a shorter limit of its own: %v", o)
		}
		if o := before(); o.code != "OK" {
			t.Errorf("a call that began before there was a limit: %v", o)
		}
	})
}

// atItsLimit reports whether a call says that its time was up. A server knows of the limit, too, and may be the first to end the call: Node
// does not know by what then.
func atItsLimit(a *asker, o fate) bool {
	return o.code == "DEADLINE_EXCEEDED" || a.language == "Node" && o.code == "CANCELLED"
}
