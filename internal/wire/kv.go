package wire

import (
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// failFast is a KV client that returns an error at once when its connection cannot be made, where the etcd client's
// default is to wait for it until the call's deadline: the next try shall go to the next member.
type failFast struct{ pb.KVClient }

var _ pb.KVClient = failFast{}

func (f failFast) Range(ctx context.Context, in *pb.RangeRequest, opts ...grpc.CallOption) (*pb.RangeResponse, error) {
	return f.KVClient.Range(ctx, in, append(slices.Clip(opts), grpc.WaitForReady(false))...)
}

func (f failFast) Txn(ctx context.Context, in *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	return f.KVClient.Txn(ctx, in, append(slices.Clip(opts), grpc.WaitForReady(false))...)
}

// KV returns etcd's keys as seen through the connection. Reads and transactions fail fast; make their contexts with Call.
func (c *Conn) KV() clientv3.KV { return c.kv }
