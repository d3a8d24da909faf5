package demo

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

const (
	callsPerSecond = 200
	callTimeout    = 5 * time.Second
	maxInFlight    = 1000 // a bound for when nobody answers: a fifth of callTimeout at the full rate would do
)

// caller makes calls at a steady rate, however long they take: a slow server does not slow it down, as it would a caller
// that waits for an answer before the next call.
type caller struct {
	conn    *grpc.ClientConn
	journal *journal
	free    chan struct{} // one token per call that may be in flight
}

func newCaller(reg *rollcall.Registry, j *journal) (*caller, error) {
	conn, err := rollcallgrpc.NewClient("rollcall:///"+Service, reg,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithStatsHandler(addressRecorder{}))
	if err != nil {
		return nil, err
	}
	return &caller{conn: conn, journal: j, free: make(chan struct{}, maxInFlight)}, nil
}

func (c *caller) close() { _ = c.conn.Close() }

// run makes the calls that are due from start on, for the given time, and waits until all have ended. A call that is due
// is made even if it is late, so that their number is fixed. When ctx ends, so do the calls, uncounted.
func (c *caller) run(ctx context.Context, start time.Time, length time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	greeter := pb.NewGreeterClient(c.conn)
	const interval = time.Second / callsPerSecond
	for due := time.Duration(0); due < length; due += interval {
		if sleepUntil(ctx, start.Add(due)) != nil {
			return
		}
		select {
		case c.free <- struct{}{}:
			wg.Go(func() {
				c.call(ctx, greeter)
				<-c.free
			})
		default:
			c.journal.called(call{code: codes.ResourceExhausted, message: "not made: too many calls without an answer"})
		}
	}
}

func (c *caller) call(ctx context.Context, greeter pb.GreeterClient) {
	var to attempt
	callCtx, cancel := context.WithTimeout(context.WithValue(ctx, attemptKey{}, &to), callTimeout)
	defer cancel()
	_, err := greeter.SayHello(callCtx, &pb.HelloRequest{Name: "demo"})
	if ctx.Err() != nil {
		return
	}
	addr, sent := to.get()
	c.journal.called(call{addr: addr, sent: sent, code: status.Code(err), message: status.Convert(err).Message()})
}

// attempt is where and when a call was sent. gRPC sends a call again, on its own, if it knows that no server has seen it;
// then the last time counts, and a call that was never sent has no address.
type attempt struct {
	mu   sync.Mutex
	addr string
	sent time.Time
}

type attemptKey struct{}

func (a *attempt) set(addr string, sent time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addr, a.sent = addr, sent
}

func (a *attempt) get() (addr string, sent time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addr, a.sent
}

// addressRecorder notes where calls go. Of gRPC's hooks it is the one that tells the address of a failed call too, and
// the moment it was sent there.
type addressRecorder struct{}

func (addressRecorder) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.set("", time.Time{}) // a new attempt, not sent yet
	}
	return ctx
}

func (addressRecorder) HandleRPC(ctx context.Context, s stats.RPCStats) {
	out, ok := s.(*stats.OutHeader)
	if !ok || out.RemoteAddr == nil {
		return
	}
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.set(out.RemoteAddr.String(), time.Now())
	}
}

func (addressRecorder) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (addressRecorder) HandleConn(context.Context, stats.ConnStats)                       {}
