package grpcapi

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// Xds is what is asked of the xDS beside the API: who is connected, and whether they have heard.
type Xds interface {
	Clients() []*rollcallv1.XdsClient

	// Acknowledged returns when every client that watches a service has acknowledged it as of a revision, or has gone.
	Acknowledged(ctx context.Context, service string, revision int64) error
}

// errNoXds refuses questions about clients where there can be none.
var errNoXds = errors.New("this server has no xDS")

// ListXdsClients implements rollcall.v1.
func (o *operations) ListXdsClients(_ context.Context, req *rollcallv1.ListXdsClientsRequest) (*rollcallv1.ListXdsClientsResponse, error) {
	if o.facts.Xds == nil {
		return nil, errNoXds
	}
	return &rollcallv1.ListXdsClientsResponse{Clients: clientsOf(o.facts.Xds, req.GetService())}, nil
}

// clientsOf returns those that watch a service, or with "" all.
func clientsOf(x Xds, service string) []*rollcallv1.XdsClient {
	return slices.DeleteFunc(x.Clients(), func(c *rollcallv1.XdsClient) bool {
		return service != "" && !slices.ContainsFunc(c.GetTypes(), func(t *rollcallv1.XdsWatched) bool {
			return t.GetEverything() || slices.Contains(t.GetNames(), service)
		})
	})
}

// AwaitClients implements rollcall.v1.
func (c *control) AwaitClients(ctx context.Context, req *rollcallv1.AwaitClientsRequest) (*rollcallv1.AwaitClientsResponse, error) {
	if err := c.check(req.GetService(), 0); err != nil {
		return nil, err
	}
	if req.GetRevision() < 1 {
		return nil, badRevision(req.GetRevision(), "a revision is 1 or more")
	}
	timeout := 10 * time.Second
	if asked := req.GetTimeout(); asked != nil {
		timeout = asked.AsDuration()
		if asked.CheckValid() != nil || timeout <= 0 || timeout > time.Minute {
			return nil, invalid("timeout", strconv.Quote(message.Text(asked.String())), "a timeout is more than 0, at most a minute")
		}
	}
	x := c.api.operations.facts.Xds
	if x == nil {
		return nil, errNoXds
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := x.Acknowledged(ctx, req.GetService(), req.GetRevision()); err != nil {
		return nil, err
	}
	return &rollcallv1.AwaitClientsResponse{Clients: int32(len(clientsOf(x, req.GetService())))}, nil
}
