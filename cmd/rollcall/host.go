package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/doctor"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
	"github.com/rollcall-io/rollcall/internal/history"
)

const (
	hostAddr = "inside:0" // which nobody dials: see host.dial
	pipeSize = 1 << 20

	// giveUpAfter is how often to look whether etcd refuses to answer.
	giveUpAfter = 100 * time.Millisecond
)

// host is a server in this process, for its own commands: the same API as any other's, on an etcd of which the credentials are the user's.
type host struct {
	registry *rollcall.Registry
	config   clientv3.Config
	services string // where all of them lie in etcd; "" when they are not asked for
	api      *grpcapi.API
	server   *grpc.Server
	pipe     *bufconn.Listener
	serving  sync.WaitGroup
	beside   sync.WaitGroup     // of the history
	stop     context.CancelFunc // ends it

	mu    sync.Mutex
	asked *clientv3.Client // nil: nobody has asked about etcd yet
	calls int              // under way
	idle  chan struct{}    // closed when none are
	last  error            // what a call met last, before it became a status

	refusal error // of etcd's, to answer
}

// openHost does not wait for etcd. A host of all services follows them all; another one asks for what it is asked for, for which a role in
// etcd suffices that may see no more than that.
func openHost(c *connection, talk io.Writer, all bool) (*host, error) {
	config, err := c.etcdConfig()
	if err != nil {
		return nil, err
	}
	opts := []rollcall.Option{rollcall.WithPrefix(c.prefix), rollcall.WithLogger(talkLogger(talk)), rollcall.WithZone("")}
	if all {
		opts = append(opts, rollcall.WithFollowAll())
	}
	reg, err := rollcall.Open(config, opts...)
	if err != nil {
		return nil, err
	}
	h := &host{registry: reg, config: config, pipe: bufconn.Listen(pipeSize), idle: make(chan struct{})}
	close(h.idle)
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	api := grpcapi.Config{}
	if all {
		h.operate(ctx, c, &api)
	}
	h.api = grpcapi.New(reg, api)
	opt := append([]grpc.ServerOption{grpc.MaxConcurrentStreams(math.MaxUint32), grpc.WaitForHandlers(true)}, h.api.ServerOptions()...)
	h.server = grpc.NewServer(append(opt, grpc.ChainUnaryInterceptor(h.unary), grpc.ChainStreamInterceptor(h.stream))...)
	h.api.Register(h.server)
	h.serving.Go(func() { _ = h.server.Serve(h.pipe) })
	return h, nil
}

// etcdConfig is how etcd is spoken to.
func (c *connection) etcdConfig() (clientv3.Config, error) {
	config := rollcall.ClientConfig(c.etcd...)
	if c.etcdTLS.CA != "" || c.etcdTLS.Cert != "" || c.etcdTLS.Key != "" {
		var err error
		if config.TLS, err = clientTLS(c.etcdTLS); err != nil {
			return config, err
		}
	}
	if c.etcdUser == "" {
		return config, nil
	}
	config.Username = c.etcdUser
	var err error
	config.Password, err = c.password()
	if err == nil && config.Password == "" {
		err = &usageError{errors.New("--etcd-user takes a password: --etcd-password-file (or env ROLLCALL_ETCD_PASSWORD)")}
	}
	return config, err
}

func (h *host) dial(ctx context.Context, _ string) (net.Conn, error) { return h.pipe.DialContext(ctx) }

// close ends the server after its clients have closed.
func (h *host) close(ctx context.Context) {
	h.stop()
	h.api.EndStreams()
	h.server.Stop()
	h.serving.Wait()
	h.api.Close()
	h.beside.Wait()
	_ = h.registry.Close(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked != nil {
		_ = h.asked.Close()
	}
}

// unary takes note of what a call met, and says of credentials that etcd refuses whose they are: the caller's.
func (h *host) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	h.begin()
	resp, err := handle(ctx, req)
	h.end(err)
	return resp, refused(err)
}

func refused(err error) error {
	if errors.Is(err, rollcall.ErrUnauthenticated) {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	return err
}

func (h *host) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls == 0 {
		h.idle = make(chan struct{})
	}
	h.calls++
}

func (h *host) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls--; h.calls == 0 {
		close(h.idle)
	}
	if err != nil {
		h.last = err
	}
}

// stream does the same for streams: for what a session answers, too.
func (h *host) stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return refused(handle(srv, candid{s}))
}

// candid is a stream that says whose the credentials are that etcd refuses.
type candid struct{ grpc.ServerStream }

func (c candid) SendMsg(m any) error {
	if resp, is := m.(*rollcallv1.SessionResponse); is {
		if f := resp.GetFailed(); f != nil && strings.Contains(f.GetMessage(), rollcall.ErrUnauthenticated.Error()) {
			f.Code = int32(codes.Unauthenticated)
		}
	}
	return c.ServerStream.SendMsg(m)
}

// why returns what keeps etcd from answering, as far as anybody here has met it.
func (h *host) why() error {
	h.mu.Lock()
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle: // the call has ended here, too
	case <-time.After(300 * time.Millisecond):
	}
	h.mu.Lock()
	last, refusal := h.last, h.refusal
	h.mu.Unlock()
	following, writing := h.troubles()
	return cmp.Or(refusal, following, met(last), writing)
}

// troubles returns what those who follow etcd, and those who write to it, have met.
func (h *host) troubles() (following, writing error) {
	st := h.registry.Status()
	for _, s := range st.Services {
		if s.Err != nil {
			return met(s.Err), met(st.LastError)
		}
	}
	return nil, met(st.LastError)
}

// giveUp ends what waits for an etcd that refuses the credentials: it will not do otherwise.
func (h *host) giveUp(ctx context.Context, end context.CancelCauseFunc) {
	if err := h.mayAsk(ctx); denied(err) {
		h.mu.Lock()
		h.refusal = err
		h.mu.Unlock()
		end(context.DeadlineExceeded)
		return
	}
	for wait(ctx, giveUpAfter) {
		if following, writing := h.troubles(); denied(cmp.Or(following, writing)) {
			end(context.DeadlineExceeded)
			return
		}
	}
}

// mayAsk asks etcd whether it takes the credentials and, if all services are asked for, whether they may be read: who follows them tries again
// and again, and does not say.
func (h *host) mayAsk(ctx context.Context) error {
	if h.config.Username == "" && h.services == "" {
		return nil
	}
	config := h.config
	config.Context = ctx
	client, err := clientv3.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	if h.services != "" {
		_, err = client.Get(ctx, h.services, clientv3.WithPrefix(), clientv3.WithCountOnly())
	}
	return err
}

// met takes from an error what the last try met.
func met(err error) error {
	if e, is := errors.AsType[*rollcall.UnreachableError](err); is {
		return met(e.Last)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// operate adds what tells what happened, and how etcd is: a host of all services reads etcd's past from its beginning.
func (h *host) operate(ctx context.Context, c *connection, api *grpcapi.Config) {
	h.services = h.registry.Status().Prefix
	api.History = history.New(h.registry, history.Config{})
	h.beside.Go(func() { _ = api.History.Run(ctx) }) // that it cannot be read is told to who asks
	patient := func(context.Context) (doctor.Input, error) {
		client, err := h.client()
		return doctor.Input{Client: client, Prefix: c.prefix, TLS: h.config.TLS, Registry: h.registry}, err
	}
	api.Operations = grpcapi.Operations{Version: buildVersion(), Prefix: c.prefix, Patient: patient}
}

// client is for questions about etcd itself. With a password it is not made without etcd: only when there are questions.
func (h *host) client() (*clientv3.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked != nil {
		return h.asked, nil
	}
	var err error
	h.asked, err = clientv3.New(h.config)
	return h.asked, err
}
