package grpcapi

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/history"
	"github.com/rollcall-io/rollcall/internal/message"
)

// GetServiceAt implements rollcall.v1. It asks etcd, which alone has the past.
func (e *events) GetServiceAt(ctx context.Context, req *rollcallv1.GetServiceAtRequest) (*rollcallv1.GetServiceAtResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := e.api.reg.Validate(req.GetService(), nil); err != nil {
		return nil, err
	}
	at, err := e.moment(ctx, "revision", req.GetRevision(), "time", req.GetTime())
	if err != nil {
		return nil, err
	}
	v, err := e.api.reg.LookupAt(ctx, req.GetService(), at.Revision, at.Time)
	if err != nil {
		return nil, err
	}
	policy, err := message.Policy(v.Policy)
	if err != nil {
		return nil, err
	}
	resp := &rollcallv1.GetServiceAtResponse{Service: v.Service, At: momentMessage(at), Policy: policy}
	for _, i := range v.Instances {
		resp.Instances = append(resp.Instances, message.Instance(i))
	}
	return resp, nil
}

// ListServicesAt implements rollcall.v1.
func (e *events) ListServicesAt(ctx context.Context, req *rollcallv1.ListServicesAtRequest) (*rollcallv1.ListServicesAtResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at, err := e.moment(ctx, "revision", req.GetRevision(), "time", req.GetTime())
	if err != nil {
		return nil, err
	}
	views, err := e.viewsAt(ctx, "", at)
	if err != nil {
		return nil, err
	}
	resp := &rollcallv1.ListServicesAtResponse{At: momentMessage(at)}
	for _, name := range slices.Sorted(maps.Keys(views)) {
		resp.Services = append(resp.Services, summaryOf(views[name], nil))
	}
	return resp, nil
}

func momentMessage(m history.Moment) *rollcallv1.Moment {
	return &rollcallv1.Moment{Revision: m.Revision, Time: message.Moment(m.Time)}
}

// moment returns what a request means by a revision or a time, which is now without either.
func (e *events) moment(ctx context.Context, revisionField string, revision int64, timeField string, at *timestamppb.Timestamp) (history.Moment, error) {
	t, err := timeOf(timeField, at)
	switch {
	case err != nil:
		return history.Moment{}, err
	case revision < 0:
		return history.Moment{}, invalid(revisionField, strconv.FormatInt(revision, 10), "etcd's revisions begin at 1; 0 means now, or what the time says")
	case revision > 0 && at != nil:
		return history.Moment{}, invalid(timeField, at.AsTime().Format(time.RFC3339), "there is a revision or a time, not both")
	case revision > 0 && e.kept == nil:
		return history.Moment{Revision: revision}, nil
	case revision > 0:
		return e.kept.TimeOf(revision), nil
	case at != nil && e.kept == nil:
		return history.Moment{}, errNoHistory
	case at != nil:
		return e.kept.Moment(t)
	}
	now, err := e.api.reg.Revision(ctx)
	return history.Moment{Revision: now, Time: time.Now()}, err
}

// Diff implements rollcall.v1.
func (e *events) Diff(ctx context.Context, req *rollcallv1.DiffRequest) (*rollcallv1.DiffResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if req.GetFromRevision() == 0 && req.GetFromTime() == nil {
		return nil, invalid("from_time", "", "a revision or a time to begin with is needed")
	}
	from, err := e.moment(ctx, "from_revision", req.GetFromRevision(), "from_time", req.GetFromTime())
	if err != nil {
		return nil, err
	}
	to, err := e.moment(ctx, "to_revision", req.GetToRevision(), "to_time", req.GetToTime())
	if err != nil {
		return nil, err
	}
	before, err := e.viewsAt(ctx, req.GetService(), from)
	if err != nil {
		return nil, err
	}
	after, err := e.viewsAt(ctx, req.GetService(), to)
	if err != nil {
		return nil, err
	}
	resp := &rollcallv1.DiffResponse{From: momentMessage(from), To: momentMessage(to)}
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		one, err := diffOf(name, before[name], after[name])
		if err != nil {
			return nil, err
		}
		if one != nil {
			resp.Services = append(resp.Services, one)
		}
	}
	return resp, nil
}

// viewsAt returns a service, or all that the caller may be told of, as of a moment.
func (e *events) viewsAt(ctx context.Context, service string, at history.Moment) (map[string]*rollcall.View, error) {
	_, sees := e.api.sight(ctx)
	if service != "" {
		if err := e.api.reg.Validate(service, nil); err != nil || !sees(service) {
			return nil, err
		}
		v, err := e.api.reg.LookupAt(ctx, service, at.Revision, at.Time)
		return map[string]*rollcall.View{service: v}, err
	}
	all, err := e.api.reg.OverviewAt(ctx, at.Revision, at.Time)
	if err != nil {
		return nil, err
	}
	views := map[string]*rollcall.View{}
	for _, v := range all {
		if sees(v.Service) {
			views[v.Service] = v
		}
	}
	return views, nil
}

// diffOf returns what is different in one service; nil when nothing is. Either view may be nil.
func diffOf(service string, before, after *rollcall.View) (*rollcallv1.ServiceDiff, error) {
	if after == nil {
		after = &rollcall.View{Service: service}
	}
	if before == nil {
		before = &rollcall.View{Service: service}
	}
	d := &rollcallv1.ServiceDiff{Service: service}
	var err error
	if d.PolicyBefore, err = message.Policy(before.Policy); err != nil {
		return nil, err
	}
	if d.PolicyAfter, err = message.Policy(after.Policy); err != nil {
		return nil, err
	}
	for _, u := range after.Since(before) {
		one := &rollcallv1.InstanceDiff{Op: message.Update(u).GetOp()}
		if u.Prev != nil {
			one.Before = message.Instance(u.Prev)
		}
		if u.Op != rollcall.Delete {
			one.After = message.Instance(u.Instance)
		}
		if u.Op == rollcall.Modify {
			if one.Detail = history.Difference(u.Prev, u.Instance); one.Detail == "" {
				continue // it was written again, and says the same
			}
		}
		d.Instances = append(d.Instances, one)
	}
	if len(d.Instances) == 0 && d.GetPolicyBefore().GetRevision() == d.GetPolicyAfter().GetRevision() {
		return nil, nil
	}
	return d, nil
}
