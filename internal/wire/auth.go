package wire

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ownAuth logs in over the connection that the token is for. The client's way is its balanced connection: one member that
// hangs would cost every third login, and with it a heartbeat, although the member at hand is well.
type ownAuth struct{ clientv3.Auth }

func (a ownAuth) Authenticate(ctx context.Context, name, password string) (*clientv3.AuthenticateResponse, error) {
	conn, found := ctx.Value(connKey{}).(*Conn)
	if !found {
		return a.Auth.Authenticate(ctx, name, password)
	}
	ctx, cancel := conn.Call(ctx, loginTimeout) // a dropped connection would be tried again and again until ctx ends
	defer cancel()
	resp, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: name, Password: password}, ours...)
	return (*clientv3.AuthenticateResponse)(resp), clientv3.ContextError(ctx, err)
}

// connKey is the key of the connection in the contexts of its calls.
type connKey struct{}

// Context returns a context for a stream on the connection.
func (c *Conn) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
