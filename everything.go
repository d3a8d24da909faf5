package rollcall

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// retirement is how long an empty service that nobody watches is remembered, by a registry that follows everything: for longer than
// losses are doubted for, unless somebody decides otherwise.
const retirement = 10 * time.Minute

// everything follows all services by one watch: it hands each feed what is its own. A registry has one if it was made with
// [WithFollowAll].
type everything struct {
	r        *etcd
	follower *follow.Follower

	mu     sync.Mutex    // held while feeds are told or made; taken before the registry's mu
	at     follow.Header // of what was told last
	listed chan struct{} // closed when etcd has told of all services and decisions, or when snapshots were recalled
	since  time.Time     // since when etcd is out of reach
	err    error         // why

	touching sync.Mutex               // taken last
	order    *list.List               // names of services, the last changed at the back
	touched  map[string]*list.Element // by name; the elements' values are touches
	seq      uint64                   // counts touches
	retired  uint64                   // services touched up to here may be forgotten
	changed  chan struct{}            // closed and replaced with each touch
}

// touch is the last change of a service.
type touch struct {
	service string
	seq     uint64
}

func newEverything(r *etcd) *everything {
	return &everything{r: r, listed: make(chan struct{}), order: list.New(), touched: map[string]*list.Element{}, changed: make(chan struct{})}
}

// start begins to follow; nobody else uses the registry yet.
func (e *everything) start() {
	r := e.r
	e.follower = r.source.New(r.layout.services, e, e.recall())
	r.startLocked()
	r.wg.Go(func() { e.follower.Run(r.ctx) })
}

// Read implements [follow.Sink].
func (e *everything) Read(key string, value []byte) any {
	service, ok := e.r.layout.serviceOf(key)
	if !ok {
		return nil
	}
	id, _ := idOf(key[:len(e.r.layout.services)+len(service)+1], key)
	i, err := decodeInstance(id, value)
	if err != nil {
		return err
	}
	return i
}

// Apply implements [follow.Sink].
func (e *everything) Apply(b follow.Batch) {
	e.r.followControl()
	parts := map[string][]follow.Change{}
	for _, c := range b.Changes {
		if service, ok := e.r.layout.serviceOf(c.Key); ok {
			parts[service] = append(parts[service], c)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = b.Header
	if b.Relisted {
		e.since, e.err = time.Time{}, nil // a list is current, whatever came before it
	}
	e.r.mu.Lock()
	told := make(map[string]*feed, len(parts))
	for service := range parts {
		told[service] = e.feedLocked(service)
	}
	if b.Relisted || b.Reset { // to have heard of no change is news, too
		for service, f := range e.r.feeds {
			told[service] = f
		}
	}
	e.r.mu.Unlock()
	for service, f := range told {
		part := b
		part.Changes = parts[service]
		f.Apply(part)
	}
	if _, known := e.r.control.of(""); known {
		e.tellListedLocked()
	}
	e.touch("")
}

// steered is told when it is known what operators decided.
func (e *everything) steered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at.Revision != 0 {
		e.tellListedLocked()
	}
}

func (e *everything) tellListedLocked() {
	select {
	case <-e.listed:
	default:
		close(e.listed)
	}
}

// Fresh implements [follow.Sink].
func (e *everything) Fresh() { e.condition(time.Time{}, nil) }

// Stale implements [follow.Sink].
func (e *everything) Stale(since time.Time, err error) { e.condition(since, err) }

func (e *everything) condition(since time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since, e.err = since, refused(err)
	e.r.mu.Lock()
	feeds := make([]*feed, 0, len(e.r.feeds))
	for _, f := range e.r.feeds {
		feeds = append(feeds, f)
	}
	e.r.mu.Unlock()
	for _, f := range feeds {
		f.condition(since, e.err)
	}
	e.touch("")
}

// feedLocked returns a service's feed, and makes it if there is none. Both mu are held.
func (e *everything) feedLocked(service string) *feed {
	if f := e.r.feeds[service]; f != nil {
		return f
	}
	f := newFeed(service, e.r.layout.dir(service), e.r.settings)
	f.follower = e.follower
	f.touched = func() { e.touch(service) }
	e.r.adoptLocked(f)
	e.r.feeds[service] = f
	e.retireLocked(f)
	return f
}

// lookUp returns a service as it is known, without making anything for a name that nobody has registered: anybody may ask for any name.
// Nil: it is to be waited for.
func (e *everything) lookUp(service string) *View {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.r.mu.Lock()
	f := e.r.feeds[service]
	e.r.mu.Unlock()
	switch {
	case f != nil:
		return f.shown()
	case e.at.Revision == 0:
		return nil
	}
	if _, known := e.r.control.of(service); !known {
		return nil
	}
	return &View{Service: service, Revision: e.at.Revision, StaleSince: e.since, StaleErr: e.err}
}

// feed returns a service's feed, for one more user if it is one. A service that etcd holds nothing of is empty as soon as etcd has told of
// any.
func (e *everything) feed(service string, user bool) (*feed, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.r.mu.Lock()
	if e.r.ctx.Err() != nil {
		e.r.mu.Unlock()
		return nil, ErrClosed
	}
	f := e.feedLocked(service)
	if user {
		f.users++
	}
	e.r.mu.Unlock()
	if e.at.Revision != 0 && !f.has() {
		f.Apply(follow.Batch{Header: e.at, Relisted: true})
		if !e.since.IsZero() {
			f.condition(e.since, e.err)
		}
	}
	return f, nil
}

// retireLocked forgets a feed after a while, unless somebody needs it then; else it looks again later. With the registry's mu held.
func (e *everything) retireLocked(f *feed) {
	f.idle = time.AfterFunc(retirement, func() {
		e.r.mu.Lock()
		defer e.r.mu.Unlock()
		switch {
		case e.r.ctx.Err() != nil || e.r.feeds[f.service] != f:
		case f.users > 0 || !f.empty():
			e.retireLocked(f)
		default:
			delete(e.r.feeds, f.service)
			f.end()
			e.forget(f.service)
		}
	})
}

// touch notes that a service has changed, or with "" that only the condition of all has.
func (e *everything) touch(service string) {
	e.touching.Lock()
	defer e.touching.Unlock()
	e.seq++
	if service != "" {
		if at := e.touched[service]; at != nil {
			e.order.Remove(at)
		}
		e.touched[service] = e.order.PushBack(touch{service, e.seq})
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *everything) forget(service string) {
	e.touching.Lock()
	defer e.touching.Unlock()
	if at := e.touched[service]; at != nil {
		e.retired = max(e.retired, at.Value.(touch).seq)
		e.order.Remove(at)
		delete(e.touched, service)
	}
}

// newer returns the services that have changed since the touch number seq, or all when it is too long ago; and the number to ask with
// next. When there was none it returns a channel that is closed with the next.
func (e *everything) newer(seq uint64) (names []string, all bool, next uint64, wait <-chan struct{}) {
	e.touching.Lock()
	defer e.touching.Unlock()
	if seq == e.seq {
		return nil, false, seq, e.changed
	}
	all = seq < e.retired || seq == 0
	for at := e.order.Back(); at != nil && (all || at.Value.(touch).seq > seq); at = at.Prev() {
		names = append(names, at.Value.(touch).service)
	}
	return names, all, e.seq, nil
}

// await waits until etcd has told of all services for the first time.
func (e *everything) await(ctx context.Context) error {
	began := time.Now()
	select {
	case <-e.listed:
		return nil
	case <-e.r.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.r.unreachable(began, e.err, context.Cause(ctx))
	}
}

// recall begins with what an earlier process knew of all services, if there is a directory that tells.
func (e *everything) recall() follow.Seed {
	seed := follow.Seed{Known: map[string]int64{}}
	if e.r.snapshots == nil {
		return seed
	}
	for _, service := range e.r.snapshots.services(e.r.layout) {
		f := newFeed(service, e.r.layout.dir(service), e.r.settings)
		kept := f.recall(e.r.snapshots)
		if kept.At.Revision == 0 {
			continue
		}
		f.touched = func() { e.touch(service) }
		e.r.adoptLocked(f)
		e.r.feeds[service] = f
		e.retireLocked(f)
		e.touch(service)
		maps.Copy(seed.Known, kept.Known)
		if kept.At.Revision > seed.At.Revision {
			seed.At = kept.At
		}
		if e.since.IsZero() || f.view.StaleSince.Before(e.since) {
			e.since, e.err = f.view.StaleSince, errRecalled
		}
	}
	if seed.At.Revision != 0 {
		e.at = seed.At
		e.tellListedLocked()
	}
	return seed
}

// Reach returns when what this registry tells contains everything up to a revision of etcd, as a write's answer has it: whoever has
// written something reads it from here on. The error is ctx's when that ends first. Only a registry that was made with [WithFollowAll] can
// tell.
func (r *Registry) Reach(ctx context.Context, revision int64) error {
	if err := r.checkAll(); err != nil {
		return fmt.Errorf("reach revision %d: %w", revision, err)
	}
	e := r.everything()
	for {
		if e.follower.Reach(ctx, revision) && e.r.control.follower.Reach(ctx, revision) {
			return nil
		}
		if ctx.Err() != nil || r.ctx.Err() != nil {
			return fmt.Errorf("reach revision %d: %w", revision, cmp.Or(context.Cause(ctx), ErrClosed))
		}
	}
}

// Seen returns when what this registry tells contains an instance's write of a revision: like [Registry.Reach], but for instances only,
// and without a question to etcd. It is for whoever has just registered by this registry.
func (r *Registry) Seen(ctx context.Context, revision int64) error {
	if err := r.checkAll(); err != nil {
		return fmt.Errorf("see revision %d: %w", revision, err)
	}
	e := r.everything()
	for {
		e.touching.Lock()
		changed := e.changed
		e.touching.Unlock()
		e.mu.Lock()
		at := e.at.Revision
		e.mu.Unlock()
		if at >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return fmt.Errorf("see revision %d: %w", revision, ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("see revision %d: %w", revision, context.Cause(ctx))
		}
	}
}

// checkAll returns why the registry cannot tell of everything.
func (r *Registry) checkAll() error {
	if err := r.check("any"); err != nil {
		return err
	}
	if r.everything() == nil {
		return invalid("registry", "without WithFollowAll", "only a registry that follows everything can tell of everything")
	}
	return nil
}

// everything returns what follows everything, nil unless the registry does.
func (r *Registry) everything() *everything {
	if e, ok := r.engine.(*etcd); ok {
		return e.all
	}
	return nil
}
