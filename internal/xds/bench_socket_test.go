package xds

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Here the same servers are behind gRPC, and their clients are another process, whose work does not count. What this process takes is the
// server's, its part of the kernel included.

// callersEnv is set for the process of the clients: where the server is, and how many connections to make, of how many streams each.
const callersEnv = "ROLLCALL_XDS_BENCHMARK_CALLERS"

// BenchmarkChangeOverSockets is one endpoint's change, in a service that everybody watches, until all have acknowledged it: with a connection for
// 50 clients, and if longEnv is set also with one for each.
func BenchmarkChangeOverSockets(b *testing.B) {
	for _, clients := range sizesUpTo(100, 1000, 100, 300, 1000) {
		for _, streams := range []int{50, 1} {
			e := estate{services: 1, endpoints: 1000, clients: clients, watched: 1}
			b.Run(fmt.Sprintf("N=%d/streams=%d", clients, streams), func(b *testing.B) {
				if streams == 1 && os.Getenv(longEnv) == "" {
					b.Skip(longEnv + " is not set")
				}
				compareCosts(b, e, len(quantities)-2, func(b *testing.B, server *contender) []cost {
					return changesOverSockets(b, e, server, streams)
				})
			})
		}
	}
}

func changesOverSockets(b *testing.B, e estate, server *contender, streams int) []cost {
	c := &crowd{b: b, server: server, done: make(chan struct{}, 1)}
	defer c.overSockets(e, streams)()
	step := 0
	return c.measure(func() {
		step++
		c.expect(e.clients)
		server.change(step)
		c.await()
	}, func() {})
}

// overSockets has all clients come, from another process, and returns what ends them.
func (c *crowd) overSockets(e estate, streams int) (end func()) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.b.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(codecOf(c.server)))
	discovery.RegisterAggregatedDiscoveryServiceServer(srv, &heard{crowd: c})
	c.running.Go(func() { _ = srv.Serve(lis) })
	c.expect(e.clients)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", callersEnv, lis.Addr(), e.clients/streams, streams))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.b.Fatal(err)
	}
	c.await()
	return func() {
		_ = stdin.Close()
		_ = cmd.Wait()
		srv.Stop()
		c.running.Wait()
	}
}

// heard is a contender that counts what is acknowledged.
type heard struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	crowd *crowd
}

func (h *heard) StreamAggregatedResources(call discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return h.crowd.server.serve(&hearing{call, h.crowd})
}

type hearing struct {
	discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer
	crowd *crowd
}

func (h *hearing) Recv() (*discovery.DiscoveryRequest, error) {
	r, err := h.AggregatedDiscoveryService_StreamAggregatedResourcesServer.Recv()
	if err == nil && r.GetResponseNonce() != "" {
		h.crowd.count()
	}
	return r, err
}

// playCallers plays all clients until its input ends.
func playCallers(where string) {
	var addr string
	var conns, streams int
	if _, err := fmt.Sscan(where, &addr, &conns, &streams); err != nil {
		panic(err)
	}
	for range conns {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(nonceCodec{encoding.GetCodecV2(grpcproto.Name)})))
		if err != nil {
			panic(err)
		}
		for range streams {
			go acknowledge(conn)
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func acknowledge(conn *grpc.ClientConn) {
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(context.Background(), desc, discovery.AggregatedDiscoveryService_StreamAggregatedResources_FullMethodName)
	if err != nil {
		panic(err)
	}
	r := &discovery.DiscoveryRequest{TypeUrl: typeURLs[endpoints], ResourceNames: []string{"svc-0"}, Node: grpcNode}
	for {
		if stream.SendMsg(r) != nil {
			return
		}
		var nonce string
		if stream.RecvMsg(&nonce) != nil {
			return
		}
		r = &discovery.DiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResourceNames: r.GetResourceNames(), ResponseNonce: nonce, VersionInfo: "x"}
	}
}

// nonceCodec reads nothing of a response but its nonce.
type nonceCodec struct{ encoding.CodecV2 }

func (nonceCodec) Unmarshal(data mem.BufferSlice, v any) error {
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer whole.Free()
	for b := whole.ReadOnlyData(); len(b) > 0; {
		field, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		if field == fieldNonce {
			text, _ := protowire.ConsumeBytes(b)
			*v.(*string) = string(text)
		}
		b = b[protowire.ConsumeFieldValue(field, kind, b):]
	}
	return nil
}
