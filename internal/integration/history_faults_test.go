package integration

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	past "github.com/rollcall-io/rollcall/internal/history"
)

// awaitTold waits until a history tells exactly that.
func awaitTold(t *testing.T, h *historian, want []string) {
	t.Helper()
	var got []string
	deadline := time.Now().Add(historyPatience)
	for {
		got = recounted(etcdless(h.all(past.Filter{})))
		if cmp.Equal(want, got) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the history (-want +got):\n%s", cmp.Diff(want, got))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// trouble returns the kinds of what a history tells of etcd.
func trouble(h *historian) []past.Kind {
	var kinds []past.Kind
	for _, e := range h.all(past.Filter{}) {
		if e.Service == "" {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func TestAfterAWipeTheHistoryTellsWhoCameBackAndWhoDidNot(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	ctx := within(t, historyPatience)
	h := keepHistory(t, etcd.Endpoint(), past.Config{}, rollcall.WithSuspicion(2*time.Second))
	reg := open(t, etcd.Endpoint())
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	registerDead(t, etcd.Client(t), "svc", "dead", "one")
	override(t, reg, "svc", "a", rollcall.Override{Drain: true})
	if _, err := reg.SetPolicy(ctx, "svc", rollcall.Policy{Timeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	for n := range 5 { // the new store's revisions stay behind for a while
		register(t, reg, "aging", rollcall.Instance{ID: string(rune('a' + n)), Addr: "10.0.0.1:1"})
	}
	h.reaches(t, etcd.Client(t))
	before := len(etcdless(h.all(past.Filter{})))
	etcd.Wipe()
	eventually(t, historyPatience, "etcd's history broke", func() bool { return slices.Contains(trouble(h), past.EtcdReset) })
	eventually(t, historyPatience, "who did not come back is given up", func() bool { return len(h.all(past.Filter{Kinds: []past.Kind{past.Expired}})) > 0 })
	got := recounted(etcdless(h.all(past.Filter{}))[before:])
	slices.Sort(got)
	mustEqual(t, "after the wipe", got, []string{
		"ended svc/a so drain, lost with etcd's history",
		"expired svc/dead because etcd's history broke, and it did not come back",
		"policy_deleted svc/ so lost with etcd's history",
		"returned aging/a", "returned aging/b", "returned aging/c", "returned aging/d", "returned aging/e", "returned svc/a",
	})
	if kinds := trouble(h); kinds[len(kinds)-1] != past.EtcdReset || slices.Index(kinds, past.EtcdReset) != len(kinds)-1 {
		t.Errorf("etcd's troubles: %v", kinds)
	}
	r := register(t, reg, "svc", rollcall.Instance{ID: "new", Addr: "10.0.0.2:1"})
	if err := r.Deregister(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, historyPatience, "life goes on", func() bool {
		all := recounted(etcdless(h.all(past.Filter{})))
		return cmp.Equal(all[len(all)-2:], []string{"joined svc/new", "left svc/new"})
	})
}

func TestARestoredStoreTellsNothingTwice(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	c := etcd.Client(t)
	ctx := within(t, historyPatience)
	h := keepHistory(t, etcd.Endpoint(), past.Config{}, rollcall.WithSuspicion(2*time.Second))
	reg := open(t, etcd.Endpoint())
	register(t, reg, "svc", rollcall.Instance{ID: "a", Addr: "10.0.0.1:1"})
	ghost := registerDead(t, c, "svc", "ghost", "g")
	twice := register(t, reg, "svc", rollcall.Instance{ID: "twice", Addr: "10.0.0.3:1"})
	if err := twice.Deregister(ctx); err != nil {
		t.Fatal(err)
	}
	h.reaches(t, c)

	etcd.Stop()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(etcd.DataDir())); err != nil {
		t.Fatal(err)
	}
	etcd.Restart()
	ghost.expire(t)
	register(t, reg, "svc", rollcall.Instance{ID: "late", Addr: "10.0.0.4:1"})
	want := []string{"joined svc/a", "joined svc/ghost", "joined svc/twice", "left svc/twice", "expired svc/ghost", "joined svc/late"}
	awaitTold(t, h, want)

	etcd.Stop()
	if err := os.RemoveAll(etcd.DataDir()); err != nil {
		t.Fatal(err)
	}
	if err := copyPrivately(etcd.DataDir(), backup); err != nil {
		t.Fatal(err)
	}
	etcd.Restart()
	eventually(t, historyPatience, "etcd's history broke", func() bool { return slices.Contains(trouble(h), past.EtcdReset) })
	want = append(want, "returned svc/ghost so brought back with etcd's history", "returned svc/late")
	awaitTold(t, h, want)
	ghost.expire(t)
	awaitTold(t, h, append(want, "expired svc/ghost"))
}

// copyPrivately is os.CopyFS for a data directory of etcd, which nobody else may read.
func copyPrivately(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
}

func TestWhatEtcdCompactedAwayIsAGapAndNothingIsInvented(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	c := etcd.Client(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	h := keepHistory(t, proxy.Addr(), past.Config{})
	stays, goes := registerDead(t, c, "svc", "stays", "1"), registerDead(t, c, "svc", "goes", "2")
	h.reaches(t, c)
	proxy.Cut()
	goes.expire(t)
	registerDead(t, c, "svc", "comes", "3")
	etcd.Compact(t)
	missed := h.Stats().Revision
	proxy.Heal()
	want := []string{"joined svc/stays", "joined svc/goes"}
	eventually(t, historyPatience, "the gap is told", func() bool { return slices.Contains(trouble(h), past.Gap) })
	if at := h.Begin().Revision; at <= missed {
		t.Errorf("the history says that nothing is missing after %d, and it had read up to %d", at, missed)
	}
	stays.expire(t)
	awaitTold(t, h, append(want, "expired svc/stays"))

	// Who comes now begins where etcd's past does.
	later := keepHistory(t, etcd.Endpoint(), past.Config{})
	awaitTold(t, later, []string{"expired svc/stays"})
	if begin := later.Begin(); begin.Revision != h.Begin().Revision || begin.Time.IsZero() {
		t.Errorf("the later history begins at %+v, the earlier one at %+v", begin, h.Begin())
	}
}

func TestADrainEndsInTheHistoryWhenItsTimeComes(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	c := etcd.Client(t)
	h := keepHistory(t, etcd.Endpoint(), past.Config{})
	reg := open(t, etcd.Endpoint())
	server := register(t, reg, "rollcall.server", rollcall.Instance{ID: "s1", Addr: "10.0.0.9:1"})
	beats := func() {
		t.Helper()
		err := server.Update(within(t, historyPatience), func(i *rollcall.Instance) {
			i.Metadata = map[string]string{"beat": time.Now().UTC().Format(time.RFC3339Nano)}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	beats()
	until := time.Now().Add(1500 * time.Millisecond)
	override(t, reg, "svc", "a", rollcall.Override{Drain: true, Until: until, Author: "jie"})
	want := []string{"joined rollcall.server/s1", "drained svc/a by jie with an end", "ended svc/a so drain with an end"}
	awaitTold(t, h, want)
	beats()
	if _, err := c.Delete(within(t, historyPatience), "rollcall/control/svc/override/a"); err != nil { // as its lease would in a minute
		t.Fatal(err)
	}
	if err := server.Deregister(within(t, historyPatience)); err != nil {
		t.Fatal(err)
	}
	want = append(want, "left rollcall.server/s1")
	awaitTold(t, h, want)
	later := keepHistory(t, etcd.Endpoint(), past.Config{})
	awaitTold(t, later, want)
	for _, kept := range []*historian{h, later} {
		e := kept.all(past.Filter{Kinds: []past.Kind{past.Ended}})[0]
		if !e.Time.Equal(until) || e.Within != 0 {
			t.Errorf("it ended at %v, within %v, and was to end at %v", e.Time, e.Within, until)
		}
	}
}

func TestAMomentIsFoundByItsTimeAlsoInThePast(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	c := etcd.Client(t)
	reg := open(t, etcd.Endpoint())
	server := register(t, reg, "rollcall.server", rollcall.Instance{ID: "s1", Addr: "10.0.0.9:1"})
	type point struct {
		at   time.Time
		want []string
	}
	var points []point
	var there []string
	for _, id := range []string{"a", "b", "c"} {
		err := server.Update(within(t, historyPatience), func(i *rollcall.Instance) {
			i.Metadata = map[string]string{"beat": time.Now().UTC().Format(time.RFC3339Nano)}
		})
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, point{time.Now(), slices.Clone(there)})
		<-time.After(150 * time.Millisecond)
		register(t, reg, "svc", rollcall.Instance{ID: id, Addr: "10.0.0.1:1"})
		there = append(there, id)
	}
	h := keepHistory(t, etcd.Endpoint(), past.Config{})
	h.reaches(t, c)
	for n, p := range points {
		m, err := h.Moment(p.at)
		if err != nil {
			t.Fatal(err)
		}
		v, err := h.reg.LookupAt(within(t, historyPatience), "svc", m.Revision, m.Time)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p.want, ids(v)); diff != "" || m.Time.After(p.at) {
			t.Errorf("at point %d, taken as %+v (-want +got):\n%s", n, m, diff)
		}
	}
	for _, at := range []time.Time{points[0].at.Add(-time.Hour), time.Now().Add(time.Hour)} {
		if m, err := h.Moment(at); err == nil {
			t.Errorf("a moment that nobody knows, %v: %+v", at, m)
		}
	}
}
