package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const (
	readTimeout  = 3 * time.Second  // of one try: a server answers from memory
	writeTimeout = 10 * time.Second // of one try: it waits for etcd
)

// remote is the client of the servers: a [rollcall.Remote].
type remote struct {
	addrs   []string
	line    *line
	session *session

	ctx    context.Context // ends in Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newRemote(s settings) *remote {
	r := &remote{addrs: s.addrs, line: newLine(s.addrs, s.dialOptions())}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.session = newSession(r)
	return r
}

// Endpoints implements [rollcall.Remote].
func (r *remote) Endpoints() []string { return r.addrs }

// Status implements [rollcall.Remote].
func (r *remote) Status() (unreachable time.Time, last error) { return r.line.status() }

// Leave implements [rollcall.Remote].
func (r *remote) Leave(ctx context.Context) error { return r.session.leave(ctx) }

// Close implements [rollcall.Remote].
func (r *remote) Close() {
	r.cancel()
	r.wg.Wait()
	r.line.close()
}

// call asks a server, the next one when that does not answer, until ctx ends.
func (r *remote) call(ctx context.Context, limit time.Duration, do func(context.Context, *grpc.ClientConn) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.ctx, func() { cancel(rollcall.ErrClosed) })()
	began := time.Now()
	var last error
	for attempt := 0; ; attempt++ {
		err := r.try(ctx, limit, do)
		if err == nil || !transient(err) {
			return refusal(err)
		}
		if ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, attempt) {
			return r.unreachable(began, last, context.Cause(ctx))
		}
	}
}

func (r *remote) unreachable(since time.Time, last, why error) error {
	if errors.Is(why, rollcall.ErrClosed) {
		return rollcall.ErrClosed
	}
	return &rollcall.UnreachableError{Who: rollcall.RemoteName, Endpoints: r.addrs, Since: since, Last: last, Err: why}
}

func (r *remote) try(ctx context.Context, limit time.Duration, do func(context.Context, *grpc.ClientConn) error) error {
	conn, err := r.line.get()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = do(limited, conn)
	switch {
	case err == nil, !transient(err):
		r.line.heard()
	case ctx.Err() == nil:
		r.line.drop(conn, err)
	}
	return err
}

// Lookup implements [rollcall.Remote].
func (r *remote) Lookup(ctx context.Context, service string) (*rollcall.View, error) {
	var v *rollcall.View
	err := r.call(ctx, readTimeout, func(ctx context.Context, conn *grpc.ClientConn) error {
		resp, err := rollcallv1.NewDiscoveryServiceClient(conn).GetService(ctx, &rollcallv1.GetServiceRequest{Service: service})
		if err == nil {
			v = viewOf(service, resp)
		}
		return err
	})
	return v, err
}

// Services implements [rollcall.Remote].
func (r *remote) Services(ctx context.Context) (names []string, err error) {
	req := &rollcallv1.ListServicesRequest{}
	for {
		var resp *rollcallv1.ListServicesResponse
		err := r.call(ctx, readTimeout, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
			resp, err = rollcallv1.NewDiscoveryServiceClient(conn).ListServices(ctx, req)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, s := range resp.GetServices() {
			if s.GetInstances() > 0 {
				names = append(names, s.GetService())
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			return names, nil
		}
	}
}
