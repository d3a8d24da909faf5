package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

func TestNothingThatATerminalObeysIsPrinted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "-", "plain": "plain", "a b": "a b", "grüße": "grüße",
		"\x1b[31m": `"\x1b[31m"`, "a\nb": `"a\nb"`, "\u202etxt": `"\u202etxt"`, "a\tb": `"a\tb"`, "\xff": `"\xff"`,
	} {
		if got := cell(in); got != want {
			t.Errorf("%q prints as %s, want %s", in, got, want)
		}
	}
}

func TestJSONLeavesOutWhatAnInstanceDoesNotSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		inst rollcall.Instance
		want string
	}{
		{
			"a bare instance",
			rollcall.Instance{ID: "a", Addr: "h:1", State: rollcall.StateServing, Weight: 100, Revision: 7},
			`{"service":"s","id":"a","addr":"h:1","state":"serving","weight":100,"effectiveState":"serving","effectiveWeight":100,"revision":7}`,
		},
		{
			"a full one",
			rollcall.Instance{
				ID: "a", Addr: "h:1", Addrs: map[string]string{"http": "h:2"}, State: rollcall.StateDraining, Weight: 1,
				Zone: "z", Version: "v", Metadata: map[string]string{"k": "<v>"}, TTL: 15 * time.Second,
				Registered: time.Date(2026, 11, 22, 6, 31, 0, 0, time.UTC), Incarnation: "i", Holder: "not shown", Revision: 7, CreateRevision: 6,
			},
			`{"service":"s","id":"a","addr":"h:1","addrs":{"http":"h:2"},"state":"draining","weight":1,"effectiveState":"draining","effectiveWeight":1,"zone":"z","version":"v",` +
				`"metadata":{"k":"<v>"},"ttl":15,"registered":"2026-11-22T06:31:00Z","incarnation":"i","revision":7}`,
		},
		{
			"metadata of another shape",
			rollcall.Instance{ID: "a", Addr: "h:1", State: rollcall.StateServing, RawMetadata: json.RawMessage(`[1]`)},
			`{"service":"s","id":"a","addr":"h:1","state":"serving","weight":0,"effectiveState":"serving","effectiveWeight":0,"metadata":[1],"revision":0}`,
		},
	} {
		var b bytes.Buffer
		if err := printJSON(&b, newInstanceJSON("s", &c.inst)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want+"\n", b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestASuspectIsShownAsOne(t *testing.T) {
	t.Parallel()
	i := &rollcall.Instance{ID: "a", Addr: "h:1", State: rollcall.StateServing, Suspect: true}
	if got := instanceCells(i)[2]; got != "suspect" {
		t.Errorf("its state is shown as %s, want suspect", got)
	}
	var b bytes.Buffer
	if err := printJSON(&b, newInstanceJSON("s", i)); err != nil {
		t.Fatal(err)
	}
	if want := `"state":"serving","suspect":true,`; !strings.Contains(b.String(), want) {
		t.Errorf("no %s in %s", want, b.String())
	}
	for want, u := range map[string]rollcall.Update{
		"suspect": {Op: rollcall.Modify, Instance: i},
		"expired": {Op: rollcall.Delete, Instance: i, Expired: true},
		"left":    {Op: rollcall.Delete, Instance: i},
		"changed": {Op: rollcall.Modify, Instance: &rollcall.Instance{}, Prev: i},
	} {
		if got := opWord(u); got != want {
			t.Errorf("%v of a suspect is shown as %s, want %s", u.Op, got, want)
		}
	}
	if got := opWord(rollcall.Update{Op: rollcall.Add, Instance: i}); got != "suspect" {
		t.Errorf("a suspect that is back in the view is shown as %s", got)
	}
}

func TestATimeOfAnotherDayHasItsDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 0, 10, 0, 0, time.Local)
	for want, at := range map[string]time.Time{
		"00:09:59":            now.Add(-time.Second),
		"2026-11-21 23:50:00": now.Add(-20 * time.Minute),
		"2025-11-22 00:10:00": now.AddDate(-1, 0, 0),
	} {
		if got := clock(at.UTC(), now); got != want {
			t.Errorf("%v is shown as %s, want %s", at, got, want)
		}
	}
}

func TestAWatchSaysOnceThatItIsStaleAndOnceThatItIsNot(t *testing.T) {
	t.Parallel()
	var out, talk strings.Builder
	p := &updatePrinter{w: &out, talk: &talk, format: formatJSON, service: "s"}
	since := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	for _, view := range []*rollcall.View{
		{},
		{StaleSince: since},
		{StaleSince: since},
		{},
		{Reset: true},
	} {
		if err := p.print(view, since); err != nil {
			t.Fatal(err)
		}
	}
	want := "no answer from etcd since 12:00:00; what was shown is the last that is known\n" +
		"etcd answers again\n" +
		"etcd's history broke, as by a wipe or a restore; what follows is what it holds now\n"
	if diff := cmp.Diff(want, talk.String()); diff != "" || out.String() != "" {
		t.Errorf("on standard output %q, on standard error (-want +got):\n%s", out.String(), diff)
	}
}
