package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// bareInstance is what a program would read an instance into that does nothing but decode it.
type bareInstance struct {
	Addr                                          string
	Metadata, Addrs                               map[string]string
	ID, Incarnation, Holder, State, Zone, Version string
	Weight, TTL                                   int
	Registered                                    time.Time
}

// BenchmarkList lists, decodes and holds up to 100,000 instances, interleaved in one run with a raw streamed get whose
// values are decoded by encoding/json and kept. Each finds a heap without the other's instances that has been as large before, and
// each comes first once. It reports both medians, their ratio, and the heap that each of them holds per instance.
//
//	make bench
func BenchmarkList(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			if testing.Short() && n > 10_000 {
				b.Skip("it takes seconds")
			}
			benchmarkList(b, n)
		})
	}
}

func benchmarkList(b *testing.B, n int) {
	etcd := etcdtest.Start(b)
	client := etcd.Client(b)
	fill(b, client, "rollcall/services/svc/", n)
	reg := open(b, etcd.Endpoint())
	var ours, raw []time.Duration
	var view *rollcall.View
	var bare []*bareInstance
	timed := func(list func()) time.Duration {
		view, bare = nil, nil
		runtime.GC()
		began := time.Now()
		list()
		return time.Since(began)
	}
	listOurs := func() {
		v, err := reg.Lookup(b.Context(), "svc")
		if err != nil || len(v.Instances) != n {
			b.Fatal(err)
		}
		view = v
	}
	listRaw := func() { bare = rawList(b, client, "rollcall/services/svc/") }
	timed(listRaw)
	for b.Loop() {
		ours, raw = append(ours, timed(listOurs)), append(raw, timed(listRaw), timed(listRaw))
		ours = append(ours, timed(listOurs))
	}
	listRaw()
	b.ReportMetric(median(ours).Seconds()*1000, "list-ms")
	b.ReportMetric(median(raw).Seconds()*1000, "raw-ms")
	b.ReportMetric(0, "ns/op") // it is of both
	b.ReportMetric(float64(median(ours))/float64(median(raw)), "ratio")
	bareBytes := freed(func() { bare = nil }, &bare)
	viewBytes := freed(func() { view = nil }, &view)
	b.ReportMetric(viewBytes/float64(n), "B/instance")
	b.ReportMetric(bareBytes/float64(n), "raw-B/instance")
}

// freed returns how much less the heap holds after a function.
func freed[T any](release func(), held *T) float64 {
	before := heap()
	runtime.KeepAlive(held)
	release()
	return before - heap()
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// fill writes n instances, as a registration writes them.
func fill(b *testing.B, client *clientv3.Client, dir string, n int) {
	b.Helper()
	lease, err := client.Grant(b.Context(), 3600)
	if err != nil {
		b.Fatal(err)
	}
	var ops []clientv3.Op
	for k := range n {
		addr := fmt.Sprintf("10.%d.%d.%d:50051", k>>16, k>>8&255, k&255)
		value := fmt.Sprintf(`{"Op":0,"Addr":%q,"Metadata":{"build":"20261122","team":"a"},"ID":%[1]q,"Incarnation":"ABCDEFGHIJKLMNOPQRSTUVWXYZ",`+
			`"Holder":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","State":"serving","Weight":100,"Zone":"eu-1a","Version":"1.2.3","TTL":15,"Registered":"2026-11-22T06:31:00Z"}`, addr)
		ops = append(ops, clientv3.OpPut(dir+addr, value, clientv3.WithLease(lease.ID)))
		if len(ops) == 125 || k == n-1 {
			if _, err := client.Txn(b.Context()).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
			ops = ops[:0]
		}
	}
}

func rawList(b *testing.B, client *clientv3.Client, dir string) []*bareInstance {
	b.Helper()
	stream, err := pb.NewKVClient(client.ActiveConnection()).RangeStream(b.Context(),
		&pb.RangeRequest{Key: []byte(dir), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(dir))}, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		b.Fatal(err)
	}
	var list []*bareInstance
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			b.Fatal(err)
		}
		for _, kv := range chunk.RangeResponse.Kvs {
			i := &bareInstance{}
			if err := json.Unmarshal(kv.Value, i); err != nil {
				b.Fatal(err)
			}
			list = append(list, i)
		}
	}
}
