package httpapi

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

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
		next, err := a.listen(ctx, rollcallv1.HistoryService_WatchEvents_FullMethodName, req, happened)
		if err != nil {
			return nil, err
		}
		last := eventID{revision: req.GetAfter()}.String()
		return func() (event, error) {
			t, err := next()
			if err != nil {
				return event{}, err
			}
			if t.changes > 0 {
				last = t.id
			}
			return event{"events", last, t.text}, nil
		}, nil
	})
}

// happened makes an event of what a stream tells of the past.
func happened() (proto.Message, func() saying) {
	m := &rollcallv1.WatchEventsResponse{}
	return m, func() saying {
		said := saying{changes: len(m.GetEvents())}
		if said.changes > 0 {
			said.id = eventID{revision: m.GetEvents()[said.changes-1].GetSequence()}.String()
		}
		return said
	}
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
