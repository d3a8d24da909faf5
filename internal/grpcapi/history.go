package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/history"
	"github.com/rollcall-io/rollcall/internal/message"
)

// How many events a page has.
const (
	usualEvents = 100
	mostEvents  = 1000
)

// errNoHistory refuses questions about the past where nobody remembers it.
var errNoHistory = errors.New("this server keeps no history")

// events implements rollcall.v1's HistoryService.
type events struct {
	rollcallv1.UnimplementedHistoryServiceServer

	api  *API
	kept *history.History // nil: there is none
}

// historyBegin says how far back the history reaches; nil when there is none.
func (a *API) historyBegin() *rollcallv1.HistoryBegin {
	if a.events.kept == nil {
		return nil
	}
	b := a.events.kept.Begin()
	return &rollcallv1.HistoryBegin{Revision: b.Revision, Time: message.Moment(b.Time), Reading: b.Reading}
}

// ListEvents implements rollcall.v1.
func (e *events) ListEvents(ctx context.Context, req *rollcallv1.ListEventsRequest) (*rollcallv1.ListEventsResponse, error) {
	if e.kept == nil {
		return nil, errNoHistory
	}
	q := history.Query{Limit: int(req.GetPageSize())}
	var err error
	if q.Filter, err = e.filter(ctx, req); err != nil {
		return nil, err
	}
	if q.Until, err = timeOf("until", req.GetUntil()); err != nil {
		return nil, err
	}
	switch {
	case q.Limit < 0 || q.Limit > mostEvents:
		return nil, invalid("page_size", strconv.Itoa(q.Limit), fmt.Sprintf("a page has 1 to %d events; 0 means %d", mostEvents, usualEvents))
	case q.Limit == 0:
		q.Limit = usualEvents
	}
	if token := req.GetPageToken(); token != "" {
		if q.Before, err = strconv.ParseInt(token, 10, 64); err != nil || q.Before <= 0 {
			return nil, invalid("page_token", token, "it is the next_page_token of the page before")
		}
	}
	list, next := e.kept.List(q)
	resp := &rollcallv1.ListEventsResponse{Begin: e.api.historyBegin()}
	for n := range list {
		resp.Events = append(resp.Events, eventMessage(&list[n]))
	}
	if next != 0 {
		resp.NextPageToken = strconv.FormatInt(next, 10)
	}
	return resp, nil
}

// selection is what requests select events by.
type selection interface {
	GetService() string
	GetInstance() string
	GetKinds() []rollcallv1.Event_Kind
	GetActor() string
	GetSince() *timestamppb.Timestamp
}

func (e *events) filter(ctx context.Context, req selection) (history.Filter, error) {
	f := history.Filter{Service: req.GetService(), Instance: req.GetInstance(), Actor: req.GetActor()}
	_, f.Sees = e.api.sight(ctx)
	for _, k := range req.GetKinds() {
		if _, known := rollcallv1.Event_Kind_name[int32(k)]; !known || k == rollcallv1.Event_KIND_UNSPECIFIED {
			return f, invalid("kinds", k.String(), "it is a kind of event, such as KIND_JOINED")
		}
		f.Kinds = append(f.Kinds, history.Kind(k))
	}
	if f.Service != "" {
		if err := e.api.reg.Validate(f.Service, nil); err != nil {
			return f, err
		}
	}
	var err error
	f.Since, err = timeOf("since", req.GetSince())
	return f, err
}

// timeOf reads a time of a request; none is the zero time.
func timeOf(field string, m *timestamppb.Timestamp) (time.Time, error) {
	if m != nil && m.CheckValid() != nil {
		return time.Time{}, invalid(field, m.String(), "a time is one of the years 1 to 9999")
	}
	return message.MomentOf(m), nil
}

func eventMessage(e *history.Event) *rollcallv1.Event {
	return &rollcallv1.Event{
		Kind: rollcallv1.Event_Kind(e.Kind), Revision: e.Revision, Time: message.Moment(e.Time), Within: message.Duration(e.Within),
		Service: message.Text(e.Service), Instance: message.Text(e.Instance), Addr: message.Text(e.Addr), Zone: message.Text(e.Zone),
		Version: message.Text(e.Version), Incarnation: message.Text(e.Incarnation), Actor: message.Text(e.Actor), Reason: message.Text(e.Reason),
		Detail: message.Text(e.Detail), Since: message.Moment(e.Since), Until: message.Moment(e.Until), Sequence: e.Sequence,
	}
}

// WatchEvents implements rollcall.v1.
func (e *events) WatchEvents(req *rollcallv1.WatchEventsRequest, stream grpc.ServerStreamingServer[rollcallv1.WatchEventsResponse]) error {
	if e.kept == nil {
		return errNoHistory
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(e.api.ctx, func() { cancel(errStopping) })()
	f, err := e.filter(ctx, req)
	if err != nil {
		return err
	}
	if req.GetAfter() < 0 {
		return invalid("after", strconv.FormatInt(req.GetAfter(), 10), "it is the sequence of an event; 0 for none")
	}
	begin := e.api.historyBegin()
	var broken error
	err = e.kept.Watch(ctx, history.Start{Filter: f, After: req.GetAfter()}, func(told []history.Event, gap bool) bool {
		resp := &rollcallv1.WatchEventsResponse{Begin: begin, Gap: gap}
		begin = nil
		for n := range told {
			resp.Events = append(resp.Events, eventMessage(&told[n]))
		}
		broken = stream.Send(resp)
		return broken == nil
	})
	switch {
	case broken != nil:
		return broken
	case err != nil && context.Cause(ctx) != nil:
		return context.Cause(ctx)
	}
	return err
}
