package doctor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// patient is what is looked at. What several checks need is looked at once.
type patient struct {
	Input
	services, control string // where keys lie

	mu    sync.Mutex
	conns []*grpc.ClientConn // to close

	membersSeen once[[]member]
	keysSeen    once[listing]
	controlSeen once[[]decision]
	pastSeen    once[past]
	metricsSeen once[[]metrics]
}

func newPatient(in Input) *patient {
	return &patient{Input: in, services: in.Prefix + "/services/", control: in.Prefix + "/control/"}
}

func (p *patient) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// dial returns a connection to one member alone: the client's own goes to any, and would have one that hangs hang every check.
func (p *patient) dial(endpoint string) (*grpc.ClientConn, error) {
	conn, err := p.Client.Dial(endpoint)
	if err == nil {
		p.mu.Lock()
		p.conns = append(p.conns, conn)
		p.mu.Unlock()
	}
	return conn, err
}

// door returns the connection by which to ask what any member can tell: to the one that answers best.
func (p *patient) door(ctx context.Context) (*grpc.ClientConn, error) {
	members, err := p.answering(ctx)
	if err != nil {
		return nil, err
	}
	best := &members[0]
	for n := range members {
		if m := &members[n]; m.betterThan(best) {
			best = m
		}
	}
	if best.readErr != nil && !best.status.IsLearner {
		return nil, fmt.Errorf("no member of etcd confirms a read: %w", best.readErr) // each question would only wait for as long again
	}
	return best.conn, nil
}

// kv reads keys at the best member.
func (p *patient) kv(ctx context.Context) (clientv3.KV, error) {
	conn, err := p.door(ctx)
	if err != nil {
		return nil, err
	}
	return clientv3.NewKVFromKVClient(pb.NewKVClient(conn), p.Client), nil
}

// listable is why the keys cannot be looked at, if they cannot.
func (p *patient) listable() error {
	if p.Prefix == "" {
		return skip("without a prefix the registry's keys cannot be told from those of others")
	}
	return nil
}

// once looks at something for the first who asks, and tells the same to all.
type once[T any] struct {
	sync.Once
	value T
	err   error
}

func (o *once[T]) get(look func() (T, error)) (T, error) {
	o.Do(func() { o.value, o.err = look() })
	return o.value, o.err
}

// inWords says why something could not be looked at.
func inWords(err error) string {
	known := rpctypes.Error(err)
	etcd, ok := errors.AsType[rpctypes.EtcdError](known)
	switch {
	case denied(err):
		return "permission denied"
	case errors.Is(err, context.DeadlineExceeded), status.Code(err) == codes.DeadlineExceeded:
		return "no answer in time"
	case ok:
		return etcd.Error()
	}
	return status.Convert(known).Message()
}

// denied reports whether etcd keeps something from us that it may tell others.
func denied(err error) bool {
	known := rpctypes.Error(err)
	etcd, ok := errors.AsType[rpctypes.EtcdError](known)
	code := status.Code(known)
	if ok {
		code = etcd.Code()
	}
	return code == codes.PermissionDenied || code == codes.Unauthenticated || errors.Is(known, rpctypes.ErrUserEmpty)
}
