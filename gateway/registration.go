package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// registration is one instance that the session keeps registered. The session's mu guards all of it but what never changes.
type registration struct {
	s           *session
	service, id string
	ttl         time.Duration
	done        chan struct{} // closed when it has ended

	inst     rollcall.Instance // as it is wanted
	version  int               // counts what was wanted so far
	unwanted bool              // it is to say goodbye
	err      error             // why it has ended

	token       string // "" while no server has it, as far as is known
	incarnation string
	revision    int64
	written     int       // the version that the server has confirmed
	attached    bool      // to the stream that there is
	asked       bool      // an answer is to come
	resting     bool      // after a refusal
	refusal     error     // the server's last no
	trouble     error     // what the last try met that may go better next time
	lost        time.Time // since when it is not attached; zero while it is
	healing     time.Time // since when the server says that etcd does not have it
	progress    chan struct{}
}

var (
	_ rollcall.RemoteRegistration = (*registration)(nil)

	errPending = errors.New("not confirmed by a server")
)

func (g *registration) signal() {
	close(g.progress)
	g.progress = make(chan struct{})
}

// step is what is to be asked for next; nil: nothing.
func (g *registration) step() *rollcallv1.SessionRequest {
	switch {
	case g.asked || g.resting || g.err != nil && !g.unwanted:
		return nil
	case g.unwanted && g.token == "":
		return nil
	case g.unwanted:
		return &rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Deregister{Deregister: &rollcallv1.DeregisterRequest{
			Service: g.service, Id: g.id, Token: g.token,
		}}}
	case g.token == "":
		return &rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Register{Register: registerRequest(g.service, g.inst)}}
	case !g.attached:
		return g.beat()
	case g.written < g.version:
		return &rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Update{Update: &rollcallv1.UpdateRequest{
			Service: g.service, Id: g.id, Token: g.token, Instance: wanted(g.inst),
		}}}
	}
	return nil
}

// beat asks for the registration to be held, which is a heartbeat where it is.
func (g *registration) beat() *rollcallv1.SessionRequest {
	return &rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Resume{Resume: &rollcallv1.HeartbeatRequest{Service: g.service, Id: g.id, Token: g.token}}}
}

// answered takes note of an answer to what was asked for when so many versions had been wanted. It returns for how long to rest.
func (g *registration) answered(version int, resp *rollcallv1.SessionResponse) (rest time.Duration) {
	g.asked = false
	defer g.signal()
	switch answer := resp.GetAnswer().(type) {
	case *rollcallv1.SessionResponse_Registered:
		r := answer.Registered
		g.token, g.incarnation, g.revision = r.GetToken(), r.GetInstance().GetIncarnation(), r.GetRevision()
		g.written = version
		g.attach()
	case *rollcallv1.SessionResponse_Resumed:
		g.attach()
		switch healing := answer.Resumed.GetHealing(); {
		case !healing:
			g.healing = time.Time{}
		case g.healing.IsZero():
			g.healing = time.Now()
		}
	case *rollcallv1.SessionResponse_Updated:
		g.written, g.revision, g.refusal = version, answer.Updated.GetRevision(), nil
	case *rollcallv1.SessionResponse_Deregistered:
		g.token, g.attached = "", false
	case *rollcallv1.SessionResponse_Failed:
		return g.failed(answer.Failed)
	}
	return 0
}

func (g *registration) attach() {
	g.attached, g.lost, g.refusal = true, time.Time{}, nil
}

// Between two tries of something that was refused.
const (
	refusalRest   = 2 * time.Second
	transientRest = 500 * time.Millisecond
)

func (g *registration) failed(f *rollcallv1.SessionError) (rest time.Duration) {
	err := status.Error(codes.Code(f.GetCode()), f.GetMessage())
	switch {
	case status.Code(err) == codes.NotFound: // it has ended, and nobody has taken it over: begin anew
		g.lose()
		return 0
	case status.Code(err) == codes.Aborted:
		g.token = "" // somebody else's: there is nothing left to say goodbye for
		g.endLocked(fmt.Errorf("%w (%s)", rollcall.ErrReplaced, f.GetMessage()))
		return 0
	case transient(err):
		g.refusal, g.trouble = nil, err
		return transientRest
	}
	g.refusal = refusal(err)
	return refusalRest
}

// lose notes that no server has the registration any more.
func (g *registration) lose() {
	g.token, g.attached = "", false
	if g.lost.IsZero() {
		g.lost = time.Now()
	}
}

func (g *registration) endLocked(why error) {
	if g.err == nil {
		g.err = why
		close(g.done)
	}
	g.signal()
	if g.s.held[g.key()] == g && !g.unwanted {
		delete(g.s.held, g.key())
	}
}

func (g *registration) key() [2]string { return [2]string{g.service, g.id} }

// Want implements [rollcall.RemoteRegistration].
func (g *registration) Want(inst rollcall.Instance) error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	g.inst = inst
	g.version++
	g.refusal, g.resting = nil, false
	g.s.wakeLocked()
	return nil
}

// Await implements [rollcall.RemoteRegistration].
func (g *registration) Await(ctx context.Context) error {
	g.s.mu.Lock()
	version := g.version
	g.s.mu.Unlock()
	return g.until(ctx, func() (bool, error) {
		if g.err != nil {
			return true, g.err
		}
		return g.attached && g.written >= version || g.refusal != nil, g.refusal
	})
}

// until waits for a condition, which is evaluated with mu held.
func (g *registration) until(ctx context.Context, cond func() (bool, error)) error {
	began := time.Now()
	for {
		g.s.mu.Lock()
		ok, err := cond()
		progress, trouble := g.progress, g.trouble
		g.s.mu.Unlock()
		if ok {
			return err
		}
		select {
		case <-progress:
		case <-ctx.Done():
			if _, last := g.s.r.line.status(); last != nil {
				trouble = last
			}
			return g.s.r.unreachable(began, trouble, context.Cause(ctx))
		case <-g.s.r.ctx.Done():
			return rollcall.ErrClosed
		}
	}
}

// Deregister implements [rollcall.RemoteRegistration].
func (g *registration) Deregister(ctx context.Context) error {
	g.s.mu.Lock()
	if g.err == nil {
		g.leaveLocked(rollcall.ErrDeregistered)
	}
	g.s.mu.Unlock()
	return g.until(ctx, func() (bool, error) { return !g.unwanted || g.token == "" && !g.asked, nil })
}

// leaveLocked has the registration say goodbye.
func (g *registration) leaveLocked(why error) {
	g.unwanted, g.resting = true, false
	g.endLocked(why)
	g.s.wakeLocked()
}

// Detach implements [rollcall.RemoteRegistration].
func (g *registration) Detach() {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.endLocked(rollcall.ErrDetached)
}

// Done implements [rollcall.RemoteRegistration].
func (g *registration) Done() <-chan struct{} { return g.done }

// Err implements [rollcall.RemoteRegistration].
func (g *registration) Err() error {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.err
}

// Missing implements [rollcall.RemoteRegistration]. A server that cannot be heard keeps what it has for a TTL.
func (g *registration) Missing() (since time.Time, last error) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	_, last = g.s.r.line.status()
	switch {
	case g.err != nil:
		return time.Time{}, nil
	case !g.healing.IsZero():
		return g.healing, errors.Join(g.refusal, last)
	case !g.lost.IsZero() && (g.token == "" || time.Since(g.lost) > g.ttl):
		return g.lost, errors.Join(g.refusal, last)
	}
	return time.Time{}, nil
}

// Revision implements [rollcall.RemoteRegistration].
func (g *registration) Revision() int64 {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.revision
}

// Incarnation implements [rollcall.RemoteRegistration].
func (g *registration) Incarnation() string {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.incarnation
}
