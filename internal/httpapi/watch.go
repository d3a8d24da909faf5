package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// watchService tells what happens to a service, as Server-Sent Events.
func (a *API) watchService(w http.ResponseWriter, r *http.Request, service string) {
	from, err := resumption(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	a.follow(w, r, func(ctx context.Context) (func() (event, error), error) {
		req := &rollcallv1.WatchRequest{Service: service, Revision: from.revision, Digest: from.digest}
		next, err := a.listen(ctx, rollcallv1.DiscoveryService_Watch_FullMethodName, req, changed)
		if err != nil {
			return nil, err
		}
		return named(next), nil
	})
}

// watchServices tells what happens to all services. It cannot resume: each stream begins with a snapshot.
func (a *API) watchServices(w http.ResponseWriter, r *http.Request) {
	values, err := query(r, "prefix")
	if err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	prefix, err := single(values, "prefix")
	if err != nil {
		refuse(w, http.StatusBadRequest, codes.InvalidArgument, err.Error())
		return
	}
	a.follow(w, r, func(ctx context.Context) (func() (event, error), error) {
		next, err := a.listen(ctx, rollcallv1.DiscoveryService_WatchServices_FullMethodName, &rollcallv1.WatchServicesRequest{Prefix: prefix}, changedServices)
		if err != nil {
			return nil, err
		}
		return named(next), nil
	})
}

// changed makes an event of what a stream tells of a service.
func changed() (proto.Message, func() saying) {
	m := &rollcallv1.WatchResponse{}
	return m, func() saying {
		return saying{snapshot: m.GetSnapshot(), changes: len(m.GetUpdates()), stale: m.GetStale(), id: eventID{m.GetRevision(), m.GetDigest()}.String()}
	}
}

// changedServices makes an event of what a stream tells of all services.
func changedServices() (proto.Message, func() saying) {
	m := &rollcallv1.WatchServicesResponse{}
	return m, func() saying {
		return saying{snapshot: m.GetSnapshot(), changes: len(m.GetServices()), stale: m.GetStale(), id: eventID{revision: m.GetRevision()}.String()}
	}
}

// named makes events of what one stream is told.
func named(next func() (*telling, error)) func() (event, error) {
	var name namer
	return func() (event, error) {
		t, err := next()
		if err != nil {
			return event{}, err
		}
		return event{name.next(t.snapshot, t.changes, t.stale), t.id, t.text}, nil
	}
}

// eventID is what an event is known by: the revision and, behind a dash, the digest of what there is then. A reader that comes back hands in
// both, by one header: with the digest any server knows for certain what it had. A revision alone will do, too.
type eventID struct {
	revision int64
	digest   uint64
}

func (id eventID) String() string {
	if id.digest == 0 {
		return strconv.FormatInt(id.revision, 10)
	}
	return fmt.Sprintf("%d-%016x", id.revision, id.digest)
}

func parseEventID(text string) (eventID, error) {
	first, second, both := strings.Cut(text, "-")
	revision, err := strconv.ParseUint(first, 10, 63)
	var digest uint64
	if both && err == nil {
		digest, err = strconv.ParseUint(second, 16, 64)
	}
	if err != nil {
		return eventID{}, fmt.Errorf("%q is not the id of an event, nor a revision", text)
	}
	return eventID{int64(revision), digest}, nil
}

// resumption returns what a stream goes on behind; the zero eventID for one that begins. A browser that comes back asks for the same address
// again and says in a header what it had last: that is newer.
func resumption(r *http.Request) (eventID, error) {
	values, err := query(r, "revision")
	if err != nil {
		return eventID{}, err
	}
	text, err := single(values, "revision")
	if err != nil {
		return eventID{}, err
	}
	text = cmp.Or(r.Header.Get("Last-Event-ID"), text)
	if text == "" {
		return eventID{}, nil
	}
	return parseEventID(text)
}

// namer names the events of one stream.
type namer struct{ stale *rollcallv1.Staleness }

func (n *namer) next(snapshot bool, changes int, stale *rollcallv1.Staleness) string {
	turned := !proto.Equal(n.stale, stale)
	n.stale = stale
	switch {
	case snapshot:
		return "snapshot"
	case changes == 0 && turned:
		return "stale" // or no longer: its data says which
	}
	return "update"
}
