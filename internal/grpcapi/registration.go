package grpcapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// registration is the RegistrationService: "I am here" for programs without the library.
type registration struct {
	rollcallv1.UnimplementedRegistrationServiceServer
	reg     *rollcall.Registry
	kept    *keepings
	closing chan struct{} // closed when sessions are to end

	unanswered atomic.Int64 // when etcd last did not answer a claim in time, in nanoseconds since 1970
}

func newRegistration(reg *rollcall.Registry, logger *slog.Logger) *registration {
	return &registration{reg: reg, kept: newKeepings(logger), closing: make(chan struct{})}
}

// endSessions ends the sessions, whose clients are to come back somewhere; close, after the last call has ended, leaves what was kept to the
// servers that go on.
func (s *registration) endSessions() { close(s.closing) }
func (s *registration) close()       { s.kept.close() }

// held returns how many registrations are kept.
func (s *registration) held() int {
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	return len(s.kept.kept)
}

// heartbeatsPerTTL says how often programs are to send heartbeats: two may be lost.
const heartbeatsPerTTL = 3

func (s *registration) Register(ctx context.Context, req *rollcallv1.RegisterRequest) (*rollcallv1.RegisterResponse, error) {
	_, resp, err := s.register(ctx, req)
	if err != nil {
		return nil, StatusOf(err).Err()
	}
	return resp, nil
}

func (s *registration) register(ctx context.Context, req *rollcallv1.RegisterRequest) (*keeping, *rollcallv1.RegisterResponse, error) {
	if req.GetService() == rollcall.ServerService {
		return nil, nil, invalid("service", req.GetService(), "the servers themselves register under this name")
	}
	inst, err := registrant(req.GetInstance())
	if err != nil {
		return nil, nil, err
	}
	ttl, err := ttlOf(req.GetTtl())
	if err != nil {
		return nil, nil, err
	}
	token := newToken()
	r, err := s.reg.Register(ctx, req.GetService(), inst, rollcall.WithTTL(ttl), rollcall.WithToken(token))
	if err != nil {
		return nil, nil, err
	}
	k := s.kept.keep(r, token)
	written := s.asWritten(ctx, r)
	return k, &rollcallv1.RegisterResponse{Instance: written, Token: token, Revision: written.GetRevision(), HeartbeatInterval: interval(ttl)}, nil
}

// asWritten returns the instance as it was last written, once this server tells of that, too; not much later if it takes long.
func (s *registration) asWritten(ctx context.Context, r *rollcall.Registration) *rollcallv1.Instance {
	i := r.Instance()
	i.Revision = r.Revision()
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	_ = s.reg.Seen(ctx, i.Revision)
	return message.Instance(&i)
}

func newToken() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return base64.RawURLEncoding.EncodeToString(secret)
}

func interval(ttl time.Duration) *durationpb.Duration { return durationpb.New(ttl / heartbeatsPerTTL) }

// ttlOf reads a TTL; the library knows which are allowed.
func ttlOf(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return rollcall.DefaultTTL, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, &rollcall.InvalidError{Field: "ttl", Value: d.String(), Rule: "it is a duration"}
	}
	return d.AsDuration(), nil
}

// registrant reads what a program says of itself.
func registrant(i *rollcallv1.Instance) (rollcall.Instance, error) {
	if i == nil {
		return rollcall.Instance{}, &rollcall.InvalidError{Field: "instance", Value: "none", Rule: "there is an instance to register"}
	}
	return message.Requested(i), nil
}

func (s *registration) Heartbeat(ctx context.Context, req *rollcallv1.HeartbeatRequest) (*rollcallv1.HeartbeatResponse, error) {
	k, err := s.own(ctx, req)
	if err != nil {
		return nil, StatusOf(err).Err()
	}
	return s.heard(k), nil
}

// heard notes a heartbeat, and answers it.
func (s *registration) heard(k *keeping) *rollcallv1.HeartbeatResponse {
	s.kept.hear(k)
	return &rollcallv1.HeartbeatResponse{HeartbeatInterval: interval(k.ttl), Healing: k.r.Status().State == rollcall.Healing}
}

// owner is a request in which somebody says that a registration is his.
type owner interface {
	GetService() string
	GetId() string
	GetToken() string
}

// own returns the registration that a token belongs to. One that another server has kept, or nobody any more, is kept here from now on.
func (s *registration) own(ctx context.Context, req owner) (*keeping, error) {
	k := s.kept.get(req.GetService(), req.GetId())
	var ended error
	if k != nil && k.owns(req.GetToken()) {
		if ended = k.r.Err(); ended == nil {
			return k, nil
		}
		s.kept.forget(k)
	}
	select {
	case <-s.closing:
		return nil, errStopping // what another server has kept is not for this one to take on
	default:
	}
	r, err := s.reg.Resume(ctx, req.GetService(), req.GetId(), req.GetToken())
	switch {
	case errors.Is(err, rollcall.ErrNotFound) && errors.Is(ended, rollcall.ErrReplaced):
		return nil, fmt.Errorf("registration of %s/%s: %w", req.GetService(), req.GetId(), ended)
	case errors.Is(err, rollcall.ErrNotFound):
		return nil, status.Errorf(codes.NotFound, "there is no registration of %s/%s with this token: register again", req.GetService(), req.GetId())
	case err != nil:
		return nil, err
	}
	return s.kept.keep(r, req.GetToken()), nil
}

const (
	claimTimeout = time.Second      // for etcd to say who has a registration
	claimPause   = 10 * time.Second // in which etcd is not asked again after it did not
)

// claim is own for a session that comes to hold a registration. Another server may have taken it on in between, without this one having heard
// of it yet, and be about to leave it: what is kept here is taken on anew, so that etcd says who was last. While etcd does not answer it
// stays what it is, and thousands that come back do not wait for that one after the other.
func (s *registration) claim(ctx context.Context, req owner) (*keeping, error) {
	k := s.kept.get(req.GetService(), req.GetId())
	if k == nil || !k.owns(req.GetToken()) || k.r.Err() != nil {
		return s.own(ctx, req)
	}
	s.kept.hear(k)
	if time.Since(time.Unix(0, s.unanswered.Load())) < claimPause {
		return s.own(ctx, req)
	}
	soon, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	r, err := s.reg.Resume(soon, req.GetService(), req.GetId(), req.GetToken())
	if err == nil {
		return s.kept.keep(r, req.GetToken()), nil
	}
	if soon.Err() != nil {
		s.unanswered.Store(time.Now().UnixNano())
	}
	return s.own(ctx, req)
}

func (s *registration) Update(ctx context.Context, req *rollcallv1.UpdateRequest) (*rollcallv1.UpdateResponse, error) {
	resp, err := s.update(ctx, req)
	if err != nil {
		return nil, StatusOf(err).Err()
	}
	return resp, nil
}

func (s *registration) update(ctx context.Context, req *rollcallv1.UpdateRequest) (*rollcallv1.UpdateResponse, error) {
	inst, err := registrant(req.GetInstance())
	if err != nil {
		return nil, err
	}
	k, err := s.own(ctx, req)
	if err != nil {
		return nil, err
	}
	s.kept.hear(k)
	err = k.r.Update(ctx, func(i *rollcall.Instance) {
		i.Addr, i.Addrs, i.Metadata, i.RawMetadata = inst.Addr, inst.Addrs, inst.Metadata, nil
		i.Zone, i.Version, i.Weight, i.State = inst.Zone, inst.Version, inst.Weight, inst.State
	})
	if err != nil {
		return nil, err
	}
	updated := s.asWritten(ctx, k.r)
	return &rollcallv1.UpdateResponse{Instance: updated, Revision: updated.GetRevision()}, nil
}

func (s *registration) Deregister(ctx context.Context, req *rollcallv1.DeregisterRequest) (*rollcallv1.DeregisterResponse, error) {
	if err := s.deregister(ctx, req); err != nil {
		return nil, StatusOf(err).Err()
	}
	return &rollcallv1.DeregisterResponse{}, nil
}

// deregister is done when the registration is gone, or somebody else's.
func (s *registration) deregister(ctx context.Context, req owner) error {
	k, err := s.own(ctx, req)
	switch {
	case status.Code(err) == codes.NotFound, errors.Is(err, rollcall.ErrReplaced):
		return nil
	case err != nil:
		return err
	}
	if err := k.r.Deregister(ctx); err != nil {
		return err
	}
	s.kept.forget(k)
	return s.deregisterElsewhere(ctx, req)
}

// deregisterElsewhere removes what another server keeps meanwhile. That one may have taken the registration on without this one having heard
// of it yet: its own goodbye has left the key alone then.
func (s *registration) deregisterElsewhere(ctx context.Context, req owner) error {
	r, err := s.reg.Resume(ctx, req.GetService(), req.GetId(), req.GetToken())
	switch {
	case errors.Is(err, rollcall.ErrNotFound), errors.Is(err, rollcall.ErrReplaced):
		return nil
	case err != nil:
		return err
	}
	return r.Deregister(ctx)
}
