package judge

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleLinearizable = "every look at a key sees what was registered last"

// asked is what the process of one instance asked about its key: input and output of porcupine's model.
type asked struct {
	what        journal.Kind // Registering, Deregistering or Listing
	incarnation string       // that was registered, or seen; "" for none
	unknown     bool         // it failed: it may have been carried out, or be carried out later
}

// anyone is what lies under a key whose Register failed.
const anyone = "?"

// keyModel is a key that registrations write and lists read: its state is the incarnation that lies there, "" for none.
var keyModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{""} },
	Step: func(state, _, output any) []any {
		c := output.(asked)
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

// checkLinearizable: for every key there is an order of the calls about it, each at one moment between its beginning and
// its end, in which every list sees what was registered last. It holds where nobody but the processes themselves takes
// keys away, so a run has to ask for it.
func checkLinearizable(r *run) {
	if !r.expect.Linearizable {
		return
	}
	keys := r.calls()
	ids := slices.Sorted(maps.Keys(keys))
	for _, id := range ids {
		result := porcupine.CheckOperationsTimeout(keyModel.ToModel(), keys[id], 10*time.Second)
		if result != porcupine.Ok {
			r.report(Violation{
				Invariant: "linearizable", Rule: ruleLinearizable, At: r.end, ID: id,
				Detail: fmt.Sprintf("porcupine says %s of %d calls", result, len(keys[id])),
			})
		}
	}
}

// calls gathers the calls that returned, by the id that they were about.
func (r *run) calls() map[string][]porcupine.Operation {
	began := map[string]*journal.Event{} // process and id → the call that has not returned
	clients := map[string]int{}
	keys := map[string][]porcupine.Operation{}
	for n := range r.events {
		e := &r.events[n]
		who := e.By + "/" + e.ID
		switch e.What {
		case journal.Registering, journal.Deregistering, journal.Listing:
			began[who] = e
		case journal.Registered, journal.Deregistered, journal.Listed:
			from := began[who]
			if from == nil || e.What == journal.Listed && (e.Err != "" || e.Stale) {
				continue // it says nothing
			}
			if _, known := clients[who]; !known {
				clients[who] = len(clients)
			}
			keys[e.ID] = append(keys[e.ID], operation(from, e, clients[who]))
		}
	}
	return keys
}

func operation(from, to *journal.Event, client int) porcupine.Operation {
	c := asked{what: from.What, incarnation: to.Incarnation, unknown: to.Err != ""}
	for _, m := range to.Changed {
		c.incarnation = m.Incarnation
	}
	op := porcupine.Operation{ClientId: client, Input: c.what, Output: c, Call: int64(from.At), Return: int64(to.At)}
	if c.unknown {
		op.Return = int64(1) << 62
	}
	return op
}
