package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	past "github.com/rollcall-io/rollcall/internal/history"
)

// deed is something that a test does, and what the history tells of it.
type deed struct {
	want  []string
	do    func()
	began time.Time
	ended time.Time
}

func TestTheHistoryTellsWhoCameAndWentAndWhyAlsoToAReaderThatComesLater(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	c := etcd.Client(t)
	live := keepHistory(t, etcd.Endpoint(), past.Config{})
	reg, other := open(t, etcd.Endpoint()), open(t, etcd.Endpoint())
	ctx := within(t, historyPatience)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var b, silent *rollcall.Registration
	var lone, shared *dead
	deeds := []*deed{
		{want: []string{"joined svc/10.0.0.1:1"}, do: func() { register(t, reg, "svc", rollcall.Instance{Addr: "10.0.0.1:1"}) }},
		{want: []string{"joined svc/b"}, do: func() {
			b = register(t, reg, "svc", rollcall.Instance{ID: "b", Addr: "10.0.0.2:1", Metadata: map[string]string{"team": "x"}})
		}},
		{want: []string{"changed svc/b so weight 100 → 50, zone none → z, metadata team"}, do: func() {
			ok(b.Update(ctx, func(i *rollcall.Instance) { i.Weight, i.Zone, i.Metadata = 50, "z", map[string]string{"team": "y"} }))
		}},
		{want: []string{"drained svc/b"}, do: func() { ok(b.Drain(ctx)) }},
		{want: []string{"undone svc/b"}, do: func() { ok(b.Update(ctx, func(i *rollcall.Instance) { i.State = rollcall.StateServing })) }},
		{want: []string{"drained svc/10.0.0.1:1 by jie because disk"}, do: func() {
			override(t, reg, "svc", "10.0.0.1:1", rollcall.Override{Drain: true, Author: "jie", Reason: "disk"})
		}},
		{want: []string{"undone svc/10.0.0.1:1 by ada because fixed so drain"}, do: func() {
			ok(reg.DeleteOverride(ctx, "svc", "10.0.0.1:1", rollcall.AnyRevision, rollcall.By{Author: "ada", Reason: "fixed"}))
		}},
		{want: []string{"weighed svc/b by jie so weight 50 → 7 with an end"}, do: func() {
			override(t, reg, "svc", "b", rollcall.Override{Weight: 7, Author: "jie", Until: time.Now().Add(time.Hour)})
		}},
		{want: []string{"undone svc/b so weight 7"}, do: func() { ok(reg.DeleteOverride(ctx, "svc", "b", rollcall.AnyRevision)) }},
		{want: []string{"policy_set svc/ by jie because slow so timeout"}, do: func() {
			_, err := reg.SetPolicy(ctx, "svc", rollcall.Policy{Timeout: time.Second, Author: "jie", Reason: "slow"})
			ok(err)
		}},
		{want: []string{"policy_deleted svc/ by ada because fast"}, do: func() {
			ok(reg.DeletePolicy(ctx, "svc", rollcall.AnyRevision, rollcall.By{Author: "ada", Reason: "fast"}))
		}},
		{want: []string{"accepted svc/ by jie because moved"}, do: func() { ok(reg.Accept(ctx, "svc", "moved", "jie")) }},
		{want: []string{"unhealthy svc/b by s1 because refused"}, do: func() {
			ok(other.ReportHealth(ctx, "svc", "b", b.Instance().Incarnation, &rollcall.Health{Failing: true, Checker: "s1", Detail: "refused", Since: time.Now()}))
		}},
		{want: []string{"joined checks/server"}, do: func() { register(t, other, "checks", rollcall.Instance{ID: "server", Addr: "10.0.0.7:1"}) }}, // under the report's lease
		{want: []string{"healthy svc/b"}, do: func() { ok(other.ReportHealth(ctx, "svc", "b", b.Instance().Incarnation, nil)) }},
		{want: []string{"left svc/b"}, do: func() { ok(b.Deregister(ctx)) }},
		{want: []string{"joined svc/b"}, do: func() { b = register(t, other, "svc", rollcall.Instance{ID: "b", Addr: "10.0.0.2:1"}) }},
		{want: []string{"replaced svc/b so addr 10.0.0.2:1 → 10.0.0.3:1"}, do: func() {
			register(t, reg, "svc", rollcall.Instance{ID: "b", Addr: "10.0.0.3:1"})
			<-b.Done()
		}},
		{want: []string{"joined svc/dead"}, do: func() { lone = registerDead(t, c, "svc", "dead", "one") }},
		{want: []string{"expired svc/dead"}, do: func() { lone.expire(t) }},
		{want: []string{"returned svc/dead"}, do: func() { shared = registerDead(t, c, "svc", "dead", "one") }},
		{want: []string{"joined svc/dead2"}, do: func() { shared.put(t, "svc", "dead2", "two") }},
		{want: []string{"removed svc/dead"}, do: func() {
			_, err := c.Delete(ctx, "rollcall/services/svc/dead")
			ok(err)
		}},
		{want: []string{"expired svc/dead2"}, do: func() { shared.expire(t) }},
		{want: []string{"joined svc/silent"}, do: func() {
			silent = register(t, reg, "svc", rollcall.Instance{ID: "silent", Addr: "10.0.0.8:1"}, rollcall.WithToken("a token of a program"))
		}},
		{want: []string{"expired svc/silent"}, do: func() { ok(silent.Expire(ctx)) }}, // as a server does that hears nothing of it, whose lease lives
		{want: nil, do: func() { put(t, c, "rollcall/services/svc/leaseless", "no JSON") }},
		{want: []string{"joined svc/leaseless"}, do: func() { put(t, c, "rollcall/services/svc/leaseless", `{"Addr":"10.8.8.8:1"}`) }},
		{want: nil, do: func() { put(t, c, "rollcall/services/svc/leaseless", "no JSON again") }}, // the last good one stays
		{want: []string{"removed svc/leaseless by ada because forgotten"}, do: func() {
			put(t, c, "rollcall/services/svc/leaseless", `{"Addr":"10.8.8.8:1"}`)
			_, err := reg.RemoveDead(ctx, "svc", "leaseless", rollcall.By{Author: "ada", Reason: "forgotten"})
			ok(err)
		}},
		{want: []string{"removed svc/10.0.0.1:1", "returned svc/10.0.0.1:1"}, do: func() { // a live one heals itself
			_, err := c.Delete(ctx, "rollcall/services/svc/10.0.0.1:1")
			ok(err)
			eventually(t, historyPatience, "it is back", func() bool { return len(keys(t, c, "rollcall/services/svc/10.0.0.1:1")) == 1 })
		}},
		{want: []string{"left svc/10.0.0.1:1", "left svc/b"}, do: func() { ok(reg.Close(ctx)) }},
	}
	seen := 0
	for n, d := range deeds {
		d.began = time.Now()
		d.do()
		live.reaches(t, c)
		d.ended = time.Now()
		events := live.all(past.Filter{})
		lines := recounted(events[seen:])
		slices.Sort(lines) // who leaves at once leaves in any order
		if diff := cmp.Diff(d.want, lines); diff != "" {
			t.Errorf("deed %d (-want +got):\n%s", n, diff)
		}
		for _, e := range events[seen:] {
			if e.Time.Before(d.began) || e.Time.After(d.ended) || e.Within != 0 {
				t.Errorf("%v of %v, within %v, was between %v and %v", e.Kind, e.Time, e.Within, d.began, d.ended)
			}
		}
		seen = len(events)
	}
	compare(t, c, live, keepHistory(t, etcd.Endpoint(), past.Config{}))
}

// compare holds what a reader tells that has read it all from etcd's past against what the one tells that has seen it.
func compare(t *testing.T, c *clientv3.Client, live, later *historian) {
	t.Helper()
	live.reaches(t, c)
	later.reaches(t, c)
	seen, read := live.all(past.Filter{}), later.all(past.Filter{})
	seen, read = etcdless(seen), etcdless(read)
	if diff := cmp.Diff(recounted(seen), recounted(read)); diff != "" {
		t.Fatalf("the past is told otherwise (-seen +read):\n%s", diff)
	}
	for i, e := range read {
		s := seen[i]
		if e.Revision != s.Revision || e.Incarnation != s.Incarnation || e.Addr != s.Addr || !e.Since.Equal(s.Since) || !e.Until.Equal(s.Until) {
			t.Errorf("event %d differs:\nseen %+v\nread %+v", i, s, e)
		}
		// Clocks of one machine, and what was seen a moment later than it was.
		const slack = 100 * time.Millisecond
		early, late := e.Time.Add(-e.Within-slack), e.Time.Add(slack)
		if !e.Time.IsZero() && (s.Time.Before(early) || s.Time.Add(-s.Within).After(late)) {
			t.Errorf("%v %s/%s was at %v within %v, read as %v within %v", e.Kind, e.Service, e.Instance, s.Time, s.Within, e.Time, e.Within)
		}
	}
}
