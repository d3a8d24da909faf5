package demo

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/rollcall-io/rollcall"
)

// begin is an arbitrary moment; the times of these tests are in seconds after it.
var begin = time.Date(2026, 11, 22, 6, 31, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

func addrOf(id string) string { return "127.0.0.1:5000" + id[len(id)-1:] }

func (f *facts) sees(op rollcall.Op, id string, when float64, expired bool) {
	inst := &rollcall.Instance{ID: id, Addr: addrOf(id)}
	f.update(rollcall.Update{Op: op, Instance: inst, Expired: expired}, at(when))
}

func (f *facts) answers(id string, when float64) {
	f.called(call{addr: addrOf(id), sent: at(when)})
}

func (f *facts) fails(id string, when float64) {
	f.called(call{addr: addrOf(id), sent: at(when), code: codes.Unavailable, message: "connection reset"})
}

// perfect is a demo in which all went well: the kill at 3 s, the joiners at 8 and 9 s, SIGTERM at 13 s.
func perfect() *facts {
	f := &newJournal().facts
	for _, id := range firstServers {
		f.sees(rollcall.Add, id, 0, false)
		f.answers(id, 0.1)
	}
	f.servers[killedServer].killed, f.servers[killedServer].ended = at(3), at(3.01)
	f.fails(killedServer, 2.97)
	f.sees(rollcall.Delete, killedServer, 7.5, true)
	for n, id := range joiners {
		f.sees(rollcall.Add, id, float64(8+n), false)
		f.answers(id, float64(8+n)+0.012)
	}
	f.servers[drainedServer].drained = at(13)
	f.answers(drainedServer, 13.01)
	f.sees(rollcall.Modify, drainedServer, 13.02, false)
	f.sees(rollcall.Delete, drainedServer, 14.02, false)
	f.servers[drainedServer].stopped = true
	return f
}

func TestATallyNamesThePromisesThatBroke(t *testing.T) {
	const (
		onlyTheKill = "no call failed but"
		noneFailed  = "the drained server failed no call"
		goodbye     = "the drained server said goodbye"
		joinersGot  = "both joiners got calls"
		expires     = "the killed server left the view"
		stayed      = "no other server left"
	)
	tests := []struct {
		name   string
		happen func(*facts)
		broken []string
	}{
		{"all went well", func(*facts) {}, nil},
		{"more calls were in flight at the kill", func(f *facts) { f.fails(killedServer, 2.98) }, nil},
		{"a call was sent just before the kill could be known", func(f *facts) { f.fails(killedServer, 3.259) }, nil},
		{"a call was sent when the kill was known", func(f *facts) { f.fails(killedServer, 3.26) }, []string{onlyTheKill}},
		{"a call to another server failed at the moment of the kill", func(f *facts) { f.fails(quietServer, 3) }, []string{onlyTheKill}},
		{"a call was sent nowhere", func(f *facts) { f.called(call{code: codes.Unavailable}) }, []string{onlyTheKill}},
		{"a call was sent to an address that is no server's", func(f *facts) {
			f.called(call{addr: "127.0.0.1:1", sent: at(2), code: codes.Unavailable})
		}, []string{onlyTheKill}},
		{"the drained server failed a call", func(f *facts) { f.fails(drainedServer, 12.99) }, []string{onlyTheKill, noneFailed}},
		{"the drained server failed a call long before", func(f *facts) { f.fails(drainedServer, 1) }, []string{onlyTheKill, noneFailed}},
		{"the drained server got no calls", func(f *facts) { delete(f.traffic, addrOf(drainedServer)) }, []string{noneFailed}},
		{"the drained server stayed", func(f *facts) { f.servers[drainedServer].gone = time.Time{} }, []string{goodbye}},
		{"the drained server expired", func(f *facts) { f.servers[drainedServer].expired = true }, []string{goodbye}},
		{"the drained server came back", func(f *facts) { f.sees(rollcall.Add, drainedServer, 15, false) }, []string{goodbye}},
		{"the drained server's process goes on", func(f *facts) { f.servers[drainedServer].stopped = false }, []string{goodbye}},
		{"the drained server's process failed", func(f *facts) { f.servers[drainedServer].stopErr = errors.New("exit status 1") }, []string{goodbye}},
		{"a joiner got no calls", func(f *facts) { delete(f.traffic, addrOf(firstJoiner)) }, []string{joinersGot}},
		{"a joiner did not join", func(f *facts) { delete(f.servers, secondJoiner) }, []string{joinersGot}},
		{"the killed server stayed", func(f *facts) { f.servers[killedServer].gone = time.Time{} }, []string{expires}},
		{"the killed server left in the last moment", func(f *facts) { f.servers[killedServer].gone = at(3 + 7) }, nil},
		{"the killed server left too late", func(f *facts) { f.servers[killedServer].gone = at(3 + 7.01) }, []string{expires}},
		{"the killed server left before it was killed", func(f *facts) { f.servers[killedServer].gone = at(2.9) }, []string{expires}},
		{"nobody was killed", func(f *facts) {
			delete(f.servers, killedServer)
			f.failures = nil
		}, []string{expires}},
		{"a live server expired", func(f *facts) { f.sees(rollcall.Delete, quietServer, 10, true) }, []string{stayed}},
		{"a live server expired and came back", func(f *facts) {
			f.sees(rollcall.Delete, firstJoiner, 10, true)
			f.sees(rollcall.Add, firstJoiner, 10.1, false)
		}, []string{stayed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := perfect()
			tt.happen(f)
			broken := f.tally().broken()
			same := slices.EqualFunc(broken, tt.broken, strings.HasPrefix)
			if !same {
				t.Errorf("broken promises:\n%s\nwant those that begin with:\n%s", strings.Join(broken, "\n"), strings.Join(tt.broken, "\n"))
			}
		})
	}
}

func TestCallsAreCountedByServerAndFailuresByCause(t *testing.T) {
	f := perfect()
	f.answers(quietServer, 4)
	f.fails(quietServer, 5)
	f.fails(quietServer, 6)
	f.called(call{code: codes.ResourceExhausted, message: "not made"})
	got := f.tally()
	if got.made != 11 || got.failed != 4 {
		t.Errorf("%d calls, %d failed; want 11 and 4", got.made, got.failed)
	}
	wantCauses := []cause{
		{n: 2, what: "Unavailable, sent to greeter-3", text: "connection reset"},
		{n: 1, what: "Unavailable, in flight to greeter-1 when it was killed", kills: true, text: "connection reset"},
		{n: 1, what: "ResourceExhausted, sent to nobody", text: "not made"},
	}
	if diff := cmp.Diff(wantCauses, got.causes, cmp.AllowUnexported(cause{})); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
	wantServers := []serverTally{
		{id: "greeter-1", calls: 2, firstCall: 100 * time.Millisecond, how: "killed", gone: 4500 * time.Millisecond},
		{id: "greeter-2", calls: 2, firstCall: 100 * time.Millisecond, how: "drained", gone: 1020 * time.Millisecond},
		{id: "greeter-3", calls: 4, firstCall: 100 * time.Millisecond, gone: -1},
		{id: "greeter-4", calls: 1, firstCall: 12 * time.Millisecond, gone: -1},
		{id: "greeter-5", calls: 1, firstCall: 12 * time.Millisecond, gone: -1},
	}
	if diff := cmp.Diff(wantServers, got.servers, cmp.AllowUnexported(serverTally{})); diff != "" {
		t.Errorf("servers (-want +got):\n%s", diff)
	}
	wantCalls := map[string]int{"greeter-1": 2, "greeter-2": 2, "greeter-3": 4, "greeter-4": 1, "greeter-5": 1}
	if calls := f.calls(); !maps.Equal(calls, wantCalls) {
		t.Errorf("calls = %v, want %v", calls, wantCalls)
	}
}

func TestTheFirstCallIsTheOneSentFirstNotTheOneEndedFirst(t *testing.T) {
	f := perfect()
	f.answers(firstJoiner, 8.003) // ended after the call that was sent at 8.012
	if got, want := f.serverTally(firstJoiner).firstCall, 3*time.Millisecond; got != want {
		t.Errorf("first call after %v, want %v", got, want)
	}
}
