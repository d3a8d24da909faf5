package wire

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// logins holds passwords back that etcd has refused. Its client sends the password again for every stream that is opened
// and every call that meets a dead token, and each try costs etcd a bcrypt: until the pause is over, all of them get the
// answer of the last one. The pauses grow, as nobody but an operator can change anything about it.
type logins struct {
	mu    sync.Mutex
	err   error // etcd's last answer; nil when it accepted the password
	pause time.Duration
	until time.Time
	tried bool // somebody has sent the password again, and has no answer yet
}

const (
	minRefused = time.Second      // between tries with a password that etcd refuses
	maxRefused = 30 * time.Second // the same, after some of them
)

// intercept is a grpc.UnaryClientInterceptor.
func (l *logins) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method != pb.Auth_Authenticate_FullMethodName {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	if err := l.refused(); err != nil {
		return err
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	l.note(err)
	return err
}

// refused returns etcd's last no, as long as it is not worth asking again.
func (l *logins) refused() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil && (l.tried || time.Now().Before(l.until)) {
		return l.err
	}
	l.tried = l.err != nil
	return nil
}

func (l *logins) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tried = false
	switch {
	case err == nil, errors.Is(EtcdError(err), rpctypes.ErrAuthNotEnabled): // which may change at any moment
		l.err, l.pause = nil, 0
	case IsRefusal(err) && !time.Now().Before(l.until): // not one of several that were under way together
		l.pause = min(max(2*l.pause, minRefused), maxRefused)
		l.err, l.until = err, time.Now().Add(l.pause+rand.N(l.pause/4))
	}
}
