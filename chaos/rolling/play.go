package rolling

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

// Play plays a plan and judges it. It fails t if there was no run to judge; what it does about the verdict is for the
// caller.
func Play(t testing.TB, p Plan) Verdict {
	t.Helper()
	p.Servers, p.Stop = cmp.Or(p.Servers, 4), cmp.Or(p.Stop, "serve")
	if p.Trouble == EtcdDown && p.Mode != SamePort {
		t.Fatal("with etcd down no caller can hear of a new port")
	}
	j, err := work.Create(filepath.Join(p.Dir, "run"+work.Extension))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	r := &run{Plan: p, t: t, journal: j}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { work.NoteStalls(ctx, j) })
	r.play()
	stop()
	wg.Wait()
	lines, err := work.ReadAll(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return Judge(p.expect(), lines)
}

// run is a plan that is played.
type run struct {
	Plan
	t       testing.TB
	journal *work.Journal
	servers []*process // those that are not told to end
	leaving []*process // those that are
	callers []*process
	xds     *process        // the server of Plan.Xds
	started int             // servers
	killed  *cluster.Member // that is to be started again
}

func (r *run) play() {
	r.t.Helper()
	for range r.Servers {
		r.servers = append(r.servers, r.server("127.0.0.1:0"))
	}
	for _, s := range r.servers {
		s.must(work.Ready)
	}
	if r.Xds != "" {
		r.startXds()
	}
	r.startCallers()
	r.warm()
	if r.Trouble == EtcdDown {
		r.journal.Tell(work.Line{What: work.Killed, Of: "etcd"})
		r.Cluster.KillAll()
	}
	for i := 0; i < r.Restarts || i < 3*r.Restarts && r.calls() < r.Calls; i++ {
		if !r.restart(i%r.Servers, r.Trouble == LeaderKilled && i == r.Restarts/2) {
			break // the judge sees why
		}
	}
	time.Sleep(Propagation) // or the last goodbye is not seen to be heeded
	r.finish()
}

func (r *run) startCallers() {
	r.t.Helper()
	etcd := r.Cluster.Endpoints()
	if r.Late > 0 {
		for i := range etcd {
			p := faultproxy.Start(r.t, etcd[i])
			p.Delay(r.Late)
			etcd[i] = p.Addr()
		}
	}
	for _, c := range r.Callers {
		command := append(c.Command[:len(c.Command):len(c.Command)], "-etcd", strings.Join(etcd, ","), "-service", r.Service)
		r.callers = append(r.callers, start(r.t, r.Dir, c.Name, append(c.Env[:len(c.Env):len(c.Env)], r.bootstrap(c.Name)...), command...))
	}
}

// server starts a server.
func (r *run) server(addr string) *process {
	r.t.Helper()
	r.started++
	return start(r.t, r.Dir, fmt.Sprintf("s%d", r.started), nil,
		r.Server, "-etcd", strings.Join(r.Cluster.Endpoints(), ","), "-addr", addr, "-service", r.Service, "-stop", r.Stop)
}

// warm waits until every caller calls every server.
func (r *run) warm() {
	r.t.Helper()
	for _, c := range r.callers {
		if !c.await(patience, func() bool { return c.good > 0 }) {
			r.t.Fatalf("%s has made no call that succeeded", c.name)
		}
	}
	for _, s := range r.servers {
		if !r.called(s) {
			r.t.Fatalf("not every caller calls %s", s.name)
		}
	}
}

// called waits, for a while, until every caller was answered by a server; for callers that do not write down whom they call,
// until somebody has called it. It tells whether that has come.
func (r *run) called(s *process) bool {
	r.t.Helper()
	for _, c := range r.callers {
		who, so := c, func() bool { return c.last[s.addr] > s.since }
		if len(c.last) == 0 {
			who, so = s, func() bool { return s.seen[work.Began] > 0 }
		}
		if !who.await(patience/2, so) {
			return false
		}
	}
	return true
}

// calls is how many were made by now.
func (r *run) calls() int {
	n := 0
	for _, c := range r.callers {
		c.read()
		n += c.seen[work.Called]
	}
	return n
}

// restart replaces a server. As every deployment should, it waits until the new one does what it is there for before it
// goes on to the next: otherwise there may be none left that callers know of, whatever anybody does. It tells whether the
// new one does.
func (r *run) restart(i int, killLeader bool) bool {
	r.t.Helper()
	former, next := r.servers[i], (*process)(nil)
	if r.Mode == Replace {
		next = r.server("127.0.0.1:0")
		next.must(work.Ready)
	}
	if killLeader {
		r.killLeader()
	}
	r.tell(former)
	former.must(work.Stopped)
	if r.Mode == SamePort {
		next = r.server(former.addr)
		next.must(work.Listening)
	}
	r.servers[i] = next
	if r.killed != nil {
		r.reviveLeader()
	}
	if r.Mode == SamePort && r.Trouble != EtcdDown {
		next.must(work.Ready)
	}
	return r.called(next)
}

func (r *run) killLeader() {
	r.killed = r.Cluster.Leader()
	r.journal.Tell(work.Line{What: work.Killed, Of: r.killed.Name})
	r.killed.Kill()
}

func (r *run) reviveLeader() {
	r.killed.Start()
	r.journal.Tell(work.Line{What: work.Revived, Of: r.killed.Name})
	r.killed = nil
}

// tell tells a server to end.
func (r *run) tell(s *process) {
	if s.ended() {
		return // the judge sees that it did so by itself
	}
	r.journal.Tell(work.Line{What: work.Told, Of: s.name})
	s.tell()
	r.leaving = append(r.leaving, s)
}

// finish ends the callers, then the servers.
func (r *run) finish() {
	r.t.Helper()
	for _, c := range r.callers {
		c.tell()
	}
	for _, c := range r.callers {
		r.exited(c)
	}
	r.journal.Tell(work.Line{What: work.Quiet})
	for _, s := range r.servers {
		r.tell(s)
	}
	for _, s := range r.leaving {
		r.exited(s)
	}
	if r.xds != nil {
		r.xds.tell()
		r.exited(r.xds)
	}
}

func (r *run) exited(p *process) {
	r.journal.Tell(work.Line{What: work.Exited, Of: p.name, Message: p.end()})
}
