//go:build linux

package server

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const (
	streamService   = "svc"
	streamInstances = 100
	// streamRest is what lies between two changes: a server that gathers changes has told the one before.
	streamRest = 120 * time.Millisecond
	// streamSettle is what a server may have to do after the last stream has been told.
	streamSettle = 20 * time.Millisecond
)

// BenchmarkWatchStreams measures what it takes until all streams that follow a service of 100 instances have been told that one of them has
// changed: the CPU of the processes that tell them, etcd's included, for each stream; the time from before the write until half of the streams,
// 99 of 100, and the last were told; and the memory of those processes for each stream. Beside the server are "each", a server that encodes
// its response for each stream, and "raw", as many watches of etcd, each a stream of its own as of so many programs, and nothing between. 500
// streams share a connection. Whoever listens is another process on the same cores, that does not look at what it gets, and is alike for all.
func BenchmarkWatchStreams(b *testing.B) {
	for _, n := range upTo(1_000, 100, 1_000, 10_000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			e := startEtcd(b)
			compareStreams(b, e, n, []*listened{
				serverStreams(b, e, n),
				eachStreams(b, e, n),
				rawStreams(b, e, n),
			})
		})
	}
}

// upTo returns the sizes; with -short those up to a limit.
func upTo(short int, sizes ...int) (list []int) {
	for _, n := range sizes {
		if !testing.Short() || n <= short {
			list = append(list, n)
		}
	}
	return list
}

// listened is a contender with those who listen to it.
type listened struct {
	name   string
	prefix string // what it tells
	host   host
	play   func() *process
	counts func(*testing.B) float64 // the messages that the server has encoded for its streams; nil if it does not say

	listeners *process
	memory    float64
	changes   []change
}

// change is what one cost.
type change struct {
	cpu            time.Duration
	p50, p99, last time.Duration
}

func serverStreams(b *testing.B, e *etcd, n int) *listened {
	e.fill(b, "rollcall", streamService, streamInstances)
	s := startServer(b, e, "rollcall")
	return &listened{name: "rollcall", prefix: "rollcall", host: s.host(), counts: s.encodings, play: func() *process {
		return play(b, "streams", streamArgs{s.grpc, rollcallv1.DiscoveryService_Watch_FullMethodName, watchRequest(b), n, 1, false})
	}}
}

func watchRequest(b *testing.B) []byte {
	request, err := proto.Marshal(&rollcallv1.WatchRequest{Service: streamService})
	if err != nil {
		b.Fatal(err)
	}
	return request
}

func eachStreams(b *testing.B, e *etcd, n int) *listened {
	e.fill(b, "each", streamService, streamInstances)
	s := startEach(b, e, "each")
	return &listened{name: "each", prefix: "each", host: s.host(), play: func() *process {
		return play(b, "streams", streamArgs{s.at.GRPC, rollcallv1.DiscoveryService_Watch_FullMethodName, watchRequest(b), n, 1, false})
	}}
}

func rawStreams(b *testing.B, e *etcd, n int) *listened {
	e.fill(b, "raw", streamService, streamInstances)
	return &listened{name: "raw", prefix: "raw", host: e.host(), play: func() *process {
		key := instanceKey("raw", streamService, "")
		request, err := proto.Marshal(&etcdserverpb.WatchRequest{RequestUnion: &etcdserverpb.WatchRequest_CreateRequest{
			CreateRequest: &etcdserverpb.WatchCreateRequest{Key: []byte(key), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(key))},
		}})
		if err != nil {
			b.Fatal(err)
		}
		return play(b, "streams", streamArgs{e.addr, "/etcdserverpb.Watch/Watch", request, n, 1, true})
	}}
}

// streamTurns is how many changes each contender tells in a round.
const streamTurns = 5

func compareStreams(b *testing.B, e *etcd, n int, all []*listened) {
	for _, l := range all {
		before := l.host.memory(b)
		l.listeners = l.play()
		l.listeners.ask(b, nil, new(arrival))
		l.memory = l.host.memory(b) - before
	}
	encoded := encodings(b, all)
	turns := streamTurns
	if testing.Short() {
		turns = 3
	}
	for b.Loop() {
		for turn := range turns {
			for i := range all {
				l := all[(turn+i)%len(all)] // who is first is last in the next turn
				l.changes = append(l.changes, l.change(b, e))
			}
		}
	}
	for i, now := range encodings(b, all) {
		l := all[i]
		l.report(b, n)
		if l.counts == nil {
			continue
		}
		each := (now - encoded[i]) / float64(len(l.changes))
		if report(b, l.name, "encodings", each); each != 1 {
			b.Errorf("%s encodes a change %v times", l.name, each)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func encodings(b *testing.B, all []*listened) []float64 {
	b.Helper()
	list := make([]float64, len(all))
	for i, l := range all {
		if l.counts != nil {
			list[i] = l.counts(b)
		}
	}
	return list
}

// change writes an instance, and waits until all streams have been told.
func (l *listened) change(b *testing.B, e *etcd) change {
	b.Helper()
	<-time.After(streamRest)
	turn := len(l.changes)
	cpu, began := l.host.cpu(b), time.Now()
	e.commit(b, []clientv3.Op{instanceOp(l.prefix, streamService, turn%streamInstances, turn+1)})
	var at arrival
	l.listeners.ask(b, nil, &at)
	<-time.After(streamSettle)
	since := func(nanos int64) time.Duration { return time.Unix(0, nanos).Sub(began) }
	return change{l.host.cpu(b) - cpu, since(at.P50), since(at.P99), since(at.Last)}
}

func (l *listened) report(b *testing.B, n int) {
	report(b, l.name, "cpu-µs", middle(l.changes, func(c change) float64 { return micros(c.cpu) })/float64(n))
	report(b, l.name, "p50-ms", middle(l.changes, func(c change) float64 { return millis(c.p50) }))
	report(b, l.name, "p99-ms", middle(l.changes, func(c change) float64 { return millis(c.p99) }))
	report(b, l.name, "max-ms", maximum(l.changes, func(c change) float64 { return millis(c.last) }))
	report(b, l.name, "kB", l.memory/1e3/float64(n))
}
