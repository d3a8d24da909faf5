package integration

import (
	"fmt"
	"maps"
	"math"
	"os/exec"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// foreignXDS is an etcd, a server on it that is a process, and callers in several languages that find their servers by its xDS.
type foreignXDS struct {
	t      *testing.T
	zone   string // the callers'
	etcd   *etcdtest.Server
	reg    *rollcall.Registry // of the servers of the service
	server *serverProcess
	conn   *grpc.ClientConn

	runtimes []xdsRuntime
	callers  []*pacedCaller // one in each
}

// startForeignXDS has one caller in each language call from a zone. Nobody is registered yet, so that their calls fail.
func startForeignXDS(t *testing.T, zone string) *foreignXDS {
	t.Helper()
	w := newForeignXDS(t, zone)
	for _, r := range w.runtimes {
		w.callers = append(w.callers, r.start(t, bootstrapOf(t, "--server", w.server.grpc, "--zone", zone)))
	}
	return w
}

// newForeignXDS has no callers yet.
func newForeignXDS(t *testing.T, zone string) *foreignXDS {
	t.Helper()
	w := &foreignXDS{t: t, zone: zone, runtimes: xdsRuntimes(t), etcd: etcdtest.Start(t)}
	w.reg, w.server = open(t, w.etcd.Endpoint()), serveProcess(t, w.etcd)
	conn, err := grpc.NewClient(w.server.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w.conn = conn
	return w
}

// bootstrapOf is what the command prints for a client.
func bootstrapOf(t *testing.T, flags ...string) []byte {
	t.Helper()
	program, err := theProgram()
	if err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command(program, append([]string{"xds", "bootstrap"}, flags...)...).Output()
	if err != nil {
		t.Fatalf("xds bootstrap %v: %v", flags, err)
	}
	return text
}

// foreignServer is one server of the service.
type foreignServer struct {
	*greeter
	hold *rollcall.Registration
}

// add runs one more server of the service, in the callers' zone unless it says otherwise.
func (w *foreignXDS) add(inst rollcall.Instance) foreignServer {
	w.t.Helper()
	if inst.Zone == "" {
		inst.Zone = w.zone
	}
	g := newGreeter(w.t)
	return foreignServer{g, g.register(w.t, w.reg, inst)}
}

// leave ends a server in order: nothing of it is left, and no call fails.
func (w *foreignXDS) leave(s foreignServer) {
	w.t.Helper()
	w.drain(s)
	if err := s.hold.Deregister(within(w.t, xdsPatience)); err != nil {
		w.t.Fatal(err)
	}
	s.srv.GracefulStop()
}

// drain marks a server draining, and waits until all clients have acknowledged that.
func (w *foreignXDS) drain(s foreignServer) {
	w.t.Helper()
	if err := s.hold.Drain(within(w.t, xdsPatience)); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
}

// settle waits until all clients have acknowledged what was written up to now.
func (w *foreignXDS) settle() {
	w.t.Helper()
	w.settled(w.t, grpcService, len(w.callers))
}

// settled waits until all clients that watch a service, as many as wanted, have acknowledged what was written up to now.
func (w *foreignXDS) settled(t *testing.T, service string, clients int) {
	t.Helper()
	now, err := w.etcd.Client(t).Get(within(t, xdsPatience), "now")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := rollcallv1.NewControlServiceClient(w.conn).AwaitClients(within(t, xdsPatience),
		&rollcallv1.AwaitClientsRequest{Service: service, Revision: now.Header.GetRevision()}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if int(answer.GetClients()) != clients {
		t.Fatalf("%d clients watch %s, want %d", answer.GetClients(), service, clients)
	}
}

// steer has the service's policy replaced.
func (w *foreignXDS) steer(p rollcall.Policy) {
	w.t.Helper()
	w.decide(w.t, grpcService, p)
}

// decide has the policy of a service replaced.
func (w *foreignXDS) decide(t *testing.T, service string, p rollcall.Policy) {
	t.Helper()
	if former, err := w.reg.Policy(within(t, xdsPatience), service); err == nil {
		p.Revision = former.Revision
	}
	if _, err := w.reg.SetPolicy(within(t, xdsPatience), service, p); err != nil {
		t.Fatal(err)
	}
}

// until waits until exactly the given servers answer each caller.
func (w *foreignXDS) until(servers ...foreignServer) {
	w.t.Helper()
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.addr)
	}
	slices.Sort(addrs)
	eventually(w.t, xdsPatience, fmt.Sprint("only ", addrs, " to answer all callers"), func() bool {
		w.more(40 * len(addrs))
		return !slices.ContainsFunc(w.callers, func(c *pacedCaller) bool {
			return !slices.Equal(slices.Sorted(maps.Keys(c.counted())), addrs)
		})
	})
}

// more lets each caller call so many times more.
func (w *foreignXDS) more(calls int) {
	w.t.Helper()
	for _, c := range w.callers {
		c.reset()
	}
	for _, c := range w.callers {
		c.await(fmt.Sprintf("%d calls of %s", calls, c.language), func(tally map[string]int) bool { return callsIn(tally) >= calls })
	}
}

// untilShare waits until, of 1,000 calls of each caller, such a part goes to a server, within 5 % of all.
func (w *foreignXDS) untilShare(percent float64, s foreignServer) {
	w.t.Helper()
	for deadline := time.Now().Add(xdsPatience); ; {
		w.more(1000)
		var off []string
		for _, c := range w.callers {
			got := percentOf(c.counted(), s.addr)
			w.t.Logf("%s: %.1f %% of its calls, want %.0f %%", c.language, got, percent)
			if math.Abs(got-percent) > 5 {
				off = append(off, c.language)
			}
		}
		if off == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the shares of calls in %v are not as they should be", off)
		}
	}
}

// unfailed wants that no call has failed since it was asked last, and that no client refused what it was told.
func (w *foreignXDS) unfailed(when string) {
	w.t.Helper()
	for _, c := range w.callers {
		if losses := c.takeLosses(); len(losses) > 0 {
			w.t.Errorf("%s: %d calls of %s failed, the first one with %v", when, len(losses), c.language, losses[0])
		}
	}
	for _, client := range w.clients() {
		for _, watched := range client.GetTypes() {
			if refusal := watched.GetRefusal(); refusal != nil {
				w.t.Errorf("%s: %s %s refused %s: %s", when, client.GetAgent(), client.GetAgentVersion(), watched.GetType(), refusal.GetDetail())
			}
		}
	}
}

// clients returns who is connected to the server.
func (w *foreignXDS) clients() []*rollcallv1.XdsClient {
	w.t.Helper()
	answer, err := rollcallv1.NewOperationsServiceClient(w.conn).ListXdsClients(within(w.t, xdsPatience),
		&rollcallv1.ListXdsClientsRequest{Service: grpcService}, grpc.WaitForReady(true))
	if err != nil {
		w.t.Fatal(err)
	}
	return answer.GetClients()
}

// forgive forgets the calls that failed up to now, as those do when there is nobody yet.
func (w *foreignXDS) forgive() {
	for _, c := range w.callers {
		c.takeLosses()
	}
}
