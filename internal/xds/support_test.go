package xds

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
)

const patience = 20 * time.Second

// world is a server that is told by the test who is registered, and serves real streams.
type world struct {
	*Server

	t        testing.TB
	client   discovery.AggregatedDiscoveryServiceClient
	revision int64
}

func newWorld(t testing.TB, cfg Config, opts ...grpc.ServerOption) *world {
	t.Helper()
	w := &world{Server: newServer(nil, cfg), t: t}
	w.wg.Go(w.Server.publish)
	srv := grpc.NewServer(append(opts, grpc.ForceServerCodecV2(NewCodec()))...)
	w.Register(srv)
	lis := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<26), // of fixed size, so that a stream that nobody reads fills up
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return lis.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	w.client = discovery.NewAggregatedDiscoveryServiceClient(conn)
	t.Cleanup(func() {
		_ = conn.Close()
		w.EndStreams()
		srv.Stop()
		<-served
		w.Close()
	})
	return w
}

// tell has the server take views as a registry tells them; the first time they are all there is.
func (w *world) tell(views ...*rollcall.View) {
	w.t.Helper()
	w.revision++
	for _, v := range views {
		v.Revision = w.revision
	}
	w.mu.Lock()
	complete := !w.known
	w.mu.Unlock()
	for _, st := range w.take(&rollcall.Overview{Revision: w.revision, Complete: complete, Services: views}) {
		st.widen()
	}
}

// view makes a view of instances by their addresses.
func view(service string, addrs ...string) *rollcall.View {
	v := &rollcall.View{Service: service}
	for n, addr := range addrs {
		v.Instances = append(v.Instances, instance(addr, int64(n+1)))
	}
	slices.SortFunc(v.Instances, func(a, b *rollcall.Instance) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	return v
}

func instance(addr string, revision int64) *rollcall.Instance {
	return &rollcall.Instance{ID: addr, Addr: addr, Weight: rollcall.DefaultWeight, State: rollcall.StateServing, Revision: revision, CreateRevision: revision}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// worldClient is a client of the state of the world that does as the test says, and nothing by itself.
type worldClient struct {
	t      testing.TB
	stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *core.Node
}

func (w *world) open(node *core.Node) *worldClient {
	w.t.Helper()
	stream, err := w.client.StreamAggregatedResources(within(w.t, patience))
	if err != nil {
		w.t.Fatal(err)
	}
	return &worldClient{t: w.t, stream: stream, node: node}
}

func (c *worldClient) send(r *discovery.DiscoveryRequest) {
	c.t.Helper()
	r.Node, c.node = c.node, nil
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends the first request of a type.
func (c *worldClient) ask(k kind, names ...string) {
	c.t.Helper()
	c.send(&discovery.DiscoveryRequest{TypeUrl: typeURLs[k], ResourceNames: names})
}

// ack accepts a response, and asks for names from there on.
func (c *worldClient) ack(r *discovery.DiscoveryResponse, names ...string) {
	c.t.Helper()
	c.send(&discovery.DiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResourceNames: names, VersionInfo: r.GetVersionInfo(), ResponseNonce: r.GetNonce()})
}

// nack refuses a response.
func (c *worldClient) nack(r *discovery.DiscoveryResponse, why string, names ...string) {
	c.t.Helper()
	c.send(&discovery.DiscoveryRequest{
		TypeUrl: r.GetTypeUrl(), ResourceNames: names, ResponseNonce: r.GetNonce(), ErrorDetail: &status.Status{Code: 3, Message: why},
	})
}

func (c *worldClient) next() *discovery.DiscoveryResponse {
	c.t.Helper()
	r, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// quiet fails if the server has anything to say to what was sent up to now: it answers another question first.
func (c *worldClient) quiet() {
	c.t.Helper()
	c.ask(routes, "quiet")
	if r := c.next(); r.GetTypeUrl() != typeURLs[routes] {
		c.t.Fatalf("a response that nobody waited for: %v", r)
	}
}

// addrs writes who is in a response's assignments: "service: addr addr".
func addrs(t testing.TB, r *discovery.DiscoveryResponse) []string {
	t.Helper()
	var list []string
	for _, a := range r.GetResources() {
		m := &endpoint.ClusterLoadAssignment{}
		if err := a.UnmarshalTo(m); err != nil {
			t.Fatal(err)
		}
		list = append(list, members(m))
	}
	return list
}

// assignment reads what is sent of a cluster.
func (o *outlook) assignment(n name, s stance) *endpoint.ClusterLoadAssignment {
	a := &endpoint.ClusterLoadAssignment{}
	if err := proto.Unmarshal(appendAssignment(nil, n.String(), o.arrange(n, s)), a); err != nil {
		panic(err)
	}
	return a
}

func members(a *endpoint.ClusterLoadAssignment) string {
	text := a.GetClusterName() + ":"
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			s := e.GetEndpoint().GetAddress().GetSocketAddress()
			text += fmt.Sprintf(" %s:%d", s.GetAddress(), s.GetPortValue())
		}
	}
	return text
}

// deltaClient is a client of changes that does as the test says.
type deltaClient struct {
	t      testing.TB
	stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	node   *core.Node
}

func (w *world) openDelta(node *core.Node) *deltaClient {
	w.t.Helper()
	stream, err := w.client.DeltaAggregatedResources(within(w.t, patience))
	if err != nil {
		w.t.Fatal(err)
	}
	return &deltaClient{t: w.t, stream: stream, node: node}
}

func (c *deltaClient) send(k kind, r *discovery.DeltaDiscoveryRequest) {
	c.t.Helper()
	r.Node, c.node = c.node, nil
	r.TypeUrl = typeURLs[k]
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c *deltaClient) subscribe(k kind, names ...string) {
	c.t.Helper()
	c.send(k, &discovery.DeltaDiscoveryRequest{ResourceNamesSubscribe: names})
}

func (c *deltaClient) ack(k kind, r *discovery.DeltaDiscoveryResponse) {
	c.t.Helper()
	c.send(k, &discovery.DeltaDiscoveryRequest{ResponseNonce: r.GetNonce()})
}

func (c *deltaClient) next() *discovery.DeltaDiscoveryResponse {
	c.t.Helper()
	r, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// quiet fails if the server has anything to say to what was sent up to now.
func (c *deltaClient) quiet() {
	c.t.Helper()
	c.subscribe(routes, "not a name")
	if r := c.next(); r.GetTypeUrl() != typeURLs[routes] {
		c.t.Fatalf("a response that nobody waited for: %v", r)
	}
}

func names(r *discovery.DeltaDiscoveryResponse) []string {
	var list []string
	for _, res := range r.GetResources() {
		list = append(list, res.GetName())
	}
	return list
}

var (
	grpcNode  = &core.Node{Id: "caller", UserAgentName: "gRPC Go", UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: "1.85.0"}}
	envoyNode = &core.Node{Id: "proxy", UserAgentName: "envoy"}
)
