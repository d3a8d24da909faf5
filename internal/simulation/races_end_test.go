package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// errPromise is what a call returned nil for and had not done.
var errPromise = errors.New("broken promise")

// lies returns what lies in etcd of a registration; "" when it is not there.
func (r *race) lies(g *rollcall.Registration) string {
	i := g.Instance()
	if kv := r.cluster.Keys("")[raceDir+i.ID]; kv != nil && strings.Contains(string(kv.Value), i.Incarnation) {
		return string(kv.Value)
	}
	return ""
}

// confirms holds what a call on a registration returned nil for against what lies in etcd then: a text, or for "" nothing
// that does not say goodbye.
func (r *race) confirms(g *rollcall.Registration, text string, err error) error {
	if err != nil {
		return err
	}
	value := r.lies(g)
	there := value != "" && !strings.Contains(value, `"State":"leaving"`)
	if text == "" && there && !r.taken.Load() || text != "" && there && !strings.Contains(value, text) {
		return fmt.Errorf("%w: in etcd is %s", errPromise, value)
	}
	return nil
}

// vanished holds a Close that returned nil against what is left in etcd then.
func (r *race) vanished() error {
	if keys, leases := r.cluster.Keys(""), r.cluster.Leases(); len(r.all) == 1 && len(keys)+len(leases) > 0 {
		return fmt.Errorf("%w: closed, and in etcd are %d keys and %d leases", errPromise, len(keys), len(leases))
	}
	return nil
}

// alive returns the registrations that have not ended.
func (r *race) alive() []*rollcall.Registration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.held), func(g *rollcall.Registration) bool { return g.Err() != nil })
}

// agrees returns what is wrong with etcd: it is to have the keys of the registrations that live, as they want them, under
// a lease for each registry, and nothing else.
func (r *race) agrees() error {
	keys, leases := r.cluster.Keys(""), r.cluster.Leases()
	holders := map[string]bool{}
	for _, g := range r.alive() {
		i := g.Instance()
		kv := keys[raceDir+i.ID]
		delete(keys, raceDir+i.ID)
		holders[i.Holder] = true
		switch {
		case kv == nil:
			return fmt.Errorf("%s is not in etcd", i.ID)
		case !strings.Contains(string(kv.Value), i.Incarnation), !strings.Contains(string(kv.Value), fmt.Sprintf(`"State":%q,"Weight":%d,`, i.State, i.Weight)):
			return fmt.Errorf("%s is %s in etcd, wanted is %+v", i.ID, kv.Value, i)
		case !slices.Contains(leases, kv.Lease):
			return fmt.Errorf("%s lies under lease %x of %x", i.ID, kv.Lease, leases)
		}
	}
	if len(keys) > 0 || len(leases) != len(holders) {
		return fmt.Errorf("etcd has keys %v that nobody wants, and %d leases for %d registries", slices.Sorted(maps.Keys(keys)), len(leases), len(holders))
	}
	return nil
}

// settle waits until etcd agrees with the registrations, and stays so.
func (r *race) settle(within time.Duration) error {
	var err error
	for began := time.Now(); time.Since(began) < within; {
		time.Sleep(100 * time.Millisecond)
		if err = r.agrees(); err == nil {
			time.Sleep(2 * time.Second)
			if err = r.agrees(); err == nil {
				return nil
			}
		}
	}
	return err
}

// heals sees that what is left is still looked after: a key that is deleted now comes back.
func (r *race) heals() error {
	for _, g := range r.alive() {
		r.cluster.DeleteKey(raceDir + g.Instance().ID)
	}
	return r.settle(15 * time.Second)
}

// leave closes every registry and returns what is left behind.
func (r *race) leave() error {
	unanswered := slices.ContainsFunc(r.calls, func(c *racedCall) bool { return strings.HasPrefix(c.name, "close") && c.err != nil })
	for _, reg := range r.all {
		ctx, cancel := context.WithTimeout(context.Background(), raceLimit)
		err := reg.Close(ctx)
		cancel()
		if err != nil && !unanswered {
			return fmt.Errorf("close: %w", err)
		}
	}
	synctest.Wait()
	if n := r.conns.Load(); n != 0 {
		return fmt.Errorf("%d connections are open", n)
	}
	if unanswered { // it said so: what is left ends with its TTL
		time.Sleep(raceTTL + 2*simetcd.Election)
	}
	if keys, leases := r.cluster.Keys(""), r.cluster.Leases(); len(keys) > 0 || len(leases) > 0 {
		return fmt.Errorf("left in etcd: keys %v, %d leases", slices.Sorted(maps.Keys(keys)), len(leases))
	}
	for _, g := range r.held {
		select {
		case <-g.Done():
		default:
			return fmt.Errorf("%s is not done", g.Instance().Addr)
		}
		if err := g.Err(); !errors.Is(err, rollcall.ErrClosed) && !errors.Is(err, rollcall.ErrReplaced) && !errors.Is(err, rollcall.ErrDeregistered) {
			return fmt.Errorf("%s ended with: %w", g.Instance().Addr, err)
		}
	}
	return r.refusesAll()
}

// refusesAll calls what is closed.
func (r *race) refusesAll() error {
	if err := r.register(context.Background(), r.registry, "10.0.0.9:1"); !errors.Is(err, rollcall.ErrClosed) {
		return fmt.Errorf("register after close: %w", err)
	}
	if _, err := r.registry.Lookup(context.Background(), "svc"); !errors.Is(err, rollcall.ErrClosed) {
		return fmt.Errorf("look up after close: %w", err)
	}
	return nil
}
