package grpcapi

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// discovery implements rollcall.v1's DiscoveryService.
type discovery struct {
	rollcallv1.UnimplementedDiscoveryServiceServer

	api *API
}

// ListServices implements rollcall.v1.
func (d *discovery) ListServices(ctx context.Context, req *rollcallv1.ListServicesRequest) (*rollcallv1.ListServicesResponse, error) {
	if err := checkPrefix(req.GetPrefix()); err != nil {
		return nil, err
	}
	size, err := pageSizeOf(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	wanted, err := labelsOf(req.GetLabels())
	if err != nil {
		return nil, err
	}
	question := questionOf(req)
	from, err := pageOf(req.GetPageToken(), question)
	if err != nil {
		return nil, err
	}
	o, err := d.overview(ctx)
	if err != nil {
		return nil, err
	}
	_, sees := d.api.sight(ctx)
	resp := &rollcallv1.ListServicesResponse{Revision: o.Revision, Stale: message.Staleness(o.StaleSince, o.StaleErr)}
	for _, v := range o.Services {
		if v.Service <= from.After || !strings.HasPrefix(v.Service, req.GetPrefix()) || !sees(v.Service) {
			continue
		}
		s := summaryOf(v, wanted)
		if len(wanted) > 0 && s.GetInstances() == 0 {
			continue
		}
		if len(resp.Services) == size {
			resp.NextPageToken = page{After: resp.Services[size-1].GetService(), Question: question}.token()
			break
		}
		resp.Services = append(resp.Services, s)
	}
	return resp, nil
}

// overview returns all services, from memory.
func (d *discovery) overview(ctx context.Context) (*rollcall.Overview, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := d.api.reg.WatchServices()
	defer w.Close()
	return w.Next(ctx)
}

// GetService implements rollcall.v1. Who says in his metadata by what he knows the service is told no more than how current that is.
func (d *discovery) GetService(ctx context.Context, req *rollcallv1.GetServiceRequest) (*rollcallv1.GetServiceResponse, error) {
	v, err := d.api.view(ctx, req.GetService())
	if err != nil {
		return nil, err
	}
	if d.api.has(ctx, v) {
		return &rollcallv1.GetServiceResponse{Revision: v.Revision, Stale: message.Staleness(v.StaleSince, v.StaleErr)}, nil
	}
	policy, err := message.Policy(v.Policy)
	if err != nil {
		return nil, err
	}
	resp := &rollcallv1.GetServiceResponse{
		Service: v.Service, Revision: v.Revision, Policy: policy, Stale: message.Staleness(v.StaleSince, v.StaleErr),
		Instances: make([]*rollcallv1.Instance, 0, len(v.Instances)),
	}
	for _, i := range v.Instances {
		resp.Instances = append(resp.Instances, message.Instance(i))
	}
	return resp, nil
}

// view returns a service as it is now, from memory.
func (a *API) view(ctx context.Context, service string) (*rollcall.View, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return a.reg.Lookup(ctx, service)
}

// WaitForRevision implements rollcall.v1.
func (d *discovery) WaitForRevision(ctx context.Context, req *rollcallv1.WaitForRevisionRequest) (*rollcallv1.WaitForRevisionResponse, error) {
	if req.GetRevision() < 1 {
		return nil, &rollcall.InvalidError{Field: "revision", Value: strconv.FormatInt(req.GetRevision(), 10), Rule: "a revision is 1 or more"}
	}
	timeout := 10 * time.Second
	if asked := req.GetTimeout(); asked != nil {
		timeout = asked.AsDuration()
		if asked.CheckValid() != nil || timeout <= 0 || timeout > time.Minute {
			return nil, &rollcall.InvalidError{Field: "timeout", Value: message.Text(asked.String()), Rule: "a timeout is more than 0, at most a minute"}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := d.api.reg.Reach(ctx, req.GetRevision()); err != nil {
		return nil, err
	}
	return &rollcallv1.WaitForRevisionResponse{Revision: req.GetRevision()}, nil
}

// ListLeases implements rollcall.v1.
func (d *discovery) ListLeases(ctx context.Context, req *rollcallv1.ListLeasesRequest) (*rollcallv1.ListLeasesResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	left, err := d.api.reg.TimeLeft(ctx, req.GetService(), req.GetIds()...)
	if err != nil {
		return nil, err
	}
	resp := &rollcallv1.ListLeasesResponse{}
	for _, id := range slices.Sorted(maps.Keys(left)) {
		resp.Leases = append(resp.Leases, &rollcallv1.Lease{Id: id, Left: durationpb.New(left[id])})
	}
	return resp, nil
}
