package integration

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

// A deploy as Serve does it, with callers in three languages, none of which has a line of this project in it.
func TestARollingRestartFailsNoCallOfGoPythonAndNode(t *testing.T) {
	t.Parallel()
	w := startForeignXDS(t, "")
	fleet := []foreignServer{w.serve(20 * time.Millisecond), w.serve(20 * time.Millisecond), w.serve(20 * time.Millisecond)}
	w.until(fleet...)
	w.forgive()
	for n, old := range fleet {
		old.stop()
		if err := old.wait(t); err != nil {
			t.Fatal(err)
		}
		fleet[n] = w.serve(20 * time.Millisecond)
		w.until(fleet...)
	}
	w.unfailed("rolling restart")

	// The control of the above: these callers can tell a good restart from a bad one. A server that only leaves too fast will not do for it: a
	// busy machine gives callers the time that it does not.
	hasty := w.serve(300 * time.Millisecond)
	w.until(append(fleet, hasty)...)
	w.unfailed("one more")
	hasty.srv.Stop()
	w.until(fleet...)
	for _, c := range w.callers {
		if len(c.takeLosses()) == 0 {
			t.Errorf("no call of %s failed though a server stopped at once", c.language)
		}
	}
}

// serve has Serve run one more server of the service. A call takes the given time.
func (w *foreignXDS) serve(work time.Duration) foreignServer {
	w.t.Helper()
	g := newGreeter(w.t)
	g.work = work
	return foreignServer{greeter: g.serve(w.t, w.reg, rollcallgrpc.WithDrainDelay(rollcallgrpc.DefaultDrainDelay))}
}

func TestOnlyCallsUnderWayFailWhenAServerOfGoPythonAndNodeIsKilled(t *testing.T) {
	t.Parallel()
	w := startForeignXDS(t, "")
	a := w.add(rollcallInstance("", ""))
	doomed := startServers(t, 1, serversSpec{Etcd: w.etcd.Endpoint(), Servers: 1, Work: 100 * time.Millisecond})[0]
	doomed.do(t, "register")
	b := foreignServer{greeter: &greeter{addr: doomed.addrs[0]}}
	w.until(a, b)
	w.forgive()
	doomed.kill(t)
	dead := time.Now()
	w.until(a)
	for _, c := range w.callers {
		losses := c.takeLosses()
		t.Logf("%s lost %d calls", c.language, len(losses))
		for _, l := range losses {
			// A caller that has not had a processor since does not know yet.
			if l.code != "UNAVAILABLE" || l.began.After(dead.Add(250*time.Millisecond)) {
				t.Errorf("a call of %s that began %v after the server's end: %v", c.language, l.began.Sub(dead), l)
			}
		}
	}
}
