package rollcall

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// kept returns a feed with three instances that was written to a snapshot directory.
func kept(t *testing.T) (*snapshotDir, *feed) {
	t.Helper()
	d := &snapshotDir{path: filepath.Join(t.TempDir(), "deep", "down"), logger: newSettings(nil).logger}
	r := guarded(t, 3)
	s, err := r.f.snapshot(time.Now())
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	if err := d.save("svc", s); err != nil {
		t.Fatal(err)
	}
	return d, r.f
}

func TestASnapshotIsRecalledAsAStaleView(t *testing.T) {
	d, old := kept(t)
	r := &follower{t: t, f: newFeed("svc", testDir, newSettings(nil))}
	seed := r.f.recall(d)
	v := r.next()
	if v.StaleSince.IsZero() || v.StaleErr == nil || time.Since(v.StaleSince) > time.Minute || v.Revision != old.view.Revision {
		t.Errorf("recalled as %+v", v)
	}
	if changes := v.Since(old.view); len(changes) != 0 {
		t.Errorf("recalled with changes: %v", words(changes))
	}
	want := map[string]int64{testDir + "a": 1, testDir + "b": 1, testDir + "c": 1}
	if diff := cmp.Diff(want, seed.Known); diff != "" || seed.At.Revision != 1 {
		t.Errorf("seed: %+v", seed)
	}
	// etcd's first answer knows nobody: that is too much to believe.
	r.f.Apply(follow.Batch{Header: follow.Header{Revision: 1}, Changes: []follow.Change{gone("a", 1), gone("b", 1), gone("c", 1)}, Relisted: true})
	if v := r.next(); len(suspects(v)) != 3 || !v.StaleSince.IsZero() {
		t.Errorf("suspects %v, stale since %v", suspects(v), v.StaleSince)
	}
	r.f.end()
}

func TestAnOldSnapshotIsServedButNoBaseline(t *testing.T) {
	d, old := kept(t)
	s, err := old.snapshot(time.Now().Add(2 * snapshotRefresh))
	if err != nil {
		t.Fatal(err)
	}
	s.Saved = time.Now().Add(-2 * time.Hour)
	if err := d.save("svc", s); err != nil {
		t.Fatal(err)
	}
	r := &follower{t: t, f: newFeed("svc", testDir, newSettings(nil))}
	r.f.recall(d)
	if v := r.next(); len(v.Instances) != 3 {
		t.Fatalf("recalled %d", len(v.Instances))
	}
	r.f.Apply(follow.Batch{Header: follow.Header{Revision: 1}, Changes: []follow.Change{gone("a", 1), gone("b", 1), gone("c", 1)}, Relisted: true})
	if v := r.next(); len(v.Instances) != 0 {
		t.Errorf("left: %d", len(v.Instances))
	}
}

func TestASnapshotThatIsDamagedIsDoneWithout(t *testing.T) {
	d, _ := kept(t)
	name := d.file(testDir, "svc")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{nil, []byte("x"), whole[:len(whole)/2], append([]byte("y"), whole...), append(whole[:len(whole)-2:len(whole)-2], "}}"...)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if s := d.load(testDir, "svc"); s != nil {
			t.Errorf("%q was read as %+v", content, s)
		}
	}
	if s := d.load("other/services/svc/", "svc"); s != nil {
		t.Errorf("another prefix has it too: %+v", s)
	}
}

func TestAStaleOrUnchangedViewIsNotWrittenAgain(t *testing.T) {
	_, f := kept(t)
	now := time.Now()
	if s, _ := f.snapshot(now); s != nil {
		t.Error("written twice")
	}
	if s, _ := f.snapshot(now.Add(snapshotRefresh)); s == nil {
		t.Error("never refreshed")
	}
	f.Stale(now, nil)
	if s, _ := f.snapshot(now.Add(time.Hour)); s != nil {
		t.Error("a stale view was written")
	}
}
