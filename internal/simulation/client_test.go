package simulation

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/rollcall-io/rollcall"
)

const (
	watchMethod     = "/etcdserverpb.Watch/Watch"
	keepAliveMethod = "/etcdserverpb.Lease/LeaseKeepAlive"
)

// clientOptions are interceptors that do to a client what a missing protection would do.
type clientOptions []grpc.DialOption

// tap listens on the connections of one registry: which member its streams are on, and what etcd refused.
type tap struct {
	mu      sync.Mutex
	on      map[string]string // stream's method → endpoint
	refused map[error]int     // noSpace and badToken
}

var (
	noSpace  = rpctypes.ErrNoSpace
	badToken = rpctypes.ErrInvalidAuthToken
)

func newTap() *tap { return &tap{on: map[string]string{}, refused: map[error]int{}} }

// config returns the configuration of a client that the tap listens on.
func (w *world) config(p *tap) clientv3.Config {
	cfg := rollcall.ClientConfig(w.cluster.Endpoints()...)
	dial := w.cluster.Dialer()
	cfg.DialOptions = append(cfg.DialOptions,
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := dial(ctx, address)
			if err != nil {
				return nil, err
			}
			return &namedConn{conn, endpoint(address)}, nil
		}),
		grpc.WithChainUnaryInterceptor(p.unary), grpc.WithChainStreamInterceptor(p.stream))
	if w.client != nil {
		cfg.DialOptions = append(cfg.DialOptions, w.client(w)...)
	}
	if w.auth {
		cfg.Username, cfg.Password = "app", "secret"
	}
	return cfg
}

// namedConn knows which endpoint it was dialled to.
type namedConn struct {
	net.Conn
	to endpoint
}

func (c *namedConn) RemoteAddr() net.Addr { return c.to }

type endpoint string

func (e endpoint) Network() string { return "simulated" }
func (e endpoint) String() string  { return string(e) }

// where returns the endpoint that the newest stream of a method is on.
func (p *tap) where(method string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.on[method]
}

func (p *tap) refusals(of error) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused[of]
}

func (p *tap) heard(err error) {
	known := rpctypes.Error(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, of := range []error{noSpace, badToken} {
		if errors.Is(known, of) {
			p.refused[of]++
		}
	}
}

func (p *tap) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if err != nil {
		p.heard(err)
	}
	return err
}

func (p *tap) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		p.heard(err)
		return nil, err
	}
	return &tappedStream{ClientStream: s, tap: p, method: method}, nil
}

// tappedStream tells the tap where it is, once it has heard something.
type tappedStream struct {
	grpc.ClientStream
	tap    *tap
	method string
	told   bool
}

func (s *tappedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		s.tap.heard(err)
		return err
	}
	if !s.told {
		s.told = true
		if from, ok := peer.FromContext(s.Context()); ok {
			s.tap.mu.Lock()
			s.tap.on[s.method] = from.Addr.String()
			s.tap.mu.Unlock()
		}
	}
	return nil
}

const patience = 2 * time.Minute // of calls that are to succeed sooner or later
