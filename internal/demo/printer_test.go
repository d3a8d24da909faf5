package demo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

func TestTheTallyShowsCallsServersAndPromises(t *testing.T) {
	f := perfect()
	f.fails(drainedServer, 13.005)
	var out strings.Builder
	(&printer{w: &out}).tally(f.tally())
	want := `
calls: 8 made, 6 answered, 2 failed
  1  Unavailable, in flight to greeter-1 when it was killed  connection reset
  1  Unavailable, sent to greeter-2                          connection reset

server     calls  first call after join  out of the view
greeter-1  2      100ms                  4.5s after it was killed
greeter-2  3      100ms                  1.02s after it was drained
greeter-3  1      100ms                  -
greeter-4  1      12ms                   -
greeter-5  1      12ms                   -

BROKEN  no call failed but those in flight at the kill: 1 more did, such as Unavailable, sent to greeter-2: connection reset
BROKEN  the drained server failed no call: greeter-2 failed 1 of 3
held    the drained server said goodbye and ended: greeter-2 left the view 1.02s after SIGTERM
held    both joiners got calls: greeter-4 after 12ms, greeter-5 after 12ms
held    the killed server left the view within 7s (TTL 5s + 500ms, and a margin): greeter-1 was out after 4.5s
held    no other server left the view: none did
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
}

func TestCallsAreShownSinceTheLastTimeForWhoGotAny(t *testing.T) {
	var out strings.Builder
	(&printer{w: &out}).calls(map[string]int{"a": 5, "b": 7, "c": 9}, map[string]int{"a": 5, "b": 4})
	if got := out.String(); !strings.HasSuffix(got, "calls     b 3  c 9\n") {
		t.Errorf("printed %q", got)
	}
}

func TestEveryChangeHasAWord(t *testing.T) {
	inst := &rollcall.Instance{State: rollcall.StateServing}
	draining := &rollcall.Instance{State: rollcall.StateDraining}
	tests := []struct {
		update rollcall.Update
		want   string
	}{
		{rollcall.Update{Op: rollcall.Add, Instance: inst}, "joined"},
		{rollcall.Update{Op: rollcall.Modify, Instance: inst, Prev: inst}, "changed"},
		{rollcall.Update{Op: rollcall.Modify, Instance: draining, Prev: inst}, "draining"},
		{rollcall.Update{Op: rollcall.Delete, Instance: draining}, "left"},
		{rollcall.Update{Op: rollcall.Delete, Instance: draining, Expired: true}, "expired"},
	}
	for _, tt := range tests {
		if got := happened(tt.update); got != tt.want {
			t.Errorf("happened(%v %s, expired %v) = %s, want %s", tt.update.Op, tt.update.Instance.State, tt.update.Expired, got, tt.want)
		}
	}
}
