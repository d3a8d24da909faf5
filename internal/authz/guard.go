package authz

import (
	"context"
	"net/http"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// domain is that of the reasons in errors, the API's.
const domain = "rollcall.v1"

// refuse returns an error with a reason for programs.
func refuse(code codes.Code, reason, text string, facts map[string]string) error {
	s := status.New(code, text)
	if with, err := s.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: facts}); err == nil {
		s = with
	}
	return s.Err()
}

// Unary decides on calls.
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	c := g.callerOf(ctx)
	m, ok := methods[info.FullMethod]
	if !ok {
		return nil, g.unknown(c, info.FullMethod)
	}
	if err := g.charge(ctx, c); err != nil {
		return nil, g.denied(c, record{method: info.FullMethod, err: err})
	}
	ctx = withCaller(ctx, c)
	if m.open {
		return next(ctx, req)
	}
	a, err := g.admit(c, m, info.FullMethod, req)
	if err != nil {
		return nil, err
	}
	e, err := g.reserve(c, a, info.FullMethod, req)
	if err != nil {
		return nil, err
	}
	resp, err := next(ctx, req)
	e.settle(resp, err)
	if m.writes {
		g.done(c, record{method: info.FullMethod, ask: a, resp: resp, err: err})
	}
	return resp, err
}

// admit decides on one request.
func (g *Guard) admit(c *caller, m method, name string, req any) (ask, error) {
	a, ok := m.ask(req)
	if !ok {
		return a, g.unknown(c, name)
	}
	return a, g.allow(c, a, name)
}

// allow is where it is decided.
func (g *Guard) allow(c *caller, a ask, name string) error {
	if c.name == "" {
		return g.denied(c, record{method: name, ask: a, err: refuse(codes.Unauthenticated, "UNAUTHENTICATED", "nobody knows you: "+c.fault, nil)})
	}
	d := g.rules.Load().decide(c, a)
	if d.allowed {
		return nil
	}
	if c.name == Anonymous {
		return g.denied(c, record{method: name, ask: a, err: refuse(codes.Unauthenticated, "UNAUTHENTICATED", "this needs a certificate or a token: "+d.why, nil)})
	}
	return g.denied(c, record{method: name, ask: a, err: refuse(codes.PermissionDenied, "DENIED", d.why, map[string]string{"identity": c.name})})
}

// unknown refuses what there is no decision on.
func (g *Guard) unknown(c *caller, name string) error {
	return g.denied(c, record{method: name, err: refuse(codes.PermissionDenied, "DENIED", "nobody may do "+strconv.Quote(name), nil)})
}

// Admit decides on an HTTP request that becomes no call: page is the route's pattern, as the router that has chosen it calls it.
func (g *Guard) Admit(r *http.Request, page string) error {
	md := g.describe(r)
	md["authorization"] = r.Header.Values("Authorization")
	c := g.senderOf(md)
	m, ok := pages[page]
	switch {
	case !ok:
		return g.unknown(c, page)
	case m.open:
		return nil
	}
	if err := g.accounts.spend(c, g.rules.Load()); err != nil {
		return g.denied(c, record{method: page, err: err})
	}
	return g.allow(c, ask{verb: m.verb, some: true}, page)
}
