package httpapi

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// watchEvents tells what happens, as Server-Sent Events; the id of one is the sequence of the last event in it. A reader that comes back goes
// on behind it, at the same server.
func (a *API) watchEvents(w http.ResponseWriter, r *http.Request) {
	req, err := eventsRequest(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	a.follow(w, r, func(ctx context.Context) (func() (event, error), error) {
		stream, err := a.history.WatchEvents(ctx, req)
		if err != nil {
			return nil, err
		}
		last := req.GetAfter()
		return func() (event, error) {
			m, err := stream.Recv()
			if n := len(m.GetEvents()); n > 0 {
				last = m.GetEvents()[n-1].GetSequence()
			}
			return event{"events", eventID{revision: last}, m}, err
		}, nil
	})
}

func eventsRequest(r *http.Request) (*rollcallv1.WatchEventsRequest, error) {
	values, err := query(r, "service", "instance", "kinds", "actor", "since", "after")
	if err != nil {
		return nil, err
	}
	req := &rollcallv1.WatchEventsRequest{}
	if err := runtime.PopulateQueryParameters(req, values, &utilities.DoubleArray{}); err != nil {
		return nil, err
	}
	if had := r.Header.Get("Last-Event-ID"); had != "" {
		id, err := parseEventID(had)
		if err != nil {
			return nil, err
		}
		req.After = id.revision
	}
	return req, nil
}
