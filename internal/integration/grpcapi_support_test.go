package integration

import (
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

const apiPatience = 20 * time.Second

// apiServer is a server of the API on a registry that follows everything.
type apiServer struct {
	api       *grpcapi.API
	reg       *rollcall.Registry
	addr      string
	conn      *grpc.ClientConn
	discovery rollcallv1.DiscoveryServiceClient
	control   rollcallv1.ControlServiceClient
}

func serveAPI(t testing.TB, etcd *etcdtest.Server, cfg grpcapi.Config, opts ...rollcall.Option) *apiServer {
	t.Helper()
	return serveAPIAt(t, etcd.Endpoint(), cfg, opts...)
}

// serveAPIAt is serveAPI for an etcd that is reached at an address of one's choice.
func serveAPIAt(t testing.TB, endpoint string, cfg grpcapi.Config, opts ...rollcall.Option) *apiServer {
	t.Helper()
	reg := open(t, endpoint, append(opts, rollcall.WithFollowAll())...)
	api := grpcapi.New(reg, cfg)
	srv := grpc.NewServer(api.ServerOptions()...)
	s := &apiServer{api: api, reg: reg, addr: serveAPIOn(t, srv, api)}
	s.conn = s.dial(t)
	s.discovery, s.control = rollcallv1.NewDiscoveryServiceClient(s.conn), rollcallv1.NewControlServiceClient(s.conn)
	return s
}

// serveAPIOn has a gRPC server serve an API until the test ends, and returns its address.
func serveAPIOn(t testing.TB, srv *grpc.Server, api *grpcapi.API) string {
	t.Helper()
	api.Register(srv)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	t.Cleanup(func() {
		api.EndStreams()
		srv.Stop()
		<-served
		api.Close()
	})
	return lis.Addr().String()
}

func (s *apiServer) dial(t testing.TB, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// get returns a service as the server tells it once it knows the given revision.
func (s *apiServer) get(t testing.TB, service string) *rollcallv1.GetServiceResponse {
	t.Helper()
	resp, err := s.discovery.GetService(within(t, apiPatience), &rollcallv1.GetServiceRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// mirror is a client of Watch: what it has been told, and what it makes of it.
type mirror struct {
	t         testing.TB
	stream    grpc.ServerStreamingClient[rollcallv1.WatchResponse]
	last      *rollcallv1.WatchResponse
	instances map[string]*rollcallv1.Instance
	responses int
}

func (s *apiServer) watch(t testing.TB, req *rollcallv1.WatchRequest, opts ...grpc.CallOption) *mirror {
	t.Helper()
	stream, err := s.discovery.Watch(within(t, 2*time.Minute), req, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return &mirror{t: t, stream: stream, instances: map[string]*rollcallv1.Instance{}}
}

// resume returns a mirror that goes on from another one, at this server.
func (s *apiServer) resume(t testing.TB, m *mirror, service string, withDigest bool) *mirror {
	t.Helper()
	req := &rollcallv1.WatchRequest{Service: service, Revision: m.last.GetRevision()}
	if withDigest {
		req.Digest = m.last.GetDigest()
	}
	on := s.watch(t, req)
	on.instances = maps.Clone(m.instances)
	return on
}

// next takes one response, and holds it against what the API promises of every one.
func (m *mirror) next() *rollcallv1.WatchResponse {
	m.t.Helper()
	resp, err := m.stream.Recv()
	if err != nil {
		m.t.Fatal(err)
	}
	if m.last != nil && resp.GetRevision() < m.last.GetRevision() && !resp.GetReset_() {
		m.t.Fatalf("revision %d after %d", resp.GetRevision(), m.last.GetRevision())
	}
	if resp.GetSnapshot() {
		clear(m.instances)
	}
	for _, u := range resp.GetUpdates() {
		if u.GetOp() == rollcallv1.Update_OP_DELETE {
			delete(m.instances, u.GetInstance().GetId())
		} else {
			m.instances[u.GetInstance().GetId()] = u.GetInstance()
		}
	}
	m.last = resp
	m.responses++
	return resp
}

// until takes responses until one, and what is known then, are as wanted.
func (m *mirror) until(what string, cond func(*rollcallv1.WatchResponse) bool) *rollcallv1.WatchResponse {
	m.t.Helper()
	for deadline := time.Now().Add(apiPatience); ; {
		if resp := m.next(); cond(resp) {
			return resp
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("not told in time: %s; instances %v", what, m.ids())
		}
	}
}

func (m *mirror) ids() []string { return slices.Sorted(maps.Keys(m.instances)) }

func (m *mirror) untilIDs(want ...string) *rollcallv1.WatchResponse {
	m.t.Helper()
	return m.until("the instances", func(*rollcallv1.WatchResponse) bool { return slices.Equal(m.ids(), want) })
}

// apiOps writes updates as text.
func apiOps(updates []*rollcallv1.Update) []string {
	var out []string
	for _, u := range updates {
		out = append(out, u.GetOp().String()+" "+u.GetInstance().GetId())
	}
	return out
}

// doomed writes instances of svc that nobody puts back when they are lost.
func doomed(t testing.TB, etcd *etcdtest.Server, ids ...string) {
	t.Helper()
	client := etcd.Client(t)
	lease, err := client.Grant(within(t, apiPatience), 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := client.Put(within(t, apiPatience), "rollcall/services/svc/"+id, `{"Addr":"10.0.0.1:1","TTL":60}`, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
}
