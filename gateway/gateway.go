// Package gateway is the library behind a server instead of on etcd: [Open] returns a [rollcall.Registry] that registers and
// watches through `rollcall server`, with the same types and the same promises. It is for networks in which instances must not reach
// etcd, and for so many callers that etcd should not have a watch for each.
//
// Everything that takes a registry takes this one: the resolver and the balancer, rollcallgrpc's NewClient and Serve, package naming.
// What is registered is kept by a stream. When that breaks, or the server falls silent, the client goes on at the next server and resumes
// what it held, for which it has a TTL's time. Views stay when no server answers, and say since when they are old.
//
// Three things differ, as a server has no call for them: [rollcall.Registry.Remove], [rollcall.Registration.Expire] and tokens of one's
// own ([rollcall.WithToken], [rollcall.Registry.Resume]) are refused with [errors.ErrUnsupported]. And what is read comes from the
// server's memory, which may be a moment older than etcd: so is the first view of [rollcall.WithLinearizable].
package gateway

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
)

// Option configures a registry behind a server.
type Option func(*settings)

type settings struct {
	addrs    []string
	tls      *tls.Config
	token    func() (string, error)
	dial     []grpc.DialOption
	registry []rollcall.Option
}

// WithTLS has the client speak TLS: the server's name is that of the address unless the configuration names one, and a certificate in it
// tells the server who the client is. The default, and nil, is plain text, for a loopback address or a network that is trusted.
func WithTLS(c *tls.Config) Option {
	return func(s *settings) { s.tls = c }
}

// WithToken sends a bearer token with each call, by which the server knows who the client is. It is asked for at each call, and may change.
// Tokens are sent over TLS only. The default, and nil, is none.
func WithToken(token func() (string, error)) Option {
	return func(s *settings) { s.token = token }
}

// WithDialOptions adds options to the connections to servers, such as an interceptor or a dialer.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, opts...) }
}

// WithRegistry passes options of the registry on: [rollcall.WithLogger], [rollcall.WithZone], [rollcall.WithSnapshotDir]. Those that are
// about keys in etcd, such as [rollcall.WithPrefix], mean nothing here: the server has its own.
func WithRegistry(opts ...rollcall.Option) Option {
	return func(s *settings) { s.registry = append(s.registry, opts...) }
}

// Open makes a registry behind the server at addr, host:port; or behind several that have the same etcd, separated by commas, of which one is
// asked, and the next when it does not answer. It does not wait for a server, nor need one be up; an error means that an argument is
// invalid. Close the registry to say goodbye.
func Open(addr string, opts ...Option) (*rollcall.Registry, error) {
	var s settings
	for _, opt := range opts {
		if opt != nil {
			opt(&s)
		}
	}
	for a := range strings.SplitSeq(addr, ",") {
		a = strings.TrimSpace(a)
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("open registry: %w", &rollcall.InvalidError{
				Field: "addr", Value: fmt.Sprintf("%q", a), Rule: "a server's address is host:port; several are separated by commas",
			})
		}
		s.addrs = append(s.addrs, a)
	}
	if s.token != nil && s.tls == nil {
		return nil, fmt.Errorf("open registry: %w", &rollcall.InvalidError{Field: "option", Value: "WithToken", Rule: "a token is sent over TLS only: WithTLS"})
	}
	return rollcall.NewRemote(newRemote(s), s.registry...), nil
}

// dialOptions returns what each connection is made with.
func (s *settings) dialOptions() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if s.tls != nil {
		creds = credentials.NewTLS(s.tls)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds), grpc.WithKeepaliveParams(alive), grpc.WithConnectParams(patience),
		grpc.WithStaticStreamWindowSize(receiveWindow), grpc.WithStaticConnWindowSize(receiveWindow),
		grpc.WithDisableServiceConfig(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	}
	if s.token != nil {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(s.token)))
	}
	return append(opts, s.dial...)
}
