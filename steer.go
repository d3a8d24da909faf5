package rollcall

import (
	"context"
	"fmt"
	"time"
)

// AnyRevision, as the Revision of what is written or deleted, replaces whatever is there.
const AnyRevision = -1

// SetOverride writes an operator's decision for one instance, which need not be registered. It counts for every caller of the service, also
// after the instance's restart, until it is deleted or its time is up.
//
// It replaces only what it was made from: the override of o.Revision, or none when that is 0; [AnyRevision] replaces whatever is
// there. Anything else is a [ConflictError], which matches [ErrConflict]: read again, and decide again. The override is returned as it was
// written, with its new revision.
func (r *Registry) SetOverride(ctx context.Context, service, id string, o Override) (Override, error) {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	now := time.Now()
	if err == nil {
		err = o.validate(now)
	}
	if err == nil {
		o.Since = now.UTC().Truncate(time.Second)
		o.Until = o.Until.UTC()
		o, err = r.engine.setOverride(ctx, service, id, o)
	}
	if err != nil {
		return Override{}, fmt.Errorf("override %s/%s: %w", service, id, err)
	}
	return o, nil
}

// DeleteOverride takes an operator's decision back, if it is still the one of the given revision, or [AnyRevision]. An override that is
// not there is no error. Who does it, and why, may be said once, for the history: [Registry.Journal].
func (r *Registry) DeleteOverride(ctx context.Context, service, id string, revision int64, by ...By) error {
	who, err := oneBy(by)
	if err == nil {
		err = r.check(service)
	}
	if err == nil {
		err = validateID(id)
	}
	if err == nil {
		err = r.engine.deleteOverride(ctx, service, id, revision, who)
	}
	if err != nil {
		return fmt.Errorf("undo override %s/%s: %w", service, id, err)
	}
	return nil
}

// Override reads an operator's decision for one instance from etcd. Without one the error is [ErrNotFound].
func (r *Registry) Override(ctx context.Context, service, id string) (Override, error) {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	var o *Override
	if err == nil {
		o, err = r.engine.override(ctx, service, id)
	}
	if err != nil {
		return Override{}, fmt.Errorf("override of %s/%s: %w", service, id, err)
	}
	return *o, nil
}

// SetPolicy writes what an operator decided for all callers of a service, which need not have instances. It reaches callers that run as an
// instance that joins does. Conflicts are those of [Registry.SetOverride]; what breaks a rule is an [InvalidError].
func (r *Registry) SetPolicy(ctx context.Context, service string, p Policy) (Policy, error) {
	err := r.check(service)
	if err == nil {
		err = p.Validate()
	}
	if err == nil {
		p.Since = time.Now().UTC().Truncate(time.Second)
		p, err = r.engine.setPolicy(ctx, service, p)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("policy of %s: %w", service, err)
	}
	return p, nil
}

// DeletePolicy takes a service's policy back, if it is still the one of the given revision, or [AnyRevision]: callers return to what they
// decide themselves. A policy that is not there is no error. Who does it, and why, may be said once, as with [Registry.DeleteOverride].
func (r *Registry) DeletePolicy(ctx context.Context, service string, revision int64, by ...By) error {
	who, err := oneBy(by)
	if err == nil {
		err = r.check(service)
	}
	if err == nil {
		err = r.engine.deletePolicy(ctx, service, revision, who)
	}
	if err != nil {
		return fmt.Errorf("delete policy of %s: %w", service, err)
	}
	return nil
}

// Policy reads a service's policy from etcd. Without one the error is [ErrNotFound].
func (r *Registry) Policy(ctx context.Context, service string) (Policy, error) {
	err := r.check(service)
	var p *Policy
	if err == nil {
		p, err = r.engine.policy(ctx, service)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("policy of %s: %w", service, err)
	}
	return *p, nil
}

// Accept has every caller believe the losses that it doubts now: suspects leave the views. What is lost later is doubted again.
func (r *Registry) Accept(ctx context.Context, service, reason, author string) error {
	err := r.check(service)
	if err == nil {
		err = Policy{Reason: reason, Author: author}.Validate()
	}
	if err == nil {
		err = r.engine.accept(ctx, service, reason, author)
	}
	if err != nil {
		return fmt.Errorf("accept the losses of %s: %w", service, err)
	}
	return nil
}
