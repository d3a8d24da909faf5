package wire

import (
	"context"
	"math"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// ours are the options of our own calls, whatever the client's are. They return an error at once when the connection
// cannot be made, where the etcd client's default is to wait for it until the call's deadline: the next try shall go to
// the next member. A response may be of any size, as the end of a lease with many keys is one.
var ours = []grpc.CallOption{
	grpc.WaitForReady(false),
	grpc.MaxCallRecvMsgSize(math.MaxInt32),
	grpc.MaxCallSendMsgSize(2 << 20), // above etcd's limit on a request: it tells
}

// ownKV is a KV client with our own options.
type ownKV struct{ pb.KVClient }

var _ pb.KVClient = ownKV{}

func (o ownKV) Range(ctx context.Context, in *pb.RangeRequest, opts ...grpc.CallOption) (*pb.RangeResponse, error) {
	return o.KVClient.Range(ctx, in, append(slices.Clip(opts), ours...)...)
}

func (o ownKV) Txn(ctx context.Context, in *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	return o.KVClient.Txn(ctx, in, append(slices.Clip(opts), ours...)...)
}

// KV returns etcd's keys as seen through the connection: Get and Txn. Make their contexts with Call.
func (c *Conn) KV() clientv3.KV { return c.kv }

// RangeStream reads a range in chunks, of which the last has the header. Etcd has it since 3.7.
func (c *Conn) RangeStream(ctx context.Context, in *pb.RangeRequest) (grpc.ServerStreamingClient[pb.RangeStreamResponse], error) {
	return pb.NewKVClient(c).RangeStream(c.Context(ctx), in, ours...)
}

// Streamed reports whether it makes sense to open a stream for one answer: with a password each stream costs a login.
func (c *Conn) Streamed() bool { return c.streamed }
