package rollcall

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/rollcall-io/rollcall/internal/lease"
)

// minTokenLen is how many bytes a token has at least.
const minTokenLen = 16

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Owns reports whether a token is the one that the instance was registered with: see [WithToken]. It takes the same time for every wrong
// token.
func (i *Instance) Owns(token string) bool {
	return i.tokenHash != "" && subtle.ConstantTimeCompare([]byte(i.tokenHash), []byte(hashToken(token))) == 1
}

// Resume goes on with a registration that was made with [WithToken], by this or another registry: the instance stays as it is, of the same
// incarnation, and nobody sees more of it than that it was written again. From then on this registry keeps it, under a lease of its own, and
// the former registration ends with [ErrMoved], if it lives.
//
// It waits for etcd as long as ctx allows. [ErrNotFound] says that there is no such instance, or that the token is not its own: the
// two cannot be told apart. [ErrReplaced] says that somebody registered the id at the same moment.
func (r *Registry) Resume(ctx context.Context, service, id, token string) (*Registration, error) {
	ctx, end := r.traced(ctx, "resume", service, id)
	g, err := r.resume(ctx, service, id, token)
	end(err)
	if err != nil {
		return nil, fmt.Errorf("resume %s/%s: %w", service, shorten(id), err)
	}
	r.counts.began(g)
	r.logger.Info("registration resumed", "service", service, "instance", id)
	return g, nil
}

func (r *Registry) resume(ctx context.Context, service, id, token string) (*Registration, error) {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	if err != nil {
		return nil, err
	}
	found, err := r.engine.owned(ctx, service, id, token)
	if err != nil {
		return nil, err
	}
	found.Holder = r.holder
	g := &Registration{registry: r, service: service, inst: *found}
	err = g.begin(ctx, true)
	switch {
	case errors.Is(err, lease.ErrAbsent):
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	}
	return g, nil
}

// owned implements [engine].
func (r *etcd) owned(ctx context.Context, service, id, token string) (*Instance, error) {
	var found *Instance
	err := r.read(ctx, r.layout.key(service, id), func(value []byte, _ int64) error {
		i, err := decodeInstance(id, value)
		if err != nil || i.State == stateLeaving || !i.Owns(token) || validateTTL(i.TTL) != nil {
			return ErrNotFound
		}
		found = i
		return nil
	})
	return found, err
}

// Expire removes the instance as the end of its lease would: without a goodbye, so that watchers take it for a crash. It is for
// programs that keep registrations for others, who have fallen silent. Otherwise it is as [Registration.Deregister].
func (g *Registration) Expire(ctx context.Context) error { return g.end(ctx, "expire", g.hold.drop) }

// Detach ends the registration, with [ErrDetached], and leaves the instance in etcd for whoever resumes it: see [Registry.Resume]. It stays
// until the lease runs out that it shares with the registry's others of its TTL, at most one TTL after [Registry.Close], before which
// Detach is meant to be called.
func (g *Registration) Detach() { g.hold.Detach() }
