package rollcall

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// Remote is a registry that lies behind a server. Package gateway implements it, for [NewRemote]; it is nobody else's to implement, and
// may grow. Arguments have been checked; errors are returned to the registry's callers as they are. All methods may be called
// concurrently.
type Remote interface {
	// Register registers an instance, with its TTL, and holds it. It returns when the server has confirmed it, or with an error, and then
	// nothing is registered.
	Register(ctx context.Context, service string, inst Instance) (RemoteRegistration, error)

	// Watch tells what a service is and becomes, until ctx ends. The first that it tells, or later one that is Complete, is everything.
	Watch(ctx context.Context, service string, tell func(News))
	Lookup(ctx context.Context, service string) (*View, error)
	Services(ctx context.Context) ([]string, error)

	Override(ctx context.Context, service, id string) (Override, error)
	SetOverride(ctx context.Context, service, id string, o Override) (Override, error)
	DeleteOverride(ctx context.Context, service, id string, revision int64, by By) error
	Policy(ctx context.Context, service string) (Policy, error)
	SetPolicy(ctx context.Context, service string, p Policy) (Policy, error)
	DeletePolicy(ctx context.Context, service string, revision int64, by By) error
	RemoveDead(ctx context.Context, service, id string, by By) (*Instance, error)
	Accept(ctx context.Context, service, reason, author string) error

	// Status returns since when no server answers, zero while one does, and what the last failed try met.
	Status() (unreachable time.Time, last error)
	Endpoints() []string

	// Leave deregisters everything that is held; Close, after it, ends whatever still runs, and waits for it.
	Leave(ctx context.Context) error
	Close()
}

// RemoteRegistration is what a [Remote] holds of one registration.
type RemoteRegistration interface {
	Want(inst Instance) error        // from now on; returns why it has ended, if it has
	Await(ctx context.Context) error // until the server has confirmed what is wanted
	Deregister(ctx context.Context) error
	Detach()
	Done() <-chan struct{}
	Err() error
	Missing() (since time.Time, last error) // since when the server does not confirm it; zero while it does
	Revision() int64
	Incarnation() string
}

// News is what a [Remote] tells of a service.
type News struct {
	Revision int64
	Complete bool     // Updates adds every instance that there is
	Reset    bool     // the history broke
	Updates  []Update // sorted by id; Prev does not count
	Policy   *Policy

	StaleSince time.Time // as in View
	StaleErr   error

	// Silent says that this is no word of the server's, but that it cannot be heard, since StaleSince: nothing else counts.
	Silent bool
}

// RemoteName is what errors call a server that does not answer.
const RemoteName = "the server"

// NewRemote makes a registry on one that lies behind a server. Use package gateway, which calls it.
func NewRemote(remote Remote, opts ...Option) *Registry {
	s := newSettings(opts)
	if s.err == nil && s.followAll {
		s.err = invalid("option", "WithFollowAll", "a server follows everything; what lies behind one asks it")
	}
	r := newRegistry(s)
	if s.err == nil {
		r.engine = &remoteEngine{r, remote}
	}
	return r
}

// remoteEngine is the engine of a registry that lies behind a server.
type remoteEngine struct {
	*Registry
	remote Remote
}

// unsupported is an [errors.ErrUnsupported], for what servers have no call for.
func unsupported(what string) error {
	return fmt.Errorf("%s: %w by a server", what, errors.ErrUnsupported)
}

func (e *remoteEngine) hold(ctx context.Context, g *Registration, resume bool) (holding, error) {
	if resume || g.inst.tokenHash != "" {
		return nil, unsupported("a token of one's own")
	}
	r, err := e.remote.Register(ctx, g.service, *g.inst.Clone())
	if err != nil {
		return nil, err
	}
	return remoteHold{r}, nil
}

func (e *remoteEngine) owned(context.Context, string, string, string) (*Instance, error) {
	return nil, unsupported("a token of one's own")
}

func (e *remoteEngine) remove(context.Context, string, string) error {
	return unsupported("to remove what somebody else registered")
}

func (e *remoteEngine) lookup(ctx context.Context, service string) (*View, error) {
	v, err := e.remote.Lookup(ctx, service)
	if errors.Is(err, ErrUnreachable) {
		if known := e.lastKnown(service, time.Now(), err); known != nil {
			return known, nil
		}
	}
	return v, err
}

func (e *remoteEngine) services(ctx context.Context) ([]string, error) { return e.remote.Services(ctx) }

func (e *remoteEngine) start() {}

func (e *remoteEngine) follow(ctx context.Context, f *feed, _ follow.Seed) refresher {
	e.wg.Go(func() { e.remote.Watch(ctx, f.service, f.take) })
	return refreshed{}
}

// refreshed is a refresher for what is told as soon as it is known: to ask for it would bring nothing newer.
type refreshed struct{}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (refreshed) Refresh() <-chan struct{} { return closedChannel }

func (e *remoteEngine) override(ctx context.Context, service, id string) (*Override, error) {
	o, err := e.remote.Override(ctx, service, id)
	return &o, err
}

func (e *remoteEngine) setOverride(ctx context.Context, service, id string, o Override) (Override, error) {
	return e.remote.SetOverride(ctx, service, id, o)
}

func (e *remoteEngine) deleteOverride(ctx context.Context, service, id string, revision int64, by By) error {
	return e.remote.DeleteOverride(ctx, service, id, revision, by)
}

func (e *remoteEngine) policy(ctx context.Context, service string) (*Policy, error) {
	p, err := e.remote.Policy(ctx, service)
	return &p, err
}

func (e *remoteEngine) setPolicy(ctx context.Context, service string, p Policy) (Policy, error) {
	return e.remote.SetPolicy(ctx, service, p)
}

// removeDead implements [engine].
func (e *remoteEngine) removeDead(ctx context.Context, service, id string, by By) (*Instance, error) {
	return e.remote.RemoveDead(ctx, service, id, by)
}

func (e *remoteEngine) deletePolicy(ctx context.Context, service string, revision int64, by By) error {
	return e.remote.DeletePolicy(ctx, service, revision, by)
}

func (e *remoteEngine) accept(ctx context.Context, service, reason, author string) error {
	return e.remote.Accept(ctx, service, reason, author)
}

func (e *remoteEngine) status(s *Status) {
	s.Endpoints = e.remote.Endpoints()
	s.UnreachableSince, s.LastError = e.remote.Status()
}

func (e *remoteEngine) where() (string, []string)       { return RemoteName, e.remote.Endpoints() }
func (e *remoteEngine) leave(ctx context.Context) error { return e.remote.Leave(ctx) }

func (e *remoteEngine) end() {
	e.remote.Close()
	e.wg.Wait()
}

// remoteHold is a holding of a server's.
type remoteHold struct{ RemoteRegistration }

func (h remoteHold) want(i *Instance) error            { return h.Want(*i.Clone()) }
func (h remoteHold) await(ctx context.Context) error   { return h.Await(ctx) }
func (h remoteHold) release(ctx context.Context) error { return h.Deregister(ctx) }
func (h remoteHold) drop(context.Context) error        { return unsupported("to leave without a goodbye") }

// take takes over what a server told: it has been doubted, and steered, there.
func (f *feed) take(n News) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.Silent {
		f.silentLocked(n.StaleSince, n.StaleErr)
		return
	}
	var before []*Instance
	next := &View{Service: f.service, Revision: n.Revision, Policy: n.Policy, StaleSince: n.StaleSince, StaleErr: n.StaleErr}
	if f.view != nil {
		before, next.era = f.view.Instances, f.view.era
		if was := f.view.Policy; was != nil && n.Policy != nil && was.Revision == n.Policy.Revision {
			next.Policy = was
		}
	}
	if n.Reset {
		next.era++
	}
	updates := changes(before, n)
	next.Instances = applyUpdates(before, updates)
	f.decided = f.decided.shown(next.Policy, updates)
	if old := f.view; old != nil && len(updates) == 0 && !n.Reset && old.Policy == next.Policy && old.StaleSince.Equal(next.StaleSince) {
		return
	}
	f.publish(next, delta{updates: updates, reset: n.Reset})
}

// changes returns what news change of the instances before.
func changes(before []*Instance, n News) []Update {
	if n.Complete {
		now := make([]*Instance, len(n.Updates))
		for k, u := range n.Updates {
			now[k] = u.Instance
		}
		return diff(before, now, !n.Reset)
	}
	updates := make([]Update, 0, len(n.Updates))
	for _, u := range n.Updates {
		prev := lastKnown(before, nil, u.Instance.ID)
		switch {
		case u.Op != Delete && prev == nil:
			updates = append(updates, Update{Op: Add, Instance: u.Instance})
		case u.Op != Delete:
			updates = append(updates, Update{Op: Modify, Instance: u.Instance, Prev: prev})
		case prev != nil:
			updates = append(updates, Update{Op: Delete, Instance: prev, Prev: prev, Expired: u.Expired})
		}
	}
	return updates
}

// shown returns the decisions as a changed view shows them.
func (d *decisions) shown(policy *Policy, updates []Update) *decisions {
	if d.policy != policy {
		changed := *d
		changed.policy = policy
		d = &changed
	}
	for _, u := range updates {
		now := u.Instance.Override
		if u.Op == Delete {
			now = nil
		}
		if name := overrideName + escapeID(u.Instance.ID); now != nil {
			d = d.with(name, now)
		} else if d.overrides[u.Instance.ID] != nil {
			d = d.with(name, nil)
		}
	}
	return d
}

// silentLocked notes that the server cannot be heard.
func (f *feed) silentLocked(since time.Time, err error) {
	f.err = err
	if f.view == nil || !f.view.StaleSince.IsZero() && f.view.StaleSince.Before(since) {
		return // it is stale for longer
	}
	next := *f.view
	next.StaleSince, next.StaleErr = since, err
	f.publish(&next, delta{})
}
