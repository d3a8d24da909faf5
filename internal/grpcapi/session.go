package grpcapi

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const (
	sessionCalls       = 128              // that one session has under way: enough for its registrations to go to etcd together
	sessionCallTimeout = 30 * time.Second // of each of them
)

// session is one stream that holds registrations.
type session struct {
	service *registration
	stream  grpc.BidiStreamingServer[rollcallv1.SessionRequest, rollcallv1.SessionResponse]
	ctx     context.Context // ends with the stream
	wg      sync.WaitGroup

	sending sync.Mutex

	mu   sync.Mutex
	held map[*keeping]context.CancelFunc // each ends the goroutine that waits for the keeping's end
}

// Session implements the stream. When it ends, for whatever reason, what it held has one TTL to be resumed.
func (s *registration) Session(stream grpc.BidiStreamingServer[rollcallv1.SessionRequest, rollcallv1.SessionResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	n := &session{service: s, stream: stream, ctx: ctx, held: map[*keeping]context.CancelFunc{}}
	defer n.end()
	defer n.wg.Wait()
	defer cancel()
	asked := make(chan *rollcallv1.SessionRequest)
	ended := make(chan error, 1)
	go func() { ended <- n.receive(asked) }() // ends with the stream, which ends when this returns
	done := make(chan struct{}, sessionCalls)
	for busy := 0; ; {
		next := asked
		if busy == sessionCalls {
			next = nil // not before one is done
		}
		select {
		case req := <-next:
			busy++
			n.wg.Go(func() {
				n.send(n.answer(req))
				done <- struct{}{}
			})
		case <-done:
			busy--
		case err := <-ended:
			return err
		case <-ctx.Done(): // whoever let the stream in may end it before the client does
			return status.FromContextError(ctx.Err()).Err()
		case <-s.closing:
			return status.Error(codes.Unavailable, "the server stops: come back, here or to another server, and resume")
		}
	}
}

func (n *session) receive(asked chan<- *rollcallv1.SessionRequest) error {
	for {
		req, err := n.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case asked <- req:
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
	}
}

// send sends; that the stream is broken its receiving end finds out.
func (n *session) send(resp *rollcallv1.SessionResponse) {
	n.sending.Lock()
	defer n.sending.Unlock()
	_ = n.stream.Send(resp)
}

// answer does what is asked for.
func (n *session) answer(req *rollcallv1.SessionRequest) *rollcallv1.SessionResponse {
	ctx, cancel := context.WithTimeout(n.ctx, sessionCallTimeout)
	defer cancel()
	resp := &rollcallv1.SessionResponse{Call: req.GetCall()}
	if err := n.do(ctx, req, resp); err != nil {
		st := StatusOf(err)
		resp.Answer = &rollcallv1.SessionResponse_Failed{Failed: &rollcallv1.SessionError{Code: int32(st.Code()), Message: st.Message()}}
	}
	return resp
}

func (n *session) do(ctx context.Context, req *rollcallv1.SessionRequest, resp *rollcallv1.SessionResponse) error {
	switch ask := req.GetAsk().(type) {
	case *rollcallv1.SessionRequest_Register:
		k, registered, err := n.service.register(ctx, ask.Register)
		if err != nil {
			return err
		}
		n.hold(k)
		resp.Answer = &rollcallv1.SessionResponse_Registered{Registered: registered}
	case *rollcallv1.SessionRequest_Resume:
		k, err := n.service.claim(ctx, ask.Resume)
		if err != nil {
			return err
		}
		n.hold(k)
		resp.Answer = &rollcallv1.SessionResponse_Resumed{Resumed: n.service.heard(k)}
	case *rollcallv1.SessionRequest_Update:
		updated, err := n.service.update(ctx, ask.Update)
		if err != nil {
			return err
		}
		resp.Answer = &rollcallv1.SessionResponse_Updated{Updated: updated}
	case *rollcallv1.SessionRequest_Deregister:
		n.drop(n.service.kept.get(ask.Deregister.GetService(), ask.Deregister.GetId()), ask.Deregister.GetToken())
		if err := n.service.deregister(ctx, ask.Deregister); err != nil {
			return err
		}
		resp.Answer = &rollcallv1.SessionResponse_Deregistered{Deregistered: &rollcallv1.DeregisterResponse{}}
	default:
		return status.Error(codes.InvalidArgument, "ask: one of register, resume, update and deregister is to be set")
	}
	return nil
}

// hold holds a registration, and tells when it ends by itself.
func (n *session) hold(k *keeping) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held[k] != nil || n.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(n.ctx)
	n.held[k] = cancel
	n.service.kept.hold(k)
	n.wg.Go(func() {
		select {
		case <-k.r.Done():
			if n.drop(k, "") {
				n.tellEnd(k)
			}
		case <-ctx.Done():
		}
	})
}

// tellEnd tells of the end of a registration: not of one that goes on elsewhere.
func (n *session) tellEnd(k *keeping) {
	err := k.r.Err()
	if errors.Is(err, rollcall.ErrMoved) || errors.Is(err, rollcall.ErrDetached) {
		return
	}
	st := StatusOf(err)
	n.send(&rollcallv1.SessionResponse{Answer: &rollcallv1.SessionResponse_Ended{Ended: &rollcallv1.SessionEnded{
		Service: k.service, Id: k.id, Code: int32(st.Code()), Message: st.Message(), Incarnation: k.r.Instance().Incarnation,
	}}})
}

// drop lets a registration go, one that has ended, or one that its owner is about to end, as the token tells; and reports whether it was
// held.
func (n *session) drop(k *keeping, token string) bool {
	if k == nil || k.r.Err() == nil && !k.owns(token) {
		return false
	}
	n.mu.Lock()
	cancel, held := n.held[k]
	delete(n.held, k)
	n.mu.Unlock()
	if held {
		cancel()
		n.service.kept.letGo(k)
	}
	return held
}

// end lets everything go that the session still holds.
func (n *session) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, cancel := range n.held {
		cancel()
		n.service.kept.letGo(k)
	}
	clear(n.held)
}
