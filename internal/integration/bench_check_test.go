//go:build unix

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/check"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// checkedPorts is how many ports the instances of the benchmark share: what is measured is who asks, not who answers.
const checkedPorts = 32

// checkedEnv makes this test binary what is checked instead.
const checkedEnv = "ROLLCALL_TEST_CHECKED"

// TestCheckedProcess is no test: it is what BenchmarkChecks checks. It serves gRPC health on some ports, says which, and goes on until its
// input ends.
func TestCheckedProcess(t *testing.T) {
	if os.Getenv(checkedEnv) == "" {
		return
	}
	var serving sync.WaitGroup
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	var addrs []string
	for range checkedPorts {
		lis, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, lis.Addr().String())
		serving.Go(func() { _ = srv.Serve(lis) })
	}
	fmt.Println("addresses " + strings.Join(addrs, " "))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	srv.Stop()
	serving.Wait()
}

// startChecked starts that process, and returns its addresses.
func startChecked(b *testing.B) []string {
	b.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestCheckedProcess$")
	cmd.Env = append(os.Environ(), checkedEnv+"=1")
	cmd.Stderr = os.Stderr
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	addrs, found := strings.CutPrefix(strings.TrimSpace(line), "addresses ")
	if err != nil || !found {
		b.Fatalf("what is to be checked says %q: %v", line, err)
	}
	return strings.Fields(addrs)
}

// putChecked writes instances without a registry: nothing but the checks is to cost anything.
func putChecked(b *testing.B, client *clientv3.Client, addrs []string, n int, types ...rollcall.CheckType) {
	b.Helper()
	var ops []clientv3.Op
	for i := range n {
		id, addr := fmt.Sprintf("i%05d", i), addrs[i%len(addrs)]
		value := fmt.Sprintf(`{"Op":0,"Addr":%q,"ID":%q,"Incarnation":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","State":"serving","Weight":100,"TTL":15,"Check":{"Type":%q}}`, addr, id, types[i%len(types)])
		ops = append(ops, clientv3.OpPut(instances+"checked/"+id, value))
		if len(ops) == 120 || i == n-1 {
			if _, err := client.Txn(b.Context()).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
			ops = ops[:0]
		}
	}
}

// BenchmarkChecks is one server that checks instances every ten seconds, all of them well, on loopback, for half a minute after the first
// probe of each. Its CPU is that of this process, the etcd in it included, which has nothing to do; what is checked is another process.
//
//	go test -run '^$' -bench 'Checks$' -benchtime 1x -timeout 30m ./internal/integration
func BenchmarkChecks(b *testing.B) {
	addrs := startChecked(b)
	for _, types := range [][]rollcall.CheckType{{rollcall.CheckTCP}, {rollcall.CheckGRPC}, {rollcall.CheckTCP, rollcall.CheckGRPC}} {
		for _, n := range []int{100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%v/%d", types, n), func(b *testing.B) {
				for b.Loop() {
					benchChecks(b, addrs, n, types...)
				}
			})
		}
	}
}

func benchChecks(b *testing.B, addrs []string, n int, types ...rollcall.CheckType) {
	etcd := etcdtest.Start(b)
	empty := heap()
	var mu sync.Mutex
	var late, took []time.Duration
	checking := startChecking(b, etcd, "a", func(c *check.Config) {
		c.Observe = func(o check.Observation) {
			mu.Lock()
			defer mu.Unlock()
			late, took = append(late, o.Late), append(took, o.Took)
		}
	})
	client := etcd.Client(b)
	putChecked(b, client, addrs, n, types...)
	eventually(b, grpcPatience, "all are checked", func() bool { return checking.checker.Stats().Checked == n })
	<-time.After(12 * time.Second)

	mu.Lock()
	late, took = make([]time.Duration, 0, 4*n), make([]time.Duration, 0, 4*n)
	mu.Unlock()
	const window = 30 * time.Second
	spent, began, open := processCPU(), time.Now(), 0
	for time.Since(began) < window {
		<-time.After(100 * time.Millisecond)
		open = max(open, checking.checker.Stats().UnderWay)
	}
	spent = processCPU() - spent
	took, late = copyOf(&mu, &took), copyOf(&mu, &late)
	if stats := checking.checker.Stats(); stats.Failing > 0 || len(keys(b, client, "rollcall/control/")) > 0 {
		b.Fatalf("all is well, but: %+v", stats)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*spent.Seconds()/window.Seconds(), "%-of-a-core")
	b.ReportMetric(float64(len(late))/window.Seconds(), "probes/s")
	b.ReportMetric(micros(late, 50)/1000, "late-p50-ms")
	b.ReportMetric(micros(late, 99)/1000, "late-p99-ms")
	b.ReportMetric(micros(took, 50)/1000, "took-p50-ms")
	b.ReportMetric(float64(open), "most-connections")
	b.ReportMetric((heap()-empty)/1e6, "heap-MB")
	checking.stop()
}

func copyOf(mu *sync.Mutex, from *[]time.Duration) []time.Duration {
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(*from)
}

// BenchmarkHealthOfMany is how long it takes until clients have heard that all instances of a service have become unhealthy at once: from
// when the last probe of them can have failed. What is left of it is the reports.
func BenchmarkHealthOfMany(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			etcd := etcdtest.Start(b)
			client := etcd.Client(b)
			for b.Loop() {
				s := startChecking(b, etcd, "a")
				w := watch(b, open(b, etcd.Endpoint()), "checked")
				// Nobody is there, and one failure is enough: all fall within the first interval.
				var ops []clientv3.Op
				for i := range n {
					id := fmt.Sprintf("i%05d", i)
					ops = append(ops, clientv3.OpPut(instances+"checked/"+id, fmt.Sprintf(`{"Op":0,"Addr":"127.0.0.1:1","ID":%q,"Incarnation":"A","TTL":15,"Check":{"Type":"tcp","Fall":1}}`, id)))
					if len(ops) == 120 || i == n-1 {
						if _, err := client.Txn(b.Context()).Then(ops...).Commit(); err != nil {
							b.Fatal(err)
						}
						ops = ops[:0]
					}
				}
				began := time.Now()
				until(b, w, 5*time.Minute, "all are unhealthy", func(v *rollcall.View) bool {
					return len(v.Instances) == n && !slices.ContainsFunc(v.Instances, (*rollcall.Instance).Healthy)
				})
				b.ReportMetric(max(time.Since(began)-rollcall.DefaultCheckInterval, 0).Seconds(), "s-after-the-interval")
				s.stop()
			}
		})
	}
}
