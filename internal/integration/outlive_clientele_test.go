package integration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// clientele is many programs that are registered over the API and do what it tells programs to do: each is with one server, goes to the next
// when that fails it, and comes back with its tokens.
type clientele struct {
	t       *testing.T
	ctx     context.Context
	wg      sync.WaitGroup
	servers []string
	conns   []*grpc.ClientConn // to each, of those that send heartbeats
	ttl     time.Duration
	beat    time.Duration                        // between heartbeats; 0: as the server says
	pause   atomic.Pointer[func() time.Duration] // before a session comes back

	held    atomic.Int64 // instances that sessions hold
	breaks  atomic.Int64 // of sessions
	alive   atomic.Int64 // heartbeats that were answered
	refused atomic.Int64 // heartbeats that were not
	healing atomic.Int64 // instances that were last told that they are being put back

	mu   sync.Mutex
	lost []error // registrations
}

func newClientele(t *testing.T, ttl time.Duration, servers ...*serverProcess) *clientele {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &clientele{t: t, ctx: ctx, ttl: ttl}
	for _, s := range servers {
		c.servers = append(c.servers, s.grpc)
		c.conns = append(c.conns, c.dial(s.grpc))
	}
	c.comeBackWithin(300 * time.Millisecond)
	t.Cleanup(func() {
		cancel()
		c.wg.Wait()
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		for _, err := range c.lost[:min(10, len(c.lost))] {
			t.Error(err)
		}
		if n := len(c.lost); n > 0 {
			t.Errorf("%d registrations were lost", n)
		}
	})
	return c
}

func (c *clientele) dial(addr string) *grpc.ClientConn {
	soon := backoff.DefaultConfig
	soon.BaseDelay, soon.MaxDelay = 100*time.Millisecond, time.Second
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: 5 * time.Second}))
	if err != nil {
		panic(err)
	}
	return conn
}

// comeBackWithin says how long sessions that broke take to come back: each another time, up to d.
func (c *clientele) comeBackWithin(d time.Duration) {
	pause := func() time.Duration { return rand.N(d) }
	c.pause.Store(&pause)
}

// registrant is one instance, and its token once it has one.
type registrant struct{ id, token string }

func (p *registrant) registration(ttl time.Duration) *rollcallv1.RegisterRequest {
	return &rollcallv1.RegisterRequest{Service: "clientele", Instance: &rollcallv1.Instance{Id: p.id, Addr: "10.0.0.1:1"}, Ttl: durationpb.New(ttl)}
}

func (p *registrant) heartbeat() *rollcallv1.HeartbeatRequest {
	return &rollcallv1.HeartbeatRequest{Service: "clientele", Id: p.id, Token: p.token}
}

// fail notes a registration that was lost, and reports whether err says so.
func (c *clientele) fail(p *registrant, err error) bool {
	switch status.Code(err) {
	case codes.NotFound, codes.Aborted, codes.InvalidArgument:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lost = append(c.lost, fmt.Errorf("%s: %w", p.id, err))
		return true
	}
	return false
}

// sessions starts streams that hold some instances each, with the first server at the beginning.
func (c *clientele) sessions(streams, each int) {
	for i := range streams {
		programs := make([]*registrant, each)
		for j := range programs {
			programs[j] = &registrant{id: fmt.Sprintf("s%03d-%02d", i, j)}
		}
		c.wg.Go(func() {
			for at := 0; c.ctx.Err() == nil; at++ {
				c.session(c.servers[at%len(c.servers)], programs)
				select {
				case <-c.ctx.Done():
				case <-time.After((*c.pause.Load())()):
				}
			}
		})
	}
	c.awaitHeld(streams * each)
}

// session holds instances with one server until the stream breaks.
func (c *clientele) session(addr string, programs []*registrant) {
	conn := c.dial(addr)
	defer func() { _ = conn.Close() }()
	stream, err := rollcallv1.NewRegistrationServiceClient(conn).Session(c.ctx)
	if err != nil {
		return
	}
	for i, p := range programs {
		ask := &rollcallv1.SessionRequest{Call: int64(i), Ask: &rollcallv1.SessionRequest_Register{Register: p.registration(c.ttl)}}
		if p.token != "" {
			ask.Ask = &rollcallv1.SessionRequest_Resume{Resume: p.heartbeat()}
		}
		if stream.Send(ask) != nil {
			break // receiving says why
		}
	}
	held := int64(0)
	defer func() { c.held.Add(-held) }()
	for {
		news, err := stream.Recv()
		if err == nil {
			err = c.told(programs, news)
		}
		if err != nil {
			if held > 0 && c.ctx.Err() == nil {
				c.breaks.Add(1)
			}
			return
		}
		held++
		c.held.Add(1)
	}
}

var errNotHeld = errors.New("the session does not hold it")

// told makes sense of an answer: nil when an instance is held.
func (c *clientele) told(programs []*registrant, news *rollcallv1.SessionResponse) error {
	p := programs[news.GetCall()]
	switch answer := news.GetAnswer().(type) {
	case *rollcallv1.SessionResponse_Registered:
		p.token = answer.Registered.GetToken()
		return nil
	case *rollcallv1.SessionResponse_Resumed:
		return nil
	case *rollcallv1.SessionResponse_Failed:
		c.fail(p, status.Error(codes.Code(answer.Failed.GetCode()), answer.Failed.GetMessage()))
	case *rollcallv1.SessionResponse_Ended:
		c.fail(&registrant{id: answer.Ended.GetId()}, status.Error(codes.Code(answer.Ended.GetCode()), answer.Ended.GetMessage()))
	}
	return errNotHeld
}

// heartbeats starts programs that send heartbeats, to the first server at the beginning.
func (c *clientele) heartbeats(n int) {
	var registered atomic.Int64
	for i := range n {
		p := &registrant{id: fmt.Sprintf("h%03d", i)}
		c.wg.Go(func() { c.beats(p, &registered) })
	}
	c.eventually("all that send heartbeats are registered", func() bool { return registered.Load() == int64(n) })
}

func (c *clientele) beats(p *registrant, registered *atomic.Int64) {
	at, healing := 0, false
	for c.ctx.Err() == nil {
		wait := 100 * time.Millisecond
		answer, err := c.call(c.conns[at%len(c.conns)], p)
		switch {
		case c.fail(p, err):
			return
		case err != nil && c.ctx.Err() == nil:
			c.refused.Add(1)
			at++
		case err == nil && answer == nil:
			registered.Add(1)
			wait = rand.N(c.ttl / 3) // not all at once from now on
		case err == nil:
			c.alive.Add(1)
			healing = c.note(healing, answer.GetHealing())
			wait = cmp.Or(c.beat, answer.GetHeartbeatInterval().AsDuration())
		}
		select {
		case <-c.ctx.Done():
		case <-time.After(wait):
		}
	}
}

// note counts who is being put back.
func (c *clientele) note(before, now bool) bool {
	switch {
	case now && !before:
		c.healing.Add(1)
	case before && !now:
		c.healing.Add(-1)
	}
	return now
}

// call registers a program that has no token yet, and sends a heartbeat else.
func (c *clientele) call(conn *grpc.ClientConn, p *registrant) (*rollcallv1.HeartbeatResponse, error) {
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	client := rollcallv1.NewRegistrationServiceClient(conn)
	if p.token != "" {
		return client.Heartbeat(ctx, p.heartbeat())
	}
	resp, err := client.Register(ctx, p.registration(c.ttl))
	p.token = resp.GetToken()
	return nil, err
}

func (c *clientele) awaitHeld(n int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("sessions hold %d instances", n), func() bool { return c.held.Load() == int64(n) })
}

// awaitBeats waits until as many heartbeats are answered, from now on.
func (c *clientele) awaitBeats(n int) {
	c.t.Helper()
	want := c.alive.Load() + int64(n)
	c.eventually(fmt.Sprintf("%d heartbeats are answered", n), func() bool { return c.alive.Load() >= want })
}

func (c *clientele) eventually(what string, so func() bool) {
	c.t.Helper()
	eventually(c.t, 2*processPatience, what, func() bool {
		c.mu.Lock()
		lost := len(c.lost)
		c.mu.Unlock()
		if lost > 0 {
			c.t.Fatalf("waiting until %s: %d lost, %d held", what, lost, c.held.Load())
		}
		return so()
	})
}
