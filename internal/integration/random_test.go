package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// Registrations come, change and go at random, on ids that several of them want, while somebody deletes and overwrites
// their keys and revokes their leases. In the end etcd holds exactly those that are held still; after Close, nothing.
func TestWhateverHappensEtcdHoldsWhatIsHeld(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	reg, etcd := start(t)
	client := etcd.Client(t)
	calm, stop := context.WithTimeout(t.Context(), 4*time.Second)
	defer stop()

	var wg sync.WaitGroup
	lives := make([]*life, 8)
	for n := range lives {
		lives[n] = &life{reg: reg, rnd: rand.New(rand.NewPCG(seed, uint64(n)))}
		wg.Go(func() { lives[n].run(t, calm) })
	}
	wg.Go(func() { sabotage(t, calm, client, rand.New(rand.NewPCG(seed, 99))) })
	wg.Wait()

	want := map[string]bool{}
	for _, l := range lives {
		if l.held != nil && l.held.Err() == nil {
			want[l.held.Instance().ID] = true
		}
	}
	eventually(t, 10*time.Second, fmt.Sprintf("exactly %v", slices.Sorted(maps.Keys(want))), func() bool {
		v, err := reg.Lookup(within(t, 5*time.Second), "svc")
		if err != nil {
			t.Fatal(err)
		}
		return slices.Equal(ids(v), slices.Sorted(maps.Keys(want)))
	})
	for _, l := range lives {
		if l.held != nil && l.held.Err() != nil && !errors.Is(l.held.Err(), rollcall.ErrReplaced) {
			t.Errorf("a registration ended: %v", l.held.Err())
		}
	}
	if err := reg.Close(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "keys left", len(keys(t, client, "")), 0)
	mustEqual(t, "leases left", len(leases(t, client)), 0)
}

// life is one registrant.
type life struct {
	reg  *rollcall.Registry
	rnd  *rand.Rand
	held *rollcall.Registration
}

func (l *life) run(t *testing.T, calm context.Context) {
	for calm.Err() == nil {
		// Most calls have all the time they need; some give up at once.
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if l.rnd.IntN(4) == 0 {
			ctx, cancel = context.WithTimeout(t.Context(), time.Duration(l.rnd.IntN(3000))*time.Microsecond)
		}
		if err := l.step(ctx); err != nil && !errors.Is(err, rollcall.ErrReplaced) && !errors.Is(err, rollcall.ErrUnreachable) {
			t.Errorf("unexpected: %v", err)
		}
		cancel()
	}
}

func (l *life) step(ctx context.Context) (err error) {
	switch {
	case l.held == nil || l.held.Err() != nil:
		inst := rollcall.Instance{Addr: fmt.Sprintf("10.0.0.%d:1", l.rnd.IntN(6))}
		l.held, err = l.reg.Register(ctx, "svc", inst, rollcall.WithTTL(time.Duration(5+l.rnd.IntN(2))*time.Second))
	case l.rnd.IntN(3) == 0:
		err = l.held.Deregister(ctx)
		l.held = nil
	default:
		err = l.held.Update(ctx, func(i *rollcall.Instance) { i.Weight = 1 + l.rnd.IntN(100) })
	}
	return err
}

func sabotage(t *testing.T, calm context.Context, c *clientv3.Client, rnd *rand.Rand) {
	for calm.Err() == nil {
		key := fmt.Sprintf("rollcall/services/svc/10.0.0.%d:1", rnd.IntN(6))
		switch rnd.IntN(20) {
		case 0:
			for _, l := range leases(t, c) {
				_, _ = c.Revoke(calm, l.ID) // it may be gone by itself
			}
		case 1, 2, 3:
			// Only over keys that are there: a stranger's key without a lease is nobody's to delete.
			_, _ = c.Txn(calm).If(clientv3.Compare(clientv3.LeaseValue(key), "!=", clientv3.NoLease)).
				Then(clientv3.OpPut(key, `{"Addr":"10.66.66.66:1"}`, clientv3.WithIgnoreLease())).Commit()
		default:
			_, _ = c.Delete(calm, key)
		}
		<-time.After(time.Duration(rnd.IntN(20)) * time.Millisecond)
	}
}
