package gateway

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

const (
	maxWatchdog  = 2 * time.Second // for the answer to a heartbeat; less for short TTLs
	leaveTimeout = 3 * time.Second // for goodbyes, when a context has no end
)

// session keeps all registrations of a registry, by one stream at a time.
type session struct {
	r *remote

	mu      sync.Mutex
	running bool
	leaving bool
	held    map[[2]string]*registration // by service and id: what is wanted, and what is to say goodbye
	wake    chan struct{}               // holds a token when there is something to ask for
}

func newSession(r *remote) *session {
	return &session{r: r, held: map[[2]string]*registration{}, wake: make(chan struct{}, 1)}
}

func (s *session) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func registerRequest(service string, inst rollcall.Instance) *rollcallv1.RegisterRequest {
	return &rollcallv1.RegisterRequest{Service: service, Instance: wanted(inst), Ttl: durationpb.New(inst.TTL)}
}

// wanted is what an instance says of itself, as the API has it.
func wanted(inst rollcall.Instance) *rollcallv1.Instance {
	m := message.Instance(&inst)
	return &rollcallv1.Instance{
		Id: m.GetId(), Addr: m.GetAddr(), Addrs: m.GetAddrs(), Metadata: m.GetMetadata(), Zone: m.GetZone(), Version: m.GetVersion(),
		Weight: m.GetWeight(), State: m.GetState(), Check: m.GetCheck(),
	}
}

// Register implements [rollcall.Remote]. An id that is registered here already passes to the new registration when that is confirmed.
func (r *remote) Register(ctx context.Context, service string, inst rollcall.Instance) (rollcall.RemoteRegistration, error) {
	s := r.session
	g := &registration{
		s: s, service: service, id: inst.ID, ttl: inst.TTL, inst: inst, version: 1, lost: time.Now(),
		done: make(chan struct{}), progress: make(chan struct{}),
	}
	former, err := s.admit(ctx, g)
	if err != nil {
		return nil, err
	}
	err = g.Await(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		if former != nil {
			former.endLocked(rollcall.ErrReplaced)
		}
		return g, nil
	}
	g.leaveLocked(err)
	if former != nil && former.err == nil && g.token == "" && !g.asked {
		former.lose() // who has it now is not known: it is put back
		s.held[g.key()] = former
	} else if former != nil {
		former.endLocked(rollcall.ErrReplaced)
	}
	s.wakeLocked()
	return nil, err
}

// admit wants a registration in place of a former one, once that is not in the middle of something.
func (s *session) admit(ctx context.Context, g *registration) (former *registration, err error) {
	for {
		s.mu.Lock()
		former = s.held[g.key()]
		if s.leaving || s.r.ctx.Err() != nil {
			s.mu.Unlock()
			return nil, rollcall.ErrClosed
		}
		if former == nil || !former.asked && !former.unwanted {
			break
		}
		if former.unwanted && former.token == "" && !former.asked {
			former = nil
			break
		}
		progress := former.progress
		s.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return nil, s.r.unreachable(time.Now(), errPending, context.Cause(ctx))
		case <-s.r.ctx.Done():
			return nil, rollcall.ErrClosed
		}
	}
	defer s.mu.Unlock()
	s.held[g.key()] = g
	if !s.running {
		s.running = true
		s.r.wg.Go(s.run)
	}
	s.wakeLocked()
	return former, nil
}

// run has one stream after another, without end.
func (s *session) run() {
	ctx := s.r.ctx
	for attempt := 0; ctx.Err() == nil; attempt++ {
		conn, err := s.r.line.get()
		began := time.Now()
		if err == nil {
			err = s.serve(ctx, conn)
		}
		if ctx.Err() != nil {
			return
		}
		s.broken()
		s.r.line.drop(conn, err)
		if time.Since(began) > 5*time.Second {
			attempt = 0
		}
		if !pause(ctx, attempt) {
			return
		}
	}
}

// broken notes that what was held by a stream is so no longer.
func (s *session) broken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.held {
		if g.attached {
			g.lost = time.Now()
		}
		g.attached, g.asked, g.resting = false, false, false
		g.signal()
	}
}

// call is one request that waits for its answer.
type call struct {
	g       *registration
	version int
	beat    bool
}

// stream is one session with a server.
type stream struct {
	s     *session
	grpc  grpc.BidiStreamingClient[rollcallv1.SessionRequest, rollcallv1.SessionResponse]
	calls map[int64]call // by number
	last  int64
	beats int64 // the number of the heartbeat that waits for its answer; 0: none
}

// errSilent ends a stream with a server that does not answer.
var errSilent = errors.New("the server does not answer a heartbeat")

// serve keeps everything registered by one stream until that breaks; the error says why.
func (s *session) serve(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opening := time.AfterFunc(patience.MinConnectTimeout, cancel)
	opened, err := rollcallv1.NewRegistrationServiceClient(conn).Session(ctx, grpc.WaitForReady(true))
	if !opening.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return err
	}
	n := &stream{s: s, grpc: opened, calls: map[int64]call{}}
	heard := make(chan *rollcallv1.SessionResponse)
	ended := make(chan error, 1)
	var receiving sync.WaitGroup
	defer receiving.Wait()
	defer cancel()
	receiving.Go(func() { ended <- receive(ctx, opened, heard) })
	beat, watchdog := time.NewTimer(s.period()), time.NewTimer(time.Hour)
	defer beat.Stop()
	defer watchdog.Stop()
	for {
		if err := n.ask(); err != nil {
			return why(ctx, err, heard, ended)
		}
		select {
		case <-s.wake:
		case resp := <-heard:
			s.r.line.heard()
			n.take(ctx, resp)
		case <-beat.C:
			if n.beat() {
				watchdog.Reset(s.watchdog())
			}
			beat.Reset(s.period())
		case <-watchdog.C:
			if n.beats != 0 {
				return errSilent
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// why returns why a stream has ended on which nothing can be sent any more. Only who receives is told that, and only one may receive.
func why(ctx context.Context, err error, heard <-chan *rollcallv1.SessionResponse, ended <-chan error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	for {
		select {
		case <-heard: // of a stream that is over
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func receive(ctx context.Context, from grpc.BidiStreamingClient[rollcallv1.SessionRequest, rollcallv1.SessionResponse], to chan<- *rollcallv1.SessionResponse) error {
	for {
		resp, err := from.Recv()
		if err != nil {
			return err
		}
		select {
		case to <- resp:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// period is how often a heartbeat looks whether the server is there: a third of the least TTL.
func (s *session) period() time.Duration {
	d := s.leastTTL() / 3
	return d*9/10 + rand.N(d/5)
}

func (s *session) watchdog() time.Duration { return min(maxWatchdog, s.leastTTL()/6) }

func (s *session) leastTTL() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := rollcall.MaxTTL
	for _, g := range s.held {
		least = min(least, g.ttl)
	}
	return min(least, time.Minute)
}

// inFlight bounds what is asked for at once; the server has a bound of its own.
const inFlight = 100

// ask asks for all that there is to ask for.
func (n *stream) ask() error {
	s := n.s
	s.mu.Lock()
	var reqs []*rollcallv1.SessionRequest
	for key, g := range s.held {
		if g.unwanted && g.token == "" && !g.asked {
			delete(s.held, key) // it is gone, or never was
			g.signal()
			continue
		}
		if len(n.calls) >= inFlight {
			break
		}
		if req := g.step(); req != nil {
			g.asked = true
			reqs = append(reqs, n.number(req, call{g: g, version: g.version}))
		}
	}
	s.mu.Unlock()
	for _, req := range reqs {
		if err := n.grpc.Send(req); err != nil {
			return err
		}
	}
	return nil
}

func (n *stream) number(req *rollcallv1.SessionRequest, c call) *rollcallv1.SessionRequest {
	n.last++
	req.Call = n.last
	n.calls[n.last] = c
	return req
}

// beat asks for one registration to be held that is, and reports whether there is one. Its answer shows that the server is there.
func (n *stream) beat() bool {
	s := n.s
	s.mu.Lock()
	var req *rollcallv1.SessionRequest
	for _, g := range s.held {
		if g.attached && !g.unwanted && n.beats == 0 {
			req = n.number(g.beat(), call{g: g, beat: true})
			n.beats = req.GetCall()
			break
		}
	}
	s.mu.Unlock()
	return req != nil && n.grpc.Send(req) == nil
}

// take takes an answer, or news.
func (n *stream) take(ctx context.Context, resp *rollcallv1.SessionResponse) {
	s := n.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if ended := resp.GetEnded(); ended != nil {
		s.endedLocked(ended)
		return
	}
	c, known := n.calls[resp.GetCall()]
	delete(n.calls, resp.GetCall())
	switch {
	case !known:
	case c.beat:
		n.beats = 0
		asked := c.g.asked
		c.g.answered(c.version, resp)
		c.g.asked = asked
	default:
		if rest := c.g.answered(c.version, resp); rest > 0 {
			s.restLocked(ctx, c.g, rest)
		}
	}
}

// restLocked has a registration that was refused wait before the next try.
func (s *session) restLocked(ctx context.Context, g *registration, d time.Duration) {
	g.resting = true
	time.AfterFunc(d/2+rand.N(d), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ctx.Err() == nil {
			g.resting = false
			s.wakeLocked()
		}
	})
}

// endedLocked takes the news that a registration has ended by itself.
func (s *session) endedLocked(ended *rollcallv1.SessionEnded) {
	g := s.held[[2]string{ended.GetService(), ended.GetId()}]
	if g == nil || g.unwanted || g.incarnation != ended.GetIncarnation() {
		return
	}
	if codes.Code(ended.GetCode()) == codes.Aborted {
		g.endLocked(rollcall.ErrReplaced)
		return
	}
	g.lose()
	g.signal()
}

// leave has everything say goodbye, and waits until it has.
func (s *session) leave(ctx context.Context) error {
	s.mu.Lock()
	s.leaving = true
	var all []*registration
	for _, g := range s.held {
		if g.err == nil {
			g.leaveLocked(rollcall.ErrClosed)
		}
		all = append(all, g)
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for _, g := range all {
		if err := g.until(ctx, func() (bool, error) { return g.token == "" && !g.asked, nil }); err != nil {
			return err
		}
	}
	return nil
}
