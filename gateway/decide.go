package gateway

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// decide makes a call to the control service.
func decide[Resp any](ctx context.Context, r *remote, ask func(context.Context, rollcallv1.ControlServiceClient) (Resp, error)) (resp Resp, tries int, err error) {
	err = r.call(ctx, writeTimeout, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		tries++
		resp, err = ask(ctx, rollcallv1.NewControlServiceClient(conn))
		return err
	})
	return resp, tries, err
}

// Override implements [rollcall.Remote].
func (r *remote) Override(ctx context.Context, service, id string) (rollcall.Override, error) {
	resp, _, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.GetOverrideResponse, error) {
		return c.GetOverride(ctx, &rollcallv1.GetOverrideRequest{Service: service, Id: id})
	})
	if err != nil {
		return rollcall.Override{}, err
	}
	return message.OverrideOf(resp.GetOverride()), nil
}

// SetOverride implements [rollcall.Remote].
func (r *remote) SetOverride(ctx context.Context, service, id string, o rollcall.Override) (rollcall.Override, error) {
	resp, tries, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.SetOverrideResponse, error) {
		return c.SetOverride(ctx, &rollcallv1.SetOverrideRequest{Service: service, Id: id, Override: message.Override(&o)})
	})
	if errors.Is(err, rollcall.ErrConflict) && tries > 1 { // with ourselves, perhaps: the answer to an earlier try was lost
		if found, err := r.Override(ctx, service, id); err == nil && sameOverride(found, o) {
			return found, nil
		}
	}
	if err != nil {
		return rollcall.Override{}, err
	}
	return message.OverrideOf(resp.GetOverride()), nil
}

// sameOverride compares what two overrides decide. Who and when the server says.
func sameOverride(a, b rollcall.Override) bool {
	return a.Drain == b.Drain && a.Weight == b.Weight && a.Reason == b.Reason && a.Until.Equal(b.Until)
}

// RemoveDead implements [rollcall.Remote].
func (r *remote) RemoveDead(ctx context.Context, service, id string, by rollcall.By) (*rollcall.Instance, error) {
	resp, _, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.RemoveInstanceResponse, error) {
		return c.RemoveInstance(ctx, &rollcallv1.RemoveInstanceRequest{Service: service, Id: id, Author: by.Author, Reason: by.Reason})
	})
	if err != nil {
		return nil, err
	}
	return message.InstanceOf(resp.GetInstance()), nil
}

// DeleteOverride implements [rollcall.Remote].
func (r *remote) DeleteOverride(ctx context.Context, service, id string, revision int64, by rollcall.By) error {
	_, _, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.DeleteOverrideResponse, error) {
		return c.DeleteOverride(ctx, &rollcallv1.DeleteOverrideRequest{
			Service: service, Id: id, Revision: revision, Author: by.Author, Reason: by.Reason,
		})
	})
	return err
}

// Policy implements [rollcall.Remote].
func (r *remote) Policy(ctx context.Context, service string) (rollcall.Policy, error) {
	resp, _, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.GetPolicyResponse, error) {
		return c.GetPolicy(ctx, &rollcallv1.GetPolicyRequest{Service: service})
	})
	if err != nil {
		return rollcall.Policy{}, err
	}
	return message.PolicyOf(resp.GetPolicy())
}

// SetPolicy implements [rollcall.Remote].
func (r *remote) SetPolicy(ctx context.Context, service string, p rollcall.Policy) (rollcall.Policy, error) {
	asked, err := message.Policy(&p)
	if err != nil {
		return rollcall.Policy{}, err
	}
	resp, tries, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.SetPolicyResponse, error) {
		return c.SetPolicy(ctx, &rollcallv1.SetPolicyRequest{Service: service, Policy: asked})
	})
	if errors.Is(err, rollcall.ErrConflict) && tries > 1 { // with ourselves, perhaps: the answer to an earlier try was lost
		if found, err := r.Policy(ctx, service); err == nil && found.Author == p.Author && found.Reason == p.Reason && samePolicy(found, p) {
			return found, nil
		}
	}
	if err != nil {
		return rollcall.Policy{}, err
	}
	return message.PolicyOf(resp.GetPolicy())
}

// samePolicy compares what two policies decide.
func samePolicy(a, b rollcall.Policy) bool {
	a.Since, a.Revision = b.Since, b.Revision
	left, err := a.MarshalJSON()
	right, err2 := b.MarshalJSON()
	return err == nil && err2 == nil && string(left) == string(right)
}

// DeletePolicy implements [rollcall.Remote].
func (r *remote) DeletePolicy(ctx context.Context, service string, revision int64, by rollcall.By) error {
	_, _, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.DeletePolicyResponse, error) {
		return c.DeletePolicy(ctx, &rollcallv1.DeletePolicyRequest{
			Service: service, Revision: revision, Author: by.Author, Reason: by.Reason,
		})
	})
	return err
}

// Accept implements [rollcall.Remote].
func (r *remote) Accept(ctx context.Context, service, reason, author string) error {
	_, _, err := decide(ctx, r, func(ctx context.Context, c rollcallv1.ControlServiceClient) (*rollcallv1.AcceptResponse, error) {
		return c.Accept(ctx, &rollcallv1.AcceptRequest{Service: service, Reason: reason, Author: author})
	})
	return err
}
