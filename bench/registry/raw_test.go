//go:build linux

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
)

// raw is etcd's client by itself, the floor: it registers under a lease that the client keeps alive, one for each instance, and reads into
// structs. It repeats nothing and doubts nothing, and its connections are as good as rollcall's.
type raw struct {
	mu   sync.Mutex
	late []*atomic.Int64 // when leases were renewed last, since 1970, that have not been seen to be; guarded by mu
}

// bare is what a program would read an instance into that does nothing but decode it.
type bare struct {
	Addr                                          string
	Metadata, Addrs                               map[string]string
	ID, Incarnation, Holder, State, Zone, Version string
	Weight, TTL                                   int
	Registered                                    time.Time
}

// bareView is all services, by name and key.
type bareView map[string]map[string]*bare

func (v bareView) put(dir string, kv *mvccpb.KeyValue) error {
	i := new(bare)
	if err := json.Unmarshal(kv.Value, i); err != nil {
		return err
	}
	service, id, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), dir), "/")
	if v[service] == nil {
		v[service] = map[string]*bare{}
	}
	v[service][id] = i
	return nil
}

func (r *raw) list(ctx context.Context, j job) (n int, held any, err error) {
	client, err := clientv3.New(rollcall.ClientConfig(j.Endpoint))
	if err != nil {
		return 0, nil, err
	}
	dir := j.Prefix + "/services/"
	from := dir
	if j.Service != "" {
		from += j.Service + "/"
	}
	view, _, err := r.read(ctx, client, dir, from)
	if err != nil {
		return 0, nil, err
	}
	for _, service := range view {
		n += len(service)
	}
	return n, view, nil
}

// read lists what lies below a key, streamed.
func (r *raw) read(ctx context.Context, client *clientv3.Client, dir, from string) (view bareView, revision int64, err error) {
	stream, err := pb.NewKVClient(client.ActiveConnection()).RangeStream(ctx,
		&pb.RangeRequest{Key: []byte(from), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(from))}, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return nil, 0, err
	}
	view = bareView{}
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return view, revision, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if h := chunk.RangeResponse.Header; h != nil {
			revision = h.Revision
		}
		for _, kv := range chunk.RangeResponse.Kvs {
			if err := view.put(dir, kv); err != nil {
				return nil, 0, err
			}
		}
	}
}

func (r *raw) hold(ctx context.Context, j job) error {
	return j.programs(func(c int) error {
		client, err := clientv3.New(rollcall.ClientConfig(j.Endpoint))
		if err != nil {
			return err
		}
		return each(j.Each, 64, func(i int) error { return r.register(ctx, client, c*j.Each+i, j) })
	})
}

func (r *raw) register(ctx context.Context, client *clientv3.Client, n int, j job) error {
	lease, err := client.Grant(ctx, int64(j.TTL.Seconds()))
	if err != nil {
		return err
	}
	key, value := rollcallLayout(directory)(service(n/perService), addr(n))
	if _, err := client.Put(ctx, key, value, clientv3.WithLease(lease.ID)); err != nil {
		return err
	}
	if j.Over > 0 { // etcd grants leases in batches; programs that are not one process would not be in step for that
		<-time.After(rand.N(500 * time.Millisecond))
	}
	alive, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	beat := new(atomic.Int64)
	r.mu.Lock()
	r.late = append(r.late, beat)
	r.mu.Unlock()
	go func() {
		for range alive {
			beat.Store(time.Now().UnixNano())
		}
	}()
	return nil
}

func (r *raw) watch(ctx context.Context, j job, seen func(client int)) error {
	return j.programs(func(c int) error {
		client, err := clientv3.New(rollcall.ClientConfig(j.Endpoint))
		if err != nil {
			return err
		}
		dir := directory + service(c%j.Groups) + "/"
		view, revision, err := r.read(ctx, client, directory, dir)
		if err != nil {
			return err
		}
		changes := client.Watch(ctx, dir, clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithCreatedNotify())
		<-changes
		go func() {
			for change := range changes {
				for _, e := range change.Events {
					if e.Type == clientv3.EventTypePut && view.put(directory, e.Kv) == nil && strings.HasSuffix(string(e.Kv.Key), "/"+markerAddr) {
						seen(c)
					}
				}
			}
		}()
		return nil
	})
}

func (r *raw) unrenewed(since time.Time) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.late = slices.DeleteFunc(r.late, func(beat *atomic.Int64) bool { return beat.Load() > since.UnixNano() })
	return len(r.late), nil
}
