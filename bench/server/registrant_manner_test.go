//go:build linux

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func registerRequest(n int) *rollcallv1.RegisterRequest {
	return &rollcallv1.RegisterRequest{Service: serviceOf(n), Instance: &rollcallv1.Instance{
		Addr: addrOf(n), Zone: "a", Version: "v1.2.3", Metadata: map[string]string{"team": "jie"},
	}}
}

// unaryRegistrant registers by calls, and sends a heartbeat for each instance when it is due.
type unaryRegistrant struct {
	conns []*grpc.ClientConn
	due   chan beat // by the time when they are due: all have the same interval
	sent  atomic.Int64
}

type beat struct {
	request *rollcallv1.HeartbeatRequest
	at      time.Time
}

// heartbeaters is how many heartbeats are under way at most.
const heartbeaters = 16

func newUnaryRegistrant(conns []*grpc.ClientConn, instances int) *unaryRegistrant {
	u := &unaryRegistrant{conns: conns, due: make(chan beat, instances)}
	for n := range heartbeaters {
		go u.beat(rollcallv1.NewRegistrationServiceClient(conns[n%len(conns)])) // ends with the process
	}
	return u
}

func (u *unaryRegistrant) register(ctx context.Context, n int) error {
	req := registerRequest(n)
	resp, err := rollcallv1.NewRegistrationServiceClient(u.conns[n%len(u.conns)]).Register(ctx, req)
	if err != nil {
		return err
	}
	u.due <- beat{&rollcallv1.HeartbeatRequest{Service: req.GetService(), Id: resp.GetInstance().GetId(), Token: resp.GetToken()}, time.Now().Add(beatEvery)}
	return nil
}

func (u *unaryRegistrant) beat(client rollcallv1.RegistrationServiceClient) {
	for next := range u.due {
		<-time.After(time.Until(next.at))
		if _, err := client.Heartbeat(context.Background(), next.request); err != nil {
			fail("a heartbeat", err)
		}
		u.sent.Add(1)
		u.due <- beat{next.request, next.at.Add(beatEvery)}
	}
}

func (u *unaryRegistrant) beats() int64 { return u.sent.Load() }

// sessionRegistrant has a stream for each instance, which lives as long as that does.
type sessionRegistrant struct{ conns []*grpc.ClientConn }

func (s *sessionRegistrant) register(ctx context.Context, n int) error {
	stream, err := rollcallv1.NewRegistrationServiceClient(s.conns[n%len(s.conns)]).Session(ctx)
	if err == nil {
		err = stream.Send(&rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Register{Register: registerRequest(n)}})
	}
	if err != nil {
		return err
	}
	resp, err := stream.Recv()
	if err == nil && resp.GetRegistered() == nil {
		err = fmt.Errorf("session: %v", resp)
	}
	return err
}

func (*sessionRegistrant) beats() int64 { return 0 }

// rawRegistrant does with etcd what programs do that have no registry: a lease each, a transaction that writes the key if nobody has, and the
// etcd client's own keeping alive.
type rawRegistrant struct {
	clients  []*clientv3.Client
	answered atomic.Int64
}

func newRawRegistrant(args registrantArgs) (*rawRegistrant, error) {
	r := &rawRegistrant{}
	for range registrantConns {
		client, err := clientv3.New(rollcall.ClientConfig(args.Addr))
		if err != nil {
			return nil, err
		}
		r.clients = append(r.clients, client)
	}
	return r, nil
}

func (r *rawRegistrant) register(ctx context.Context, n int) error {
	client := r.clients[n%len(r.clients)]
	lease, err := client.Grant(ctx, int64(registrantTTL/time.Second))
	if err != nil {
		return err
	}
	put := instanceOp("raw", serviceOf(n), n, 0)
	key := string(put.KeyBytes())
	resp, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(put.ValueBytes()), clientv3.WithLease(lease.ID))).Commit()
	if err == nil && !resp.Succeeded {
		err = errors.New("somebody else has the key")
	}
	if err != nil {
		return err
	}
	kept, err := client.KeepAlive(context.WithoutCancel(ctx), lease.ID)
	if err != nil {
		return err
	}
	go func() { // ends with the process
		for range kept {
			r.answered.Add(1)
		}
		fail("a lease", errors.New("is kept alive no more"))
	}()
	return nil
}

func (r *rawRegistrant) beats() int64 { return r.answered.Load() }

// fail ends the process: what it would measure is not what it should.
func fail(what string, err error) {
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(1)
}
