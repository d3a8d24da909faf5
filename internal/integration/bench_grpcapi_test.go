//go:build unix

package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

// readersEnv makes this test binary the clients of BenchmarkWatchStreams: "addr streams".
const readersEnv = "ROLLCALL_BENCH_READERS"

// readersPerConn is how many streams share a connection.
const readersPerConn = 500

// BenchmarkWatchStreams measures how long it takes, from before one instance is written to etcd, until the streams of one server have all been
// told, with how much CPU of the server and of the etcd in the same process, and how much memory a stream takes there. The clients are a
// process of their own on the same machine, and share its cores. Each change is encoded once, or the benchmark fails.
//
//	go test -run '^$' -bench BenchmarkWatchStreams ./internal/integration
//	make bench
func BenchmarkWatchStreams(b *testing.B) {
	for _, streams := range []int{1000, 3000, 10_000} {
		b.Run(fmt.Sprint(streams), func(b *testing.B) { benchmarkWatchStreams(b, streams) })
	}
}

func benchmarkWatchStreams(b *testing.B, streams int) {
	etcd := etcdtest.Start(b)
	client := etcd.Client(b)
	write := func(n int) {
		if _, err := client.Put(b.Context(), fmt.Sprintf("rollcall/services/svc/%d", n%100), fmt.Sprintf(`{"Addr":"10.0.0.1:%d"}`, n%60000+1)); err != nil {
			b.Fatal(err)
		}
	}
	for n := range 100 {
		write(n)
	}
	s := serveAPI(b, etcd, grpcapi.Config{})
	s.get(b, "svc")
	before := memoryInUse()
	readers := startReaders(b, s.addr, streams)
	perStream := float64(memoryInUse()-before) / float64(streams)
	told := s.api.Stats()
	var all, each []time.Duration
	var cpu time.Duration
	changes := 0
	for b.Loop() {
		<-time.After(2 * restAfterChange)
		changes++
		cpuBefore, began := processCPU(), time.Now()
		write(changes)
		median, last := readers.next(b, began)
		cpu += processCPU() - cpuBefore
		each = append(each, median)
		all = append(all, last)
	}
	after := s.api.Stats()
	if after.Encodings-told.Encodings != int64(changes) {
		b.Errorf("%d changes were encoded %d times", changes, after.Encodings-told.Encodings)
	}
	b.ReportMetric(micros(each, 50)/1000, "half-told-p50-ms")
	b.ReportMetric(micros(all, 50)/1000, "all-told-p50-ms")
	b.ReportMetric(micros(all, 99)/1000, "all-told-p99-ms")
	b.ReportMetric(float64(cpu.Microseconds())/float64(changes)/float64(streams), "cpu-µs/stream")
	b.ReportMetric(float64(after.Bytes-told.Bytes)/float64(changes), "encoded-B/change")
	b.ReportMetric(float64(after.Encodings-told.Encodings)/float64(changes), "encodings/change")
	b.ReportMetric(perStream/1024, "KiB/stream")
}

// restAfterChange is the longest that a server gathers changes for.
const restAfterChange = 250 * time.Millisecond

// memoryInUse is what heap and stacks take after a collection.
func memoryInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// readers is the process with the streams.
type readers struct{ out *bufio.Reader }

func startReaders(b *testing.B, addr string, streams int) *readers {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestReadersProgram$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", readersEnv, addr, streams))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := &readers{bufio.NewReader(out)}
	r.next(b, time.Now()) // all snapshots
	return r
}

// next waits until all streams have been told once more, and returns how long after a time half of them and all were.
func (r *readers) next(b *testing.B, began time.Time) (median, last time.Duration) {
	b.Helper()
	var at [2]int64
	line, err := r.out.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &at[0], &at[1])
	}
	if err != nil {
		b.Fatalf("the clients say %q: %v", line, err)
	}
	since := func(nanos int64) time.Duration { return time.Unix(0, nanos).Sub(began) }
	return since(at[0]), since(at[1])
}

// TestReadersProgram is no test: it is the program of startReaders. For each round of responses it says when half of its streams and all of them
// had theirs.
func TestReadersProgram(t *testing.T) {
	spec := os.Getenv(readersEnv)
	if spec == "" {
		return
	}
	var addr string
	var streams int
	if _, err := fmt.Sscan(spec, &addr, &streams); err != nil {
		t.Fatal(err)
	}
	arrived := make(chan int64, streams)
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := 0; n < streams; n += readersPerConn {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range min(readersPerConn, streams-n) {
			wg.Go(func() { readAll(t, conn, arrived) })
		}
	}
	go func() { // ends with the process
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(0)
	}()
	round := make([]int64, 0, streams)
	for at := range arrived {
		if round = append(round, at); len(round) == streams {
			slices.Sort(round)
			fmt.Println(round[streams/2], round[streams-1])
			round = round[:0]
		}
	}
}

func readAll(t *testing.T, conn *grpc.ClientConn, arrived chan<- int64) {
	stream, err := conn.NewStream(t.Context(), &rollcallv1.DiscoveryService_ServiceDesc.Streams[0], rollcallv1.DiscoveryService_Watch_FullMethodName,
		grpc.ForceCodecV2(unread{}))
	if err != nil {
		t.Error(err)
		return
	}
	if err := stream.SendMsg(unread{}); err != nil {
		t.Error(err)
		return
	}
	for {
		if err := stream.RecvMsg(unread{}); err != nil {
			fmt.Fprintln(os.Stderr, "a stream ended:", err)
			os.Exit(1)
		}
		arrived <- time.Now().UnixNano()
	}
}

// unread asks for the service svc, and does not look at what comes: what clients do with it is not what is measured.
type unread struct{}

func (unread) Marshal(any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer("\x0a\x03svc")}, nil
}
func (unread) Unmarshal(mem.BufferSlice, any) error { return nil }
func (unread) Name() string                         { return "proto" }
