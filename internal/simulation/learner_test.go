package simulation

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

const learnerEndpoint = "learner:2379"

// learner serves a member that is a learner as far as clients can see: etcd ends with an error whatever they ask of one,
// save its status and serializable reads.
func (w *world) learner() *bufconn.Listener {
	listener := bufconn.Listen(16 << 10)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(stream); strings.HasSuffix(method, "/Status") {
			return stream.SendMsg(&pb.StatusResponse{IsLearner: true})
		}
		return rpctypes.ErrGRPCNotSupportedForLearner
	}))
	go func() { _ = server.Serve(listener) }()
	w.t.Cleanup(server.Stop)
	return listener
}

// alsoAt makes a change of a client that knows the learner, too.
func (w *world) alsoAt(learner *bufconn.Listener) func(*clientv3.Config) {
	connect := w.cluster.Dialer()
	return func(cfg *clientv3.Config) {
		cfg.Endpoints = append(cfg.Endpoints, learnerEndpoint)
		through(grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			if address == learnerEndpoint {
				return learner.DialContext(ctx)
			}
			return connect(ctx, address)
		}))(cfg)
	}
}

// Of its endpoints a registry begins with a random one, and goes on with another after each outage: of so many registries
// some come upon the learner. They go on to a member that does what is asked.
func TestALearnerAmongTheEndpointsCostsNobodyAnything(t *testing.T) {
	t.Parallel()
	scene(t, family{}, func(w *world) {
		learner := w.learner()
		for range 8 {
			r := w.join(w.alsoAt(learner))
			r.register(r.name, 10*time.Second)
			if r.live[r.name] == nil {
				t.Errorf("%s could not register in 10 s", r.name)
				return
			}
			r.follow(service)
		}
		for range 3 {
			w.strike(w.cluster.Restart)
			w.pass(time.Minute)
		}
		for _, r := range w.registrars {
			w.settled(r)
		}
		w.oracle.judgeWanted()
	})
}
