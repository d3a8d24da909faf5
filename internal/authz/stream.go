package authz

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stream is a stream that was let through, and is looked at again while it goes on.
type stream struct {
	grpc.ServerStream
	guard  *Guard
	caller *caller
	method method
	name   string
	ctx    context.Context
	end    context.CancelCauseFunc

	sight string // what its caller might read when it began

	mu    sync.Mutex
	asks  []ask        // that it was let have
	holds func() []ask // the same of a session, which changes; called with mu held
}

// Context implements [grpc.ServerStream].
func (s *stream) Context() context.Context { return s.ctx }

// RecvMsg implements [grpc.ServerStream]. Each request is decided on.
func (s *stream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil || s.method.open {
		return err
	}
	a, err := s.guard.admit(s.caller, s.method, s.name, m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asks) == 0 { // the methods that have more than one request ask for the same with each
		s.asks = append(s.asks, a)
	}
	return nil
}

// Stream decides on streams.
func (g *Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	m, ok := methods[info.FullMethod]
	c := g.callerOf(ss.Context())
	if !ok {
		return g.unknown(c, info.FullMethod)
	}
	if err := g.charge(ss.Context(), c); err != nil {
		return g.denied(c, record{method: info.FullMethod, err: err})
	}
	leave, err := g.accounts.enter(c, g.rules.Load())
	if err != nil {
		return g.denied(c, record{method: info.FullMethod, err: err})
	}
	defer leave()
	if !m.open { // who may do nothing of the kind holds no stream to think about what to ask
		if err := g.allow(c, ask{verb: m.verb, some: true}, info.FullMethod); err != nil {
			return err
		}
	}
	ctx, end := context.WithCancelCause(withCaller(ss.Context(), c))
	defer end(nil)
	s := &stream{ServerStream: ss, guard: g, caller: c, method: m, name: info.FullMethod, ctx: ctx, end: end}
	s.sight, _ = g.rules.Load().sight(c.name)
	if !m.open {
		g.watch(s)
		defer g.unwatch(s)
	}
	if m.each {
		session := newSession(s)
		defer session.close()
		err = next(srv, session)
	} else {
		err = next(srv, s)
	}
	if own, ended := context.Cause(ctx).(interface{ GRPCStatus() *status.Status }); ended {
		return own.GRPCStatus().Err()
	}
	return err
}

func (g *Guard) watch(s *stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[s] = struct{}{}
}

func (g *Guard) unwatch(s *stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, s)
}

// review ends the streams of those who are no longer who they were and, when the files have changed, of those who may not have them any
// more.
func (g *Guard) review(changed bool) {
	g.mu.Lock()
	all := make([]*stream, 0, len(g.open))
	for s := range g.open {
		all = append(all, s)
	}
	g.mu.Unlock()
	now := time.Now()
	for _, s := range all {
		if changed || s.caller.expired(now) {
			if err := s.lost(); err != nil {
				s.end(err)
			}
		}
	}
}

// lost returns why a stream has to end; nil when it may go on.
func (s *stream) lost() error {
	g := s.guard
	if !g.still(s.caller) {
		return g.denied(s.caller, record{method: s.name, err: refuse(codes.Unauthenticated, "UNAUTHENTICATED", "the credentials are no longer good", nil)})
	}
	s.mu.Lock()
	asks := append([]ask{{verb: s.method.verb, some: true}}, s.asks...)
	if s.holds != nil {
		asks = append(asks, s.holds()...)
	}
	s.mu.Unlock()
	for _, a := range asks {
		if err := g.allow(s.caller, a, s.name); err != nil {
			return err
		}
	}
	if now, _ := g.rules.Load().sight(s.caller.name); s.method.verb == read && s.method.some && now != s.sight {
		return refuse(codes.Unavailable, "RULES_CHANGED", "the rules have changed what you may read: come back", nil)
	}
	return nil
}
