package work

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAJournalIsReadWhileItIsWritten(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "s1"+Extension)
	r := Open(name)
	defer r.Close()
	next := func() (Line, bool) {
		t.Helper()
		l, more, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		return l, more
	}
	if l, more := next(); more {
		t.Errorf("a journal that does not exist yet says %v", l)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, part := range []string{`{"what":"began",`, `"at":7,"kind":"slow"}`} {
		_, _ = f.WriteString(part)
		if l, more := next(); more {
			t.Errorf("half a line says %v", l)
		}
	}
	_, _ = f.WriteString("\n")
	want := Line{What: Began, At: 7, Kind: Slow, By: "s1"}
	if l, _ := next(); l != want {
		t.Errorf("read %+v, want %+v", l, want)
	}
}

func TestALineThatDeathCutShortIsLeftOutAndABrokenOneIsNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := Create(filepath.Join(dir, "c"+Extension))
	if err != nil {
		t.Fatal(err)
	}
	call := Line{What: Called, Kind: Quick, Begin: 1, End: 2, Addr: "a", Code: OK}
	j.Tell(call)
	j.Close()
	cut := filepath.Join(dir, "s1"+Extension)
	if err := os.WriteFile(cut, []byte("{\"what\":\"ready\",\"at\":1}\n{\"what\":\"dra"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadAll(dir)
	call.By = "c"
	if diff := cmp.Diff([]Line{call, {What: Ready, At: 1, By: "s1"}}, got); diff != "" || err != nil {
		t.Errorf("error %v, lines (-want +got):\n%s", err, diff)
	}
	if err := os.WriteFile(cut, []byte("{\"what\":}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAll(dir); err == nil {
		t.Error("a line that is no JSON was read")
	}
}
