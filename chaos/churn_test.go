package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/judge"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// Leaders die under load, one after another: every write is decided once, and whoever reads sees what was decided.
func churns() []scenario {
	return []scenario{{
		name: "leader-kills", ttl: 5 * time.Second, quick: true, without: "reopen",
		fault: "the leader is killed and started again, ten times, every eight seconds, under 200 registrations per second",
		expect: journal.Expect{
			Visible: 12 * time.Second, Back: 2 * time.Second, Converge: 10 * time.Second, Close: 20 * time.Second,
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			const homes, each = 4, 50
			w.Instances(10)
			watchers := w.Watchers(2, 10)
			var all []*world.Process
			for i := range homes {
				all = append(all, w.Register(fmt.Sprintf("churn%d", i), "-id", fmt.Sprintf("c%d-", i), "-count", fmt.Sprint(each), "-churn", "50"))
			}
			for range 10 {
				w.Last(w.Between(4*time.Second, 5*time.Second))
				m := w.Cluster.Leader()
				lasting(w, "killed", m.Name, 3*time.Second, m.Kill, m.Start)
			}
			for _, p := range all {
				p.Terminate()
			}
			for _, p := range all {
				p.Wait(20 * time.Second)
			}
			return watchers, 10
		},
		check: linearizable,
	}}
}

// The call of one instance's process about its key, or a look at it: input and output of porcupine's model.
type call struct {
	what        journal.Kind // Registering, Deregistering or Listing
	incarnation string       // that was registered, or seen; "" for none
	unknown     bool         // it failed: it may have been carried out, or be carried out later
}

// key is what a model knows of one key: the incarnation that lies there, "" for none, or anyone's for one whose Register
// failed.
const anyone = "?"

// keyModel is a key that registrations write and lists read.
var keyModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{""} },
	Step: func(state, _, output any) []any {
		c := output.(call)
		switch {
		case c.unknown && c.what == journal.Registering: // it is taken back, sooner or later
			return []any{state, anyone, ""}
		case c.unknown:
			return []any{state, ""}
		case c.what == journal.Registering:
			return []any{c.incarnation}
		case c.what == journal.Deregistering:
			return []any{""}
		case state == c.incarnation, state == anyone && c.incarnation != "":
			return []any{state}
		}
		return nil
	},
}

// linearizable checks that for every key there is an order of the calls about it, each at one moment between its beginning
// and its end, in which every list sees what was registered last.
func linearizable(events []journal.Event) []judge.Violation {
	began := map[string]journal.Event{} // process and id → the call that has not returned
	keys := map[string][]porcupine.Operation{}
	clients := map[string]int{}
	add := func(e, end journal.Event, c call) {
		if _, known := clients[e.By+e.ID]; !known {
			clients[e.By+e.ID] = len(clients)
		}
		op := porcupine.Operation{ClientId: clients[e.By+e.ID], Input: c.what, Output: c, Call: int64(e.At), Return: int64(end.At)}
		if c.unknown {
			op.Return = int64(1) << 62
		}
		keys[e.ID] = append(keys[e.ID], op)
	}
	for _, e := range events {
		switch id := e.By + "/" + e.ID; e.What {
		case journal.Registering, journal.Deregistering, journal.Listing:
			began[id] = e
		case journal.Registered, journal.Deregistered, journal.Listed:
			c := call{what: began[id].What, incarnation: e.Incarnation, unknown: e.Err != ""}
			if e.What == journal.Listed {
				if e.Err != "" || e.Stale {
					continue // it says nothing
				}
				for _, m := range e.Changed {
					c.incarnation = m.Incarnation
				}
			}
			add(began[id], e, c)
		}
	}
	var found []judge.Violation
	for id, ops := range keys {
		result := porcupine.CheckOperationsTimeout(keyModel.ToModel(), ops, 10*time.Second)
		if result != porcupine.Ok {
			found = append(found, judge.Violation{
				Invariant: "linearizable", Rule: "every look at a key sees what was registered last", Service: world.Service, ID: id,
				Detail: fmt.Sprintf("porcupine says %s of %d calls", result, len(ops)),
			})
		}
	}
	return found
}
