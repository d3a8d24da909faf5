package work

import (
	"context"
	"flag"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// Outcome is what became of a call.
type Outcome struct {
	Addr, Code, Message string // as in a Called line
}

// OK is the code of a call that succeeded, as gRPC spells it.
const OK = "OK"

// CallFunc makes one call and says what became of it.
type CallFunc func(ctx context.Context, k Kind) Outcome

// Flags are those that every caller takes.
type Flags struct {
	Etcd, Service, Journal string
	Callers                int
	Rate                   float64
}

// Define adds them to a set.
func (f *Flags) Define(set *flag.FlagSet) {
	set.StringVar(&f.Etcd, "etcd", "127.0.0.1:2379", "etcd's members, host:port with commas between them")
	set.StringVar(&f.Service, "service", "work", "the service to call")
	set.StringVar(&f.Journal, "journal", "", "file to write the journal to")
	set.IntVar(&f.Callers, "callers", 64, "how many callers there are; half of them make quick calls, and a quarter calls at a fixed rate")
	set.Float64Var(&f.Rate, "rate", 800, "calls per second that those with a fixed rate make together")
}

// Endpoints are etcd's members.
func (f *Flags) Endpoints() []string { return strings.Split(f.Etcd, ",") }

// Load makes calls until ctx ends, and returns when all have ended that were under way. Of eight callers four make quick
// calls, one slow calls and one streams, each the next one when the last has ended; and two make calls at a fixed rate,
// whatever becomes of them: a caller that waits for its answer calls less when answers are late, and so hides that they are.
func (f *Flags) Load(ctx context.Context, j *Journal, call CallFunc) {
	l := &load{ctx: ctx, journal: j, call: call}
	watched, over := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { NoteStalls(watched, j) })
	open := 0
	for i := range f.Callers {
		switch i % 8 {
		case 0, 1, 2, 3:
			l.wg.Go(func() { l.closed(Quick) })
		case 4:
			l.wg.Go(func() { l.closed(Slow) })
		case 5:
			l.wg.Go(func() { l.closed(Stream) })
		default:
			open++
		}
	}
	for range open {
		l.wg.Go(func() { l.open(time.Duration(float64(open) * float64(time.Second) / f.Rate)) })
	}
	l.wg.Wait()
	over()
	watching.Wait()
}

type load struct {
	ctx     context.Context // a load is a lifetime
	journal *Journal
	call    CallFunc
	wg      sync.WaitGroup
}

// closed makes a call when the one before has ended. A failed one is followed by a pause, or failures would count for more
// than they are.
func (l *load) closed(k Kind) {
	for l.ctx.Err() == nil {
		if l.one(k) != OK {
			pause(l.ctx, k.Lasts())
		}
	}
}

// open begins a call each interval, from a moment by chance on: seven in eight are quick.
func (l *load) open(every time.Duration) {
	pause(l.ctx, rand.N(every))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		k := Quick
		switch n % 16 {
		case 7:
			k = Slow
		case 15:
			k = Stream
		}
		l.wg.Go(func() { l.one(k) })
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
	}
}

// one makes a call, takes it down and returns its code.
func (l *load) one(k Kind) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), k.Patience())
	defer cancel()
	begin := journal.Now()
	o := l.call(ctx, k)
	l.journal.Tell(Line{What: Called, Kind: k, Begin: begin, End: journal.Now(), Addr: o.Addr, Code: o.Code, Message: o.Message})
	return o.Code
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
