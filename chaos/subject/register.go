package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/journal"
)

// tryFor bounds each call of the program: what fails is tried again, as a program does that wants to be found.
const tryFor = 20 * time.Second

// register registers all instances, side by side, and has them come and go if that is wanted. It returns when ctx ends.
func (s *settings) register(ctx context.Context, reg *rollcall.Registry, j *journal.Writer) {
	var wg sync.WaitGroup
	defer wg.Wait()
	each := time.Duration(0) // between two turns of one instance
	if s.perSecond > 0 {
		each = time.Duration(s.count) * time.Second / time.Duration(s.perSecond)
	}
	for n := range s.count {
		k := &keeper{settings: s, reg: reg, j: j, id: s.id}
		if s.count > 1 {
			k.id = fmt.Sprintf("%s%d", s.id, n)
		}
		wg.Go(func() {
			if !pause(ctx, time.Duration(n)*(s.stagger+each/time.Duration(s.count))) || !k.join(ctx) {
				return
			}
			if s.count == 1 { // thousands of lists of thousands would be a fault of their own
				k.look(ctx)
			}
			switch {
			case each > 0:
				k.churn(ctx, each)
			case s.updates > 0:
				k.update(ctx, s.updates)
			}
		})
	}
}

// keeper holds one instance.
type keeper struct {
	*settings
	reg *rollcall.Registry
	j   *journal.Writer
	id  string
	r   *rollcall.Registration
}

func (k *keeper) tell(what journal.Kind, err error) {
	e := journal.Event{What: what, Service: k.service, ID: k.id, Err: text(err)}
	if err == nil && what == journal.Registered {
		e.Incarnation = k.r.Instance().Incarnation
	}
	k.j.Tell(e)
}

// join registers the instance, however often that takes, and tells if the registration ends by itself. It returns false
// when ctx has ended first.
func (k *keeper) join(ctx context.Context) bool {
	inst := k.instance(k.id)
	for ctx.Err() == nil {
		k.tell(journal.Registering, nil)
		try, cancel := context.WithTimeout(ctx, tryFor)
		r, err := k.reg.Register(try, k.service, inst, rollcall.WithTTL(k.ttl))
		cancel()
		k.r = r
		k.tell(journal.Registered, err)
		if err == nil {
			context.AfterFunc(ended(r), func() { // which waits for nobody: the process ends soon after the registry
				if err := r.Err(); !errors.Is(err, rollcall.ErrClosed) && !errors.Is(err, rollcall.ErrDeregistered) {
					k.tell(journal.Ended, err)
				}
			})
			return true
		}
		if !pause(ctx, 500*time.Millisecond) {
			return false
		}
	}
	return false
}

// instance is what is registered as an id: no two are alike, so that it shows when one has what is another's.
func (s *settings) instance(id string) rollcall.Instance {
	i := rollcall.Instance{ID: id, Addr: s.addr, Zone: "zone-of-" + id, Metadata: map[string]string{"of": id}}
	if s.metadata > 0 {
		i.Metadata["padding"] = strings.Repeat("x", s.metadata)
	}
	return i
}

// whole tells whether an instance in a view is what was registered as its id.
func whole(i *rollcall.Instance) bool {
	return i.Addr != "" && i.Zone == "zone-of-"+i.ID && i.Metadata["of"] == i.ID
}

// ended is a context that ends with a registration.
func ended(r *rollcall.Registration) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // as long as the registration
		<-r.Done()
		cancel()
	}()
	return ctx
}

// churn has the instance leave and come back once in every interval, and looks it up in between. What etcd has held up is
// made up for.
func (k *keeper) churn(ctx context.Context, every time.Duration) {
	for next := time.Now().Add(every); pause(ctx, time.Until(next)); next = next.Add(every) {
		if !k.leave(ctx) || !k.look(ctx) || !k.join(ctx) || !k.look(ctx) {
			return
		}
	}
}

// update has the instance drain and serve by turns.
func (k *keeper) update(ctx context.Context, every time.Duration) {
	state := rollcall.StateServing
	for pause(ctx, every) {
		if state == rollcall.StateServing {
			state = rollcall.StateDraining
		} else {
			state = rollcall.StateServing
		}
		k.tell(journal.Updating, nil)
		try, cancel := context.WithTimeout(ctx, tryFor)
		err := k.r.Update(try, func(i *rollcall.Instance) { i.State = state })
		cancel()
		k.j.Tell(journal.Event{What: journal.Updated, Service: k.service, ID: k.id, State: string(state), Err: text(err)})
	}
}

func (k *keeper) leave(ctx context.Context) bool {
	for ctx.Err() == nil {
		k.tell(journal.Deregistering, nil)
		try, cancel := context.WithTimeout(ctx, tryFor)
		err := k.r.Deregister(try)
		cancel()
		k.tell(journal.Deregistered, err)
		if err == nil {
			return true
		}
	}
	return false
}

// look tells whether the service has the instance, by a read that sees every write acknowledged before.
func (k *keeper) look(ctx context.Context) bool {
	try, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	k.tell(journal.Listing, nil)
	v, err := k.reg.Lookup(try, k.service)
	e := journal.Event{What: journal.Listed, Service: k.service, ID: k.id, Err: text(err)}
	if err == nil {
		e.Revision, e.Stale = v.Revision, !v.StaleSince.IsZero()
		if i, found := v.Get(k.id); found {
			e.Changed = []journal.Member{member(i)}
		}
	}
	k.j.Tell(e)
	return ctx.Err() == nil
}

// pause waits, and tells whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
