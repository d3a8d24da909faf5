package grpcapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// control implements rollcall.v1's ControlService. It is read from memory and written to etcd; a write returns when the memory has it, too, so
// that who reads here reads what he has written.
type control struct {
	rollcallv1.UnimplementedControlServiceServer

	api *API
}

// GetPolicy implements rollcall.v1.
func (c *control) GetPolicy(ctx context.Context, req *rollcallv1.GetPolicyRequest) (*rollcallv1.GetPolicyResponse, error) {
	v, err := c.api.view(ctx, req.GetService())
	if err != nil {
		return nil, err
	}
	p := v.Policy
	if p == nil {
		found, err := ask(ctx, v, "policy of "+v.Service, func(ctx context.Context) (rollcall.Policy, error) {
			return c.api.reg.Policy(ctx, v.Service)
		})
		if err != nil {
			return nil, err
		}
		p = &found
	}
	policy, config, err := explained(*p)
	return &rollcallv1.GetPolicyResponse{Policy: policy, ServiceConfig: config}, err
}

// ask asks etcd for what the memory of a service does not have: it may be there, and over, or there, and nobody can read it. While etcd does
// not answer there is none.
func ask[T any](ctx context.Context, v *rollcall.View, what string, read func(context.Context) (T, error)) (found T, err error) {
	absent := fmt.Errorf("%s: %w", what, rollcall.ErrNotFound)
	if !v.StaleSince.IsZero() {
		return found, absent
	}
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	found, err = read(ctx)
	for _, none := range []error{rollcall.ErrNotFound, rollcall.ErrUnreachable, rollcall.ErrPermissionDenied, rollcall.ErrUnauthenticated} {
		if errors.Is(err, none) {
			err = absent
		}
	}
	return found, unread(err)
}

// unread tells what cannot be read in etcd, whose rules no request has broken, from other errors.
func unread(err error) error {
	if err == nil {
		return nil
	}
	bad, invalid := errors.AsType[*rollcall.InvalidError](err)
	if _, reason := reasonFor(err); reason == "INTERNAL" || invalid && bad.Field != "Instance.ID" {
		return &unreadableError{err}
	}
	return err
}

// unreadableError says that nobody can read what somebody has written to etcd. It hides the rule that the value breaks.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string        { return e.err.Error() }
func (e *unreadableError) Is(target error) bool { return target == errUnreadable }

// SetPolicy implements rollcall.v1.
func (c *control) SetPolicy(ctx context.Context, req *rollcallv1.SetPolicyRequest) (*rollcallv1.SetPolicyResponse, error) {
	if err := c.check(req.GetService(), req.GetPolicy().GetRevision()); err != nil {
		return nil, err
	}
	p, err := message.PolicyOf(req.GetPolicy())
	if err != nil {
		return nil, err
	}
	p.Author = cmp.Or(c.api.author(ctx), p.Author)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err = c.api.reg.SetPolicy(ctx, req.GetService(), p)
	if err != nil {
		return nil, err
	}
	c.settle(ctx, req.GetService(), func(v *rollcall.View) bool { return v.Policy != nil && v.Policy.Revision >= p.Revision })
	policy, config, err := explained(p)
	return &rollcallv1.SetPolicyResponse{Policy: policy, ServiceConfig: config}, err
}

// explained returns a policy as the API has it, and what it becomes for gRPC's channels.
func explained(p rollcall.Policy) (*rollcallv1.Policy, string, error) {
	m, err := message.Policy(&p)
	if err != nil {
		return nil, "", err
	}
	config, err := p.ServiceConfig()
	return m, config, err
}

// DeletePolicy implements rollcall.v1.
func (c *control) DeletePolicy(ctx context.Context, req *rollcallv1.DeletePolicyRequest) (*rollcallv1.DeletePolicyResponse, error) {
	if err := c.checkDelete(req.GetService(), req.GetRevision()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	before, err := c.api.view(ctx, req.GetService())
	if err != nil {
		return nil, err
	}
	if err := c.api.reg.DeletePolicy(ctx, req.GetService(), req.GetRevision(), c.by(ctx, req)); err != nil {
		return nil, err
	}
	c.settle(ctx, req.GetService(), func(v *rollcall.View) bool {
		return v.Policy == nil || before.Policy != nil && v.Policy.Revision > max(before.Policy.Revision, req.GetRevision())
	})
	return &rollcallv1.DeletePolicyResponse{}, nil
}

// GetOverride implements rollcall.v1. Memory has the overrides of instances that are registered; those of others etcd is asked for.
func (c *control) GetOverride(ctx context.Context, req *rollcallv1.GetOverrideRequest) (*rollcallv1.GetOverrideResponse, error) {
	v, err := c.api.view(ctx, req.GetService())
	if err != nil {
		return nil, err
	}
	if i, registered := v.Get(req.GetId()); registered && i.Override != nil {
		return &rollcallv1.GetOverrideResponse{Override: message.Override(i.Override)}, nil
	} else if registered {
		o, err := ask(ctx, v, "override of "+v.Service+"/"+message.Text(i.ID), func(ctx context.Context) (rollcall.Override, error) {
			return c.api.reg.Override(ctx, v.Service, i.ID)
		})
		if err != nil {
			return nil, err
		}
		return &rollcallv1.GetOverrideResponse{Override: message.Override(&o)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := c.api.reg.Override(ctx, req.GetService(), req.GetId())
	if err != nil {
		return nil, unread(err)
	}
	return &rollcallv1.GetOverrideResponse{Override: message.Override(&o)}, nil
}

// SetOverride implements rollcall.v1.
func (c *control) SetOverride(ctx context.Context, req *rollcallv1.SetOverrideRequest) (*rollcallv1.SetOverrideResponse, error) {
	if err := c.check(req.GetService(), req.GetOverride().GetRevision()); err != nil {
		return nil, err
	}
	if until := req.GetOverride().GetUntil(); until != nil && until.CheckValid() != nil {
		return nil, invalid("override.until", until.String(), "a time is one of the years 1 to 9999")
	}
	o := message.OverrideOf(req.GetOverride())
	o.Author = cmp.Or(c.api.author(ctx), o.Author)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := c.api.reg.SetOverride(ctx, req.GetService(), req.GetId(), o)
	if err != nil {
		return nil, err
	}
	c.settle(ctx, req.GetService(), func(v *rollcall.View) bool {
		i, registered := v.Get(req.GetId())
		return !registered || i.Override != nil && i.Override.Revision >= o.Revision
	})
	return &rollcallv1.SetOverrideResponse{Override: message.Override(&o)}, nil
}

// DeleteOverride implements rollcall.v1.
func (c *control) DeleteOverride(ctx context.Context, req *rollcallv1.DeleteOverrideRequest) (*rollcallv1.DeleteOverrideResponse, error) {
	if err := c.checkDelete(req.GetService(), req.GetRevision()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := c.api.reg.DeleteOverride(ctx, req.GetService(), req.GetId(), req.GetRevision(), c.by(ctx, req)); err != nil {
		return nil, err
	}
	c.settle(ctx, req.GetService(), func(v *rollcall.View) bool {
		i, registered := v.Get(req.GetId())
		return !registered || i.Override == nil
	})
	return &rollcallv1.DeleteOverrideResponse{}, nil
}

// RemoveInstance implements rollcall.v1.
func (c *control) RemoveInstance(ctx context.Context, req *rollcallv1.RemoveInstanceRequest) (*rollcallv1.RemoveInstanceResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	by := c.by(ctx, req)
	by.Author = cmp.Or(by.Author, "unknown") // unsigned it would pass for the instance's own goodbye
	last, err := c.api.reg.RemoveDead(ctx, req.GetService(), req.GetId(), by)
	if err != nil {
		return nil, err
	}
	c.settle(ctx, req.GetService(), func(v *rollcall.View) bool {
		i, registered := v.Get(req.GetId())
		return !registered || i.Incarnation != last.Incarnation
	})
	return &rollcallv1.RemoveInstanceResponse{Instance: message.Instance(last)}, nil
}

// by returns who asks, and why.
func (c *control) by(ctx context.Context, req interface {
	GetAuthor() string
	GetReason() string
},
) rollcall.By {
	return rollcall.By{Author: cmp.Or(c.api.author(ctx), req.GetAuthor()), Reason: req.GetReason()}
}

// Accept implements rollcall.v1.
func (c *control) Accept(ctx context.Context, req *rollcallv1.AcceptRequest) (*rollcallv1.AcceptResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	by := c.by(ctx, req)
	if err := c.api.reg.Accept(ctx, req.GetService(), by.Reason, by.Author); err != nil {
		return nil, err
	}
	c.settle(ctx, req.GetService(), func(v *rollcall.View) bool {
		for _, i := range v.Instances {
			if i.Suspect {
				return false
			}
		}
		return true
	})
	return &rollcallv1.AcceptResponse{}, nil
}

// check refuses what breaks a rule before anything reaches etcd.
func (c *control) check(service string, revision int64) error {
	if err := c.api.reg.Validate(service, nil); err != nil {
		return err
	}
	if revision < rollcall.AnyRevision {
		return badRevision(revision, "a revision is that of what it replaces, 0 for none, -1 for whatever is there")
	}
	return nil
}

// checkDelete is check for what deletes: there is no point in deleting what must not be there.
func (c *control) checkDelete(service string, revision int64) error {
	if revision == 0 {
		return badRevision(revision, "a revision is that of what is to be deleted, -1 for whatever is there")
	}
	return c.check(service, revision)
}

func badRevision(revision int64, rule string) error {
	return &rollcall.InvalidError{Field: "revision", Value: strconv.FormatInt(revision, 10), Rule: rule}
}

// settle waits until the memory has what etcd has confirmed. It does not wait for long: the write is done, whether or not it is seen here.
func (c *control) settle(ctx context.Context, service string, done func(*rollcall.View) bool) {
	if errors.Is(c.api.reg.Seen(ctx, 0), rollcall.ErrInvalid) {
		return // a registry that does not follow everything asks etcd each time
	}
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	w := c.api.reg.Watch(service)
	defer w.Close()
	for v, err := range w.Views(ctx) {
		if err != nil || done(v) {
			return
		}
	}
}
