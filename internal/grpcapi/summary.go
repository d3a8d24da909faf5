package grpcapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// WatchServices implements rollcall.v1.
func (d *discovery) WatchServices(req *rollcallv1.WatchServicesRequest, stream grpc.ServerStreamingServer[rollcallv1.WatchServicesResponse]) error {
	if err := checkPrefix(req.GetPrefix()); err != nil {
		return err
	}
	key, sees := d.api.sight(stream.Context())
	h, err := d.api.join(topic{all: true, name: req.GetPrefix(), sight: key}, func() teller {
		return &services{prefix: req.GetPrefix(), sees: sees, watcher: d.api.reg.WatchServices(), known: map[string]*rollcallv1.ServiceSummary{}}
	})
	if err != nil {
		return err
	}
	defer h.leave()
	if err := h.known(stream.Context()); err != nil {
		return err
	}
	w := h.newWatcher(stream.Context())
	defer w.end()
	return h.serve(stream, w, 0)
}

// services tells of all services whose names begin with a prefix, and that its streams may be told of.
type services struct {
	prefix  string
	sees    func(service string) bool
	watcher *rollcall.ServicesWatcher

	known    map[string]*rollcallv1.ServiceSummary // by name; those that are gone are not there
	revision int64
	stale    *rollcallv1.Staleness
	ring     [][]string // the names that each of the newest states changed, oldest first
	held     int        // names in ring
	begun    bool
}

func (s *services) next(ctx context.Context) (func() (news, broken bool), error) {
	o, err := s.watcher.Next(ctx)
	if err != nil {
		return nil, err
	}
	return func() (news, broken bool) { return s.apply(o) }, nil
}

func (s *services) end() { s.watcher.Close() }

func (s *services) apply(o *rollcall.Overview) (news, broken bool) {
	stale := message.Staleness(o.StaleSince, o.StaleErr)
	turned := !proto.Equal(stale, s.stale)
	if o.Complete {
		clear(s.known)
		s.ring, s.held = nil, 0
	}
	var names []string
	for _, v := range o.Services {
		if !strings.HasPrefix(v.Service, s.prefix) || !s.sees(v.Service) {
			continue
		}
		names = append(names, v.Service)
		if len(v.Instances) == 0 && v.Policy == nil {
			delete(s.known, v.Service)
		} else {
			s.known[v.Service] = summaryOf(v, nil)
		}
	}
	s.revision, s.stale = o.Revision, stale
	if s.begun && !o.Complete && !turned && len(names) == 0 {
		return false, false
	}
	s.begun = true
	s.ring = append(s.ring, names)
	s.held += len(names)
	for len(s.ring) > ringStates || s.held > ringUpdates && len(s.ring) > 1 {
		s.held -= len(s.ring[0])
		s.ring[0] = nil
		s.ring = s.ring[1:]
	}
	return true, o.Complete
}

func (s *services) snapshot(bool) proto.Message {
	m := &rollcallv1.WatchServicesResponse{Revision: s.revision, Stale: s.stale, Snapshot: true}
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		m.Services = append(m.Services, s.known[name])
	}
	return m
}

func (s *services) since(states uint64) proto.Message {
	if states >= uint64(len(s.ring)) {
		return nil
	}
	m := &rollcallv1.WatchServicesResponse{Revision: s.revision, Stale: s.stale}
	changed := slices.Concat(s.ring[len(s.ring)-int(states):]...)
	slices.Sort(changed)
	for _, name := range slices.Compact(changed) {
		one := s.known[name]
		if one == nil {
			one = &rollcallv1.ServiceSummary{Service: name, Revision: s.revision}
		}
		m.Services = append(m.Services, one)
	}
	return m
}

// summaryOf counts the instances of a view that have all labels.
func summaryOf(v *rollcall.View, wanted labels) *rollcallv1.ServiceSummary {
	s := &rollcallv1.ServiceSummary{
		Service: v.Service, Revision: v.Revision, Policy: v.Policy != nil,
		Zones: map[string]int32{}, Versions: map[string]int32{},
	}
	for _, i := range v.Instances {
		if !wanted.on(i) {
			continue
		}
		s.Instances++
		s.Zones[message.Text(i.Zone)]++
		s.Versions[message.Text(i.Version)]++
		switch {
		case i.Suspect:
			s.Suspect++
		case i.Serving():
			s.Serving++
		case i.EffectiveState() == rollcall.StateDraining:
			s.Draining++
		default:
			s.Unhealthy++
		}
	}
	return s
}
