package rollcall

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Registration is the live hold on one instance's key. It heals itself until it is deregistered: a lease that was lost
// is granted again, a key that somebody deleted or overwrote is put back. All methods may be called concurrently.
type Registration struct {
	registry *Registry
	service  string
	hold     holding

	updating sync.Mutex // orders Updates; taken before mu, held while a change is asked for
	mu       sync.Mutex
	inst     Instance // as it is wanted in etcd; written with both mutexes held
}

func (r *Registry) newRegistration(service string, inst Instance, s registerSettings) (*Registration, error) {
	if err := r.check(service); err != nil {
		return nil, err
	}
	if err := validateTTL(s.ttl); err != nil {
		return nil, err
	}
	inst = *inst.Clone()
	inst.TTL, inst.Incarnation, inst.Holder = s.ttl, rand.Text(), r.holder
	inst.Registered = time.Now().UTC().Truncate(time.Second)
	inst.Revision, inst.CreateRevision, inst.unknown, inst.tokenHash = 0, 0, nil, ""
	if s.token != "" {
		if len(s.token) < minTokenLen {
			return nil, invalid("token", "of "+strconv.Itoa(len(s.token))+" bytes", "a token is at least 16 bytes")
		}
		inst.tokenHash = hashToken(s.token)
	}
	r.complete(&inst)
	if err := inst.validate(); err != nil {
		return nil, err
	}
	return &Registration{registry: r, service: service, inst: inst}, nil
}

// complete fills what a registrant left out.
func (r *Registry) complete(inst *Instance) {
	inst.withDefaults()
	inst.Zone = cmp.Or(inst.Zone, r.Zone())
}

// begin writes the instance for the first time, or goes on with what another registry wrote.
func (g *Registration) begin(ctx context.Context, resume bool) error {
	if _, _, err := g.inst.encodeBoth(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return g.registry.unreachable(time.Now(), nil, context.Cause(ctx)) // nothing was tried
	}
	h, err := g.registry.engine.hold(ctx, g, resume)
	if err != nil {
		return err
	}
	g.hold = h
	return nil
}

// Service returns the name of the service that the instance belongs to.
func (g *Registration) Service() string { return g.service }

// Instance returns a copy of the instance as it is wanted in etcd now.
func (g *Registration) Instance() Instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := *g.inst.Clone()
	if g.hold != nil {
		i.Incarnation = g.hold.Incarnation() // a server chooses it
	}
	return i
}

// Revision returns etcd's revision of the last write of the instance that etcd has confirmed; 0 when the registration has ended.
func (g *Registration) Revision() int64 { return g.hold.Revision() }

// Update changes the instance in place, under the same lease, and returns when etcd has confirmed it. Change is called
// once, with a copy, and must not call Update or Drain itself; what it may not change (the id, and the fields that
// rollcall sets) stays as it was.
//
// An instance that breaks a rule is an [InvalidError], and nothing is changed. When ctx ends before etcd has answered
// ([UnreachableError]), or etcd refuses, the change stands and is written as soon as etcd allows. After the registration
// has ended Update returns why.
func (g *Registration) Update(ctx context.Context, change func(*Instance)) error {
	return g.update(ctx, "update", change)
}

func (g *Registration) update(ctx context.Context, operation string, change func(*Instance)) error {
	ctx, end := g.registry.traced(ctx, operation, g.service, g.id())
	err := g.want(change)
	if err == nil {
		err = g.hold.await(ctx)
	}
	end(err)
	if err != nil {
		return fmt.Errorf("update %s/%s: %w", g.service, g.id(), err)
	}
	return nil
}

// id returns the instance's id, which never changes.
func (g *Registration) id() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inst.ID
}

// want changes the wanted instance.
func (g *Registration) want(change func(*Instance)) error {
	g.updating.Lock()
	defer g.updating.Unlock()
	next := g.inst.Clone()
	change(next)
	next.ID, next.TTL, next.Incarnation, next.Holder = g.inst.ID, g.inst.TTL, g.inst.Incarnation, g.inst.Holder
	next.Registered, next.Revision, next.CreateRevision, next.unknown, next.tokenHash = g.inst.Registered, 0, 0, nil, g.inst.tokenHash
	g.registry.complete(next)
	next = next.Clone() // change may keep what it was given
	if err := next.validate(); err != nil {
		return err
	}
	if err := g.hold.want(next); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inst = *next
	return nil
}

// Drain marks the instance as draining: still registered, still finishing its work, to be sent nothing new. It is an
// Update; setting the State back to [StateServing] undoes it.
func (g *Registration) Drain(ctx context.Context) error {
	return g.update(ctx, "drain", func(i *Instance) { i.State = StateDraining })
}

// Deregister says goodbye and removes the instance, and returns when etcd has confirmed it. It is idempotent. A key that
// another registration has taken over is left alone, and that is no error.
//
// When ctx ends first ([UnreachableError]), or etcd refuses ([ErrPermissionDenied]), the registration has ended all the
// same: the key is removed as soon as etcd allows, and a further Deregister waits for that. After the registry's Close it
// returns what Close did.
func (g *Registration) Deregister(ctx context.Context) error {
	return g.end(ctx, "deregister", g.hold.release)
}

// end removes the instance in one way or another.
func (g *Registration) end(ctx context.Context, operation string, release func(context.Context) error) error {
	ctx, ended := g.registry.traced(ctx, operation, g.service, g.id())
	err := g.release(ctx, release)
	ended(err)
	return err
}

func (g *Registration) release(ctx context.Context, release func(context.Context) error) error {
	err := release(ctx)
	switch {
	case errors.Is(g.hold.Err(), ErrClosed):
		select {
		case <-g.registry.closed:
			return g.registry.closeError() // it was Close that deregistered it
		case <-ctx.Done():
			return fmt.Errorf("deregister %s/%s: %w", g.service, g.Instance().ID, g.registry.unreachable(time.Now(), nil, context.Cause(ctx)))
		}
	case err != nil:
		return fmt.Errorf("deregister %s/%s: %w", g.service, g.Instance().ID, err)
	}
	return nil
}

// Done is closed when the registration has ended for good; Err then says why. Trouble with etcd never ends it.
func (g *Registration) Done() <-chan struct{} { return g.hold.Done() }

// Err returns nil while the registration lives, and why it ended afterwards: [ErrReplaced], [ErrDeregistered] or
// [ErrClosed].
func (g *Registration) Err() error { return g.hold.Err() }

// RegistrationState is how a registration is.
type RegistrationState string

// The states of a registration.
const (
	Registered RegistrationState = "registered" // etcd has it, as far as is known
	Healing    RegistrationState = "healing"    // etcd does not have it, or has not confirmed a heartbeat for the TTL; it is being put back
	Ended      RegistrationState = "ended"      // for good
)

// RegistrationStatus is how a registration is at one moment.
type RegistrationStatus struct {
	State RegistrationState
	Since time.Time // since when it is healing; zero otherwise
	Err   error     // why it has ended, or what the last try to heal it met, if it met anything
}

// Status returns how the registration is, for a readiness probe, say: an instance that is healing may not be found by callers that have not known it
// before, and serves all the others. It does no I/O.
func (g *Registration) Status() RegistrationStatus {
	if err := g.hold.Err(); err != nil {
		return RegistrationStatus{State: Ended, Err: err}
	}
	since, err := g.hold.Missing()
	if since.IsZero() {
		return RegistrationStatus{State: Registered}
	}
	return RegistrationStatus{State: Healing, Since: since, Err: refused(err)}
}
