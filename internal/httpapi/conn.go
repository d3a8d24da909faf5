package httpapi

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// callTimeout bounds a call; the longest that a call may take by itself is a minute.
	callTimeout = 75 * time.Second
	// maxAnswer is the size of an answer, which is the server's own: a service may have many instances.
	maxAnswer = 1 << 30
)

// conn is the way to the gRPC server. What a call tells beside its request is decided here alone, whatever the generated code
// made of a request's headers.
type conn struct{ grpc.ClientConnInterface }

// Invoke implements [grpc.ClientConnInterface].
func (c conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(told(ctx), callTimeout)
	defer cancel()
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, append(opts, grpc.MaxCallRecvMsgSize(maxAnswer))...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.ClientConnInterface.NewStream(told(ctx), desc, method, append(opts, grpc.MaxCallRecvMsgSize(maxAnswer))...)
}

// told returns ctx with the metadata of its request, and no other.
func told(ctx context.Context) context.Context {
	return metadata.NewOutgoingContext(ctx, requestOf(ctx).metadata)
}

// request is what is known of a request beside itself. It belongs to the goroutine that serves it.
type request struct {
	route    string // its pattern
	metadata metadata.MD
	has      string // what its client knows the answer by: If-None-Match
}

type requestKey struct{}

// requestOf returns what is known of the request that is served with ctx.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

var errCredentials = errors.New("a request has one Authorization header at most, of visible characters")

// metadataOf returns what the gRPC server is told of a request.
func (a *API) metadataOf(r *http.Request) (metadata.MD, error) {
	md := metadata.MD{}
	if values := r.Header.Values("Authorization"); len(values) > 0 {
		if len(values) > 1 || !visible(values[0]) {
			return nil, errCredentials
		}
		md.Set("authorization", values[0])
	}
	if a.config.Metadata != nil {
		maps.Copy(md, a.config.Metadata(r))
	}
	return md, nil
}

func visible(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
