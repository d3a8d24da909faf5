package authz

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// session is a stream of requests each of which is decided on by itself. One that is refused is answered, and the stream goes on: what it
// holds is not lost by it.
type session struct {
	*stream
	sending sync.Mutex // the handler and we both answer

	// Guarded by the stream's mu.
	calls   int64              // counts the requests
	pending map[int64]*pending // that have no answer yet, by our count: a client may give two of his the same number
	held    map[key]heldAs     // what it holds
}

type pending struct {
	call   int64 // the client's
	method method
	name   string
	ask    ask
	entry  *entry
}

type heldAs struct {
	ask         ask
	ttl         time.Duration
	incarnation string // "" when it is not known
}

func newSession(s *stream) *session {
	n := &session{stream: s, pending: map[int64]*pending{}, held: map[key]heldAs{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = n.holds
	return n
}

// split returns what a session asks for, as a request of its own.
func split(req *rollcallv1.SessionRequest) (name string, own any) {
	switch one := req.GetAsk().(type) {
	case *rollcallv1.SessionRequest_Register:
		return rollcallv1.RegistrationService_Register_FullMethodName, one.Register
	case *rollcallv1.SessionRequest_Resume:
		return rollcallv1.RegistrationService_Heartbeat_FullMethodName, one.Resume
	case *rollcallv1.SessionRequest_Update:
		return rollcallv1.RegistrationService_Update_FullMethodName, one.Update
	case *rollcallv1.SessionRequest_Deregister:
		return rollcallv1.RegistrationService_Deregister_FullMethodName, one.Deregister
	}
	return "", nil
}

// RecvMsg implements [grpc.ServerStream]: it returns the next request that is let through.
func (s *session) RecvMsg(m any) error {
	for {
		if err := s.ServerStream.RecvMsg(m); err != nil {
			return err
		}
		req, ok := m.(*rollcallv1.SessionRequest)
		if !ok {
			return s.guard.unknown(s.caller, s.name)
		}
		err := s.take(req)
		if err == nil {
			return nil
		}
		st := status.Convert(err)
		if st.Code() == codes.Unauthenticated {
			return err // who is nobody any more holds nothing either
		}
		answer := &rollcallv1.SessionResponse{Call: req.GetCall(), Answer: &rollcallv1.SessionResponse_Failed{
			Failed: &rollcallv1.SessionError{Code: int32(st.Code()), Message: st.Message()},
		}}
		if err := s.send(answer); err != nil {
			return err
		}
		proto.Reset(req)
	}
}

// take decides on a request, and gives it our number.
func (s *session) take(req *rollcallv1.SessionRequest) error {
	g, c := s.guard, s.caller
	if !g.still(c) {
		return g.denied(c, record{method: s.name, err: refuse(codes.Unauthenticated, "UNAUTHENTICATED", "the credentials are no longer good", nil)})
	}
	if err := g.accounts.spend(c, g.rules.Load()); err != nil {
		return g.denied(c, record{method: s.name, err: err})
	}
	p := &pending{call: req.GetCall(), entry: noEntry}
	if name, own := split(req); own != nil {
		p.name, p.method = name, methods[name]
		var err error
		if p.ask, err = g.admit(c, p.method, name, own); err != nil {
			return err
		}
		if p.entry, err = g.reserve(c, p.ask, name, own); err != nil {
			return err
		}
	} // else it asks for nothing, and will be told so
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	req.Call = s.calls
	s.pending[s.calls] = p
	return nil
}

// SendMsg implements [grpc.ServerStream]: it gives an answer its client's number back, and writes down what was done.
func (s *session) SendMsg(m any) error {
	resp, ok := m.(*rollcallv1.SessionResponse)
	if !ok {
		return status.Error(codes.Internal, "an answer of a session is none")
	}
	s.mu.Lock()
	p := s.pending[resp.GetCall()]
	delete(s.pending, resp.GetCall())
	s.mu.Unlock()
	if p != nil {
		resp.Call = p.call
		s.answered(p, resp)
	} else if ended := resp.GetEnded(); ended != nil {
		s.drop(key{ended.GetService(), ended.GetId()}, ended.GetIncarnation())
	}
	return s.send(resp)
}

func (s *session) send(resp *rollcallv1.SessionResponse) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.ServerStream.SendMsg(resp)
}

// answered notes what came of a request.
func (s *session) answered(p *pending, resp *rollcallv1.SessionResponse) {
	var own any
	var err error
	switch one := resp.GetAnswer().(type) {
	case *rollcallv1.SessionResponse_Registered:
		own = one.Registered
		s.hold(p, one.Registered.GetInstance().GetId(), one.Registered.GetInstance().GetIncarnation(), ttlOf(own))
	case *rollcallv1.SessionResponse_Resumed:
		own = one.Resumed
		s.hold(p, p.ask.id, "", ttlOf(own))
	case *rollcallv1.SessionResponse_Updated:
		own = one.Updated
	case *rollcallv1.SessionResponse_Deregistered:
		own = one.Deregistered
		s.drop(key{p.ask.service, p.ask.id}, "")
	case *rollcallv1.SessionResponse_Failed:
		err = status.Error(codes.Code(one.Failed.GetCode()), one.Failed.GetMessage())
	}
	p.entry.settle(own, err)
	if p.method.writes {
		s.guard.done(s.caller, record{method: p.name, ask: p.ask, resp: own, err: err})
	}
}

// hold notes what the session holds from now on, so that it can be looked at again.
func (s *session) hold(p *pending, id, incarnation string, ttl time.Duration) {
	k := key{p.ask.service, id}
	s.mu.Lock()
	_, already := s.held[k]
	s.held[k] = heldAs{ask{verb: register, service: p.ask.service}, ttl, incarnation}
	s.mu.Unlock()
	if !already {
		s.guard.accounts.of(s.caller).hold(k)
	}
}

// drop notes that it does not hold something any more. Of an end that comes late the incarnation tells: something else of the same id is held
// by then.
func (s *session) drop(k key, incarnation string) {
	s.mu.Lock()
	h, was := s.held[k]
	if incarnation != "" && h.incarnation != "" && h.incarnation != incarnation {
		was = false
	}
	if was {
		delete(s.held, k)
	}
	s.mu.Unlock()
	if was {
		s.guard.accounts.of(s.caller).letGo(k, 0)
	}
}

// holds returns what the session holds, as what it was let have: each service once. It is called with mu held.
func (s *session) holds() []ask {
	var asks []ask
	services := map[string]bool{}
	for _, h := range s.held {
		if !services[h.ask.service] {
			services[h.ask.service] = true
			asks = append(asks, h.ask)
		}
	}
	return asks
}

// close lets everything go.
func (s *session) close() {
	s.mu.Lock()
	held := s.held
	s.held = map[key]heldAs{}
	waiting := s.pending
	s.pending = map[int64]*pending{}
	s.mu.Unlock()
	a := s.guard.accounts.of(s.caller)
	for k, h := range held {
		a.letGo(k, h.ttl)
	}
	for _, p := range waiting { // nobody knows what came of them
		p.entry.settle(nil, nil)
		if p.method.writes {
			s.guard.done(s.caller, record{method: p.name, ask: p.ask, err: status.Error(codes.Canceled, "the session ended before its answer")})
		}
	}
}
