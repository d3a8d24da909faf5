package authz

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// caller is who calls. It does not change.
type caller struct {
	name    string     // who he is; "" when his credentials are refused
	fault   string     // why they are
	from    string     // his address, for people
	peer    netip.Addr // the same; not valid when it is not known
	expires time.Time  // his certificate; zero: never

	token [sha256.Size]byte // by which he is known, its hash
	bears bool              // a token

	limited error // the HTTP request that the call is part of was one too many
}

// account is under what he is counted: those whom nobody knows by where they are.
func (c *caller) account() string {
	if c.name == "" || c.name == Anonymous {
		return Anonymous + " at " + c.peer.String()
	}
	return c.name
}

// Under these keys a call that is an HTTP request has in its metadata what is known of its sender. They count for nothing in any other.
const (
	keyFrom    = "rollcall-from"
	keyHolder  = "rollcall-certificate" // who holds the certificate
	keyRefused = "rollcall-refused"     // why its certificate says nothing
	keyExpires = "rollcall-expires"
	keyMost    = "rollcall-most" // the limit of requests that it exceeds
)

// Metadata is what the calls that an HTTP request becomes are to tell of its sender, beside its Authorization header. It takes the request
// off his account: whatever calls it makes, it is one.
func (g *Guard) Metadata(r *http.Request) metadata.MD {
	md := g.describe(r)
	asked := md.Copy()
	asked["authorization"] = r.Header.Values("Authorization")
	c := g.senderOf(asked)
	if g.accounts.spend(c, g.rules.Load()) != nil {
		md.Set(keyMost, strconv.Itoa(g.rules.Load().limit(c.name, ofRequests)))
	}
	return md
}

// describe is what is known of the sender of an HTTP request by his connection.
func (g *Guard) describe(r *http.Request) metadata.MD {
	md := metadata.Pairs(keyFrom, r.RemoteAddr)
	name, expires, fault := g.holder(r.TLS)
	switch {
	case fault != "":
		md.Set(keyRefused, strconv.QuoteToASCII(fault))
	case name != "":
		md.Set(keyHolder, name)
		md.Set(keyExpires, strconv.FormatInt(expires.Unix(), 10))
	}
	return md
}

// holder returns who holds the certificate of a connection; "" without one.
func (g *Guard) holder(state *tls.ConnectionState) (name string, expires time.Time, fault string) {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return "", time.Time{}, "" // one that nobody has verified is none
	}
	leaf := state.VerifiedChains[0][0]
	name, err := certificateName(leaf, g.rules.Load().TrustDomain)
	if err != nil {
		return "", leaf.NotAfter, err.Error()
	}
	return name, leaf.NotAfter, ""
}

// callerOf returns who makes a call.
func (g *Guard) callerOf(ctx context.Context) *caller {
	md, _ := metadata.FromIncomingContext(ctx)
	if g.config.Inside(ctx) {
		return g.senderOf(md)
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return &caller{fault: "nobody knows where it comes from"}
	}
	c := &caller{from: p.Addr.String(), peer: addrOf(p.Addr.String())}
	if info, secure := p.AuthInfo.(credentials.TLSInfo); secure {
		c.name, c.expires, c.fault = g.holder(&info.State)
	}
	return g.identify(c, md.Get("authorization"))
}

// senderOf returns who sent the HTTP request that a call is.
func (g *Guard) senderOf(md metadata.MD) *caller {
	one := func(key string) string {
		if values := md.Get(key); len(values) == 1 {
			return values[0]
		}
		return ""
	}
	c := &caller{from: one(keyFrom), peer: addrOf(one(keyFrom)), name: one(keyHolder), fault: one(keyRefused)}
	if c.name != "" {
		seconds, err := strconv.ParseInt(one(keyExpires), 10, 64)
		if err != nil {
			return &caller{from: c.from, peer: c.peer, fault: "nobody knows how long its certificate is good"}
		}
		c.expires = time.Unix(seconds, 0)
	}
	c = g.identify(c, md.Get("authorization"))
	if most, err := strconv.Atoi(one(keyMost)); err == nil {
		c.limited = tooManyRequests(c, most)
	}
	return c
}

// charge takes a call off a caller's account, unless it is part of an HTTP request, which was.
func (g *Guard) charge(ctx context.Context, c *caller) error {
	if g.config.Inside(ctx) {
		return c.limited
	}
	return g.accounts.spend(c, g.rules.Load())
}

// identify settles who a caller is. Whoever shows a token wants to be its holder, whatever certificate his connection has, and is
// nobody when it is not good.
func (g *Guard) identify(c *caller, authorization []string) *caller {
	switch {
	case len(authorization) > 1:
		c.name, c.fault = "", "there is more than one Authorization"
	case len(authorization) == 1:
		c.name, c.fault = "", ""
		hash, err := bearer(authorization[0])
		if err != nil {
			c.fault = err.Error()
			return c
		}
		c.token, c.bears, c.expires = hash, true, time.Time{}
		if c.name = g.tokens.Load().find(hash); c.name == "" {
			c.fault = "the token is nobody's"
		}
	case c.fault != "":
		c.name = ""
	case c.name == "":
		c.name = Anonymous
	case c.expired(time.Now()):
		c.name, c.fault = "", "the certificate has expired"
	}
	return c
}

func (c *caller) expired(now time.Time) bool { return !c.expires.IsZero() && now.After(c.expires) }

// still reports whether a caller is who he was.
func (g *Guard) still(c *caller) bool {
	if c.bears {
		return g.tokens.Load().find(c.token) == c.name
	}
	return !c.expired(time.Now())
}

func addrOf(hostPort string) netip.Addr {
	ap, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// Author returns who makes a call that the guard has let through: what he decides is signed so.
func (g *Guard) Author(ctx context.Context) string {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c.name
	}
	return Anonymous
}

// Verbs returns what the caller may do with a service, or with "" with any at all. Where what he registers has to be does not matter here.
func (g *Guard) Verbs(ctx context.Context, service string) []string {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return nil
	}
	var may []string
	for _, v := range verbs {
		if g.rules.Load().decide(c, ask{verb: v, some: service == "", service: service}).allowed {
			may = append(may, string(v))
		}
	}
	return may
}

// AnonymousSight returns what somebody may read who does not say who he is.
func (g *Guard) AnonymousSight() (sees func(service string) bool) {
	_, sees = g.rules.Load().sight(Anonymous)
	return sees
}

// Sight returns what the caller may read: which services, and a word that is the same for all that may read the same.
func (g *Guard) Sight(ctx context.Context) (key string, sees func(service string) bool) {
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return "", func(string) bool { return false }
	}
	return g.rules.Load().sight(c.name)
}
