package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/gateway"
)

// client speaks rollcall.v1, with servers or with the one in this process.
type client struct {
	library                  // what package gateway has a call for
	conn    *grpc.ClientConn // for the rest of the API
	place   string
	addrs   []string
	host    *host // nil: the servers are others
}

// dialServers makes the client of the servers that were named.
func dialServers(c *connection) (*client, error) {
	cfg, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	if token != "" && cfg == nil {
		return nil, &usageError{errors.New("a token is sent over TLS only: --tls-ca says which authority the server's certificate is from")}
	}
	opts := []gateway.Option{gateway.WithTLS(cfg)}
	own := []grpc.DialOption{grpc.WithTransportCredentials(transport(cfg))}
	if token != "" {
		opts = append(opts, gateway.WithToken(c.token))
		own = append(own, grpc.WithPerRPCCredentials(bearer(c.token)))
	}
	reg, err := gateway.Open(c.servers.String(), opts...)
	if err != nil {
		return nil, err
	}
	all := manual.NewBuilderWithScheme("servers")
	var state resolver.State
	for _, addr := range c.servers {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr, ServerName: addr}}})
	}
	all.InitialState(state)
	conn, err := grpc.NewClient("servers:///", append(own, grpc.WithResolvers(all), grpc.WithDisableServiceConfig(), bigAnswers)...)
	if err != nil {
		return nil, err
	}
	return &client{library: library{reg}, conn: conn, place: c.place(), addrs: c.servers}, nil
}

// dialHost makes the client of the server in this process.
func dialHost(c *connection, h *host) (*client, error) {
	dialer := grpc.WithContextDialer(h.dial)
	reg, err := gateway.Open(hostAddr, gateway.WithDialOptions(dialer))
	if err == nil {
		var conn *grpc.ClientConn
		conn, err = grpc.NewClient("passthrough:///"+hostAddr, dialer, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(), bigAnswers)
		if err == nil {
			return &client{library: library{reg}, conn: conn, place: c.place(), addrs: c.etcd, host: h}, nil
		}
	}
	h.close(context.Background())
	return nil, err
}

// bigAnswers lets in whatever a registry of many instances has to say.
var bigAnswers = grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1 << 30))

func transport(cfg *tls.Config) credentials.TransportCredentials {
	if cfg == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(cfg)
}

// Trouble implements backend.
func (c *client) Trouble() (time.Time, error) {
	if c.host != nil {
		return library{c.host.registry}.Trouble()
	}
	return c.library.Trouble()
}

// Close implements backend.
func (c *client) Close(ctx context.Context) error {
	err := c.library.Close(ctx)
	_ = c.conn.Close()
	if c.host != nil {
		c.host.close(ctx)
	}
	return err
}

// Register implements backend.
func (c *client) Register(ctx context.Context, service string, inst rollcall.Instance, ttl time.Duration) (registration, error) {
	if c.host != nil { // which knows the prefix, and what rules come with it
		if err := c.host.registry.Validate(service, &inst, rollcall.WithTTL(ttl)); err != nil {
			return nil, fmt.Errorf("register %w", err)
		}
	}
	r, err := c.library.Register(ctx, service, inst, ttl)
	if err != nil {
		return nil, c.explain(err)
	}
	return held{r, c}, nil
}

// held is a registration whose errors are told as they are known here.
type held struct {
	registration
	c *client
}

func (h held) Deregister(ctx context.Context) error {
	return h.c.explain(h.registration.Deregister(ctx))
}
func (h held) Err() error { return h.c.explain(h.registration.Err()) }

// explain returns an error as it is known here: that a server in this process does not reach etcd is not that server's fault.
func (c *client) explain(err error) error {
	if err == nil || c.host == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e, out := errors.AsType[*rollcall.UnreachableError](err)
	if !out {
		return err
	}
	why := c.host.why()
	if errors.Is(why, rollcall.ErrNoSpace) || denied(why) { // it does answer, and says no
		return &retold{strings.Replace(err.Error(), e.Error(), why.Error(), 1), why}
	}
	own := &rollcall.UnreachableError{Who: "etcd", Endpoints: c.addrs, Since: e.Since, Last: why, Err: e.Err}
	return &retold{strings.Replace(err.Error(), e.Error(), own.Error(), 1), own}
}

// retold is an error in other words.
type retold struct {
	text string
	err  error
}

func (e *retold) Error() string { return e.text }
func (e *retold) Unwrap() error { return e.err }

// bearer sends a token with each call.
type bearer func() (string, error)

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (bearer) RequireTransportSecurity() bool { return true }

// tellStale says that what is shown may be old, if it may be.
func (c *client) tellStale(talk io.Writer, since, now time.Time) {
	if since.IsZero() {
		return
	}
	fmt.Fprintf(talk, "no answer from etcd since %s, says %s; what follows is the last that is known\n", clock(since, now), c.place)
}
