package simulation

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
)

// contested is the id that two registries want.
const contested = "contested"

// rivals is the family in which two registries take one id from each other, through wipes and restores that bring back
// what the other one wrote. Each keeps an instance of its own beside it, and so its lease.
func rivals(faults []fault) family {
	return family{
		registries: 2, each: 1, faults: faults, schedule: rival,
		grace: 15*time.Second + 2*time.Second, // a holder that a backup brought back is waited out
	}
}

func rival(w *world) {
	var backups []func() bool // of the present history: after another one's a restore goes forward, and nobody can tell
	history := w.oracle.era()
	for n := 0; time.Since(w.began) < *simFor && w.broken == nil; n++ {
		if w.oracle.era() != history {
			backups, history = nil, w.oracle.era()
		}
		backups = append(backups, w.backup())
		w.takeOver(w.registrars[n%2], w.registrars[1-n%2])
		// Who had it before is told, if a wipe has just been as late as after its wait for a ghost. A store that is put back
		// before that has nothing in it that tells two live holders apart.
		w.pass(25 * time.Second)
		if w.rnd.IntN(3) == 0 && w.grow() {
			backups[w.rnd.IntN(len(backups))]()
			w.pass(w.upTo(10 * time.Second))
		}
		for range 1 + w.rnd.IntN(2) {
			f := w.faults[w.rnd.IntN(len(w.faults))]
			w.strikes.count(f.kind, f.strike(w))
			w.pass(w.upTo(30 * time.Second))
		}
	}
	w.pass(40 * time.Second)
	w.oracle.judgeWanted()
	w.oracle.judgeOwners()
}

// takeOver has one registrant take the contested id from the other.
func (w *world) takeOver(by, from *registrant) {
	w.check()
	if s := from.live[contested]; s != nil {
		s.to = time.Now()
		delete(from.live, contested)
	}
	if by.live[contested] == nil {
		w.note("%s takes %s over", by.name, contested)
		by.register(contested, patience)
	}
}

// judgeOwners holds all who ever had the contested id against what they must know, and what they wrote of it against what
// they may: one write more after another has taken over, in one history.
func (o *oracle) judgeOwners() {
	for _, s := range o.stays[contested] {
		if !s.to.IsZero() && !errors.Is(s.Err(), rollcall.ErrReplaced) {
			o.w.fail("one owner", "%s had %s from %v to %v, and was told: %v", s.of.name, contested,
				s.from.Sub(o.w.began), s.to.Sub(o.w.began), s.Err())
		}
	}
	for n, e := range o.eras {
		var order []string // of incarnations
		again := map[string]int{}
		for _, c := range e.changes {
			f, put := c.puts[contested]
			switch {
			case !put || f.leaving() || f.Incarnation == "":
			case !slices.Contains(order, f.Incarnation):
				order = append(order, f.Incarnation)
			case order[len(order)-1] != f.Incarnation:
				again[f.Incarnation]++
			}
		}
		for incarnation, times := range again {
			if times > 1 {
				o.w.fail("one owner", "in era %d %s wrote %d times after it was replaced: %v", n, incarnation, times, order)
			}
		}
	}
}

// rivalry is what shows who owns an id.
func rivalry() []fault {
	return slices.Concat(illnesses(), absences(), pick(disasters(), "wipe", "revoke", "restore", "restore"))
}

func TestSimulatedRivalsForOneIDHaveOneOwner(t *testing.T) {
	playAll(t, rivals(rivalry()), 30)
}

// pick returns the faults of the given kinds.
func pick(faults []fault, kinds ...string) []fault {
	var picked []fault
	for _, kind := range kinds {
		n := slices.IndexFunc(faults, func(f fault) bool { return f.kind == kind })
		picked = append(picked, faults[n])
	}
	return picked
}

// unfencedWrites takes the conditions out of every transaction: whoever writes last has the key.
func unfencedWrites(*world) clientOptions {
	return clientOptions{unaryMutation(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if r, isTxn := req.(*pb.TxnRequest); isTxn {
			r.Compare = nil
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})}
}

func TestWritesWithoutAFenceAreCaught(t *testing.T) {
	f := rivals(rivalry())
	f.client = unfencedWrites
	// One schedule in ten shows it, whichever the faults: a late write has to meet a takeover.
	mustBreak(t, f, 150, "one owner", "registration lasts", "never falsely absent", "etcd as wanted")
}
