package grpcapi

import (
	"cmp"
	"context"
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
	if v.Policy == nil {
		return nil, fmt.Errorf("policy of %s: %w", req.GetService(), rollcall.ErrNotFound)
	}
	policy, config, err := explained(*v.Policy)
	return &rollcallv1.GetPolicyResponse{Policy: policy, ServiceConfig: config}, err
}

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
	if err := c.api.reg.DeletePolicy(ctx, req.GetService(), req.GetRevision()); err != nil {
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
		return nil, fmt.Errorf("override of %s/%s: %w", req.GetService(), message.Text(req.GetId()), rollcall.ErrNotFound)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := c.api.reg.Override(ctx, req.GetService(), req.GetId())
	if err != nil {
		return nil, err
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
	if err := c.api.reg.DeleteOverride(ctx, req.GetService(), req.GetId(), req.GetRevision()); err != nil {
		return nil, err
	}
	c.settle(ctx, req.GetService(), func(v *rollcall.View) bool {
		i, registered := v.Get(req.GetId())
		return !registered || i.Override == nil
	})
	return &rollcallv1.DeleteOverrideResponse{}, nil
}

// Accept implements rollcall.v1.
func (c *control) Accept(ctx context.Context, req *rollcallv1.AcceptRequest) (*rollcallv1.AcceptResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	author := cmp.Or(c.api.author(ctx), req.GetAuthor())
	if err := c.api.reg.Accept(ctx, req.GetService(), req.GetReason(), author); err != nil {
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
