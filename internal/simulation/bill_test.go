package simulation

import (
	"context"
	"net"
	"path"
	"sync"

	"google.golang.org/grpc"
)

// bill is what some time cost: requests by kind.
type bill map[string]int

// bill has time pass in which something happens, and returns what etcd was asked meanwhile.
func (w *world) bill(what string, during func()) bill {
	w.t.Helper()
	seen := len(w.cluster.Requests())
	during()
	asked := bill{}
	for _, r := range w.cluster.Requests()[seen:] {
		asked[r.Kind]++
	}
	w.t.Logf("%s: %v", what, asked)
	return asked
}

// rest is the limit of every kind that a limit does not name.
const rest = "any other kind"

// hold fails for each kind of which there was more than a limit.
func (w *world) hold(what string, b, most bill) {
	w.t.Helper()
	for _, kind := range sortedKeys(b) {
		limit, named := most[kind]
		if !named {
			limit = most[rest]
		}
		if b[kind] > limit {
			w.t.Errorf("%s: %d × %s, want at most %d", what, b[kind], kind, limit)
		}
	}
}

// meter counts what leaves a client, whether or not it arrives: calls and streams begun by kind, and connections tried.
type meter struct {
	mu    sync.Mutex
	tried bill
}

const dialled = "a connection"

func (m *meter) count(kind string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tried == nil {
		m.tried = bill{}
	}
	m.tried[kind]++
}

// read returns what was counted since it was read last.
func (m *meter) read() bill {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.tried
	m.tried = nil
	return b
}

func (m *meter) options(w *world) clientOptions {
	connect := w.cluster.Dialer()
	return clientOptions{
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			m.count(dialled)
			conn, err := connect(ctx, address)
			if err != nil {
				return nil, err
			}
			return &namedConn{conn, endpoint(address)}, nil
		}),
		unaryMutation(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			m.count(path.Base(method))
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			m.count(path.Base(method))
			return open(ctx, desc, cc, method, opts...)
		}),
	}
}
