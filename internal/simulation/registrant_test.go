package simulation

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall"
)

// registrar keeps instances registered. The library's registry is one; others are what it must not be.
type registrar interface {
	Register(ctx context.Context, id string, ttl time.Duration) (registered, error)
	Close(ctx context.Context) error
}

// registered is one instance that a registrar keeps.
type registered interface {
	Update(ctx context.Context, weight int) error
	Deregister(ctx context.Context) error
	Err() error                               // why it ended
	Wanted() (incarnation string, weight int) // what is to be in etcd
}

// engine is the library as a registrar.
type engine struct{ *rollcall.Registry }

func (e engine) Register(ctx context.Context, id string, ttl time.Duration) (registered, error) {
	r, err := e.Registry.Register(ctx, service, rollcall.Instance{ID: id, Addr: "10.0.0.1:1"}, rollcall.WithTTL(ttl))
	if err != nil {
		return nil, err
	}
	return kept{r}, nil
}

type kept struct{ *rollcall.Registration }

func (k kept) Update(ctx context.Context, weight int) error {
	return k.Registration.Update(ctx, func(i *rollcall.Instance) { i.Weight = weight })
}

func (k kept) Wanted() (incarnation string, weight int) {
	i := k.Instance()
	return i.Incarnation, i.Weight
}

// registrant is a registrar in a world, and the stays of its instances.
type registrant struct {
	w    *world
	name string
	tap  *tap
	by   registrar
	ttls []time.Duration
	live map[string]*stay // by id
}

// stay is one instance from its Register to its Deregister.
type stay struct {
	registered
	of   *registrant
	id   string
	ttl  time.Duration
	from time.Time
	to   time.Time // zero: it lives
}

// at reports whether the instance was alive at a moment, beyond doubt.
func (s *stay) at(t time.Time) bool { return t.After(s.from) && (s.to.IsZero() || t.Before(s.to)) }

func (w *world) addRegistrant(n int) {
	r := &registrant{w: w, name: fmt.Sprint("r", n), tap: newTap(), live: map[string]*stay{}}
	// As a rule one TTL, sometimes two: each is a lease of its own.
	r.ttls = []time.Duration{time.Duration(5+w.rnd.IntN(11)) * time.Second}
	if w.rnd.IntN(4) == 0 {
		r.ttls = append(r.ttls, time.Duration(5+w.rnd.IntN(11))*time.Second)
	}
	var err error
	if w.registrar != nil {
		r.by, err = w.registrar(w, r.tap)
	} else {
		var reg *rollcall.Registry
		reg, err = rollcall.Open(w.config(r.tap))
		r.by = engine{reg}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.registrars = append(w.registrars, r)
	for i := range w.each {
		r.register(fmt.Sprint(r.name, "-", i), patience)
	}
}

// register registers an instance, now or as soon as it can be done.
func (r *registrant) register(id string, within_ time.Duration) {
	ttl := r.ttls[r.w.rnd.IntN(len(r.ttls))]
	ctx, cancel := within(within_)
	defer cancel()
	got, err := r.by.Register(ctx, id, ttl)
	if err != nil {
		r.w.note("%s cannot register: %v", id, err)
		r.w.later(time.Second, func() { r.register(id, 2*time.Second) })
		return
	}
	s := &stay{registered: got, of: r, id: id, ttl: ttl, from: time.Now()}
	r.live[id] = s
	r.w.oracle.stays[id] = append(r.w.oracle.stays[id], s)
}

// deregister takes an instance away, to come back a little later, or much later.
func (r *registrant) deregister(s *stay) {
	s.to = time.Now()
	delete(r.live, s.id)
	ctx, cancel := within(2 * time.Second)
	defer cancel()
	r.w.note("%s leaves: %v", s.id, s.Deregister(ctx))
	away := r.w.upTo(10 * time.Second)
	if r.w.rnd.IntN(3) == 0 {
		away += time.Minute
	}
	r.w.later(away, func() { r.register(s.id, 2*time.Second) })
}

// update changes an instance's weight. Whether or not it is confirmed, it is wanted from now on.
func (r *registrant) update(s *stay, patience time.Duration) {
	weight := 1 + r.w.rnd.IntN(1000)
	ctx, cancel := within(patience)
	defer cancel()
	r.w.note("%s has weight %d: %v", s.id, weight, s.Update(ctx, weight))
}

func (r *registrant) close() {
	for _, s := range r.live {
		s.to = time.Now()
	}
	clear(r.live)
	ctx, cancel := within(time.Minute)
	defer cancel()
	if err := r.by.Close(ctx); err != nil {
		r.w.fail("clean close", "%s: %v", r.name, err)
	}
}

// someone returns a random living stay, nil when there is none.
func (w *world) someone() *stay {
	var all []*stay
	for _, r := range w.registrars {
		for _, id := range sortedKeys(r.live) {
			all = append(all, r.live[id])
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.rnd.IntN(len(all))]
}

// churn changes a registration now and then, so that there is something to lose.
func (w *world) churn() {
	if len(w.processes) > 0 {
		w.processes[w.rnd.IntN(len(w.processes))].act()
	}
	s := w.someone()
	if s == nil {
		return
	}
	if w.rnd.IntN(5) == 0 && s.id != contested {
		s.of.deregister(s)
	} else {
		s.of.update(s, w.upTo(2*time.Second))
	}
}
