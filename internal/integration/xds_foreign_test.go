package integration

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// xdsAway is for how long etcd is away: a minute, if somebody has the time.
var xdsAway = flag.Duration("xds.away", 2*time.Second, "how long etcd is away in the test of xDS clients in several languages")

// Three clients that nobody here wrote, at once, against one server: what they are told, they do, and no call fails.
func TestGoPythonAndNodeFindServersByXDSAndFailNoCall(t *testing.T) {
	t.Parallel()
	w := startForeignXDS(t, "a")
	w.failFast()
	a := w.add(rollcall.Instance{})
	w.until(a)
	w.wantAgents()
	w.forgive()
	for _, step := range []struct {
		name string
		do   func(a foreignServer)
	}{
		{"add, drain and remove", w.comeAndGo},
		{"weight", w.weigh},
		{"split", w.split},
		{"policy", w.obey},
		{"zone failover", w.failOver},
		{"the server restarts", w.restartServer},
		{"etcd is away", w.loseEtcd},
	} {
		began := time.Now()
		step.do(a)
		w.unfailed(step.name)
		t.Logf("%s: %v", step.name, time.Since(began).Round(time.Millisecond))
	}
}

// failFast wants the first call of each caller, of a name that nobody registered, to fail soon: a client that is not answered gives up after
// 15 s, or not at all.
func (w *foreignXDS) failFast() {
	w.t.Helper()
	for _, c := range w.callers {
		var first loss
		eventually(w.t, xdsPatience, "a call of "+c.language+" to nobody that fails", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			if len(c.losses) == 0 {
				return false
			}
			first = c.losses[0]
			return true
		})
		if first.code != "UNAVAILABLE" || first.took > 5*time.Second {
			w.t.Errorf("a call of %s to nobody: %v", c.language, first)
		}
		w.t.Logf("%s, unknown name: %v", c.language, first)
	}
}

// wantAgents wants the server's list of clients to have one of each language.
func (w *foreignXDS) wantAgents() {
	w.t.Helper()
	var agents []string
	for _, client := range w.clients() {
		agents = append(agents, client.GetAgent())
		w.t.Logf("%s: %s %s", client.GetId(), client.GetAgent(), client.GetAgentVersion())
	}
	slices.Sort(agents)
	mustEqual(w.t, "clients", agents, []string{"gRPC C-core linux Python", "gRPC Go", "gRPC Node Pure JS"})
}

func (w *foreignXDS) comeAndGo(a foreignServer) {
	w.t.Helper()
	b := w.add(rollcall.Instance{})
	w.until(a, b)
	w.drain(b)
	w.until(a)
	if err := b.hold.Update(within(w.t, xdsPatience), func(i *rollcall.Instance) { i.State = rollcall.StateServing }); err != nil {
		w.t.Fatal(err)
	}
	w.until(a, b)
	w.leave(b)
	w.until(a)
}

func (w *foreignXDS) weigh(foreignServer) {
	w.t.Helper()
	b := w.add(rollcall.Instance{Weight: 300})
	w.untilShare(75, b)
	if err := b.hold.Update(within(w.t, xdsPatience), func(i *rollcall.Instance) { i.Weight = 25 }); err != nil {
		w.t.Fatal(err)
	}
	w.untilShare(20, b)
	w.leave(b)
}

func (w *foreignXDS) split(foreignServer) {
	w.t.Helper()
	b := w.add(rollcall.Instance{Version: "v2"})
	w.steer(rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v2": 20}}})
	w.untilShare(20, b)
	w.leave(b) // and the others take its part over
}

func (w *foreignXDS) obey(a foreignServer) {
	w.t.Helper()
	b := w.add(rollcall.Instance{})
	for _, p := range []rollcall.Policy{
		{Retry: &rollcall.Retry{Attempts: 3}, Timeout: 20 * time.Second},
		{Balancing: rollcall.Balancing{Pick: rollcall.LeastRequest, SlowStart: time.Second}},
		{Balancing: rollcall.Balancing{Ejection: rollcall.Ejection{Failures: 3, Time: 5 * time.Second, MaxPercent: 50}}},
		{Balancer: "ring_hash_experimental"},
		{Balancer: "nobody_has_this"},
		{},
	} {
		w.steer(p)
		w.settle()
		w.more(40)
	}
	w.until(a, b)
	w.leave(b)
}

// failOver has the callers' zone die: its servers end, and their keys stay, so that nobody but the callers knows.
func (w *foreignXDS) failOver(a foreignServer) {
	w.t.Helper()
	near, far := w.add(rollcall.Instance{}), w.add(rollcall.Instance{Zone: "b"})
	w.until(a, near)
	w.drain(a)
	w.until(near) // half of the capacity of two zones is in each
	near.srv.GracefulStop()
	w.until(far)
	if err := near.hold.Deregister(within(w.t, xdsPatience)); err != nil {
		w.t.Fatal(err)
	}
	if err := a.hold.Update(within(w.t, xdsPatience), func(i *rollcall.Instance) { i.State = rollcall.StateServing }); err != nil {
		w.t.Fatal(err)
	}
	w.until(a)
	w.leave(far)
}

// restartServer also has clients begin while only a second server is there: it serves them.
func (w *foreignXDS) restartServer(a foreignServer) {
	w.t.Helper()
	second := serveProcess(w.t, w.etcd)
	w.server.stop()
	w.more(100)
	b := w.add(rollcall.Instance{})
	for _, r := range w.runtimes {
		late := r.start(w.t, w.fallback(r, second))
		late.until(a.addr, b.addr)
		late.stop()
		if losses := late.takeLosses(); len(losses) > 0 {
			w.t.Errorf("%d calls failed of a client in %s that begins at the second server, the first one with %v", len(losses), r.language, losses[0])
		}
	}
	second.stop()
	w.server.start()
	w.until(a, b)
	w.leave(b)
}

// fallback is the bootstrap for two servers. Python and Node of today take the first of a list only; but all addresses of a target.
func (w *foreignXDS) fallback(r xdsRuntime, second *serverProcess) []byte {
	flags := []string{"--zone", w.zone, "--server", w.server.grpc + "," + second.grpc}
	if r.language != "Go" {
		flags = append(flags, "--one-uri")
	}
	return bootstrapOf(w.t, flags...)
}

func (w *foreignXDS) loseEtcd(a foreignServer) {
	w.t.Helper()
	w.etcd.Stop()
	back := time.After(*xdsAway)
	for away := true; away; {
		w.more(100)
		select {
		case <-back:
			away = false
		default:
		}
	}
	w.etcd.Restart()
	b := w.add(rollcall.Instance{})
	w.until(a, b)
	w.leave(b)
	w.until(a)
}
